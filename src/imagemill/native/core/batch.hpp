// A batch of encoded pictures to pixels, by several threads.
#pragma once

#include <cstddef>
#include <cstdint>

#include "placement.hpp"
#include "resize.hpp"
#include "status.hpp"

namespace imagemill {

struct Batch {
    int64_t count;
    const uint8_t* const* data;   // count
    const size_t* sizes;          // count
    const int32_t* boxes;         // count * 4: top, left, height, width, upright
    const uint8_t* flips;         // count: bit 0 mirrors left and right, bit 1 turns upside down
    const uint8_t* orientations;  // count: 1 to 8, or 0 for what the file says
    uint8_t* out;                 // count pictures, one after the other
    Sides sides;                  // of each, upright
    int channels;                 // 1 or 3
    bool channels_last;
    Filter filter;
    double shrink_gap;            // DCT scaling leaves at least this many times the target's sides
    int64_t max_pixels;
    const uint64_t* trusted;      // sorted hashes of profiles that need no conversion
    int64_t trusted_count;
    int32_t* statuses;            // count, written
    uint64_t* profiles;           // count, written: hash of the profile, 0 where there is none
    char* texts;                  // count * kTextBytes, written
};

// Every picture is either written whole or left all zero with a status that says why.
void decode_batch(const Batch& batch, int threads);

}  // namespace imagemill
