#include "placement.hpp"

#include <utility>

namespace imagemill {

// EXIF 2.32, 4.6.4 A: what has to happen to stored pixels, rows and columns first, then the transposition.
bool rows_reversed(int orientation) {
    return orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
}

bool columns_reversed(int orientation) {
    return orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
}

bool is_transposed(int orientation) { return orientation > 4; }

bool is_inside(const Box& box, const Sides& sides) {
    // Subtractions of non-negative numbers: sums could overflow.
    return box.top >= 0 && box.left >= 0 && box.height >= 1 && box.width >= 1 && box.height <= sides.height &&
           box.width <= sides.width && box.top <= sides.height - box.height && box.left <= sides.width - box.width;
}

Sides stored_sides(const Sides& upright, int orientation) {
    return is_transposed(orientation) ? Sides{upright.width, upright.height} : upright;
}

Target Target::of(uint8_t* picture, const Sides& sides, const Layout& layout, const Turn& turn) {
    const Sides shown = turn.transpose ? Sides{sides.width, sides.height} : sides;
    const ptrdiff_t area = static_cast<ptrdiff_t>(shown.height) * shown.width;
    ptrdiff_t down = layout.channels_last ? static_cast<ptrdiff_t>(shown.width) * layout.channels : shown.width;
    ptrdiff_t right = layout.channels_last ? layout.channels : 1;
    Target target{picture, 0, 0, layout.channels_last ? 1 : area, sides, layout.channels};
    if (turn.flip_rows) {
        target.origin += (shown.height - 1) * down;
        down = -down;
    }
    if (turn.flip_columns) {
        target.origin += (shown.width - 1) * right;
        right = -right;
    }
    target.row_step = turn.transpose ? right : down;
    target.column_step = turn.transpose ? down : right;
    return target;
}

Target Target::part(int top, int left, const Sides& size) const {
    Target target = *this;
    target.origin += top * row_step + left * column_step;
    target.sides = size;
    return target;
}

Target Target::stored(int orientation) const {
    Target target = *this;
    if (is_transposed(orientation)) {
        std::swap(target.row_step, target.column_step);
        std::swap(target.sides.height, target.sides.width);
    }
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
