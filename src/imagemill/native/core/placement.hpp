// Where pixels of an upright picture lie in the stored one, and where they go in the batch.
#pragma once

#include <cstddef>
#include <cstdint>

namespace imagemill {

struct Sides {
    int height;
    int width;
};

struct Box {
    int top;
    int left;
    int height;
    int width;
};

// Whether a box has pixels and all of them lie inside an image of these sides.
bool is_inside(const Box& box, const Sides& sides);

// Sides as stored of what has these sides upright, and the other way round.
Sides stored_sides(const Sides& upright, int orientation);

// A box of the upright picture in the coordinates of the stored one.
Box stored_box(const Box& upright, const Sides& stored, int orientation);

// Addresses of one picture in the batch: pixel (row, column) of the picture as stored, channel c, goes to
// origin + row * row_step + column * column_step + c * channel_step.
struct Target {
    uint8_t* origin;
    ptrdiff_t row_step;
    ptrdiff_t column_step;
    ptrdiff_t channel_step;
    Sides sides;   // as stored
    int channels;  // 1 or 3
};

// Turning and mirroring cost nothing: they only change the way in which addresses run.
Target place(uint8_t* picture, const Sides& upright, int channels, bool channels_last, int orientation, bool mirror,
             bool upside_down);

}  // namespace imagemill
