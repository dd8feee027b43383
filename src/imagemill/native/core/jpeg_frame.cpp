#include "jpeg_frame.hpp"

#include <algorithm>

namespace imagemill {
namespace {

constexpr int kLongestSide = 65500;  // libjpeg's
constexpr int kMostFactor = 4;
constexpr int kMostBlocks = 10;  // of an MCU; T.81, B.2.3

int divided_up(int number, int by) { return (number + by - 1) / by; }

bool are_usable(const JpegFrame& frame) {
    int blocks = 0;
    for (int i = 0; i < frame.component_count; ++i) {
        const JpegComponent& one = frame.components[i];
        if (std::min(one.across, one.down) < 1 || std::max(one.across, one.down) > kMostFactor ||
            frame.most_across % one.across != 0 || frame.most_down % one.down != 0) {
            return false;
        }
        blocks += one.across * one.down;
    }
    return blocks <= kMostBlocks;
}

}  // namespace

bool JpegFrame::settle() {
    const bool is_grey = colours == ColourModel::kGrey;
    if (component_count != (is_grey ? 1 : kMostComponents) || std::min(sides.height, sides.width) < 1 ||
        std::max(sides.height, sides.width) > kLongestSide) {
        return false;
    }
    if (is_grey) {
        components[0].across = components[0].down = 1;
    }
    most_across = most_down = 1;
    for (int i = 0; i < component_count; ++i) {
        most_across = std::max(most_across, components[i].across);
        most_down = std::max(most_down, components[i].down);
    }
    if (!are_usable(*this)) {
        return false;
    }
    mcu_columns = divided_up(sides.width, kBlockSide * most_across);
    mcu_rows = divided_up(sides.height, kBlockSide * most_down);
    for (int i = 0; i < component_count; ++i) {
        components[i].blocks_wide = mcu_columns * components[i].across;
        components[i].blocks_high = mcu_rows * components[i].down;
    }
    return true;
}

}  // namespace imagemill
