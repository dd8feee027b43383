// Rows of pixels to rows of luma, and what is measured of them: OpenCV's numbers.
#pragma once

#include <cstdint>

namespace imagemill {

// R, G, B and an unused byte to luma (ITU-R BT.601 in 15 fractional bits).
void find_luma(const uint8_t* pixels, uint8_t* luma, int count);

// R, G, B and an unused byte to R, G, B.
void pack_pixels(const uint8_t* pixels, uint8_t* out, int count);

// Means of 2 x 2 samples, halves rounded up; `count` come out. `out` may be `upper` or before it.
void halve_rows(const uint8_t* upper, const uint8_t* lower, uint8_t* out, int count);

// The absolute Laplacian (4 neighbours) of all but the first and last sample of a row, at most 255.
void find_edges(const uint8_t* here, const uint8_t* above, const uint8_t* below, uint8_t* out, int count);

}  // namespace imagemill
