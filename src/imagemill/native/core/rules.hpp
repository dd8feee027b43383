// What holds for every picture of a batch.
#pragma once

#include <cstdint>

#include "colour.hpp"

namespace imagemill {

struct Rules {
    double shrink_gap;        // DCT scaling leaves at least this many times the target's sides
    int64_t max_pixels;       // larger pictures are not decoded
    const Profile* profiles;  // known ones, sorted by hash
    int64_t profile_count;
};

}  // namespace imagemill
