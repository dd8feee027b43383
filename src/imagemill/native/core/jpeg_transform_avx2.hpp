// The transforms of jpeg_transform_plain.hpp on two blocks at a time with AVX2: the same numbers, value by value.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "jpeg_block_pairs_avx2.hpp"
#include "jpeg_transform_plain.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace imagemill {
namespace {

#if defined(__x86_64__)
// Sums of 32 bits of the first and second four columns.
struct Sums {
    __m256i low;
    __m256i high;
};

IMAGEMILL_AVX2_INLINE Sums operator+(const Sums& a, const Sums& b) {
    return {_mm256_add_epi32(a.low, b.low), _mm256_add_epi32(a.high, b.high)};
}

IMAGEMILL_AVX2_INLINE Sums operator-(const Sums& a, const Sums& b) {
    return {_mm256_sub_epi32(a.low, b.low), _mm256_sub_epi32(a.high, b.high)};
}

// a * x + b * y of every column, with both pairs of factors.
IMAGEMILL_AVX2_INLINE void products(__m256i a, __m256i b, __m256i first, __m256i second, Sums& x, Sums& y) {
    const __m256i low = _mm256_unpacklo_epi16(a, b), high = _mm256_unpackhi_epi16(a, b);
    x = {_mm256_madd_epi16(low, first), _mm256_madd_epi16(high, first)};
    y = {_mm256_madd_epi16(low, second), _mm256_madd_epi16(high, second)};
}

// Times 2 ** bits.
template <int bits>
IMAGEMILL_AVX2_INLINE Sums widened(__m256i values) {
    const __m256i zero = _mm256_setzero_si256();
    return {_mm256_srai_epi32(_mm256_unpacklo_epi16(zero, values), 16 - bits),
            _mm256_srai_epi32(_mm256_unpackhi_epi16(zero, values), 16 - bits)};
}

template <int bits>
IMAGEMILL_AVX2_INLINE __m256i packed(const Sums& sums) {
    const __m256i half = _mm256_set1_epi32(1 << (bits - 1));
    return _mm256_packs_epi32(_mm256_srai_epi32(_mm256_add_epi32(sums.low, half), bits),
                              _mm256_srai_epi32(_mm256_add_epi32(sums.high, half), bits));
}

// transform_8 of jpeg_transform_plain.hpp on all columns of two blocks.
template <int bits>
IMAGEMILL_AVX2_INLINE void transform_columns(Rows& rows) {
    Sums low, high, a, b, odd0, odd1, odd2, odd3;
    products(rows[2], rows[6], factors(fixed(0.541196100), fixed(0.541196100) - fixed(1.847759065)),
             factors(fixed(0.541196100) + fixed(0.765366865), fixed(0.541196100)), low, high);
    const Sums sum = widened<kFixedBits>(_mm256_add_epi16(rows[0], rows[4]));
    const Sums difference = widened<kFixedBits>(_mm256_sub_epi16(rows[0], rows[4]));
    const Sums even0 = sum + high, even3 = sum - high, even1 = difference + low, even2 = difference - low;
    products(_mm256_add_epi16(rows[7], rows[3]), _mm256_add_epi16(rows[5], rows[1]),
             factors(fixed(1.175875602) - fixed(1.961570560), fixed(1.175875602)),
             factors(fixed(1.175875602), fixed(1.175875602) - fixed(0.390180644)), a, b);
    products(rows[7], rows[1], factors(fixed(0.298631336) - fixed(0.899976223), -fixed(0.899976223)),
             factors(-fixed(0.899976223), fixed(1.501321110) - fixed(0.899976223)), odd0, odd3);
    products(rows[5], rows[3], factors(fixed(2.053119869) - fixed(2.562915447), -fixed(2.562915447)),
             factors(-fixed(2.562915447), fixed(3.072711026) - fixed(2.562915447)), odd1, odd2);
    odd0 = odd0 + a;
    odd3 = odd3 + b;
    odd1 = odd1 + b;
    odd2 = odd2 + a;
    rows[0] = packed<bits>(even0 + odd3);
    rows[7] = packed<bits>(even0 - odd3);
    rows[1] = packed<bits>(even1 + odd2);
    rows[6] = packed<bits>(even1 - odd2);
    rows[2] = packed<bits>(even2 + odd1);
    rows[5] = packed<bits>(even2 - odd1);
    rows[3] = packed<bits>(even3 + odd0);
    rows[4] = packed<bits>(even3 - odd0);
}

// Columns of samples, zero in the middle, to rows of bytes.
IMAGEMILL_AVX2_INLINE void store_columns(const Rows& columns, uint8_t* out, ptrdiff_t stride) {
    const __m256i a = _mm256_packs_epi16(columns[0], columns[2]), b = _mm256_packs_epi16(columns[1], columns[3]);
    const __m256i c = _mm256_packs_epi16(columns[4], columns[6]), d = _mm256_packs_epi16(columns[5], columns[7]);
    const __m256i ab[2] = {_mm256_unpacklo_epi8(a, b), _mm256_unpackhi_epi8(a, b)};
    const __m256i cd[2] = {_mm256_unpacklo_epi8(c, d), _mm256_unpackhi_epi8(c, d)};
    const __m256i left[2] = {_mm256_unpacklo_epi16(ab[0], ab[1]), _mm256_unpackhi_epi16(ab[0], ab[1])};
    const __m256i right[2] = {_mm256_unpacklo_epi16(cd[0], cd[1]), _mm256_unpackhi_epi16(cd[0], cd[1])};
    const __m256i middle = _mm256_set1_epi8(static_cast<char>(0x80));
    for (int i = 0; i < 2; ++i) {
        const __m256i pairs[2] = {_mm256_unpacklo_epi32(left[i], right[i]), _mm256_unpackhi_epi32(left[i], right[i])};
        for (int k = 0; k < 2; ++k, out += 2 * stride) {
            const __m256i two = _mm256_xor_si256(_mm256_permute4x64_epi64(pairs[k], 0xD8), middle);
            _mm_storeu_si128(reinterpret_cast<__m128i*>(out), _mm256_castsi256_si128(two));
            _mm_storeu_si128(reinterpret_cast<__m128i*>(out + stride), _mm256_extracti128_si256(two, 1));
        }
    }
}

template <int count = 8>
IMAGEMILL_AVX2_INLINE void dequantise(const int16_t* one, const int16_t* other, const uint16_t* steps, Rows& rows) {
    for (int i = 0; i < count; ++i) {
        const auto* upper = reinterpret_cast<const __m128i*>(one + 8 * i);
        const auto* lower = reinterpret_cast<const __m128i*>(other + 8 * i);
        const __m256i both = _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128(upper)),
                                                     _mm_loadu_si128(lower), 1);
        const __m128i factor = _mm_loadu_si128(reinterpret_cast<const __m128i*>(steps + 8 * i));
        rows[i] = _mm256_mullo_epi16(both, _mm256_broadcastsi128_si256(factor));
    }
}

