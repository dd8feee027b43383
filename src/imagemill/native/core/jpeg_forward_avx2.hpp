// The functions of jpeg_forward_plain.hpp with AVX2, the transform on two blocks at a time: the same numbers.
#pragma once

#include <cstddef>
#include <cstdint>

#include "jpeg_block_pairs_avx2.hpp"
#include "jpeg_forward_plain.hpp"

#if defined(__x86_64__)
#include <immintrin.h>

namespace imagemill {
namespace jpeg {
namespace {

// Four pixels in either half, spread over 16 bits: (R, G) and (B, G).
struct Colours {
    __m256i red_green;
    __m256i blue_green;
};

// From 12 bytes each, of which 16 are read.
IMAGEMILL_AVX2_INLINE Colours colours_of(const uint8_t* low, const uint8_t* high) {
    const __m256i bytes = _mm256_inserti128_si256(
        _mm256_castsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(low))),
        _mm_loadu_si128(reinterpret_cast<const __m128i*>(high)), 1);
    const __m128i red_green = _mm_setr_epi8(0, -1, 1, -1, 3, -1, 4, -1, 6, -1, 7, -1, 9, -1, 10, -1);
    const __m128i blue_green = _mm_setr_epi8(2, -1, 1, -1, 5, -1, 4, -1, 8, -1, 7, -1, 11, -1, 10, -1);
    return {_mm256_shuffle_epi8(bytes, _mm256_broadcastsi128_si256(red_green)),
            _mm256_shuffle_epi8(bytes, _mm256_broadcastsi128_si256(blue_green))};
}

struct Components {
    __m256i luma, blue, red;
};

// Of eight pixels, 32 bits each. 32768 does not fit into a factor, -32768 does.
IMAGEMILL_AVX2_INLINE Components components_of(const Colours& of) {
    constexpr int half = 1 << (kColourBits - 1), middle = (128 << kColourBits) + half - 1, part = 16384;
    const __m256i luma = _mm256_add_epi32(_mm256_madd_epi16(of.red_green, factors(19595, 38470 - part)),
                                          _mm256_madd_epi16(of.blue_green, factors(7471, part)));
    const __m256i blue = _mm256_sub_epi32(_mm256_madd_epi16(of.red_green, factors(-11059, -21709)),
                                          _mm256_madd_epi16(of.blue_green, factors(-32768, 0)));
    const __m256i red = _mm256_sub_epi32(_mm256_madd_epi16(of.blue_green, factors(-5329, 0)),
                                         _mm256_madd_epi16(of.red_green, factors(-32768, 27439)));
    return {_mm256_srai_epi32(_mm256_add_epi32(luma, _mm256_set1_epi32(half)), kColourBits),
            _mm256_srai_epi32(_mm256_add_epi32(blue, _mm256_set1_epi32(middle)), kColourBits),
            _mm256_srai_epi32(_mm256_add_epi32(red, _mm256_set1_epi32(middle)), kColourBits)};
}

__attribute__((target("avx2"))) void convert_avx2(const uint8_t* pixels, int width, int16_t* luma, int16_t* blue,
                                                  int16_t* red) {
    constexpr int kPixels = 16, kBytesRead = 52;
    int x = 0;
    for (; 3 * x + kBytesRead <= 3 * width; x += kPixels) {
        const uint8_t* place = pixels + 3 * x;
        // Packing works in halves: pixels 0-3 and 8-11, then 4-7 and 12-15.
        const Components first = components_of(colours_of(place, place + 24));
        const Components second = components_of(colours_of(place + 12, place + 36));
        const __m256i centred = _mm256_sub_epi16(_mm256_packs_epi32(first.luma, second.luma), _mm256_set1_epi16(128));
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(luma + x), centred);
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(blue + x), _mm256_packs_epi32(first.blue, second.blue));
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(red + x), _mm256_packs_epi32(first.red, second.red));
    }
    convert_from(x, pixels, width, luma, blue, red);
}

IMAGEMILL_AVX2_INLINE __m256i load(const int16_t* place) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(place));
}

