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

constexpr int kLanesOfCodes = 4;
struct Lanes {
    Lane codes[kLanesOfCodes];
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

// The value of an entry that has it in the lane of values, where at least `kMostSize + 1` bits are.
IMAGEMILL_INLINE int value_of(Lane& values, const Entry& entry) {
    const int size = entry.value;
    const auto raw = static_cast<uint32_t>(values.bits >> (64 - size));
    values.bits <<= size;
    return value_of(raw, size);
}

// DC of `count` blocks, 64 places apart; `before` is what the first differs from.
IMAGEMILL_INLINE void read_dc_run(Lanes& lanes, const Entry* table, int16_t* blocks, int count, int before) {
    constexpr int kAtOnce = kSureBits / kDcLookBits * kLanesOfCodes;
    for (int done = 0; done < count; done += kAtOnce) {
        for (Lane& lane : lanes.codes) {
            refill(lane, lanes.limit);
        }
        const int end = count - done < kAtOnce ? count : done + kAtOnce;
        for (int i = done; i < end; ++i) {
            const Entry& entry = look_up<kDcLookBits>(lanes.codes[i % kLanesOfCodes].bits, table);
            int difference = entry.value;
            if (__builtin_expect((entry.length & kElsewhere) != 0, 0)) {
                refill(lanes.values, lanes.limit);
                difference = value_of(lanes.values, entry);
            }
            before += difference;
            blocks[static_cast<ptrdiff_t>(i) * 64] = static_cast<int16_t>(before);
        }
    }
}

// AC of `count` blocks, in zigzag order; they are zero before, and so are kSlack blocks behind them, which are written, too.
// A place is 64 times the block's number plus the coefficient's place in zigzag order, less one.
//
// Every token is used at once, so few registers hold all of it; that the run has ended is noticed at the end of a round
// only. What fills up the last round lies behind the run's end, and has no values.
constexpr int kSlack = 4;
IMAGEMILL_INLINE void read_ac_run(Lanes& lanes, const Entry* table, int16_t* blocks, int count) {
    static_assert(kLanesOfCodes <= kSlack, "a token goes on by a block at most");
    constexpr int kRounds = kSureBits / kLookBits;
    const size_t last = static_cast<size_t>(count) * 64 - 1;
    size_t place = SIZE_MAX;  // one before the first
    int16_t* const behind = blocks + 1;
    const auto use = [&](uint64_t& bits) __attribute__((always_inline)) {
        const Entry& entry = look_up<kLookBits>(bits, table);
        place += entry.go_on;
        behind[place] = entry.value;
        if (__builtin_expect((entry.length & kElsewhere) != 0, 0) && place <= last) {
            refill(lanes.values, lanes.limit);
            behind[place] = static_cast<int16_t>(value_of(lanes.values, entry));
        }
        place |= entry.rest;
    };
    while (true) {
        for (Lane& lane : lanes.codes) {
            refill(lane, lanes.limit);
        }
        uint64_t a = lanes.codes[0].bits, b = lanes.codes[1].bits, c = lanes.codes[2].bits, d = lanes.codes[3].bits;
        bool is_at_end = false;
#pragma GCC unroll 5
        for (int i = 0; i < kRounds && !is_at_end; ++i) {
            use(a);
            use(b);
            use(c);
            use(d);
            is_at_end = place + 1 > last;  // not before the first token of all
        }
        lanes.codes[0].bits = a;
        lanes.codes[1].bits = b;
        lanes.codes[2].bits = c;
        lanes.codes[3].bits = d;
        if (is_at_end) {
            return;
        }
    }
}

}  // namespace imagemill::recoded
