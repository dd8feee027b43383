#include "masks.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

namespace imagemill {
namespace {

// The pixel of the mask under each new one along one axis, counted in bytes; -1 beyond the limit.
std::vector<ptrdiff_t> centres(double start, double length, int out, int low, int high, ptrdiff_t step) {
    std::vector<ptrdiff_t> places(static_cast<size_t>(out));
    for (int i = 0; i < out; ++i) {
        const double centre = std::floor(start + static_cast<double>(2 * int64_t{i} + 1) * length / (2 * int64_t{out}));
        places[static_cast<size_t>(i)] = centre < low || centre >= high ? -1 : static_cast<ptrdiff_t>(centre) * step;
    }
    return places;
}

// One pixel of what is shown beyond the limit.
std::vector<uint8_t> fill_of(int32_t value, int element_bytes, int channels) {
    std::vector<uint8_t> pixel(static_cast<size_t>(element_bytes) * channels);
    for (int channel = 0; channel < channels; ++channel) {  // little-endian, as elements are stored; 0 to 255
        pixel[static_cast<size_t>(channel) * element_bytes] = static_cast<uint8_t>(value);
    }
    return pixel;
}

template <int kBytes>
void copy_row(const uint8_t* row, const std::vector<ptrdiff_t>& columns, const uint8_t* fill, uint8_t* out,
              ptrdiff_t step) {
    for (const ptrdiff_t column : columns) {
        std::memcpy(out, row == nullptr || column < 0 ? fill : row + column, kBytes);
        out += step;
    }
}

void copy_row_any(const uint8_t* row, const std::vector<ptrdiff_t>& columns, const uint8_t* fill, uint8_t* out,
                  ptrdiff_t step, size_t bytes) {
    for (const ptrdiff_t column : columns) {
        std::memcpy(out, row == nullptr || column < 0 ? fill : row + column, bytes);
        out += step;
    }
}

// Whether nothing is to be done but to copy.
bool is_whole(const View& view) {
    return view.top == 0 && view.left == 0 && view.height == view.picture.height && view.width == view.picture.width &&
           view.out.height == view.picture.height && view.out.width == view.picture.width && !view.turn.transpose &&
           !view.turn.flip_rows && !view.turn.flip_columns;
}

}  // namespace

void show_mask(const uint8_t* pixels, const View& view, int element_bytes, int channels, uint8_t* out) {
    const ptrdiff_t bytes = static_cast<ptrdiff_t>(element_bytes) * channels;
    if (is_whole(view)) {
        std::memcpy(out, pixels, static_cast<size_t>(bytes * view.picture.height * view.picture.width));
        return;
    }
    const Limit& limit = view.limit;
    // Whatever the limit, no pixel lies outside the picture.
    const auto rows = centres(view.top, view.height, view.out.height, std::max(limit.top, 0),
                              std::min(limit.bottom, view.picture.height), bytes * view.picture.width);
    const auto columns = centres(view.left, view.width, view.out.width, std::max(limit.left, 0),
                                 std::min(limit.right, view.picture.width), bytes);
    const auto fill = fill_of(view.fill.mask, element_bytes, channels);
    // Channels move together: to this, one pixel has one channel.
    const Target target = Target::of(out, view.out, {1, false}, view.turn);
    const ptrdiff_t first = (target.origin - out) * bytes;
    uint8_t* place = out + first;
    for (const ptrdiff_t row : rows) {
        const uint8_t* from = row < 0 ? nullptr : pixels + row;
        const ptrdiff_t step = target.column_step * bytes;
        switch (bytes) {
            case 1:
                copy_row<1>(from, columns, fill.data(), place, step);
                break;
            case 2:
                copy_row<2>(from, columns, fill.data(), place, step);
                break;
            case 4:
                copy_row<4>(from, columns, fill.data(), place, step);
                break;
            default:
                copy_row_any(from, columns, fill.data(), place, step, static_cast<size_t>(bytes));
        }
        place += target.row_step * bytes;
    }
}

}  // namespace imagemill
