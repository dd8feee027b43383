// transform_plain<8> of jpeg_transform_plain.hpp on four blocks at a time with AVX-512: the same numbers, value by value.
#pragma once

#include <cstddef>
#include <cstdint>

#include "jpeg_transform_plain.hpp"
#include "processor.hpp"

#if defined(__x86_64__)
#include <immintrin.h>

namespace imagemill {
namespace {
namespace four {

#define IMAGEMILL_AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512vnni")))
#define IMAGEMILL_AVX512_INLINE IMAGEMILL_AVX512 __attribute__((always_inline)) inline

inline bool has_instructions() {
    return IMAGEMILL_HAS("avx512bw") && IMAGEMILL_HAS("avx512vl") && IMAGEMILL_HAS("avx512vnni");
}

// A row of eight numbers of 16 bits of each of four blocks, one in each quarter.
using Rows = __m512i[8];

// GCC 12 warns of the code of the functions without a mask.
constexpr __mmask16 kAll = 0xFFFF;

template <int which>
IMAGEMILL_AVX512_INLINE __m512i quarters(__m512i a, __m512i b) {
    return _mm512_maskz_shuffle_i32x4(kAll, a, b, which);
}

IMAGEMILL_AVX512_INLINE __m512i factors(int even, int odd) {
    return _mm512_set1_epi32(static_cast<int>(static_cast<uint32_t>(odd) << 16 | (static_cast<uint32_t>(even) & 0xFFFF)));
}

// Pairs of two rows' values, or sums of 32 bits, of the first and second four columns.
struct Halves {
    __m512i low;
    __m512i high;
};

IMAGEMILL_AVX512_INLINE Halves operator+(const Halves& a, const Halves& b) {
    return {_mm512_add_epi32(a.low, b.low), _mm512_add_epi32(a.high, b.high)};
}

IMAGEMILL_AVX512_INLINE Halves operator-(const Halves& a, const Halves& b) {
    return {_mm512_sub_epi32(a.low, b.low), _mm512_sub_epi32(a.high, b.high)};
}

IMAGEMILL_AVX512_INLINE Halves pairs(__m512i a, __m512i b) {
    return {_mm512_unpacklo_epi16(a, b), _mm512_unpackhi_epi16(a, b)};
}

// even * a + odd * b of every column.
IMAGEMILL_AVX512_INLINE Halves products(const Halves& values, int even, int odd) {
    const __m512i by = factors(even, odd);
    return {_mm512_madd_epi16(values.low, by), _mm512_madd_epi16(values.high, by)};
}

// `start` and even * a + odd * b of every column.
IMAGEMILL_AVX512_INLINE Halves plus_products(const Halves& start, const Halves& values, int even, int odd) {
    const __m512i by = factors(even, odd);
    return {_mm512_dpwssd_epi32(start.low, values.low, by), _mm512_dpwssd_epi32(start.high, values.high, by)};
}

// Over 2 ** bits, with 16 bits left.
template <int bits>
IMAGEMILL_AVX512_INLINE __m512i packed(const Halves& sums) {
    if constexpr (bits > 16) {  // the upper 16 bits, and what is left to do: nothing is to be clipped
        const __m512i uppers = _mm512_set_epi16(63, 61, 59, 57, 31, 29, 27, 25, 55, 53, 51, 49, 23, 21, 19, 17,  //
                                                47, 45, 43, 41, 15, 13, 11, 9, 39, 37, 35, 33, 7, 5, 3, 1);
        return _mm512_srai_epi16(_mm512_permutex2var_epi16(sums.low, uppers, sums.high), bits - 16);
    }
    return _mm512_packs_epi32(_mm512_maskz_srai_epi32(kAll, sums.low, bits), _mm512_maskz_srai_epi32(kAll, sums.high, bits));
}

// transform_8 on all columns of four blocks.
template <int bits>
IMAGEMILL_AVX512_INLINE void transform_columns(Rows& rows) {
    const __m512i rounding = _mm512_set1_epi32(1 << (bits - 1));
    const Halves half{rounding, rounding};
    const Halves means = pairs(_mm512_add_epi16(rows[0], rows[4]), _mm512_sub_epi16(rows[0], rows[4]));
    const Halves sum = plus_products(half, means, 1 << kFixedBits, 0);
    const Halves difference = plus_products(half, means, 0, 1 << kFixedBits);
    const Halves rows_26 = pairs(rows[2], rows[6]);
    constexpr int high2 = fixed(0.541196100) + fixed(0.765366865), high6 = fixed(0.541196100);
    constexpr int low2 = fixed(0.541196100), low6 = fixed(0.541196100) - fixed(1.847759065);
    const Halves even0 = plus_products(sum, rows_26, high2, high6), even3 = plus_products(sum, rows_26, -high2, -high6);
    const Halves even1 = plus_products(difference, rows_26, low2, low6);
    const Halves even2 = plus_products(difference, rows_26, -low2, -low6);
    const Halves turned = pairs(_mm512_add_epi16(rows[7], rows[3]), _mm512_add_epi16(rows[5], rows[1]));
    const Halves a = products(turned, fixed(1.175875602) - fixed(1.961570560), fixed(1.175875602));
    const Halves b = products(turned, fixed(1.175875602), fixed(1.175875602) - fixed(0.390180644));
    const Halves rows_71 = pairs(rows[7], rows[1]), rows_53 = pairs(rows[5], rows[3]);
    const Halves odd0 = plus_products(a, rows_71, fixed(0.298631336) - fixed(0.899976223), -fixed(0.899976223));
    const Halves odd3 = plus_products(b, rows_71, -fixed(0.899976223), fixed(1.501321110) - fixed(0.899976223));
    const Halves odd1 = plus_products(b, rows_53, fixed(2.053119869) - fixed(2.562915447), -fixed(2.562915447));
    const Halves odd2 = plus_products(a, rows_53, -fixed(2.562915447), fixed(3.072711026) - fixed(2.562915447));
    rows[0] = packed<bits>(even0 + odd3);
    rows[7] = packed<bits>(even0 - odd3);
    rows[1] = packed<bits>(even1 + odd2);
    rows[6] = packed<bits>(even1 - odd2);
    rows[2] = packed<bits>(even2 + odd1);
    rows[5] = packed<bits>(even2 - odd1);
    rows[3] = packed<bits>(even3 + odd0);
    rows[4] = packed<bits>(even3 - odd0);
}

IMAGEMILL_AVX512_INLINE Halves pairs_of_2(__m512i a, __m512i b) {
    return {_mm512_maskz_unpacklo_epi32(kAll, a, b), _mm512_maskz_unpackhi_epi32(kAll, a, b)};
}

IMAGEMILL_AVX512_INLINE void transpose(Rows& rows) {
    for (int i = 0; i < 2; ++i) {
        __m512i* four = rows + 4 * i;
        const Halves a = pairs(four[0], four[1]), b = pairs(four[2], four[3]);
        const Halves low = pairs_of_2(a.low, b.low), high = pairs_of_2(a.high, b.high);
        four[0] = low.low;
        four[1] = low.high;
        four[2] = high.low;
        four[3] = high.high;
    }
    Rows halves;
    for (int i = 0; i < 4; ++i) {
        halves[2 * i] = _mm512_maskz_unpacklo_epi64(0xFF, rows[i], rows[i + 4]);
        halves[2 * i + 1] = _mm512_maskz_unpackhi_epi64(0xFF, rows[i], rows[i + 4]);
    }
    for (int i = 0; i < 8; ++i) {
        rows[i] = halves[i];
    }
}

// Columns of samples, zero in the middle, to rows of bytes.
IMAGEMILL_AVX512_INLINE void store_columns(const Rows& columns, uint8_t* out, ptrdiff_t stride) {
    const __m512i a = _mm512_packs_epi16(columns[0], columns[2]), b = _mm512_packs_epi16(columns[1], columns[3]);
    const __m512i c = _mm512_packs_epi16(columns[4], columns[6]), d = _mm512_packs_epi16(columns[5], columns[7]);
    const Halves left = pairs(_mm512_unpacklo_epi8(a, b), _mm512_unpackhi_epi8(a, b));
    const Halves right = pairs(_mm512_unpacklo_epi8(c, d), _mm512_unpackhi_epi8(c, d));
    const Halves two[2] = {pairs_of_2(left.low, right.low), pairs_of_2(left.high, right.high)};
    const __m512i middle = _mm512_set1_epi8(static_cast<char>(0x80)), by_rows = _mm512_set_epi64(7, 5, 3, 1, 6, 4, 2, 0);
    for (const Halves& rows : two) {
        for (const __m512i& pair : {rows.low, rows.high}) {
            const __m512i bytes = _mm512_maskz_permutexvar_epi64(0xFF, by_rows, _mm512_xor_si512(pair, middle));
            _mm512_mask_storeu_epi64(out, 0x0F, bytes);
            _mm512_mask_storeu_epi64(out + stride - 32, 0xF0, bytes);
            out += 2 * stride;
        }
    }
}

// Four rows of each of four blocks, times the steps: those of each row together.
IMAGEMILL_AVX512_INLINE void dequantise(const int16_t* const* blocks, int first, __m512i steps, __m512i* rows) {
    __m512i of[4];
    for (int i = 0; i < 4; ++i) {
        of[i] = _mm512_mullo_epi16(_mm512_loadu_si512(blocks[i] + first * 8), steps);
    }
    const __m512i upper[2] = {quarters<0x44>(of[0], of[1]), quarters<0x44>(of[2], of[3])};
    const __m512i lower[2] = {quarters<0xEE>(of[0], of[1]), quarters<0xEE>(of[2], of[3])};
    rows[0] = quarters<0x88>(upper[0], upper[1]);
    rows[1] = quarters<0xDD>(upper[0], upper[1]);
    rows[2] = quarters<0x88>(lower[0], lower[1]);
    rows[3] = quarters<0xDD>(lower[0], lower[1]);
}

// Whether libjpeg-turbo's short cut may give other samples: see is_extreme() of jpeg_transform_avx2.hpp.
IMAGEMILL_AVX512_INLINE bool is_extreme(__m512i row) {
    constexpr int most = 1 << (15 - kPassBits);
    const __m512i moved = _mm512_add_epi16(row, _mm512_set1_epi16(most));
    return _mm512_cmp_epu16_mask(moved, _mm512_set1_epi16(2 * most - 1), _MM_CMPINT_NLE) != 0;
}

// Blocks beside each other. False, and nothing is done, where values are extreme.
IMAGEMILL_AVX512_INLINE bool transform_to_8(const int16_t* const* blocks, const uint16_t* steps, uint8_t* out,
                                            ptrdiff_t stride) {
    Rows rows;
    dequantise(blocks, 0, _mm512_loadu_si512(steps), rows);
    if (is_extreme(rows[0])) {
        return false;
    }
    dequantise(blocks, 4, _mm512_loadu_si512(steps + 32), rows + 4);
    transform_columns<kFixedBits - kPassBits>(rows);
    transpose(rows);
    transform_columns<kFixedBits + kPassBits + 3>(rows);
    store_columns(rows, out, stride);
    return true;
}

}  // namespace four
}  // namespace
}  // namespace imagemill
#endif
