// One mask, (H, W) pixels of any size in bytes: what is seen of it, by nearest neighbour, in its place in the batch.
#pragma once

#include <cstdint>

#include "view.hpp"

namespace imagemill {

// Every pixel is one of the mask's own, or beyond the limit `view.fill.mask`, once in each of its elements; the one
// taken lies under the centre of the new pixel, as imagemill/transforms/render.py has it. Pixels are (H, W, C) elements,
// before and after. Throws std::bad_alloc.
void show_mask(const uint8_t* pixels, const View& view, int element_bytes, int channels, uint8_t* out);

}  // namespace imagemill
