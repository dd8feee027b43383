// Pixels of three bytes, as files and arrays have them, and of four, as decoders give them.
#pragma once

#include <cstdint>

namespace imagemill {

// R, G, B and an unused byte of `count` pixels to R, G and B.
void drop_fourth(const uint8_t* pixels, int count, uint8_t* out);

// R, G and B of `count` pixels to these and a zero.
void add_fourth(const uint8_t* pixels, int count, uint8_t* out);

}  // namespace imagemill
