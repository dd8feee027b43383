#include "view.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

namespace imagemill {
namespace {

int at_least_1(double side) { return std::max(1, static_cast<int>(std::floor(side + 0.5))); }

int down_to(double value) { return static_cast<int>(std::floor(value)); }

int up_to(double value) { return static_cast<int>(std::ceil(value)); }

}  // namespace

View View::whole(const Sides& sides) {
    return {sides,
            0.0,
            0.0,
            static_cast<double>(sides.height),
            static_cast<double>(sides.width),
            {0, 0, sides.height, sides.width},
            sides,
            {false, false, false},
            Filter::kBilinear,
            false,
            {{0, 0, 0, 0}, 0}};
}

bool View::is_padded() const {
    return top < limit.top || left < limit.left || top + height > limit.bottom || left + width > limit.right;
}

View View::confined() const {
    View view = *this;
    view.limit = {std::max(limit.top, down_to(top)), std::max(limit.left, down_to(left)),
                  std::min(limit.bottom, up_to(top + height)), std::min(limit.right, up_to(left + width))};
    return view;
}

View View::cropped(int first_row, int first_column, int rows, int columns, const Fill& beyond_it) const {
    const Sides shown = size();
    const bool beyond = std::min(first_row, first_column) < 0 || first_row + rows > shown.height ||
                        first_column + columns > shown.width;
    View view = *this;
    if (beyond) {
        view = confined();
        view.fill = beyond_it;
    }
    if (turn.flip_rows) {
        first_row = shown.height - first_row - rows;
    }
    if (turn.flip_columns) {
        first_column = shown.width - first_column - columns;
    }
    if (turn.transpose) {
        std::swap(first_row, first_column);
        std::swap(rows, columns);
    }
    const double down = height / out.height, across = width / out.width;
    view.top = top + first_row * down;
    view.left = left + first_column * across;
    view.height = rows * down;
    view.width = columns * across;
    view.out = {rows, columns};
    return view;
}

View View::resized(const Sides& size, Filter with) const {
    View view = confined();
    view.out = turn.transpose ? Sides{size.width, size.height} : size;
    view.filter = with;
    view.is_resized = true;
    return view;
}

View View::turned(bool transpose, bool flip_rows, bool flip_columns) const {
    View view = *this;
    bool rows = turn.flip_rows, columns = turn.flip_columns;
    if (transpose) {
        std::swap(rows, columns);
    }
    view.turn = {turn.transpose != transpose, rows != flip_rows, columns != flip_columns};
    return view;
}

View View::on(const Sides& other) const {
    if (other.height == picture.height && other.width == picture.width) {
        return *this;
    }
    const double down = static_cast<double>(other.height) / picture.height;
    const double across = static_cast<double>(other.width) / picture.width;
    View view = *this;
    view.picture = other;
    view.top = top * down;
    view.left = left * across;
    view.height = height * down;
    view.width = width * across;
    view.limit = {down_to(limit.top * down), down_to(limit.left * across),
                  std::min(up_to(limit.bottom * down), other.height),
                  std::min(up_to(limit.right * across), other.width)};
    view.out = is_resized ? out : Sides{at_least_1(out.height * down), at_least_1(out.width * across)};
    return view;
}

View View::stored(int orientation) const {
    View view = *this;
    view.turn = {false, false, false};
    if (is_transposed(orientation)) {
        std::swap(view.picture.height, view.picture.width);
        std::swap(view.top, view.left);
        std::swap(view.height, view.width);
        std::swap(view.out.height, view.out.width);
        std::swap(view.limit.top, view.limit.left);
        std::swap(view.limit.bottom, view.limit.right);
    }
    if (rows_reversed(orientation)) {
        view.top = view.picture.height - view.height - view.top;
        view.limit.top = view.picture.height - std::exchange(view.limit.bottom, view.picture.height - view.limit.top);
    }
    if (columns_reversed(orientation)) {
        view.left = view.picture.width - view.width - view.left;
        view.limit.left = view.picture.width - std::exchange(view.limit.right, view.picture.width - view.limit.left);
    }
    return view;
}

}  // namespace imagemill
