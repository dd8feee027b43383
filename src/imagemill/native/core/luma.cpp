#include "luma.hpp"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>

#include "processor.hpp"
#endif

namespace imagemill {
namespace {

constexpr int kRed = 9798, kGreen = 19235, kBlue = 3735, kHalf = 1 << 14, kBits = 15;

void luma_from(const uint8_t* pixels, uint8_t* luma, int i, int count) {
    for (; i < count; ++i) {
        const uint8_t* pixel = pixels + static_cast<ptrdiff_t>(i) * 4;
        luma[i] = static_cast<uint8_t>((pixel[0] * kRed + pixel[1] * kGreen + pixel[2] * kBlue + kHalf) >> kBits);
    }
}

void pack_from(const uint8_t* pixels, uint8_t* out, int i, int count) {
    for (; i < count; ++i) {
        std::memcpy(out + static_cast<ptrdiff_t>(i) * 3, pixels + static_cast<ptrdiff_t>(i) * 4, 3);
    }
}

void halve_from(const uint8_t* upper, const uint8_t* lower, uint8_t* out, int i, int count) {
    for (; i < count; ++i) {
        out[i] = static_cast<uint8_t>((upper[2 * i] + upper[2 * i + 1] + lower[2 * i] + lower[2 * i + 1] + 2) >> 2);
    }
}

void edges_from(const uint8_t* here, const uint8_t* above, const uint8_t* below, uint8_t* out, int i, int end) {
    for (; i < end; ++i) {
        const int sum = above[i] + below[i] + here[i - 1] + here[i + 1];
        out[i] = static_cast<uint8_t>(std::min(std::abs(sum - 4 * here[i]), 255));
    }
}

#if defined(__x86_64__)
#define IMAGEMILL_AVX2 __attribute__((target("avx2")))

IMAGEMILL_AVX2 inline __m256i load(const uint8_t* from) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
}

IMAGEMILL_AVX2 inline void store(uint8_t* to, __m256i values) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), values);
}

// Of 8 pixels, 32 bits each.
IMAGEMILL_AVX2 inline __m256i luma_of(__m256i pixels) {
    const __m256i bytes = _mm256_set1_epi32(0x00FF00FF);
    const __m256i red_blue = _mm256_and_si256(pixels, bytes);
    const __m256i green = _mm256_and_si256(_mm256_srli_epi32(pixels, 8), bytes);
    const __m256i sum = _mm256_add_epi32(_mm256_madd_epi16(red_blue, _mm256_set1_epi32(kBlue << 16 | kRed)),
                                         _mm256_madd_epi16(green, _mm256_set1_epi32(kGreen)));
    return _mm256_srli_epi32(_mm256_add_epi32(sum, _mm256_set1_epi32(kHalf)), kBits);
}

IMAGEMILL_AVX2 int luma_avx2(const uint8_t* pixels, uint8_t* luma, int count) {
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    int i = 0;
    for (; i + 32 <= count; i += 32, pixels += 128) {
        const __m256i low = _mm256_packs_epi32(luma_of(load(pixels)), luma_of(load(pixels + 32)));
        const __m256i high = _mm256_packs_epi32(luma_of(load(pixels + 64)), luma_of(load(pixels + 96)));
        store(luma + i, _mm256_permutevar8x32_epi32(_mm256_packus_epi16(low, high), order));
    }
    return i;
}

IMAGEMILL_AVX2 int pack_avx2(const uint8_t* pixels, uint8_t* out, int count) {
    const __m128i order = _mm_setr_epi8(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1);
    int i = 0;
    for (; i + 6 <= count; i += 4) {  // 16 bytes are written for 12
        const __m128i four = _mm_loadu_si128(reinterpret_cast<const __m128i*>(pixels + static_cast<ptrdiff_t>(i) * 4));
        _mm_storeu_si128(reinterpret_cast<__m128i*>(out + static_cast<ptrdiff_t>(i) * 3), _mm_shuffle_epi8(four, order));
    }
    return i;
}

IMAGEMILL_AVX2 int halve_avx2(const uint8_t* upper, const uint8_t* lower, uint8_t* out, int count) {
    const __m256i one = _mm256_set1_epi8(1), two = _mm256_set1_epi16(2);
    int i = 0;
    for (; i + 32 <= count; i += 32) {
        __m256i means[2];
        for (int k = 0; k < 2; ++k) {
            const ptrdiff_t place = 2 * static_cast<ptrdiff_t>(i) + 32 * k;
            const __m256i sums = _mm256_add_epi16(_mm256_maddubs_epi16(load(upper + place), one),
                                                  _mm256_maddubs_epi16(load(lower + place), one));
            means[k] = _mm256_srli_epi16(_mm256_add_epi16(sums, two), 2);
        }
        store(out + i, _mm256_permute4x64_epi64(_mm256_packus_epi16(means[0], means[1]), 0xD8));
    }
    return i;
}

IMAGEMILL_AVX2 inline __m256i widened(const uint8_t* from) {
    return _mm256_cvtepu8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
}

IMAGEMILL_AVX2 int edges_avx2(const uint8_t* here, const uint8_t* above, const uint8_t* below, uint8_t* out, int end) {
    int i = 1;
    for (; i + 17 <= end; i += 16) {
        const __m256i sum = _mm256_add_epi16(_mm256_add_epi16(widened(above + i), widened(below + i)),
                                             _mm256_add_epi16(widened(here + i - 1), widened(here + i + 1)));
        const __m256i edge = _mm256_abs_epi16(_mm256_sub_epi16(sum, _mm256_slli_epi16(widened(here + i), 2)));
        const __m256i packed = _mm256_permute4x64_epi64(_mm256_packus_epi16(edge, edge), 0xD8);
        _mm_storeu_si128(reinterpret_cast<__m128i*>(out + i), _mm256_castsi256_si128(packed));
    }
    return i;
}

const bool kHasAvx2 = IMAGEMILL_HAS("avx2");
#else
constexpr bool kHasAvx2 = false;
int luma_avx2(const uint8_t*, uint8_t*, int) { return 0; }
int pack_avx2(const uint8_t*, uint8_t*, int) { return 0; }
int halve_avx2(const uint8_t*, const uint8_t*, uint8_t*, int) { return 0; }
int edges_avx2(const uint8_t*, const uint8_t*, const uint8_t*, uint8_t*, int) { return 1; }
#endif

}  // namespace

void find_luma(const uint8_t* pixels, uint8_t* luma, int count) {
    luma_from(pixels, luma, kHasAvx2 ? luma_avx2(pixels, luma, count) : 0, count);
}

void pack_pixels(const uint8_t* pixels, uint8_t* out, int count) {
    pack_from(pixels, out, kHasAvx2 ? pack_avx2(pixels, out, count) : 0, count);
}

void halve_rows(const uint8_t* upper, const uint8_t* lower, uint8_t* out, int count) {
    halve_from(upper, lower, out, kHasAvx2 ? halve_avx2(upper, lower, out, count) : 0, count);
}

void find_edges(const uint8_t* here, const uint8_t* above, const uint8_t* below, uint8_t* out, int count) {
    edges_from(here, above, below, out, kHasAvx2 ? edges_avx2(here, above, below, out, count - 1) : 1, count - 1);
}

}  // namespace imagemill
