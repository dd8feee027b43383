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

// How a picture lies in memory.
struct Layout {
    int channels;
    bool channels_last;
};

// Rows and columns change places, if so, then rows and columns are reversed, if so.
struct Turn {
    bool transpose;
    bool flip_rows;
    bool flip_columns;
};

// Whether a box has pixels and all of them lie inside an image of these sides.
bool is_inside(const Box& box, const Sides& sides);

// What an EXIF orientation asks for: stored rows and columns are reversed first, then they change places.
bool rows_reversed(int orientation);
bool columns_reversed(int orientation);
bool is_transposed(int orientation);

// Sides as stored of what has these sides upright, and the other way round.
Sides stored_sides(const Sides& upright, int orientation);

// Addresses of one picture in the batch: pixel (row, column), channel c, goes to
// origin + row * row_step + column * column_step + c * channel_step.
// Turning and mirroring cost nothing: they only change the way in which addresses run.
struct Target {
    uint8_t* origin;
    ptrdiff_t row_step;
    ptrdiff_t column_step;
    ptrdiff_t channel_step;
    Sides sides;
    int channels;

    // For a picture of `sides` that is turned on its way to memory.
    static Target of(uint8_t* picture, const Sides& sides, const Layout& layout, const Turn& turn);

    // The part of it from (top, left) on.
    Target part(int top, int left, const Sides& size) const;

    // The same places, for pixels that come as the stored picture has them.
    Target stored(int orientation) const;
};

}  // namespace imagemill