// Whether the first row is so large that libjpeg-turbo's short cut for blocks that have nothing else, which wraps
// around where this saturates, may give other samples.
IMAGEMILL_AVX2_INLINE bool is_extreme(const Rows& rows) {
    constexpr int most = 1 << (15 - kPassBits);
    const __m256i beyond = _mm256_subs_epu16(_mm256_add_epi16(rows[0], _mm256_set1_epi16(most)),
                                             _mm256_set1_epi16(2 * most - 1));
    return _mm256_testz_si256(beyond, beyond) == 0;
}

// Two blocks beside each other. These are false, and nothing is done, where values are extreme.
__attribute__((target("avx2"))) bool transform_two_to_8(const int16_t* one, const int16_t* other,
                                                        const uint16_t* steps, uint8_t* out, ptrdiff_t stride) {
    Rows rows;
    dequantise(one, other, steps, rows);
    if (is_extreme(rows)) {
        return false;
    }
    transform_columns<kFixedBits - kPassBits>(rows);
    transpose(rows);
    transform_columns<kFixedBits + kPassBits + 3>(rows);
    store_columns(rows, out, stride);
    return true;
}

// transform_8 where values 4 to 7 are zero, over 2 ** bits; of pairs of values 0 and 2, 1 and 3.
template <int bits>
IMAGEMILL_AVX2_INLINE void transform_low(__m256i pairs_02, __m256i pairs_13, __m256i* out) {
    constexpr int one = 1 << kFixedBits, high = fixed(0.541196100) + fixed(0.765366865), low = fixed(0.541196100);
    const __m256i half = _mm256_set1_epi32(1 << (bits - 1));
    const __m256i even[4] = {_mm256_add_epi32(_mm256_madd_epi16(pairs_02, factors(one, high)), half),
                             _mm256_add_epi32(_mm256_madd_epi16(pairs_02, factors(one, low)), half),
                             _mm256_add_epi32(_mm256_madd_epi16(pairs_02, factors(one, -low)), half),
                             _mm256_add_epi32(_mm256_madd_epi16(pairs_02, factors(one, -high)), half)};
    constexpr int a1 = fixed(1.175875602), a3 = fixed(1.175875602) - fixed(1.961570560);
    constexpr int b1 = fixed(1.175875602) - fixed(0.390180644), b3 = fixed(1.175875602);
    const __m256i odd[4] = {
        _mm256_madd_epi16(pairs_13, factors(b1 + fixed(1.501321110) - fixed(0.899976223), b3)),
        _mm256_madd_epi16(pairs_13, factors(a1, a3 + fixed(3.072711026) - fixed(2.562915447))),
        _mm256_madd_epi16(pairs_13, factors(b1, b3 - fixed(2.562915447))),
        _mm256_madd_epi16(pairs_13, factors(a1 - fixed(0.899976223), a3))};
    for (int i = 0; i < 4; ++i) {
        out[i] = _mm256_srai_epi32(_mm256_add_epi32(even[i], odd[i]), bits);
        out[7 - i] = _mm256_srai_epi32(_mm256_sub_epi32(even[i], odd[i]), bits);
    }
}

