// The inner loops, inlined into a build for each instruction set (resize.cpp). They use vectors of the compiler,
// not of one processor, and the same order of operations everywhere: the bytes that come out are the same.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "placement.hpp"
#include "resize.hpp"

#define IMAGEMILL_INLINE __attribute__((always_inline)) inline

namespace imagemill {

// Sums from place `start` on, `kPlaces` at a time in registers: the compiler makes vector code of the loops over i.
IMAGEMILL_INLINE void weigh_rows_from(const uint8_t* const* rows, const int16_t* weights, int count,
                                      float* __restrict sums, int start, int length) {
    constexpr int kPlaces = 16;
    int x = start;
    for (; x + kPlaces <= length; x += kPlaces) {
        int32_t whole[kPlaces] = {};
        for (int k = 0; k < count; ++k) {
            for (int i = 0; i < kPlaces; ++i) {
                whole[i] += weights[k] * rows[k][x + i];
            }
        }
        for (int i = 0; i < kPlaces; ++i) {
            sums[x + i] = static_cast<float>(whole[i]) * (1.0F / kUnit);
        }
    }
    for (; x < length; ++x) {
        int32_t whole = 0;
        for (int k = 0; k < count; ++k) {
            whole += weights[k] * rows[k][x];
        }
        sums[x] = static_cast<float>(whole) * (1.0F / kUnit);
    }
}

using Pixel = float __attribute__((vector_size(16)));
using Levels = int32_t __attribute__((vector_size(16)));

// One output pixel: four taps at a time, two side by side; those beyond the last weigh nothing.
IMAGEMILL_INLINE Pixel weigh_pixel(const float* pixels, const Taps& taps, int column) {
    using Pair = float __attribute__((vector_size(32)));
    using Loose = float __attribute__((vector_size(32), aligned(4), may_alias));  // at any address
    const float* source = pixels + static_cast<ptrdiff_t>(taps.first(column)) * 4;
    const float* weights = taps.spread_weights(column);
    Pair sum = {};
    for (int k = 0; k < taps.size(column); k += 4, source += 16, weights += 16) {
        const auto* values = reinterpret_cast<const Loose*>(source);
        const auto* factors = reinterpret_cast<const Loose*>(weights);
        sum += values[0] * factors[0] + values[1] * factors[1];
    }
    const Pixel even = {sum[0], sum[1], sum[2], sum[3]};
    const Pixel odd = {sum[4], sum[5], sum[6], sum[7]};
    return even + odd;
}

// Rounded and clipped to 0..255.
IMAGEMILL_INLINE Levels to_levels(Pixel pixel) {
    const Pixel half = {0.5F, 0.5F, 0.5F, 0.5F};
    const Pixel zero = {0.0F, 0.0F, 0.0F, 0.0F};
    const Pixel full = {255.0F, 255.0F, 255.0F, 255.0F};
    pixel += half;
    pixel = pixel > zero ? pixel : zero;
    pixel = pixel < full ? pixel : full;
    return __builtin_convertvector(pixel, Levels);
}

// Four neighbouring pixels into three planes.
IMAGEMILL_INLINE void store_four(Pixel a, Pixel b, Pixel c, Pixel d, uint8_t* out, ptrdiff_t plane) {
#if defined(__SSE2__)
    const __m128 half = _mm_set1_ps(0.5F);
    __m128 red = a, green = b, blue = c, unused = d;
    _MM_TRANSPOSE4_PS(red, green, blue, unused);
    // Packing clips: to 16 bits with sign, then to 0..255.
    const __m128i red_green = _mm_packs_epi32(_mm_cvttps_epi32(red + half), _mm_cvttps_epi32(green + half));
    const __m128i blue_blue = _mm_packs_epi32(_mm_cvttps_epi32(blue + half), _mm_setzero_si128());
    const __m128i bytes = _mm_packus_epi16(red_green, blue_blue);
    const int32_t planes[3] = {_mm_cvtsi128_si32(bytes), _mm_cvtsi128_si32(_mm_srli_si128(bytes, 4)),
                               _mm_cvtsi128_si32(_mm_srli_si128(bytes, 8))};
    for (int channel = 0; channel < 3; ++channel) {
        std::memcpy(out + channel * plane, &planes[channel], 4);
    }
#else
    const Levels levels[4] = {to_levels(a), to_levels(b), to_levels(c), to_levels(d)};
    for (int channel = 0; channel < 3; ++channel) {
        for (int i = 0; i < 4; ++i) {
            out[channel * plane + i] = static_cast<uint8_t>(levels[i][channel]);
        }
    }
#endif
}

// Four neighbours at a time into three planes, `out` ascending; gives how many columns it has done.
IMAGEMILL_INLINE int weigh_planes(const float* pixels, const Taps& taps, const Target& target, uint8_t* out,
                                  bool backwards) {
    const int width = target.sides.width;
    const int step = backwards ? -1 : 1;
    int done = 0;
    for (; done + 4 <= width; done += 4) {
        const int column = backwards ? width - 1 - done : done;
        const Pixel a = weigh_pixel(pixels, taps, column);
        const Pixel b = weigh_pixel(pixels, taps, column + step);
        const Pixel c = weigh_pixel(pixels, taps, column + 2 * step);
        const Pixel d = weigh_pixel(pixels, taps, column + 3 * step);
        store_four(a, b, c, d, out + done, target.channel_step);
    }
    return done;
}

IMAGEMILL_INLINE void store_pixel(const Levels& levels, const Target& target, uint8_t* out) {
    if (target.channels == 1) {
        // ITU-R 601 luma in 16-bit fixed point, as Pillow converts RGB to L.
        *out = static_cast<uint8_t>((levels[0] * 19595 + levels[1] * 38470 + levels[2] * 7471 + 0x8000) >> 16);
        return;
    }
    out[0] = static_cast<uint8_t>(levels[0]);
    out[target.channel_step] = static_cast<uint8_t>(levels[1]);
    out[2 * target.channel_step] = static_cast<uint8_t>(levels[2]);
}

IMAGEMILL_INLINE void weigh_columns_inline(const float* pixels, const Taps& taps, const Target& target, int row) {
    uint8_t* out = target.origin + row * target.row_step;
    const int width = target.sides.width;
    const bool backwards = target.column_step == -1;
    int done = 0;
    if (target.channels == 3 && target.column_step == 1) {
        done = weigh_planes(pixels, taps, target, out, false);
    } else if (target.channels == 3 && backwards) {
        done = weigh_planes(pixels, taps, target, out - (width - 1), true);
    }
    for (; done < width; ++done) {
        const int column = backwards ? width - 1 - done : done;
        store_pixel(to_levels(weigh_pixel(pixels, taps, column)), target, out + column * target.column_step);
    }
}

}  // namespace imagemill
