// The inner loop of reading recoded JPEGs, inlined into a build for each instruction set (recoded_kernels.cpp).
//
// Four segments are read at a time, so four look-ups are under way; each gives three tokens in two on average, values
// included. Nothing branches on what tokens are, but for values that are too long for a look-up (two in a hundred)
// and for the end of a segment, which is noticed every few look-ups only: what is read behind it is lost in slack.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "inlining.hpp"
#include "recoded_codes.hpp"

namespace imagemill::recoded {

// The tokens of a segment, and the blocks that they become: bytes in zigzag order.
struct Lane {
    uint64_t bits;  // not yet read come first, then a one, then zeros, as many as bits of the eight bytes were read
    const uint8_t* next;
    const uint8_t* limit;  // eight bytes from here are still in memory
    uint8_t* place;        // before the coefficient that was read last; at first, before the first block
    uint8_t* last;         // of the last block; so many blocks behind it are written, too
};

constexpr int kLanes = 4;
constexpr int kLookUps = 5;  // for which bits are made sure of at once
constexpr int kSlack = kLookUps + 2;  // blocks

// Values of more than eight bits: their higher parts lie `distance` bytes behind the lower ones, in blocks that are marked.
struct LongValues {
    uint8_t* blocks;
    ptrdiff_t distance;
    uint8_t* marks;  // of each block

    uint8_t* marks_of(const uint8_t* block) const { return marks + (block - blocks) / 64; }
};

IMAGEMILL_INLINE uint64_t eight_bytes(const uint8_t* data) {
    uint64_t bytes;
    std::memcpy(&bytes, data, sizeof bytes);
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    bytes = __builtin_bswap64(bytes);
#endif
    return bytes;
}

// At least kSureBits are there afterwards. Damaged data may want to read on and on: they stay at the limit.
constexpr int kSureBits = 56;
static_assert(kLookUps * kLookBits <= kSureBits && kMostSize <= kSureBits, "bits for look-ups, or for a long value");
IMAGEMILL_INLINE uint64_t refilled(uint64_t bits, Lane& lane) {
    const int read = __builtin_ctzll(bits);
    const uint8_t* further = lane.next + (read >> 3);
    lane.next = further < lane.limit ? further : lane.limit;
    return (eight_bytes(lane.next) | 1) << (read & 7);
}

// The value of a token of whose code alone the table knows.
IMAGEMILL_INLINE void put_long(uint8_t* place, int value, const LongValues& long_values) {
    const auto low = static_cast<int8_t>(value);
    *place = static_cast<uint8_t>(low);
    if (low != value) {
        uint8_t* mark = long_values.marks_of(place);
        if (*mark == 0) {
            *mark = 1;
            std::memset(long_values.blocks + long_values.distance + (mark - long_values.marks) * 64, 0, 64);
        }
        place[long_values.distance] = static_cast<uint8_t>((value - low) / 256);
    }
}

// Reads all lanes, kLanes at a time; `idle` are for when fewer are left. The table has the entries of one code or of two.
template <bool kTwoCodes>
IMAGEMILL_INLINE void read_lanes(const Entry* table, Lane* lanes, int count, const Lane* idle,
                                 const LongValues& long_values) {
    Lane now[kLanes];
    uint32_t codes[kLanes] = {};
    int number[kLanes];
    int started = 0, done = 0;
    for (int i = 0; i < kLanes; ++i) {
        number[i] = started < count ? started++ : -1;
        now[i] = number[i] < 0 ? *idle : lanes[number[i]];
    }
    const auto use = [&](Lane& lane, uint64_t& bits, uint8_t*& place, uint32_t& code) __attribute__((always_inline)) {
        const Entry& entry = table[kTwoCodes ? bits >> (64 - kLookBits) | code : bits >> (64 - kLookBits)];
        bits <<= entry.length & 63;
        if (kTwoCodes) {
            code = static_cast<uint32_t>(entry.length & kSecond) * ((1 << kLookBits) / kSecond);
        }
        if (__builtin_expect(entry.length >= kLong, 0)) {
            bits = refilled(bits, lane);
            const int size = entry.values[0];
            place += entry.go_on;
            put_long(place + 1, value_of(static_cast<uint32_t>(bits >> (64 - size)), size), long_values);
            bits <<= size;
            bits = refilled(bits, lane);
        } else {
            std::memcpy(place + entry.skip + 1, entry.values, sizeof entry.values);
            place += entry.go_on;
        }
        place = reinterpret_cast<uint8_t*>(reinterpret_cast<uintptr_t>(place) | entry.rest);
    };
    while (done < count) {
        uint64_t a = now[0].bits, b = now[1].bits, c = now[2].bits, d = now[3].bits;
        uint8_t *at_a = now[0].place, *at_b = now[1].place, *at_c = now[2].place, *at_d = now[3].place;
        uint32_t in_a = codes[0], in_b = codes[1], in_c = codes[2], in_d = codes[3];
        do {
            a = refilled(a, now[0]);
            b = refilled(b, now[1]);
            c = refilled(c, now[2]);
            d = refilled(d, now[3]);
#pragma GCC unroll 5
            for (int i = 0; i < kLookUps; ++i) {
                use(now[0], a, at_a, in_a);
                use(now[1], b, at_b, in_b);
                use(now[2], c, at_c, in_c);
                use(now[3], d, at_d, in_d);
            }
        } while ((at_a < now[0].last) & (at_b < now[1].last) & (at_c < now[2].last) & (at_d < now[3].last));
        const uint64_t bits[] = {a, b, c, d};
        uint8_t* const places[] = {at_a, at_b, at_c, at_d};
        const uint32_t next_codes[] = {in_a, in_b, in_c, in_d};
        for (int i = 0; i < kLanes; ++i) {
            now[i].bits = bits[i];
            now[i].place = places[i];
            codes[i] = next_codes[i];
            if (now[i].place < now[i].last) {
                continue;
            }
            if (number[i] >= 0) {
                lanes[number[i]] = now[i];
                ++done;
            }
            number[i] = started < count ? started++ : -1;
            now[i] = number[i] < 0 ? *idle : lanes[number[i]];
            codes[i] = 0;
        }
    }
}

// Numbers of `width` bits, 1 to 16, from a place in the bits of `data` on, each with its sign folded in.
IMAGEMILL_INLINE void read_numbers(const uint8_t* data, size_t position, int width, int16_t* out, int count) {
    for (int i = 0; i < count; ++i, position += static_cast<size_t>(width)) {
        const uint64_t bits = eight_bytes(data + (position >> 3)) << (position & 7);
        out[i] = static_cast<int16_t>(unfolded(static_cast<uint32_t>(bits >> (64 - width))));
    }
}

}  // namespace imagemill::recoded
