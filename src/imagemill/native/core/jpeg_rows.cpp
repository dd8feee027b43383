#include "jpeg_rows.hpp"

#include <algorithm>

#include "inlining.hpp"
#include "processor.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace imagemill {
namespace {

IMAGEMILL_INLINE void widen_row_inline(const uint8_t* in, uint8_t* __restrict out, int count) {
    for (int i = 0; i < count; ++i) {
        const int near = in[i] * 3;
        out[2 * i] = static_cast<uint8_t>((near + in[i - 1] + 1) >> 2);
        out[2 * i + 1] = static_cast<uint8_t>((near + in[i + 1] + 2) >> 2);
    }
}

IMAGEMILL_INLINE void blend_rows_inline(const uint8_t* nearer, const uint8_t* further, int bias,
                                        uint8_t* __restrict out, int count) {
    for (int i = 0; i < count; ++i) {
        out[i] = static_cast<uint8_t>((nearer[i] * 3 + further[i] + bias) >> 2);
    }
}

IMAGEMILL_INLINE void widen_rows_inline(const uint8_t* nearer, const uint8_t* further, uint8_t* __restrict out,
                                        int count) {
    for (int i = 0; i < count; ++i) {
        const int left = nearer[i - 1] * 3 + further[i - 1], right = nearer[i + 1] * 3 + further[i + 1];
        const int here = (nearer[i] * 3 + further[i]) * 3;
        out[2 * i] = static_cast<uint8_t>((here + left + 8) >> 4);
        out[2 * i + 1] = static_cast<uint8_t>((here + right + 7) >> 4);
    }
}

uint8_t level(int value) { return static_cast<uint8_t>(std::clamp(value, 0, 255)); }

// JFIF's formula in 16 fractional bits; that the shift of a negative number rounds down is part of it.
void convert_baseline(const uint8_t* y, const uint8_t* cb, const uint8_t* cr, uint8_t* out, int count) {
    for (int i = 0; i < count; ++i, out += 4) {
        const int blue = cb[i] - 128, red = cr[i] - 128;
        out[0] = level(y[i] + ((91881 * red + 32768) >> 16));
        out[1] = level(y[i] + ((-22554 * blue - 46802 * red + 32768) >> 16));
        out[2] = level(y[i] + ((116130 * blue + 32768) >> 16));
        out[3] = 0;
    }
}

void widen_row_baseline(const uint8_t* in, uint8_t* out, int count) { widen_row_inline(in, out, count); }

void blend_rows_baseline(const uint8_t* nearer, const uint8_t* further, int bias, uint8_t* out, int count) {
    blend_rows_inline(nearer, further, bias, out, count);
}

void widen_rows_baseline(const uint8_t* nearer, const uint8_t* further, uint8_t* out, int count) {
    widen_rows_inline(nearer, further, out, count);
}

struct Kernels {
    decltype(&widen_row_baseline) widen_row;
    decltype(&blend_rows_baseline) blend_rows;
    decltype(&widen_rows_baseline) widen_rows;
    decltype(&convert_baseline) convert;
};

constexpr Kernels kBaseline{widen_row_baseline, blend_rows_baseline, widen_rows_baseline, convert_baseline};

#if defined(__x86_64__)
__attribute__((target("avx2"))) void widen_row_avx2(const uint8_t* in, uint8_t* out, int count) {
    widen_row_inline(in, out, count);
}

__attribute__((target("avx2"))) void blend_rows_avx2(const uint8_t* nearer, const uint8_t* further, int bias,
                                                     uint8_t* out, int count) {
    blend_rows_inline(nearer, further, bias, out, count);
}

IMAGEMILL_AVX2_INLINE __m256i widened(const uint8_t* samples) {
    return _mm256_cvtepu8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(samples)));
}

// Three times the nearer row and once the further one.
IMAGEMILL_AVX2_INLINE __m256i column_sums(const uint8_t* nearer, const uint8_t* further) {
    const __m256i near = widened(nearer);
    return _mm256_add_epi16(_mm256_add_epi16(near, near), _mm256_add_epi16(near, widened(further)));
}

__attribute__((target("avx2"))) void widen_rows_avx2(const uint8_t* nearer, const uint8_t* further, uint8_t* out,
                                                     int count) {
    for (int i = 0; i < count; i += 16) {
        const __m256i here = column_sums(nearer + i, further + i);
        const __m256i three = _mm256_add_epi16(_mm256_add_epi16(here, here), here);
        const __m256i left = _mm256_add_epi16(column_sums(nearer + i - 1, further + i - 1), _mm256_set1_epi16(8));
        const __m256i right = _mm256_add_epi16(column_sums(nearer + i + 1, further + i + 1), _mm256_set1_epi16(7));
        const __m256i even = _mm256_srli_epi16(_mm256_add_epi16(three, left), 4);
        const __m256i odd = _mm256_srli_epi16(_mm256_add_epi16(three, right), 4);
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + 2 * i), _mm256_or_si256(even, _mm256_slli_epi16(odd, 8)));
    }
}