// Two blocks that have coefficients in the first four rows and columns alone: the first kLowExtent in zigzag order.
constexpr int kLowExtent = 10;
__attribute__((target("avx2"))) bool transform_two_low_to_8(const int16_t* one, const int16_t* other,
                                                            const uint16_t* steps, uint8_t* out, ptrdiff_t stride) {
    Rows rows;
    dequantise<4>(one, other, steps, rows);
    if (is_extreme(rows)) {
        return false;
    }
    Rows upper, lower;  // rows 0 to 3 of all columns, and 4 to 7
    transform_low<kFixedBits - kPassBits>(_mm256_unpacklo_epi16(rows[0], rows[2]), _mm256_unpacklo_epi16(rows[1], rows[3]),
                                          rows);
    __m256i pairs[4];
    for (int i = 0; i < 4; ++i) {
        pairs[i] = _mm256_packs_epi32(rows[i], rows[i + 4]);
    }
    const __m256i first[2] = {_mm256_unpacklo_epi16(pairs[0], pairs[1]), _mm256_unpacklo_epi16(pairs[2], pairs[3])};
    const __m256i last[2] = {_mm256_unpackhi_epi16(pairs[0], pairs[1]), _mm256_unpackhi_epi16(pairs[2], pairs[3])};
    const auto finish = [](const __m256i* from, Rows& to) __attribute__((target("avx2"), always_inline)) {
        const __m256i columns_01 = _mm256_unpacklo_epi32(from[0], from[1]);
        const __m256i columns_23 = _mm256_unpackhi_epi32(from[0], from[1]);
        transform_low<kFixedBits + kPassBits + 3>(_mm256_unpacklo_epi16(columns_01, columns_23),
                                                  _mm256_unpackhi_epi16(columns_01, columns_23), to);
    };
    finish(first, upper);
    finish(last, lower);
    for (int i = 0; i < 8; ++i) {
        rows[i] = _mm256_packs_epi32(upper[i], lower[i]);
    }
    store_columns(rows, out, stride);
    return true;
}

