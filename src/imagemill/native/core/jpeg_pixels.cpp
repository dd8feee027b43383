#include "jpeg_pixels.hpp"

#include <algorithm>
#include <cstring>

#include "jpeg_rows.hpp"
#include "jpeg_transform.hpp"

namespace imagemill {
namespace {

constexpr ptrdiff_t kAlignment = 64;
// Beside a row of samples: what kernels read and write beyond it.
constexpr ptrdiff_t kSlack = 64;

int divided_up(int number, int by) { return (number + by - 1) / by; }

size_t aligned(size_t size) { return (size + kAlignment - 1) / kAlignment * kAlignment; }

Stretch clipped(int begin, int end, int length) { return {std::max(begin, 0), std::min(end, length)}; }

}  // namespace

const uint8_t* JpegPixels::Plane::row(int number) const {
    const int clamped = std::clamp(number, 0, sides.height - 1);
    return samples + clamped % (2 * mcu_rows) * stride;
}

int JpegPixels::row_bytes() const { return divided_up(region_.width, kRowStep) * kRowStep * 4; }

// How libjpeg-turbo's jdmaster.c and jdsample.c share the way to full size between transform and upsampling.
void JpegPixels::plan(const Box& region, int shrink) {
    const int least = kBlockSide / shrink;
    for (int i = 0; i < frame_.component_count; ++i) {
        const JpegComponent& component = frame_.components[i];
        Plane& plane = planes_[i];
        plane.size = least;
        while (plane.size < kBlockSide && frame_.most_across * least % (component.across * plane.size * 2) == 0 &&
               frame_.most_down * least % (component.down * plane.size * 2) == 0) {
            plane.size *= 2;
        }
        plane.across = frame_.most_across * least / (component.across * plane.size);
        plane.down = frame_.most_down * least / (component.down * plane.size);
        plane.sides = {divided_up(frame_.sides.height * component.down * plane.size, frame_.most_down * kBlockSide),
                       divided_up(frame_.sides.width * component.across * plane.size, frame_.most_across * kBlockSide)};
        const bool is_doubled = plane.across == 2 && plane.down <= 2 && plane.sides.width > 2;
        plane.is_smooth = least > 1 && (is_doubled || (plane.across == 1 && plane.down == 2));
        plane.mcu_rows = component.down * plane.size;
        plane.mcu_columns = component.across * plane.size;
        const int margin = plane.is_smooth ? 1 : 0;
        plane.rows = clipped(region.top / plane.down - margin,
                             (region.top + region.height - 1) / plane.down + 1 + margin, plane.sides.height);
        plane.columns = clipped(region.left / plane.across - margin,
                                (region.left + region.width - 1) / plane.across + 1 + margin, plane.sides.width);
    }
}

Demand JpegPixels::demand() const {
    Demand demand{frame_.mcu_rows, 0, frame_.mcu_columns, 0, {}};
    for (int i = 0; i < frame_.component_count; ++i) {
        const Plane& plane = planes_[i];
        demand.first_row = std::min(demand.first_row, plane.rows.begin / plane.mcu_rows);
        demand.end_row = std::max(demand.end_row, divided_up(plane.rows.end, plane.mcu_rows));
        demand.first_column = std::min(demand.first_column, plane.columns.begin / plane.mcu_columns);
        demand.end_column = std::max(demand.end_column, divided_up(plane.columns.end, plane.mcu_columns));
        demand.sizes[i] = plane.size;
    }
    return demand;
}

void JpegPixels::allocate(const Demand& demand) {
    const int columns = demand.end_column - demand.first_column;
    size_t size = 0;
    const auto take = [&size](ptrdiff_t bytes) {
        const size_t place = size;
        size += aligned(static_cast<size_t>(bytes));
        return place;
    };
    size_t samples[kMostComponents], scratch[kMostComponents], blocks[kMostComponents], extents[kMostComponents];
    for (int i = 0; i < frame_.component_count; ++i) {
        Plane& plane = planes_[i];
        block_columns_[i] = columns * frame_.components[i].across;
        const ptrdiff_t count = static_cast<ptrdiff_t>(block_columns_[i]) * frame_.components[i].down;
        plane.first_column = demand.first_column * plane.mcu_columns;
        plane.stride = static_cast<ptrdiff_t>(aligned(static_cast<size_t>(columns) * plane.mcu_columns + 2 * kSlack));
        samples[i] = take(plane.stride * 2 * plane.mcu_rows);
        scratch[i] = take(row_bytes() / 4 + 2 * plane.across * kRowStep + kSlack);
        blocks[i] = take(count * kBlockSize * static_cast<ptrdiff_t>(sizeof(int16_t)));
        extents[i] = take(count);
    }
    memory_.reset(new uint8_t[size + kAlignment]);
    uint8_t* first = memory_.get() + (kAlignment - reinterpret_cast<uintptr_t>(memory_.get()) % kAlignment);
    for (int i = 0; i < frame_.component_count; ++i) {
        planes_[i].samples = first + samples[i] + kSlack;
        scratch_[i] = first + scratch[i];
        blocks_.blocks[i] = reinterpret_cast<int16_t*>(first + blocks[i]);
        blocks_.extents[i] = first + extents[i];
    }
}

bool JpegPixels::start(const Box& region, int shrink) {
    region_ = region;
    plan(region, shrink);
    const Demand wanted = demand();
    allocate(wanted);
    next_mcu_row_ = wanted.first_row;
    next_y_ = region.top;
    return source_.start(wanted);
}

bool JpegPixels::read_mcu_row() {
    if (!source_.read(blocks_)) {
        return false;
    }
    for (int i = 0; i < frame_.component_count; ++i) {
        transform(i, next_mcu_row_);
    }
    ++next_mcu_row_;
    return true;
}

// Samples of the blocks that the region needs.
void JpegPixels::transform(int component, int mcu_row) {
    const Plane& plane = planes_[component];
    const int first = (plane.columns.begin - plane.first_column) / plane.size;
    const int end = divided_up(plane.columns.end - plane.first_column, plane.size);
    for (int i = 0; i < frame_.components[component].down; ++i) {
        const int y = mcu_row * plane.mcu_rows + i * plane.size;
        if (y >= plane.rows.end || y + plane.size <= plane.rows.begin) {
            continue;
        }
        uint8_t* row = plane.samples + y % (2 * plane.mcu_rows) * plane.stride;
        const ptrdiff_t block = static_cast<ptrdiff_t>(i) * block_columns_[component] + first;
        transform_blocks(blocks_.blocks[component] + block * kBlockSize, blocks_.extents[component] + block, end - first,
                         frame_.components[component].steps, plane.size, row + first * plane.size, plane.stride);
        for (int k = 0; plane.is_smooth && plane.across == 2 && k < plane.size; ++k) {
            pad_edges(plane, row + k * plane.stride);
        }
    }
}

// What lies beyond the edges of the picture is as what lies on them.
void JpegPixels::pad_edges(const Plane& plane, uint8_t* row) const {
    if (plane.columns.begin == 0) {
        row[-1] = row[0];
    }
    if (plane.columns.end == plane.sides.width) {
        uint8_t* end = row + plane.columns.end - plane.first_column;
        *end = end[-1];
    }
}

// Samples of a row of pixels, from the region's left on.
const uint8_t* JpegPixels::full_row(int component, int y) {
    const Plane& plane = planes_[component];
    const int sample_row = y / plane.down;
    const int first = region_.left / plane.across, rest = region_.left % plane.across;
    const int count = (region_.left + region_.width - 1) / plane.across + 1 - first;
    const ptrdiff_t place = first - plane.first_column;
    const uint8_t* nearer = plane.row(sample_row) + place;
    if (plane.across == 1 && plane.down == 1) {
        return nearer;
    }
    uint8_t* out = scratch_[component];
    if (!plane.is_smooth) {
        if (plane.across == 1) {
            return nearer;
        }
        repeat_samples(nearer, plane.across, out, count);
        return out + rest;
    }
    const bool is_below = y % 2 == 1;
    const uint8_t* further = plane.row(is_below ? sample_row + 1 : sample_row - 1) + place;
    if (plane.across == 1) {
        blend_rows(nearer, further, is_below, out, count);
    } else if (plane.down == 1) {
        widen_row(nearer, out, count);
    } else {
        widen_rows(nearer, further, out, count);
    }
    return out + rest;
}

void JpegPixels::make_row(int y, uint8_t* out) {
    const uint8_t* first = full_row(0, y);
    if (frame_.colours == ColourModel::kGrey) {
        interleave(first, first, first, out, region_.width);
        return;
    }
    const uint8_t* second = full_row(1, y);
    const uint8_t* third = full_row(2, y);
    if (frame_.colours == ColourModel::kYCbCr) {
        convert_ycc(first, second, third, out, region_.width);
    } else {
        interleave(first, second, third, out, region_.width);
    }
}

bool JpegPixels::read(uint8_t* const* rows, int count) {
    for (int i = 0; i < count; ++i, ++next_y_) {
        for (int k = 0; k < frame_.component_count; ++k) {
            const Plane& plane = planes_[k];
            const int last = std::min(next_y_ / plane.down + (plane.is_smooth && next_y_ % plane.down == 1 ? 1 : 0),
                                      plane.sides.height - 1);
            while (next_mcu_row_ * plane.mcu_rows <= last) {
                if (!read_mcu_row()) {
                    return false;
                }
            }
        }
        make_row(next_y_, rows[i]);
    }
    return true;
}

}  // namespace imagemill
