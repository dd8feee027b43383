// What is done to the pixels of a picture once they lie in the batch: colours and erasing. imagemill/transforms/colour.py
// and erase.py are the definition; a test holds the bytes of both equal.
#pragma once

#include <cstddef>
#include <cstdint>

#include "placement.hpp"

namespace imagemill {

struct Change {
    // The first four are numbered as ColorJitter's ranges in native/samples.py.
    enum class Kind : int32_t { kBrightness = 0, kContrast = 1, kSaturation = 2, kHue = 3, kGrey = 4, kFill = 5, kNoise = 6 };

    Kind kind = Kind::kGrey;
    double amount = 0;                // a factor, for hue a part of the colour circle
    Box box{0, 0, 0, 0};              // of kFill and kNoise
    const uint8_t* colour = nullptr;  // of kFill, one value a channel
    uint64_t seed = 0;                // of kNoise
};

// Changes a picture of 1 or 3 channels in its place; what of a box lies beyond the picture is left out.
void apply_change(const Change& change, uint8_t* pixels, const Sides& sides, const Layout& layout);

}  // namespace imagemill
