// The inner loops of reading recoded JPEGs, inlined into a build for each instruction set (recoded_source.cpp).
//
// Codes go to four lanes of bits in turn, so four look-ups are under way at a time; what depends on the token before is
// two additions. Values that are longer than a look-up (a few in a hundred) are in a fifth lane. So nothing branches on
// what tokens are, but for those values and for the end of a run of blocks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "recoded_codes.hpp"

#define IMAGEMILL_INLINE __attribute__((always_inline)) inline

namespace imagemill::recoded {

// Bits not yet read come first, then a one, then zeros: the zeros say how many bits of the eight bytes were read.
struct Lane {
    uint64_t bits;
    const uint8_t* next;
};

struct Lanes {
    Lane codes[4];
    Lane values;
    const uint8_t* limit;  // eight bytes from here are still in memory
};

IMAGEMILL_INLINE uint64_t eight_bytes(const uint8_t* data) {
    uint64_t bytes;
    std::memcpy(&bytes, data, sizeof bytes);
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    bytes = __builtin_bswap64(bytes);
#endif
    return bytes;
}

// kSureBits are there afterwards. Damaged data may want to read on and on: they stay at the limit.
constexpr int kSureBits = 56;
IMAGEMILL_INLINE void refill(Lane& lane, const uint8_t* limit) {
    const int read = __builtin_ctzll(lane.bits);
    const uint8_t* further = lane.next + (read >> 3);
    lane.next = further < limit ? further : limit;
    lane.bits = (eight_bytes(lane.next) | 1) << (read & 7);
}

template <int kLook>
IMAGEMILL_INLINE const Entry& look_up(uint64_t& bits, const Entry* table) {
    const Entry& entry = table[bits >> (64 - kLook)];
    bits <<= entry.length & 63;
    return entry;
}

// The value of an entry, whether it is in the lane of values or not: no branch, as the processor could not foresee it.
// At least `kMostSize + 1` bits are in the lane.
IMAGEMILL_INLINE int value_of(Lane& values, const Entry& entry) {
    const int found = entry.value;
    const bool is_elsewhere = (entry.length & kElsewhere) != 0;
    const int size = is_elsewhere ? found : 0;
    const int raw = static_cast<int>(values.bits >> 1 >> (63 - size));
    values.bits <<= size;
    const int below = raw >> (size - is_elsewhere) == 0 ? (1 << size) - 1 : 0;
    return is_elsewhere ? raw - below : found;
}

// DC of `count` blocks, 64 places apart; `before` is what the first differs from.
IMAGEMILL_INLINE void read_dc_run(Lanes& lanes, const Entry* table, int16_t* blocks, int count, int before) {
    constexpr int kRounds = kSureBits / kDcLookBits;
    for (int i = 0; i < count; ++i) {
        Lane& lane = lanes.codes[i & 3];
        if (i % (4 * kRounds) < 4) {
            refill(lane, lanes.limit);
        }
        const Entry& entry = look_up<kDcLookBits>(lane.bits, table);
        int difference = entry.value;
        if (__builtin_expect((entry.length & kElsewhere) != 0, 0)) {
            refill(lanes.values, lanes.limit);
            difference = value_of(lanes.values, entry);
        }
        before += difference;
        blocks[static_cast<ptrdiff_t>(i) * 64] = static_cast<int16_t>(before);
    }
}

// From a place in zigzag order less one to the place in the block row by row, as what is added; the last belongs to an
// empty block, whose last coefficient is zero anyway.
constexpr int8_t kSteps[64] = {1 - 0,   8 - 1,   16 - 2,  9 - 3,   2 - 4,   3 - 5,   10 - 6,  17 - 7,
                               24 - 8,  32 - 9,  25 - 10, 18 - 11, 11 - 12, 4 - 13,  5 - 14,  12 - 15,
                               19 - 16, 26 - 17, 33 - 18, 40 - 19, 48 - 20, 41 - 21, 34 - 22, 27 - 23,
                               20 - 24, 13 - 25, 6 - 26,  7 - 27,  14 - 28, 21 - 29, 28 - 30, 35 - 31,
                               42 - 32, 49 - 33, 56 - 34, 57 - 35, 50 - 36, 43 - 37, 36 - 38, 29 - 39,
                               22 - 40, 15 - 41, 23 - 42, 30 - 43, 37 - 44, 44 - 45, 51 - 46, 58 - 47,
                               59 - 48, 52 - 49, 45 - 50, 38 - 51, 31 - 52, 39 - 53, 46 - 54, 53 - 55,
                               60 - 56, 61 - 57, 54 - 58, 47 - 59, 55 - 60, 62 - 61, 63 - 62, 63 - 63};

// Where coefficients go, at places up to kBeyond before the end of a run: row by row, with the place of each block's last token modulo 64 in `ends`.
struct ByRows {
    static constexpr size_t kBeyond = 1;
    int16_t* __restrict blocks;
    uint8_t* __restrict ends;

