#include "picture.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

#include "jpeg_reader.hpp"

namespace imagemill {
namespace {

constexpr int kMostShrunk = 8;

bool looks_like_jpeg(const uint8_t* data, size_t size) {
    return size >= 4 && data[0] == 0xFF && data[1] == 0xD8 && data[2] == 0xFF;
}

bool is_trusted(const Batch& batch, uint64_t profile) {
    return profile == 0 || std::binary_search(batch.trusted, batch.trusted + batch.trusted_count, profile);
}

// The largest of 1, 2, 4 and 8 that leaves `gap` times the target's pixels on both sides.
int choose_shrink(const Box& box, const Sides& target, double gap) {
    int shrink = 1;
    while (shrink < kMostShrunk && box.height >= 2.0 * shrink * std::max(gap, 1.0) * target.height &&
           box.width >= 2.0 * shrink * std::max(gap, 1.0) * target.width) {
        shrink *= 2;
    }
    return shrink;
}

// The shrunk picture's pixels that the box touches.
Box shrunk_box(const Box& box, int shrink) {
    const int top = box.top / shrink;
    const int left = box.left / shrink;
    const int bottom = (box.top + box.height + shrink - 1) / shrink;
    const int right = (box.left + box.width + shrink - 1) / shrink;
    return {top, left, bottom - top, right - left};
}

Taps taps_of(Filter filter, int start, int length, int shrink, int count) {
    return {filter, static_cast<double>(start) / shrink, static_cast<double>(start + length) / shrink, count};
}

// Reads rows as the filter asks for them and keeps only those that later output rows need.
bool resize_rows(JpegReader& reader, const Taps& rows, const Taps& columns, const Box& region, const Target& target) {
    const int kept = rows.widest();
    const size_t stride = static_cast<size_t>(reader.row_bytes());
    const int floats = region.width * 4;
    std::vector<uint8_t> ring(stride * kept);
    std::vector<uint8_t*> wanted(kept);
    std::vector<const uint8_t*> weighed(kept);
    std::vector<float> sums(floats + kOverread);
    int decoded = 0;
    for (int row = 0; row < target.sides.height; ++row) {
        const int first = rows.first(row);
        const int size = rows.size(row);
        while (decoded < first + size) {
            const int count = std::min(first + size - decoded, kept);
            for (int i = 0; i < count; ++i) {
                wanted[i] = &ring[stride * ((decoded + i) % kept)];
            }
            if (!reader.read(wanted.data(), count)) {
                return false;
            }
            decoded += count;
        }
        for (int k = 0; k < kept; ++k) {  // rows beyond `size` weigh nothing: any will do
            weighed[k] = &ring[stride * ((first + std::min(k, size - 1)) % kept)] + reader.column_offset() * 4;
        }
        weigh_rows(weighed.data(), rows.weights(row), (size + 3) / 4 * 4, sums.data(), floats);
        weigh_columns(sums.data(), columns, target, row);
    }
    return true;
}

}  // namespace

Status decode_picture(const Batch& batch, int64_t index, Text& text) {
    const uint8_t* data = batch.data[index];
    const size_t size = batch.sizes[index];
    if (!looks_like_jpeg(data, size)) {
        return Status::kNotJpeg;
    }
    JpegReader reader(text);
    if (!reader.open(data, size)) {
        return reader.status();
    }
    const Sides stored = reader.sides();
    if (static_cast<int64_t>(stored.height) * stored.width > batch.max_pixels) {
        text.print("%dx%d pixels, more than %lld", stored.width, stored.height,
                   static_cast<long long>(batch.max_pixels));
        return Status::kTooLarge;
    }
    batch.profiles[index] = reader.profile_hash();
    if (!is_trusted(batch, reader.profile_hash())) {
        return Status::kProfile;
    }
    const int given = batch.orientations[index];
    const int orientation = given >= 1 && given <= 8 ? given : reader.orientation();
    const int32_t* numbers = batch.boxes + index * 4;
    const Box upright{numbers[0], numbers[1], numbers[2], numbers[3]};
    const Sides shown = stored_sides(stored, orientation);
    if (!is_inside(upright, shown)) {
        text.print("%d rows x %d", shown.height, shown.width);
        return Status::kBadBox;
    }
    const Box box = stored_box(upright, stored, orientation);
    const int64_t bytes = static_cast<int64_t>(batch.sides.height) * batch.sides.width * batch.channels;
    const Target target = place(batch.out + index * bytes, batch.sides, batch.channels, batch.channels_last,
                                orientation, (batch.flips[index] & 1) != 0, (batch.flips[index] & 2) != 0);
    const int shrink = choose_shrink(box, target.sides, batch.shrink_gap);
    const Box region = shrunk_box(box, shrink);
    if (!reader.start(region, shrink)) {
        return reader.status();
    }
    const Taps rows = taps_of(batch.filter, box.top, box.height, shrink, target.sides.height);
    const Taps columns = taps_of(batch.filter, box.left, box.width, shrink, target.sides.width);
    return resize_rows(reader, rows, columns, region, target) ? Status::kDone : reader.status();
}

}  // namespace imagemill
