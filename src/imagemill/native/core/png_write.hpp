// PNG files of photographs: the filter of every row whose differences are smallest, runs and Huffman codes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "placement.hpp"

namespace imagemill {

// Rows of 1 or 3 channels, `row_bytes` apart. The same bytes on every processor. Throws std::bad_alloc.
std::vector<uint8_t> write_png(const uint8_t* pixels, int64_t row_bytes, Sides sides, int channels);

}  // namespace imagemill
