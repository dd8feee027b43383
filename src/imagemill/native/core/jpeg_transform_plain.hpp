// One block at a time, in plain C++: what every processor can do, and the definition of what the others must give.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace imagemill {

constexpr int kFixedBits = 13;  // of constants
constexpr int kPassBits = 2;    // that the first pass leaves more

constexpr int fixed(double number) { return static_cast<int>(number * (1 << kFixedBits) + 0.5); }

inline int16_t wrapped(int value) { return static_cast<int16_t>(static_cast<uint16_t>(value)); }

inline int16_t saturated(int value) { return static_cast<int16_t>(std::clamp(value, -32768, 32767)); }

inline uint8_t sample_of(int value) { return static_cast<uint8_t>(std::clamp(value, -128, 127) + 128); }

inline int descaled(unsigned value, int bits) { return static_cast<int>(value + (1U << (bits - 1))) >> bits; }

// T.81's transform in one dimension after Loeffler, Ligtenberg and Moschytz (1989), as JDCT_ISLOW has it, on values
// `step` apart; results go to `out` in turn as results(i, value scaled by 2 ** kFixedBits). Sums are unsigned: they may
// wrap around.
template <typename Result>
void transform_8(const int16_t* in, int step, const Result& result) {
    const auto product = [](int value, int factor) { return static_cast<unsigned>(value * factor); };
    const int in0 = in[0], in1 = in[step], in2 = in[2 * step], in3 = in[3 * step], in4 = in[4 * step];
    const int in5 = in[5 * step], in6 = in[6 * step], in7 = in[7 * step];
    const unsigned low = product(in2, fixed(0.541196100)) + product(in6, fixed(0.541196100) - fixed(1.847759065));
    const unsigned high = product(in2, fixed(0.541196100) + fixed(0.765366865)) + product(in6, fixed(0.541196100));
    const unsigned sum = static_cast<unsigned>(wrapped(in0 + in4)) << kFixedBits;
    const unsigned difference = static_cast<unsigned>(wrapped(in0 - in4)) << kFixedBits;
    const int z3 = wrapped(in7 + in3), z4 = wrapped(in5 + in1);
    const unsigned a = product(z3, fixed(1.175875602) - fixed(1.961570560)) + product(z4, fixed(1.175875602));
    const unsigned b = product(z3, fixed(1.175875602)) + product(z4, fixed(1.175875602) - fixed(0.390180644));
    const unsigned odd0 = product(in7, fixed(0.298631336) - fixed(0.899976223)) + product(in1, -fixed(0.899976223)) + a;
    const unsigned odd3 = product(in7, -fixed(0.899976223)) + product(in1, fixed(1.501321110) - fixed(0.899976223)) + b;
    const unsigned odd1 = product(in5, fixed(2.053119869) - fixed(2.562915447)) + product(in3, -fixed(2.562915447)) + b;
    const unsigned odd2 = product(in5, -fixed(2.562915447)) + product(in3, fixed(3.072711026) - fixed(2.562915447)) + a;
    const unsigned even0 = sum + high, even3 = sum - high, even1 = difference + low, even2 = difference - low;
    result(0, even0 + odd3);
    result(7, even0 - odd3);
    result(1, even1 + odd2);
    result(6, even1 - odd2);
    result(2, even2 + odd1);
    result(5, even2 - odd1);
    result(3, even3 + odd0);
    result(4, even3 - odd0);
}

// Four samples of eight values, scaled by 2 ** (kFixedBits + 1).
template <typename Result>
void transform_4(const int16_t* in, int step, const Result& result) {
    const auto product = [](int value, int factor) { return static_cast<unsigned>(value * factor); };
    const int in1 = in[step], in3 = in[3 * step], in5 = in[5 * step], in7 = in[7 * step];
    const unsigned sum = static_cast<unsigned>(static_cast<int>(in[0])) << (kFixedBits + 1);
    const unsigned turn = product(in[2 * step], fixed(1.847759065)) + product(in[6 * step], -fixed(0.765366865));
    const unsigned inner = product(in7, -fixed(0.211164243)) + product(in5, fixed(1.451774981)) +
                           product(in3, -fixed(2.172734803)) + product(in1, fixed(1.061594337));
    const unsigned outer = product(in7, -fixed(0.509795579)) + product(in5, -fixed(0.601344887)) +
                           product(in3, fixed(0.899976223)) + product(in1, fixed(2.562915447));
    result(0, sum + turn + outer);
    result(3, sum + turn - outer);
    result(1, sum - turn + inner);
    result(2, sum - turn - inner);
}

