// Antialiased resize: separable, in whole numbers with more bits in between than Pillow keeps, so that every processor gives
// the same bytes.
#pragma once

#include <cstdint>
#include <memory>

#include "placement.hpp"
#include "taps.hpp"

namespace imagemill {

// Makes the rows of a resized picture of the rows of another.
class RowMaker {
  public:
    virtual ~RowMaker() = default;
    RowMaker() = default;
    RowMaker(const RowMaker&) = delete;
    RowMaker& operator=(const RowMaker&) = delete;

    // Output row `row`: `count` rows (an even number) of R, G, B and an unused byte, from the first pixel of the columns
    // on, and what each of them weighs. `kRowSlack` bytes behind the last pixel are read, and mean nothing.
    virtual void make(const uint8_t* const* rows, const int16_t* weights, int count, int row) = 0;

    // What this processor does fastest. The taps, of both axes, must live as long as it. Throws std::bad_alloc.
    static std::unique_ptr<RowMaker> of(const Taps& rows, const Taps& columns, const Target& target);
};

constexpr int kRowSlack = 128;

// "avx512", "avx2" or "baseline": which build of the inner loops this processor runs.
const char* kernel_name();

}  // namespace imagemill