__attribute__((target("avx2"))) void halve_avx2(const int16_t* upper, const int16_t* lower, bool is_pair, int width,
                                                int16_t* out) {
    constexpr int kValues = 16;
    const __m256i ones = _mm256_set1_epi16(1), middle = _mm256_set1_epi16(128);
    const __m256i bias = _mm256_set1_epi64x(is_pair ? 0x200000001 : 0x100000000);
    const __m128i shift = _mm_cvtsi32_si128(is_pair ? 2 : 1);
    int x = 0;
    for (; x + kValues <= width; x += kValues) {
        __m256i parts[2];
        for (int i = 0; i < 2; ++i) {
            const int place = 2 * x + kValues * i;
            const __m256i above = load(upper + place);
            const __m256i whole = is_pair ? _mm256_add_epi16(above, load(lower + place)) : above;
            const __m256i sums = _mm256_add_epi32(_mm256_madd_epi16(whole, ones), bias);
            parts[i] = _mm256_sra_epi32(sums, shift);
        }
        const __m256i means = _mm256_permute4x64_epi64(_mm256_packs_epi32(parts[0], parts[1]), 0xD8);
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + x), _mm256_sub_epi16(means, middle));
    }
    halve_from(x, upper, lower, is_pair, width, out);
}

// a * x + b * y, scaled back, for both pairs of factors.
template <int bits>
IMAGEMILL_AVX2_INLINE void rotate(__m256i a, __m256i b, __m256i first, __m256i second, __m256i& x, __m256i& y) {
    const __m256i low = _mm256_unpacklo_epi16(a, b), high = _mm256_unpackhi_epi16(a, b);
    const __m256i half = _mm256_set1_epi32(1 << (bits - 1));
    const auto scaled = [&half](__m256i sums) __attribute__((target("avx2"), always_inline)) {
        return _mm256_srai_epi32(_mm256_add_epi32(sums, half), bits);
    };
    x = _mm256_packs_epi32(scaled(_mm256_madd_epi16(low, first)), scaled(_mm256_madd_epi16(high, first)));
    y = _mm256_packs_epi32(scaled(_mm256_madd_epi16(low, second)), scaled(_mm256_madd_epi16(high, second)));
}

// transform_line of the plain code, of eight lines of two blocks at a time.
template <bool is_last>
IMAGEMILL_AVX2_INLINE void transform_lines(Rows& rows) {
    constexpr int bits = is_last ? kTurnBits + kKeptBits : kTurnBits - kKeptBits;
    const __m256i sum0 = _mm256_add_epi16(rows[0], rows[7]), sum1 = _mm256_add_epi16(rows[1], rows[6]);
    const __m256i sum2 = _mm256_add_epi16(rows[2], rows[5]), sum3 = _mm256_add_epi16(rows[3], rows[4]);
    const __m256i odd0 = _mm256_sub_epi16(rows[3], rows[4]), odd1 = _mm256_sub_epi16(rows[2], rows[5]);
    const __m256i odd2 = _mm256_sub_epi16(rows[1], rows[6]), odd3 = _mm256_sub_epi16(rows[0], rows[7]);
    const __m256i even0 = _mm256_add_epi16(sum0, sum3), even1 = _mm256_add_epi16(sum1, sum2);
    const __m256i even2 = _mm256_sub_epi16(sum1, sum2), even3 = _mm256_sub_epi16(sum0, sum3);
    rows[0] = _mm256_add_epi16(even0, even1);
    rows[4] = _mm256_sub_epi16(even0, even1);
    for (const int i : {0, 4}) {
        rows[i] = is_last ? _mm256_srai_epi16(_mm256_add_epi16(rows[i], _mm256_set1_epi16(1 << (kKeptBits - 1))), kKeptBits)
                          : _mm256_slli_epi16(rows[i], kKeptBits);
    }
    rotate<bits>(even3, even2, factors(turn(0.541196100) + turn(0.765366865), turn(0.541196100)),
                 factors(turn(0.541196100), turn(0.541196100) - turn(1.847759065)), rows[2], rows[6]);
    // Of every result two products come from this pair, two from another.
    const __m256i z3 = _mm256_add_epi16(odd0, odd2), z4 = _mm256_add_epi16(odd1, odd3);
    const __m256i half = _mm256_set1_epi32(1 << (bits - 1));
    const __m256i by_a = factors(turn(1.175875602) - turn(1.961570560), turn(1.175875602));
    const __m256i by_b = factors(turn(1.175875602), turn(1.175875602) - turn(0.390180644));
    const __m256i z_low = _mm256_unpacklo_epi16(z3, z4), z_high = _mm256_unpackhi_epi16(z3, z4);
    const __m256i a_low = _mm256_add_epi32(_mm256_madd_epi16(z_low, by_a), half);
    const __m256i a_high = _mm256_add_epi32(_mm256_madd_epi16(z_high, by_a), half);
    const __m256i b_low = _mm256_add_epi32(_mm256_madd_epi16(z_low, by_b), half);
    const __m256i b_high = _mm256_add_epi32(_mm256_madd_epi16(z_high, by_b), half);
    const auto joined = [](__m256i low, __m256i high, __m256i more_low, __m256i more_high, __m256i factors)
                            __attribute__((target("avx2"), always_inline)) {
        return _mm256_packs_epi32(
            _mm256_srai_epi32(_mm256_add_epi32(_mm256_madd_epi16(low, factors), more_low), bits),
            _mm256_srai_epi32(_mm256_add_epi32(_mm256_madd_epi16(high, factors), more_high), bits));
    };
    const __m256i outer_low = _mm256_unpacklo_epi16(odd0, odd3), outer_high = _mm256_unpackhi_epi16(odd0, odd3);
    const __m256i inner_low = _mm256_unpacklo_epi16(odd1, odd2), inner_high = _mm256_unpackhi_epi16(odd1, odd2);
    rows[7] = joined(outer_low, outer_high, a_low, a_high,
                     factors(turn(0.298631336) - turn(0.899976223), -turn(0.899976223)));
    rows[1] = joined(outer_low, outer_high, b_low, b_high,
                     factors(-turn(0.899976223), turn(1.501321110) - turn(0.899976223)));
    rows[5] = joined(inner_low, inner_high, b_low, b_high,
                     factors(turn(2.053119869) - turn(2.562915447), -turn(2.562915447)));
    rows[3] = joined(inner_low, inner_high, a_low, a_high,
                     factors(-turn(2.562915447), turn(3.072711026) - turn(2.562915447)));
}

