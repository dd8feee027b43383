#include "jpeg_transform.hpp"

#include <cstring>

#include "jpeg_transform_plain.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace imagemill {
namespace {

// A block with nothing but its first coefficient is even.
uint8_t even_sample(int16_t coefficient, uint16_t step) {
    const int level = wrapped(wrapped(coefficient * step) * (1 << kPassBits));
    return sample_of((level + 16) >> 5);
}

void fill_block(uint8_t sample, int size, uint8_t* out, ptrdiff_t stride) {
    for (int row = 0; row < size; ++row) {
        std::memset(out + row * stride, sample, static_cast<size_t>(size));
    }
}

void transform_one(const int16_t* block, int extent, const uint16_t* steps, int size, uint8_t* out, ptrdiff_t stride) {
    if (size == 1) {
        *out = mean_sample(block[0], steps[0]);
    } else if (size == 2) {
        transform_plain_2(block, steps, out, stride);
    } else if (extent == 1) {
        fill_block(even_sample(block[0], steps[0]), size, out, stride);
    } else if (size == 4) {
        transform_plain<4>(block, steps, out, stride);
    } else {
        transform_plain<8>(block, steps, out, stride);
    }
}

void transform_baseline(const int16_t* blocks, const uint8_t* extents, int count, const uint16_t* steps, int size,
                        uint8_t* out, ptrdiff_t stride) {
    for (int i = 0; i < count; ++i) {
        transform_one(blocks + i * 64, extents[i], steps, size, out + i * size, stride);
    }
}

#if defined(__x86_64__)
#define IMAGEMILL_AVX2 __attribute__((target("avx2"), always_inline)) inline

// A row of eight numbers of 16 bits of each of two blocks, one in either half.
using Rows = __m256i[8];

IMAGEMILL_AVX2 __m256i factors(int even, int odd) {
    return _mm256_set1_epi32(static_cast<int>(static_cast<uint32_t>(odd) << 16 | (static_cast<uint32_t>(even) & 0xFFFF)));
}

// Sums of 32 bits of the first and second four columns.
struct Sums {
    __m256i low;
    __m256i high;
};

IMAGEMILL_AVX2 Sums operator+(const Sums& a, const Sums& b) {
    return {_mm256_add_epi32(a.low, b.low), _mm256_add_epi32(a.high, b.high)};
}

IMAGEMILL_AVX2 Sums operator-(const Sums& a, const Sums& b) {
    return {_mm256_sub_epi32(a.low, b.low), _mm256_sub_epi32(a.high, b.high)};
}

// a * x + b * y of every column, with both pairs of factors.
IMAGEMILL_AVX2 void products(__m256i a, __m256i b, __m256i first, __m256i second, Sums& x, Sums& y) {
    const __m256i low = _mm256_unpacklo_epi16(a, b), high = _mm256_unpackhi_epi16(a, b);
    x = {_mm256_madd_epi16(low, first), _mm256_madd_epi16(high, first)};
    y = {_mm256_madd_epi16(low, second), _mm256_madd_epi16(high, second)};
}

IMAGEMILL_AVX2 Sums widened(__m256i values) {
    const __m256i zero = _mm256_setzero_si256();
    return {_mm256_srai_epi32(_mm256_unpacklo_epi16(zero, values), 16 - kFixedBits),
            _mm256_srai_epi32(_mm256_unpackhi_epi16(zero, values), 16 - kFixedBits)};
}

template <int bits>
IMAGEMILL_AVX2 __m256i packed(const Sums& sums) {
    const __m256i half = _mm256_set1_epi32(1 << (bits - 1));
    return _mm256_packs_epi32(_mm256_srai_epi32(_mm256_add_epi32(sums.low, half), bits),
                              _mm256_srai_epi32(_mm256_add_epi32(sums.high, half), bits));
}

// transform_8 of jpeg_transform_plain.hpp on all columns of two blocks.
template <int bits>
IMAGEMILL_AVX2 void transform_columns(Rows& rows) {
    Sums low, high, a, b, odd0, odd1, odd2, odd3;
    products(rows[2], rows[6], factors(fixed(0.541196100), fixed(0.541196100) - fixed(1.847759065)),
             factors(fixed(0.541196100) + fixed(0.765366865), fixed(0.541196100)), low, high);
    const Sums sum = widened(_mm256_add_epi16(rows[0], rows[4]));
    const Sums difference = widened(_mm256_sub_epi16(rows[0], rows[4]));
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

IMAGEMILL_AVX2 void transpose(Rows& rows) {
    __m256i a[8], b[8];
    for (int i = 0; i < 4; ++i) {
        a[2 * i] = _mm256_unpacklo_epi16(rows[2 * i], rows[2 * i + 1]);
        a[2 * i + 1] = _mm256_unpackhi_epi16(rows[2 * i], rows[2 * i + 1]);
    }
    for (int i = 0; i < 2; ++i) {
        b[4 * i] = _mm256_unpacklo_epi32(a[4 * i], a[4 * i + 2]);
        b[4 * i + 1] = _mm256_unpackhi_epi32(a[4 * i], a[4 * i + 2]);
        b[4 * i + 2] = _mm256_unpacklo_epi32(a[4 * i + 1], a[4 * i + 3]);
        b[4 * i + 3] = _mm256_unpackhi_epi32(a[4 * i + 1], a[4 * i + 3]);
    }
    for (int i = 0; i < 4; ++i) {
        rows[2 * i] = _mm256_unpacklo_epi64(b[i], b[i + 4]);
        rows[2 * i + 1] = _mm256_unpackhi_epi64(b[i], b[i + 4]);
    }
}

// Columns of samples, zero in the middle, to rows of bytes.
IMAGEMILL_AVX2 void store_columns(const Rows& columns, uint8_t* out, ptrdiff_t stride) {
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

// False, and nothing done, where the first row may be so large that libjpeg-turbo's short cut for blocks that have
// nothing else gives other samples.
__attribute__((target("avx2"))) bool transform_two(const int16_t* one, const int16_t* other, const uint16_t* steps,
                                                   uint8_t* out, ptrdiff_t stride) {
    Rows rows;
    for (int i = 0; i < 8; ++i) {
        const auto* upper = reinterpret_cast<const __m128i*>(one + 8 * i);
        const auto* lower = reinterpret_cast<const __m128i*>(other + 8 * i);
        const __m256i both = _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128(upper)),
                                                     _mm_loadu_si128(lower), 1);
        const __m128i factor = _mm_loadu_si128(reinterpret_cast<const __m128i*>(steps + 8 * i));
        rows[i] = _mm256_mullo_epi16(both, _mm256_broadcastsi128_si256(factor));
    }
    constexpr int most = 1 << (15 - kPassBits);
    const __m256i beyond = _mm256_subs_epu16(_mm256_add_epi16(rows[0], _mm256_set1_epi16(most)),
                                             _mm256_set1_epi16(2 * most - 1));
    if (!_mm256_testz_si256(beyond, beyond)) {
        return false;
    }
    transform_columns<kFixedBits - kPassBits>(rows);
    transpose(rows);
    transform_columns<kFixedBits + kPassBits + 3>(rows);
    store_columns(rows, out, stride);
    return true;
}

void transform_avx2(const int16_t* blocks, const uint8_t* extents, int count, const uint16_t* steps, int size,
                    uint8_t* out, ptrdiff_t stride) {
    if (size != 8) {
        transform_baseline(blocks, extents, count, steps, size, out, stride);
        return;
    }
    for (int i = 0; i < count; i += 2) {
        const int other = i + 1 < count ? i + 1 : i;
        const bool is_even = extents[i] == 1 && extents[other] == 1;
        const bool is_done = !is_even && transform_two(blocks + i * 64, blocks + other * 64, steps, out + i * 8, stride);
        for (int k = i; !is_done && k <= other; ++k) {
            transform_one(blocks + k * 64, extents[k], steps, size, out + k * 8, stride);
        }
    }
}

const auto transform = __builtin_cpu_supports("avx2") != 0 ? transform_avx2 : transform_baseline;
#else
constexpr auto transform = transform_baseline;
#endif

}  // namespace

void transform_blocks(const int16_t* blocks, const uint8_t* extents, int count, const uint16_t* steps, int size,
                      uint8_t* out, ptrdiff_t stride) {
    transform(blocks, extents, count, steps, size, out, stride);
}

}  // namespace imagemill
