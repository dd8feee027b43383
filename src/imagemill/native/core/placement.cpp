#include "placement.hpp"

#include <utility>

namespace imagemill {
namespace {

// EXIF 2.32, 4.6.4 A: what has to happen to stored pixels, rows and columns first, then the transposition.
bool rows_reversed(int orientation) {
    return orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
}

bool columns_reversed(int orientation) {
    return orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
}

bool transposed(int orientation) { return orientation > 4; }

}  // namespace

bool is_inside(const Box& box, const Sides& sides) {
    // Subtractions of non-negative numbers: sums could overflow.
    return box.top >= 0 && box.left >= 0 && box.height >= 1 && box.width >= 1 && box.height <= sides.height &&
           box.width <= sides.width && box.top <= sides.height - box.height && box.left <= sides.width - box.width;
}

Sides stored_sides(const Sides& upright, int orientation) {
    return transposed(orientation) ? Sides{upright.width, upright.height} : upright;
}

Box stored_box(const Box& upright, const Sides& stored, int orientation) {
    Box box = upright;
    if (transposed(orientation)) {
        std::swap(box.top, box.left);
        std::swap(box.height, box.width);
    }
    if (rows_reversed(orientation)) {
        box.top = stored.height - box.height - box.top;
    }
    if (columns_reversed(orientation)) {
        box.left = stored.width - box.width - box.left;
    }
    return box;
}

Target place(uint8_t* picture, const Sides& upright, int channels, bool channels_last, int orientation, bool mirror,
             bool upside_down) {
    const ptrdiff_t area = static_cast<ptrdiff_t>(upright.height) * upright.width;
    ptrdiff_t down = channels_last ? static_cast<ptrdiff_t>(upright.width) * channels : upright.width;
    ptrdiff_t right = channels_last ? channels : 1;
    Target target{picture, 0, 0, channels_last ? 1 : area, stored_sides(upright, orientation), channels};
    if (upside_down) {
        target.origin += (upright.height - 1) * down;
        down = -down;
    }
    if (mirror) {
        target.origin += (upright.width - 1) * right;
        right = -right;
    }
    target.row_step = transposed(orientation) ? right : down;
    target.column_step = transposed(orientation) ? down : right;
    if (rows_reversed(orientation)) {
        target.origin += (target.sides.height - 1) * target.row_step;
        target.row_step = -target.row_step;
    }
    if (columns_reversed(orientation)) {
        target.origin += (target.sides.width - 1) * target.column_step;
        target.column_step = -target.column_step;
    }
    return target;
}

}  // namespace imagemill
