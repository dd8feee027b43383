// What training data sets show of a picture: a part of it as floats in 0 to 1, and the same at a fraction of its sides.
#pragma once

#include <cstdint>

#include "picture_file.hpp"
#include "placement.hpp"
#include "status.hpp"

namespace imagemill {

constexpr int kMostScale = 256;  // sums of so many levels fit into 16 bits

// The numbers are part of the interface: native/pairs.py has the same.
struct Pair {
    Box box;             // inside the upright picture
    Sides size;          // that it is brought to by area, no larger than the box
    Sides kept;          // of that, from the top left corner on
    int32_t is_mirrored;  // left and right change places
    int32_t scale;       // divides the kept sides
    float* high;         // 3 planes of the kept sides
    float* low;          // 3 planes of the kept sides over the scale, means of squares; null where it is not wanted
};

// Throws std::bad_alloc.
Status show_pair(PictureFile& picture, const Pair& pair);

}  // namespace imagemill
