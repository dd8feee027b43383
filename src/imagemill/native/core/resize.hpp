// Antialiased resize: separable, weights as Pillow computes them; in whole numbers with more bits in between than Pillow
// keeps, so that every processor gives the same bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "placement.hpp"

namespace imagemill {

// The numbers are part of the interface: native/__init__.py has the same list.
// kArea weighs a pixel by how much of it is covered, as OpenCV's INTER_AREA does; kBox, as Pillow's, takes it whole or not.
enum class Filter : int32_t { kBox = 0, kBilinear = 1, kBicubic = 2, kArea = 3 };

// Which pixels along one axis make each output pixel, and how much each of them weighs.
class Taps {
  public:
    // Output pixels `count` over the stretch [start, stop) of an axis; pixels outside [low, high) have no say.
    Taps(Filter filter, double start, double stop, int count, int low, int high);

    int begin() const { return begin_; }  // the first pixel that weighs anything
    int length() const { return length_; }  // pixels from there to the last that does
    int first(int output) const { return first_[output]; }  // counted from begin()
    int size(int output) const { return size_[output]; }
    // In units of 1 / kUnit, rounded; their sum is kUnit.
    const int16_t* weights(int output) const { return &whole_[static_cast<size_t>(output) * widest_]; }
    int widest() const { return widest_; }  // a multiple of 4; weights beyond size() are 0

    // The same for eight channels of four neighbouring pixels: of each four weights the first two in turn, four times,
    // then the other two. Made by spread().
    const int16_t* spread_weights(int output) const { return &spread_[static_cast<size_t>(output) * widest_ * 4]; }
    void spread();

  private:
    // The weights of an output pixel, `place` being where they begin in the table.
    void store(const double* line, int count, size_t place);

    std::vector<int> first_;
    std::vector<int> size_;
    std::vector<int16_t> whole_;
    std::vector<int16_t> spread_;
    int widest_;
    int begin_;
    int length_;
};

constexpr int kUnitBits = 14;
constexpr int kUnit = 1 << kUnitBits;
constexpr int kSumBits = 6;  // fractional bits of the levels between the two directions: bicubic ones go beyond 255
constexpr int kOverread = 8;

// sums[x] = sum of weights[k] * rows[k][x] for x below `length`, with kSumBits fractional bits. `count` is even.
void weigh_rows(const uint8_t* const* rows, const int16_t* weights, int count, int16_t* sums, int length);

// One output row: weighs pixels of four such sums (R, G, B, unused) along the row and writes bytes to row `row`.
// Up to `kOverread` pixels behind the last one are read, and weigh nothing. `taps` are spread.
void weigh_columns(const int16_t* pixels, const Taps& taps, const Target& target, int row);

// "avx2" or "baseline": which build of the inner loop this processor runs.
const char* kernel_name();

}  // namespace imagemill
