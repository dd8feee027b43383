// What is seen of a picture, however many transforms led there: the same numbers, in the same order of operations, as
// imagemill/transforms/view.py, which is the definition.
#pragma once

#include <cstdint>

#include "placement.hpp"
#include "taps.hpp"

namespace imagemill {

// Pixels that may have a say in the result.
struct Limit {
    int top;
    int left;
    int bottom;
    int right;
};

// What is shown beyond the limit.
struct Fill {
    uint8_t colour[4];
    int32_t mask;  // class id
};

struct View {
    Sides picture;  // upright
    double top;     // the box, in pixels of the picture; may end between them, and beyond the limit
    double left;
    double height;
    double width;
    Limit limit;
    Sides out;  // the box is brought to this, then turned
    Turn turn;
    Filter filter;
    bool is_resized;
    Fill fill;

    static View whole(const Sides& sides);

    Sides size() const { return turn.transpose ? Sides{out.width, out.height} : out; }
    bool is_padded() const;
    View cropped(int top, int left, int height, int width, const Fill& fill) const;
    View resized(const Sides& size, Filter filter) const;
    View turned(bool transpose, bool flip_rows, bool flip_columns) const;
    View on(const Sides& other) const;

    // The same box and limit in a picture that lies as it is stored; the size follows, the turn stays behind.
    View stored(int orientation) const;

  private:
    View confined() const;
};

}  // namespace imagemill
