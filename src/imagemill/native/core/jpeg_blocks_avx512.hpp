// Codes of the coefficients of a block with AVX-512: runs and values of all of them at once, then a look-up each.
#pragma once

#include <cstdint>

#include "jpeg_blocks.hpp"
#include "jpeg_outline.hpp"

#if defined(__x86_64__)
#include <immintrin.h>

namespace imagemill {
namespace jpeg {
namespace {

#define IMAGEMILL_AVX512 __attribute__((target("bmi,bmi2,lzcnt,popcnt,avx512f,avx512bw,avx512vbmi2")))
#define IMAGEMILL_AVX512_INLINE IMAGEMILL_AVX512 __attribute__((always_inline)) inline

constexpr int kLanes = kBlockSize / 2;  // coefficients in a register
constexpr int kAtOnce = 4;              // codes that are put before it is looked whether there are more

struct alignas(64) Lanes {
    uint16_t of[kLanes];
};

struct Orders512 {
    Lanes zigzag[2];     // from rows to zigzag order
    Lanes positions[2];  // in zigzag order
    Lanes before;        // each lane's neighbour
};

Orders512 make_orders512() {
    Orders512 orders{};
    for (int i = 0; i < kBlockSize; ++i) {
        orders.zigzag[i / kLanes].of[i % kLanes] = kZigzag[i];
        orders.positions[i / kLanes].of[i % kLanes] = static_cast<uint16_t>(i);
    }
    for (int i = 0; i < kLanes; ++i) {
        orders.before.of[i] = static_cast<uint16_t>((i + kLanes - 1) % kLanes);
    }
    return orders;
}

const Orders512 kOrders512 = make_orders512();

IMAGEMILL_AVX512_INLINE __m512i load(const void* place) { return _mm512_loadu_si512(place); }

// Places of a block's codes in the table of near values.
struct CodePlaces {
    uint16_t of[2 * kBlockSize + kAtOnce];
    int count = 0;
    int last = 0;  // position of the last value, in zigzag order
    bool are_near = true;  // whether the table has them all
};

// Appends those of half a block, in zigzag order, of which some are `present`.
IMAGEMILL_AVX512_INLINE void append(__m512i values, __mmask32 present, int half, CodePlaces& places) {
    const int count = __builtin_popcount(present);
    const __mmask32 there = _bzhi_u32(~0U, static_cast<unsigned>(count));
    const __m512i positions = _mm512_maskz_compress_epi16(present, load(kOrders512.positions[half].of));
    const __m512i neighbours = _mm512_permutexvar_epi16(load(kOrders512.before.of), positions);
    const __m512i before = _mm512_mask_set1_epi16(neighbours, 1, static_cast<int16_t>(places.last));
    const __m512i runs = _mm512_sub_epi16(_mm512_sub_epi16(positions, before), _mm512_set1_epi16(1));
    const __m512i found = _mm512_maskz_compress_epi16(present, values);
    const __m512i near = _mm512_add_epi16(found, _mm512_set1_epi16(ValueCodes::kNear));
    const __mmask32 is_far = _mm512_mask_cmpge_epu16_mask(there, near, _mm512_set1_epi16(2 * ValueCodes::kNear));
    const __mmask32 is_long = _mm512_mask_cmpge_epu16_mask(there, runs, _mm512_set1_epi16(16));
    static_assert(2 * ValueCodes::kNear == 1 << 10, "runs are shifted");
    _mm512_storeu_si512(places.of + places.count, _mm512_add_epi16(_mm512_slli_epi16(runs, 10), near));
    places.count += count;
    places.last = present == 0 ? places.last : kLanes * half + 31 - static_cast<int>(_lzcnt_u32(present));
    places.are_near = places.are_near && (is_far | is_long) == 0;
}

// All but the first coefficient of a block; false, with nothing written, where a value or a run is too large.
IMAGEMILL_AVX512_INLINE bool code_near(const Block& block, const ValueCodes& codes, PlainBits& bits) {
    const __m512i upper = load(block.values), lower = load(block.values + kLanes);
    const __m512i first = _mm512_permutex2var_epi16(upper, load(kOrders512.zigzag[0].of), lower);
    const __m512i second = _mm512_permutex2var_epi16(upper, load(kOrders512.zigzag[1].of), lower);
    CodePlaces places;
    append(first, _mm512_test_epi16_mask(first, first) & ~__mmask32{1}, 0, places);
    append(second, _mm512_test_epi16_mask(second, second), 1, places);
    if (!places.are_near) {
        return false;
    }
    for (int i = 0; i < kAtOnce; ++i) {
        places.of[places.count + i] = ValueCodes::kNothing;
    }
    if (places.last != kBlockSize - 1) {
        places.of[places.count++] = ValueCodes::kEnd;
    }
    for (int i = 0; i < places.count; i += kAtOnce) {
        for (int k = i; k < i + kAtOnce; k += 2) {
            bits.put_two(codes.at(places.of[k]), codes.at(places.of[k + 1]));
            bits.flush();
        }
    }
    return true;
}

}  // namespace
}  // namespace jpeg
}  // namespace imagemill

#endif