    IMAGEMILL_INLINE void put(size_t place, int value) const {
        blocks[static_cast<ptrdiff_t>(place) + kSteps[place & 63]] = static_cast<int16_t>(value);
        ends[place >> 6] = static_cast<uint8_t>(place);
    }
};

// In zigzag order, for whoever can turn a block over at once.
struct ByZigzag {
    static constexpr size_t kBeyond = 2;
    int16_t* __restrict blocks;

    IMAGEMILL_INLINE void put(size_t place, int value) const { blocks[place + 1] = static_cast<int16_t>(value); }
};

// The last round of a run, behind `place`: what fills up its four codes means nothing, and has no values.
template <typename Out>
inline bool end_run(Lanes& lanes, size_t place, const Entry* const (&round)[4], const Out& out, size_t last) {
    refill(lanes.values, lanes.limit);
    for (const Entry* entry : round) {
        place += entry->go_on;
        if (place > last + 1 - Out::kBeyond) {
            return false;
        }
        out.put(place, value_of(lanes.values, *entry));
        place |= entry->rest;
        if (place == last) {
            return true;
        }
    }
    return false;
}

// AC of `count` blocks that are all zero before. A place is 64 times the block's number plus the coefficient's place in
// zigzag order less one. False where tokens do not end with the last block.
template <typename Out>
IMAGEMILL_INLINE bool read_ac_run(Lanes& lanes, const Entry* table, const Out out, int count) {
    static_assert(4 * kMostSize <= kSureBits, "the values of a round must be there");
    constexpr int kRounds = kSureBits / kLookBits;
    const size_t last = static_cast<size_t>(count) * 64 - 1;
    size_t place = SIZE_MAX;  // one before the first
    for (;;) {
        for (Lane& lane : lanes.codes) {
            refill(lane, lanes.limit);
        }
        uint64_t a = lanes.codes[0].bits, b = lanes.codes[1].bits, c = lanes.codes[2].bits, d = lanes.codes[3].bits;
#pragma GCC unroll 5
        for (int i = 0; i < kRounds; ++i) {
            const Entry &first = look_up<kLookBits>(a, table), &second = look_up<kLookBits>(b, table);
            const Entry &third = look_up<kLookBits>(c, table), &fourth = look_up<kLookBits>(d, table);
            const size_t p = place + first.go_on, q = (p | first.rest) + second.go_on;
            const size_t r = (q | second.rest) + third.go_on, s = (r | third.rest) + fourth.go_on;
            const size_t end = s | fourth.rest;
            if (__builtin_expect(end >= last, 0)) {
                lanes.codes[0].bits = a;
                lanes.codes[1].bits = b;
                lanes.codes[2].bits = c;
                lanes.codes[3].bits = d;
                return end_run(lanes, place, {&first, &second, &third, &fourth}, out, last);
            }
            place = end;
            if (__builtin_expect(((first.length | second.length | third.length | fourth.length) & kElsewhere) == 0, 1)) {
                out.put(p, first.value);
                out.put(q, second.value);
                out.put(r, third.value);
                out.put(s, fourth.value);
                continue;
            }
            refill(lanes.values, lanes.limit);
            out.put(p, value_of(lanes.values, first));
            out.put(q, value_of(lanes.values, second));
            out.put(r, value_of(lanes.values, third));
            out.put(s, value_of(lanes.values, fourth));
        }
        lanes.codes[0].bits = a;
        lanes.codes[1].bits = b;
        lanes.codes[2].bits = c;
        lanes.codes[3].bits = d;
    }
}

}  // namespace imagemill::recoded
