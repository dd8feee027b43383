// The inner loops of a resize in plain C++: the definition of what those for AVX2 (resize.cpp) and AVX-512
// (resize_avx512.hpp) give.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "inlining.hpp"
#include "placement.hpp"
#include "taps.hpp"

namespace imagemill {

constexpr int kSumBits = 6;  // fractional bits of the levels between the two directions: bicubic ones go beyond 255
constexpr int kDownBits = kUnitBits - kSumBits;    // that a sum of rows has too many
constexpr int kAcrossBits = kUnitBits + kSumBits;  // that a sum of columns has

// sums[x] = sum of weights[k] * rows[k][x] for x from `start` to `length`, with kSumBits fractional bits, `kPlaces` at a time in registers: the compiler makes vector code of the loops over i.
IMAGEMILL_INLINE void weigh_rows_from(const uint8_t* const* rows, const int16_t* weights, int count,
                                      int16_t* __restrict sums, int start, int length) {
    constexpr int kPlaces = 16;
    const auto rounded = [](int32_t sum) {
        return static_cast<int16_t>(std::clamp((sum + (1 << (kDownBits - 1))) >> kDownBits, -32768, 32767));
    };
    int x = start;
    for (; x + kPlaces <= length; x += kPlaces) {
        int32_t whole[kPlaces] = {};
        for (int k = 0; k < count; ++k) {
            for (int i = 0; i < kPlaces; ++i) {
                whole[i] += weights[k] * rows[k][x + i];
            }
        }
        for (int i = 0; i < kPlaces; ++i) {
            sums[x + i] = rounded(whole[i]);
        }
    }
    for (; x < length; ++x) {
        int32_t whole = 0;
        for (int k = 0; k < count; ++k) {
            whole += weights[k] * rows[k][x];
        }
        sums[x] = rounded(whole);
    }
}

// One output pixel: R, G and B.
IMAGEMILL_INLINE void weigh_pixel(const int16_t* pixels, const Taps& taps, int column, uint8_t* levels) {
    const int16_t* source = pixels + static_cast<ptrdiff_t>(taps.first(column)) * 4;
    const int16_t* weights = taps.weights(column);
    int32_t whole[4] = {};
    for (int k = 0; k < taps.size(column); ++k, source += 4) {
        for (int channel = 0; channel < 4; ++channel) {
            whole[channel] += weights[k] * source[channel];
        }
    }
    for (int channel = 0; channel < 3; ++channel) {
        const int32_t level = (whole[channel] + (1 << (kAcrossBits - 1))) >> kAcrossBits;
        levels[channel] = static_cast<uint8_t>(std::clamp(level, 0, 255));
    }
}

IMAGEMILL_INLINE void store_pixel(const uint8_t* levels, const Target& target, uint8_t* out) {
    if (target.channels == 1) {
        // ITU-R 601 luma in 16-bit fixed point, as Pillow converts RGB to L.
        *out = static_cast<uint8_t>((levels[0] * 19595 + levels[1] * 38470 + levels[2] * 7471 + 0x8000) >> 16);
        return;
    }
    out[0] = levels[0];
    out[target.channel_step] = levels[1];
    out[2 * target.channel_step] = levels[2];
}

// Columns [begin, end) of row `out`.
IMAGEMILL_INLINE void weigh_columns_from(const int16_t* pixels, const Taps& taps, const Target& target, uint8_t* out,
                                         int begin, int end) {
    for (int column = begin; column < end; ++column) {
        uint8_t levels[4];
        weigh_pixel(pixels, taps, column, levels);
        store_pixel(levels, target, out + column * target.column_step);
    }
}

}  // namespace imagemill
