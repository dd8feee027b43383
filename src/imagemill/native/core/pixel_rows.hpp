// Rows as decoders give them, R, G, B and an unused byte, to their places in a picture, as they are.
#pragma once

#include <cstdint>

#include "placement.hpp"

namespace imagemill {

// The target's width is how many pixels are placed.
void place_row(const uint8_t* pixels, const Target& target, int row);

}  // namespace imagemill