__attribute__((target("avx2"))) void convert_avx2(const uint8_t* y, const uint8_t* cb, const uint8_t* cr,
                                                  uint8_t* out, int count) {
    const __m256i middle = _mm256_set1_epi16(128), one = _mm256_set1_epi16(1), half = _mm256_set1_epi32(32768);
    const __m256i green_factors = _mm256_set1_epi32(static_cast<int>(18734U << 16 | static_cast<uint16_t>(-22554)));
    for (int i = 0; i < count; i += 16) {
        const __m256i luma = widened(y + i);
        const __m256i blue = _mm256_sub_epi16(widened(cb + i), middle), red = _mm256_sub_epi16(widened(cr + i), middle);
        // 1.402 red is red and 26345 / 65536 of it; twice that is taken and halved, to round at the right place.
        const __m256i part = _mm256_mulhi_epi16(_mm256_add_epi16(red, red), _mm256_set1_epi16(26345));
        const __m256i r = _mm256_add_epi16(_mm256_add_epi16(luma, red),
                                           _mm256_srai_epi16(_mm256_add_epi16(part, one), 1));
        // 1.772 blue is twice blue less 7471 / 32768 of it.
        const __m256i b = _mm256_add_epi16(_mm256_add_epi16(luma, _mm256_add_epi16(blue, blue)),
                                           _mm256_mulhrs_epi16(blue, _mm256_set1_epi16(-7471)));
        const __m256i low = _mm256_madd_epi16(_mm256_unpacklo_epi16(blue, red), green_factors);
        const __m256i high = _mm256_madd_epi16(_mm256_unpackhi_epi16(blue, red), green_factors);
        const __m256i parts = _mm256_packs_epi32(_mm256_srai_epi32(_mm256_add_epi32(low, half), 16),
                                                 _mm256_srai_epi32(_mm256_add_epi32(high, half), 16));
        const __m256i g = _mm256_add_epi16(_mm256_sub_epi16(luma, red), parts);
        const __m256i red_blue = _mm256_packus_epi16(r, b), green = _mm256_packus_epi16(g, _mm256_setzero_si256());
        const __m256i rg = _mm256_unpacklo_epi8(red_blue, green), bx = _mm256_unpackhi_epi8(red_blue, green);
        const __m256i first = _mm256_unpacklo_epi16(rg, bx), second = _mm256_unpackhi_epi16(rg, bx);
        auto* to = reinterpret_cast<__m256i*>(out + 4 * i);
        _mm256_storeu_si256(to, _mm256_permute2x128_si256(first, second, 0x20));
        _mm256_storeu_si256(to + 1, _mm256_permute2x128_si256(first, second, 0x31));
    }
}

constexpr Kernels kAvx2{widen_row_avx2, blend_rows_avx2, widen_rows_avx2, convert_avx2};

const Kernels kKernels = IMAGEMILL_HAS("avx2") ? kAvx2 : kBaseline;
#else
const Kernels kKernels = kBaseline;
#endif

int whole_steps(int count) { return (count + kRowStep - 1) / kRowStep * kRowStep; }

}  // namespace

void widen_row(const uint8_t* in, uint8_t* out, int count) { kKernels.widen_row(in, out, count); }

void blend_rows(const uint8_t* nearer, const uint8_t* further, bool is_below, uint8_t* out, int count) {
    kKernels.blend_rows(nearer, further, is_below ? 2 : 1, out, count);
}

void widen_rows(const uint8_t* nearer, const uint8_t* further, uint8_t* out, int count) {
    kKernels.widen_rows(nearer, further, out, count);
}

void repeat_samples(const uint8_t* in, int times, uint8_t* out, int count) {
    for (int i = 0; i < count; ++i) {
        for (int k = 0; k < times; ++k) {
            *out++ = in[i];
        }
    }
}

void convert_ycc(const uint8_t* y, const uint8_t* cb, const uint8_t* cr, uint8_t* out, int count) {
    kKernels.convert(y, cb, cr, out, whole_steps(count));
}

void interleave(const uint8_t* red, const uint8_t* green, const uint8_t* blue, uint8_t* out, int count) {
    for (int i = 0; i < count; ++i, out += 4) {
        out[0] = red[i];
        out[1] = green[i];
        out[2] = blue[i];
        out[3] = 0;
    }
}

}  // namespace imagemill
