// From the rows of a picture to a view of it: the part that JPEGs and raw pixels share.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "placement.hpp"
#include "resize.hpp"
#include "view.hpp"

namespace imagemill {

// The taps of one axis of a view, in pixels of the picture shrunk by `shrink`.
inline Taps taps_of(Filter filter, double start, double length, int shrink, int count, int low, int high) {
    return {filter, start / shrink, (start + length) / shrink, count, low / shrink, (high + shrink - 1) / shrink};
}

// Whether pixels are only copied: the box is as large as the result, and begins at a pixel.
inline bool is_copy(const View& view) {
    return view.height == view.out.height && view.width == view.out.width && view.top == std::floor(view.top) &&
           view.left == std::floor(view.left);
}

// Reads rows as the filter asks for them and keeps only those that later output rows need. A Reader has
// row_bytes(), column_offset() and read(rows, count), and stands at the first row and column of the taps.
template <typename Reader>
bool resize_rows(Reader& reader, const Taps& rows, const Taps& columns, const Target& target) {
    const std::unique_ptr<RowMaker> maker = RowMaker::of(rows, columns, target);
    const int kept = rows.widest();
    const size_t stride = static_cast<size_t>(reader.row_bytes());
    std::vector<uint8_t> ring(stride * kept + kRowSlack);
    // Places of rows, twice over: `kept` rows that follow each other always stand together.
    std::vector<uint8_t*> places(static_cast<size_t>(2 * kept));
    std::vector<const uint8_t*> pixels(places.size());
    for (int i = 0; i < 2 * kept; ++i) {
        places[i] = &ring[stride * (i % kept)];
        pixels[i] = places[i] + reader.column_offset() * 4;
    }
    int decoded = 0;
    for (int row = 0; row < target.sides.height; ++row) {
        const int first = rows.first(row);
        const int size = rows.size(row);
        while (decoded < first + size) {
            const int count = std::min(first + size - decoded, kept);
            if (!reader.read(&places[decoded % kept], count)) {
                return false;
            }
            decoded += count;
        }
        // The row beyond an odd number of them weighs nothing: any will do.
        maker->make(&pixels[first % kept], rows.weights(row), (size + 1) / 2 * 2, row);
    }
    return true;
}

// One axis of a padded view: the part of the box inside the limit, and the rows of the result that it takes.
struct Shown {
    double start;
    double length;
    int first;
    int count;
};

inline Shown shown(double start, double length, int out, int low, int high) {
    const double first = std::max<double>(start, low), last = std::min<double>(start + length, high);
    const double scale = out / length;
    const int begin = static_cast<int>(std::floor((first - start) * scale + 0.5));
    const int end = static_cast<int>(std::floor((last - start) * scale + 0.5));
    return {first, last - first, begin, end - begin};
}

// Fills what lies beyond the limit, and leaves of view and target the part that does not; false where none is left.
bool without_padding(View& view, Target& target);

}  // namespace imagemill
