// Which pixels along one axis make each pixel of a resized picture, and how much each of them weighs: as Pillow computes
// it, in whole numbers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace imagemill {

// The numbers are part of the interface: native/__init__.py has the same list.
// kArea weighs a pixel by how much of it is covered, as OpenCV's INTER_AREA does; kBox, as Pillow's, takes it whole or not.
enum class Filter : int32_t { kBox = 0, kBilinear = 1, kBicubic = 2, kArea = 3 };

constexpr int kUnitBits = 14;
constexpr int kUnit = 1 << kUnitBits;

class Taps {
  public:
    // Output pixels `count` over the stretch [start, stop) of an axis; pixels outside [low, high) have no say.
    Taps(Filter filter, double start, double stop, int count, int low, int high);

    int begin() const { return begin_; }    // the first pixel that weighs anything
    int length() const { return length_; }  // pixels from there to the last that does
    int count() const { return static_cast<int>(first_.size()); }
    int first(int output) const { return first_[output]; }  // counted from begin()
    int size(int output) const { return size_[output]; }
    int longest() const { return longest_; }                // of the sizes
    // In units of 1 / kUnit, rounded; their sum is kUnit.
    const int16_t* weights(int output) const { return &whole_[static_cast<size_t>(output) * widest_]; }
    int widest() const { return widest_; }            // a multiple of 4; weights beyond size() are 0
    bool has_negative() const { return has_negative_; }  // weights

  private:
    // The weights of an output pixel, `place` being where they begin in the table.
    void store(const double* line, int count, size_t place);

    std::vector<int> first_;
    std::vector<int> size_;
    std::vector<int16_t> whole_;
    int longest_;
    int widest_;
    int begin_;
    int length_;
    bool has_negative_ = false;
};

}  // namespace imagemill