// Two samples of eight values, scaled by 2 ** (kFixedBits + 2).
template <typename Value, typename Result>
void transform_2(const Value* in, int step, const Result& result) {
    const auto product = [](int value, int factor) { return static_cast<unsigned>(value * factor); };
    const unsigned sum = static_cast<unsigned>(static_cast<int>(in[0])) << (kFixedBits + 2);
    const unsigned odd = product(in[7 * step], -fixed(0.720959822)) + product(in[5 * step], fixed(0.850430095)) +
                         product(in[3 * step], -fixed(1.272758580)) + product(in[step], fixed(3.624509785));
    result(0, sum + odd);
    result(1, sum - odd);
}

// libjpeg's table of limits repeats every 1024 levels.
inline uint8_t mean_sample(int16_t coefficient, uint16_t step) {
    const int level = (coefficient * static_cast<int16_t>(step) + 4) >> 3;
    return sample_of(((level + 512) & 1023) - 512);
}

// To 8 or 4 samples a side.
template <int size>
void transform_plain(const int16_t* block, const uint16_t* steps, uint8_t* out, ptrdiff_t stride) {
    constexpr int more = size == 8 ? 0 : 1;  // bits that the one-dimensional transform adds
    int16_t values[64], half[64] = {};
    bool is_flat = true;  // nothing but the first row, which is then only shifted, and not saturated
    for (int i = 0; i < 64; ++i) {
        values[i] = wrapped(block[i] * steps[i]);
        is_flat = is_flat && (i < 8 || (size == 4 && i / 8 == 4) || block[i] == 0);
    }
    for (int column = 0; column < 8; ++column) {
        const auto store = [&half, column](int row, unsigned value) {
            half[row * 8 + column] = saturated(descaled(value, kFixedBits - kPassBits + more));
        };
        if (is_flat) {
            for (int row = 0; row < size; ++row) {
                half[row * 8 + column] = wrapped(values[column] * (1 << kPassBits));
            }
        } else if constexpr (size == 8) {
            transform_8(values + column, 8, store);
        } else {
            transform_4(values + column, 8, store);
        }
    }
    for (int row = 0; row < size; ++row) {
        const auto store = [out, stride, row](int column, unsigned value) {
            out[row * stride + column] = sample_of(saturated(descaled(value, kFixedBits + kPassBits + 3 + more)));
        };
        if constexpr (size == 8) {
            transform_8(half + row * 8, 1, store);
        } else {
            transform_4(half + row * 8, 1, store);
        }
    }
}

// To 2 samples a side; the first column does not saturate in between.
inline void transform_plain_2(const int16_t* block, const uint16_t* steps, uint8_t* out, ptrdiff_t stride) {
    int half[2][8] = {};
    for (const int column : {0, 1, 3, 5, 7}) {
        int16_t values[8];
        for (int row = 0; row < 8; ++row) {
            values[row] = wrapped(block[row * 8 + column] * steps[row * 8 + column]);
        }
        transform_2(values, 1, [&half, column](int row, unsigned value) {
            const int whole = descaled(value, kFixedBits - kPassBits + 2);
            half[row][column] = column == 0 ? whole : saturated(whole);
        });
    }
    for (int row = 0; row < 2; ++row) {
        transform_2(half[row], 1, [out, stride, row](int column, unsigned value) {
            out[row * stride + column] = sample_of(saturated(descaled(value, kFixedBits + kPassBits + 3 + 2)));
        });
    }
}

}  // namespace imagemill
