// The lossy half of writing a JPEG: colours, subsampling, forward DCT and quantisation, number by number what
// libjpeg-turbo does by default (JDCT_ISLOW, box filter), so that files come out byte by byte the same.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace imagemill {
namespace jpeg {

constexpr int kBlockSide = 8;
constexpr int kBlockSize = 64;

// How to divide by eight times a quantisation step, rounded to the nearest, in 16 bits: coefficient k, in natural order,
// becomes ((|c| + bias[k]) * factor[k] >> 16) * scale[k] >> 16, with its sign.
struct Divisors {
    // Steps in natural order, 1 to 255.
    explicit Divisors(const std::array<uint8_t, kBlockSize>& steps);

    alignas(32) uint16_t bias[kBlockSize];
    alignas(32) uint16_t factor[kBlockSize];
    alignas(32) uint16_t scale[kBlockSize];
};

// Coefficients in natural order, and which of them are not zero: bit k for coefficient k.
struct Block {
    alignas(32) int16_t values[kBlockSize];
    uint64_t present;
};

// Y in -128..127, Cb and Cr in 0..255, of a row of R, G, B.
void convert_row(const uint8_t* pixels, int width, int16_t* luma, int16_t* blue, int16_t* red);

// Sums of two neighbours of one row or of two, rounded alternately up and down, in -128..127: `width` values come of
// twice as many. One row is given as both with `is_pair` false.
void halve_rows(const int16_t* upper, const int16_t* lower, bool is_pair, int width, int16_t* out);

// Blocks beside each other of rows of samples that lie `stride` apart.
void transform_blocks(const int16_t* samples, ptrdiff_t stride, int count, const Divisors& divisors, Block* out);

}  // namespace jpeg
}  // namespace imagemill
