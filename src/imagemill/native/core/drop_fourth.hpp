// Pixels of four bytes to pixels of three.
#pragma once

#include <cstdint>

namespace imagemill {

// R, G, B and an unused byte of `count` pixels to R, G and B.
void drop_fourth(const uint8_t* pixels, int count, uint8_t* out);

}  // namespace imagemill
