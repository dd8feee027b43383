// jpeg_forward.hpp in plain C++: what every processor can do, and the definition of what the others must give.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "jpeg_forward.hpp"

namespace imagemill {
namespace jpeg {

constexpr int kColourBits = 16;  // of the factors of colours
constexpr int kTurnBits = 13;    // of the factors of the transform
constexpr int kKeptBits = 2;     // that its first pass leaves more

constexpr int turn(double factor) { return static_cast<int>(factor * (1 << kTurnBits) + 0.5); }

// ITU-R BT.601 (JFIF) in whole numbers, from pixel `start` on.
inline void convert_from(int start, const uint8_t* pixels, int width, int16_t* luma, int16_t* blue, int16_t* red) {
    constexpr int half = 1 << (kColourBits - 1), middle = (128 << kColourBits) + half - 1;
    for (int x = start; x < width; ++x) {
        const int r = pixels[3 * x], g = pixels[3 * x + 1], b = pixels[3 * x + 2];
        luma[x] = static_cast<int16_t>(((19595 * r + 38470 * g + 7471 * b + half) >> kColourBits) - 128);
        blue[x] = static_cast<int16_t>((-11059 * r - 21709 * g + 32768 * b + middle) >> kColourBits);
        red[x] = static_cast<int16_t>((32768 * r - 27439 * g - 5329 * b + middle) >> kColourBits);
    }
}

inline void halve_from(int start, const int16_t* upper, const int16_t* lower, bool is_pair, int width, int16_t* out) {
    for (int x = start; x < width; ++x) {
        const int above = upper[2 * x] + upper[2 * x + 1];
        const int mean = is_pair ? (above + lower[2 * x] + lower[2 * x + 1] + 1 + (x & 1)) >> 2 : (above + (x & 1)) >> 1;
        out[x] = static_cast<int16_t>(mean - 128);
    }
}

// Eight values `step` apart, in their place: the transform of Loeffler, Ligtenberg and Moschytz (1989), which leaves
// results eight times as large in all. The last pass takes off what the first has left.
template <bool is_last>
inline void transform_line(int16_t* line, ptrdiff_t step) {
    const auto at = [line, step](int i) -> int16_t& { return line[i * step]; };
    const auto scaled = [](int value) {
        return static_cast<int16_t>(is_last ? (value + (1 << (kKeptBits - 1))) >> kKeptBits : value * (1 << kKeptBits));
    };
    const auto descaled = [](int value) {
        constexpr int bits = is_last ? kTurnBits + kKeptBits : kTurnBits - kKeptBits;
        return static_cast<int16_t>((value + (1 << (bits - 1))) >> bits);
    };
    const int sum0 = at(0) + at(7), sum1 = at(1) + at(6), sum2 = at(2) + at(5), sum3 = at(3) + at(4);
    const int odd0 = at(3) - at(4), odd1 = at(2) - at(5), odd2 = at(1) - at(6), odd3 = at(0) - at(7);
    const int even0 = sum0 + sum3, even1 = sum1 + sum2, even2 = sum1 - sum2, even3 = sum0 - sum3;
    at(0) = scaled(even0 + even1);
    at(4) = scaled(even0 - even1);
    const int both = (even2 + even3) * turn(0.541196100);
    at(2) = descaled(both + even3 * turn(0.765366865));
    at(6) = descaled(both - even2 * turn(1.847759065));
    const int whole = (odd0 + odd2 + odd1 + odd3) * turn(1.175875602);
    const int outer = (odd0 + odd3) * -turn(0.899976223), inner = (odd1 + odd2) * -turn(2.562915447);
    const int a = whole - (odd0 + odd2) * turn(1.961570560), b = whole - (odd1 + odd3) * turn(0.390180644);
    at(7) = descaled(odd0 * turn(0.298631336) + outer + a);
    at(5) = descaled(odd1 * turn(2.053119869) + inner + b);
    at(3) = descaled(odd2 * turn(3.072711026) + inner + a);
    at(1) = descaled(odd3 * turn(1.501321110) + outer + b);
}

inline void transform_plain(const int16_t* samples, ptrdiff_t stride, const Divisors& divisors, Block& out) {
    for (int y = 0; y < kBlockSide; ++y) {
        for (int x = 0; x < kBlockSide; ++x) {
            out.values[y * kBlockSide + x] = samples[y * stride + x];
        }
        transform_line<false>(out.values + y * kBlockSide, 1);
    }
    for (int x = 0; x < kBlockSide; ++x) {
        transform_line<true>(out.values + x, kBlockSide);
    }
    out.present = 0;
    for (int k = 0; k < kBlockSize; ++k) {
        const int value = out.values[k];
        const auto divided = (static_cast<uint32_t>(std::abs(value)) + divisors.bias[k]) * divisors.factor[k] >> 16;
        const int level = static_cast<int>(divided * divisors.scale[k] >> 16);
        out.values[k] = static_cast<int16_t>(value < 0 ? -level : level);
        out.present |= static_cast<uint64_t>(level != 0) << k;
    }
}

}  // namespace jpeg
}  // namespace imagemill