// Factors of transform_4 of jpeg_transform_plain.hpp, for pairs of values 7 and 5, 3 and 1, 2 and 6.
struct Factors4 {
    __m256i inner_75, inner_31, outer_75, outer_31, turn_26;
};

IMAGEMILL_AVX2_INLINE Factors4 factors_4() {
    return {factors(-fixed(0.211164243), fixed(1.451774981)), factors(-fixed(2.172734803), fixed(1.061594337)),
            factors(-fixed(0.509795579), -fixed(0.601344887)), factors(fixed(0.899976223), fixed(2.562915447)),
            factors(fixed(1.847759065), -fixed(0.765366865))};
}

__attribute__((target("avx2"))) bool transform_two_to_4(const int16_t* one, const int16_t* other,
                                                        const uint16_t* steps, uint8_t* out, ptrdiff_t stride) {
    Rows rows;
    dequantise(one, other, steps, rows);
    if (is_extreme(rows)) {
        return false;
    }
    const Factors4 by = factors_4();
    Sums inner, outer, more_inner, more_outer, turn, unused;
    products(rows[7], rows[5], by.inner_75, by.outer_75, inner, outer);
    products(rows[3], rows[1], by.inner_31, by.outer_31, more_inner, more_outer);
    products(rows[2], rows[6], by.turn_26, by.turn_26, turn, unused);
    inner = inner + more_inner;
    outer = outer + more_outer;
    const Sums sum = widened<kFixedBits + 1>(rows[0]), even = sum + turn, odd = sum - turn;
    constexpr int bits = kFixedBits - kPassBits + 1;
    const __m256i first = packed<bits>(even + outer), second = packed<bits>(odd + inner);
    const __m256i third = packed<bits>(odd - inner), fourth = packed<bits>(even - outer);
    // Columns of four, two in a half: 0 and 1, 2 and 3, 4 and 5, 6 and 7.
    const __m256i low[2] = {_mm256_unpacklo_epi16(first, second), _mm256_unpacklo_epi16(third, fourth)};
    const __m256i high[2] = {_mm256_unpackhi_epi16(first, second), _mm256_unpackhi_epi16(third, fourth)};
    const __m256i a = _mm256_unpacklo_epi32(low[0], low[1]), b = _mm256_unpackhi_epi32(low[0], low[1]);
    const __m256i c = _mm256_unpacklo_epi32(high[0], high[1]), d = _mm256_unpackhi_epi32(high[0], high[1]);
    const __m256i pairs_75 = _mm256_unpackhi_epi16(d, c), pairs_31 = _mm256_unpackhi_epi16(b, a);
    const __m256i turned = _mm256_madd_epi16(_mm256_unpacklo_epi16(b, d), by.turn_26);
    const __m256i mean = widened<kFixedBits + 1>(a).low;
    const __m256i near = _mm256_add_epi32(mean, turned), far = _mm256_sub_epi32(mean, turned);
    const __m256i in = _mm256_add_epi32(_mm256_madd_epi16(pairs_75, by.inner_75),
                                        _mm256_madd_epi16(pairs_31, by.inner_31));
    const __m256i around = _mm256_add_epi32(_mm256_madd_epi16(pairs_75, by.outer_75),
                                            _mm256_madd_epi16(pairs_31, by.outer_31));
    constexpr int last = kFixedBits + kPassBits + 3 + 1;
    const __m256i left = packed<last>({_mm256_add_epi32(near, around), _mm256_add_epi32(far, in)});
    const __m256i right = packed<last>({_mm256_sub_epi32(far, in), _mm256_sub_epi32(near, around)});
    const __m256i samples = _mm256_xor_si256(_mm256_packs_epi16(left, right), _mm256_set1_epi8(static_cast<char>(0x80)));
    const __m256i by_rows = _mm256_shuffle_epi8(
        samples, _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15)));
    const __m128i upper = _mm256_castsi256_si128(by_rows), lower = _mm256_extracti128_si256(by_rows, 1);
    const __m128i halves[2] = {_mm_unpacklo_epi32(upper, lower), _mm_unpackhi_epi32(upper, lower)};
    for (int i = 0; i < 2; ++i, out += 2 * stride) {
        _mm_storel_epi64(reinterpret_cast<__m128i*>(out), halves[i]);
        _mm_storel_epi64(reinterpret_cast<__m128i*>(out + stride), _mm_srli_si128(halves[i], 8));
    }
    return true;
}