IMAGEMILL_AVX2_INLINE __m256i quantised(__m256i values, const Divisors& divisors, int row) {
    const auto of_row = [row](const uint16_t* numbers) __attribute__((target("avx2"), always_inline)) {
        return _mm256_broadcastsi128_si256(_mm_load_si128(reinterpret_cast<const __m128i*>(numbers + kBlockSide * row)));
    };
    const __m256i sums = _mm256_add_epi16(_mm256_abs_epi16(values), of_row(divisors.bias));
    const __m256i levels = _mm256_mulhi_epu16(_mm256_mulhi_epu16(sums, of_row(divisors.factor)), of_row(divisors.scale));
    return _mm256_sign_epi16(levels, values);
}

IMAGEMILL_AVX2_INLINE void transform_two(const int16_t* first, const int16_t* second, ptrdiff_t stride,
                                    const Divisors& divisors, Block& one, Block& other) {
    Rows rows;
    for (int i = 0; i < kBlockSide; ++i) {
        const auto* upper = reinterpret_cast<const __m128i*>(first + i * stride);
        const auto* lower = reinterpret_cast<const __m128i*>(second + i * stride);
        rows[i] = _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128(upper)), _mm_loadu_si128(lower), 1);
    }
    transpose(rows);
    transform_lines<false>(rows);
    transpose(rows);
    transform_lines<true>(rows);
    uint64_t present = 0, other_present = 0;
    for (int i = 0; i < kBlockSide; i += 2) {
        for (int k = i; k < i + 2; ++k) {
            rows[k] = quantised(rows[k], divisors, k);
            _mm_store_si128(reinterpret_cast<__m128i*>(one.values + kBlockSide * k), _mm256_castsi256_si128(rows[k]));
            _mm_store_si128(reinterpret_cast<__m128i*>(other.values + kBlockSide * k), _mm256_extracti128_si256(rows[k], 1));
        }
        const __m256i bytes = _mm256_packs_epi16(rows[i], rows[i + 1]);
        const auto zeros = static_cast<uint32_t>(_mm256_movemask_epi8(_mm256_cmpeq_epi8(bytes, _mm256_setzero_si256())));
        present |= static_cast<uint64_t>(~zeros & 0xFFFF) << (kBlockSide * i);
        other_present |= static_cast<uint64_t>(~zeros >> 16) << (kBlockSide * i);
    }
    one.present = present;
    other.present = other_present;
}

__attribute__((target("avx2"))) void transform_avx2(const int16_t* samples, ptrdiff_t stride, int count,
                                                    const Divisors& divisors, Block* out) {
    int i = 0;
    for (; i + 2 <= count; i += 2) {
        const int16_t* place = samples + i * kBlockSide;
        transform_two(place, place + kBlockSide, stride, divisors, out[i], out[i + 1]);
    }
    if (i < count) {
        const int16_t* place = samples + i * kBlockSide;
        Block unused;
        transform_two(place, place, stride, divisors, out[i], unused);
    }
}

}  // namespace
}  // namespace jpeg
}  // namespace imagemill

#endif
