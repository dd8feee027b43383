// Dequantisation and inverse DCT, bit by bit what libjpeg-turbo's vector code gives for JDCT_ISLOW: sums of rows in 16 bits
// that wrap around, results of the first pass that saturate.
#pragma once

#include <cstddef>
#include <cstdint>

namespace imagemill {

// `count` neighbouring blocks of coefficients to samples, `size` (8, 4, 2 or 1) a side, beside each other from `out` on,
// `stride` between rows. Up to 16 bytes behind the last sample of a row are written, too. `extents` as in BlockRows.
void transform_blocks(const int16_t* blocks, const uint8_t* extents, int count, const uint16_t* steps, int size,
                      uint8_t* out, ptrdiff_t stride);

}  // namespace imagemill
