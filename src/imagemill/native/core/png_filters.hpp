// The filters of PNG rows (PNG specification, third edition, 9), taken off.
#pragma once

#include <cstddef>
#include <cstdint>

#include "placement.hpp"

namespace imagemill {

// Rows of `stride` bytes, the first of each its filter, which predicts bytes from those beside them; in place. False where
// there is no such filter.
bool unfilter_bytes(uint8_t* rows, size_t stride, int height);

// Rows of three channels with their filters, to (H, W, 3) bytes. Reads up to 3 bytes behind the rows. False as above.
bool unfilter_colours(const uint8_t* rows, const Sides& sides, uint8_t* out);

}  // namespace imagemill
