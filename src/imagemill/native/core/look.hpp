// What `check` wants to know of the pixels of one JPEG, by one decode: the numbers of curate/quality.py, bit by bit.
#pragma once

#include <cstddef>
#include <cstdint>

namespace imagemill {

constexpr int kThumbnailSide = 32;

struct Look {
    // Given.
    const uint8_t* data;
    size_t size;
    int32_t height;  // that its header was found to say
    int32_t width;
    int32_t halved_from;  // the shorter side from which luma is halved, again and again
    int32_t grid;         // colour is looked for on so many rows and columns first
    int32_t no_colour;    // a spread below that on the grid has all pixels looked at
    // Written.
    int32_t spread;      // largest difference between the channels of a pixel
    uint8_t* pixels;     // R, G, B; height * width * 3
    int64_t* levels;     // histogram of halved luma, 256
    int64_t* edges;      // histogram of the absolute Laplacian of it, saturated, 256
    uint8_t* thumbnail;  // kThumbnailSide squared: mean luma of equal parts
};

// False unless nothing at all is to be remarked of the file; what was written is then worth nothing. Not for files of
// inks; orientation and colour profile are the caller's. Throws std::bad_alloc.
bool look_at(Look& look);

}  // namespace imagemill
