#include "scaling.hpp"

namespace imagemill {
namespace {

void fill(const Target& target, const uint8_t* colour) {
    for (int row = 0; row < target.sides.height; ++row) {
        for (int channel = 0; channel < target.channels; ++channel) {
            uint8_t* place = target.origin + row * target.row_step + channel * target.channel_step;
            for (int column = 0; column < target.sides.width; ++column, place += target.column_step) {
                *place = colour[channel];
            }
        }
    }
}

}  // namespace

bool without_padding(View& view, Target& target) {
    if (!view.is_padded()) {
        return true;
    }
    fill(target, view.fill.colour);
    const Shown rows = shown(view.top, view.height, view.out.height, view.limit.top, view.limit.bottom);
    const Shown columns = shown(view.left, view.width, view.out.width, view.limit.left, view.limit.right);
    if (rows.count <= 0 || columns.count <= 0) {
        return false;
    }
    view.top = rows.start;
    view.height = rows.length;
    view.left = columns.start;
    view.width = columns.length;
    view.out = {rows.count, columns.count};
    target = target.part(rows.first, columns.first, view.out);
    return true;
}

}  // namespace imagemill