__attribute__((target("avx2"))) bool transform_two_to_2(const int16_t* one, const int16_t* other,
                                                        const uint16_t* steps, uint8_t* out, ptrdiff_t stride) {
    Rows rows;
    dequantise(one, other, steps, rows);
    Sums odd, more, unused;
    const __m256i by_75 = factors(-fixed(0.720959822), fixed(0.850430095));
    const __m256i by_31 = factors(-fixed(1.272758580), fixed(3.624509785));
    products(rows[7], rows[5], by_75, by_75, odd, unused);
    products(rows[3], rows[1], by_31, by_31, more, unused);
    odd = odd + more;
    const Sums sum = widened<kFixedBits + 2>(rows[0]);
    constexpr int bits = kFixedBits - kPassBits + 2;
    const __m256i first = packed<bits>(sum + odd), second = packed<bits>(sum - odd);
    // The first column must not have been saturated; whether it was shows in all of them.
    const __m256i most = _mm256_set1_epi16(32767), least = _mm256_set1_epi16(-32768);
    const __m256i limits = _mm256_or_si256(
        _mm256_or_si256(_mm256_cmpeq_epi16(first, most), _mm256_cmpeq_epi16(first, least)),
        _mm256_or_si256(_mm256_cmpeq_epi16(second, most), _mm256_cmpeq_epi16(second, least)));
    if (_mm256_testz_si256(limits, limits) == 0) {
        return false;
    }
    const __m256i by_columns = _mm256_setr_epi16(
        0, fixed(3.624509785), 0, -fixed(1.272758580), 0, fixed(0.850430095), 0, -fixed(0.720959822),  //
        0, fixed(3.624509785), 0, -fixed(1.272758580), 0, fixed(0.850430095), 0, -fixed(0.720959822));
    __m256i odds = _mm256_hadd_epi32(_mm256_madd_epi16(first, by_columns), _mm256_madd_epi16(second, by_columns));
    odds = _mm256_hadd_epi32(odds, odds);  // of the first row, the second, and again
    const __m256i means = widened<kFixedBits + 2>(_mm256_unpacklo_epi16(first, second)).low;
    const __m256i left = _mm256_add_epi32(means, odds), right = _mm256_sub_epi32(means, odds);
    const __m256i all = packed<kFixedBits + kPassBits + 3 + 2>({_mm256_unpacklo_epi32(left, right), means});
    const __m256i samples = _mm256_xor_si256(_mm256_packs_epi16(all, all), _mm256_set1_epi8(static_cast<char>(0x80)));
    const int32_t blocks[2] = {_mm_cvtsi128_si32(_mm256_castsi256_si128(samples)),
                               _mm_cvtsi128_si32(_mm256_extracti128_si256(samples, 1))};
    for (int i = 0; i < 2; ++i) {
        std::memcpy(out + 2 * i, &blocks[i], 2);
        std::memcpy(out + stride + 2 * i, reinterpret_cast<const uint8_t*>(&blocks[i]) + 2, 2);
    }
    return true;
}

#endif

}  // namespace
}  // namespace imagemill
