// A batch of encoded pictures and what is to be seen of each, to pixels.
#pragma once

#include <cstddef>
#include <cstdint>

#include "placement.hpp"
#include "taps.hpp"
#include "rules.hpp"
#include "status.hpp"
#include "view.hpp"

namespace imagemill {

struct Batch {
    int64_t count;
    const uint8_t* const* data;   // count
    const size_t* sizes;          // count
    const double* boxes;          // count * 4: top, left, height, width, upright
    const int32_t* limits;        // count * 4: top, left, bottom, right of the pixels that may have a say, upright
    const uint8_t* turns;         // count: after the resize, bit 2 swaps rows and columns, bit 1 then turns upside
                                  // down, bit 0 then mirrors left and right
    const uint8_t* orientations;  // count: 1 to 8, or 0 for what the file says
    uint8_t* out;                 // count pictures, one after the other
    Sides sides;                  // of each, as it is seen
    Layout layout;                // 1 or 3 channels
    Filter filter;
    Rules rules;
    int32_t* statuses;            // count, written
    uint64_t* profiles;           // count, written: hash of the profile, 0 where there is none
    char* texts;                  // count * kTextBytes, written
};

// Every picture is either written whole or left all zero with a status that says why.
void decode_batch(const Batch& batch, int threads);

}  // namespace imagemill
