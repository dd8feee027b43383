// The orientation in an EXIF block.
#pragma once

#include <cstddef>
#include <cstdint>

namespace imagemill {

// 1 to 8; 1 where the block (without its "Exif\0\0" prefix) says nothing usable.
int exif_orientation(const uint8_t* tiff, size_t size);

}  // namespace imagemill
