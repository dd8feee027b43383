#include "picture.hpp"

#include <algorithm>
#include <vector>

#include "jpeg_reader.hpp"
#include "pixel_rows.hpp"
#include "recoded_file.hpp"
#include "recoded_reader.hpp"
#include "scaling.hpp"

namespace imagemill {
namespace {

constexpr int kMostShrunk = 8;

bool looks_like_jpeg(const uint8_t* data, size_t size) {
    return size >= 4 && data[0] == 0xFF && data[1] == 0xD8 && data[2] == 0xFF;
}

// Whether the colours of a profile can be had: none, one known to be plain, or one with a map for such a picture.
bool find_profile(PictureReader& reader, const Rules& rules) {
    const uint64_t hash = reader.profile_hash();
    if (hash == 0) {
        return true;
    }
    const Profile* end = rules.profiles + rules.profile_count;
    const Profile* found = std::lower_bound(rules.profiles, end, hash,
                                            [](const Profile& one, uint64_t wanted) { return one.hash < wanted; });
    if (found == end || found->hash != hash) {
        return false;
    }
    if (found->map == nullptr) {
        return true;
    }
    if (found->channels != reader.channels()) {
        return false;
    }
    reader.convert(std::make_unique<Colours>(*found));
    return true;
}

// What is seen of a picture, none of it resampled.
bool copy_rows(PictureReader& reader, const View& view, const Target& target) {
    const Box box{static_cast<int>(view.top), static_cast<int>(view.left), target.sides.height, target.sides.width};
    if (!reader.start(box, 1)) {
        return false;
    }
    std::vector<uint8_t> pixels(static_cast<size_t>(reader.row_bytes()));
    uint8_t* row = pixels.data();
    for (int y = 0; y < box.height; ++y) {
        if (!reader.read(&row, 1)) {
            return false;
        }
        place_row(row + static_cast<ptrdiff_t>(reader.column_offset()) * 4, target, y);
    }
    return true;
}

// The largest of 1, 2, 4 and 8 that leaves `gap` times the target's pixels on both sides.
int choose_shrink(const View& view, double gap) {
    int shrink = 1;
    while (shrink < kMostShrunk && view.height >= 2.0 * shrink * std::max(gap, 1.0) * view.out.height &&
           view.width >= 2.0 * shrink * std::max(gap, 1.0) * view.out.width) {
        shrink *= 2;
    }
    return shrink;
}

}  // namespace

Status open_picture(std::unique_ptr<PictureReader>& made, const uint8_t* data, size_t size, const Rules& rules, Text& text,
                    int& orientation, uint64_t& profile) {
    if (recoded::is_recoded(data, size)) {
        auto* reader = new RecodedReader(text);
        made.reset(reader);
        if (!reader->open(data, size, rules.max_pixels)) {
            return reader->status();
        }
    } else if (looks_like_jpeg(data, size)) {
        auto* reader = new JpegReader(text);
        made.reset(reader);
        if (!reader->open(data, size)) {
            return reader->status();
        }
    } else {
        return Status::kNotJpeg;
    }
    PictureReader& reader = *made;
    const Sides stored = reader.sides();
    if (static_cast<int64_t>(stored.height) * stored.width > rules.max_pixels) {
        text.print("%dx%d pixels, more than %lld", stored.width, stored.height,
                   static_cast<long long>(rules.max_pixels));
        return Status::kTooLarge;
    }
    profile = reader.profile_hash();
    if (orientation < 1 || orientation > 8) {
        orientation = reader.orientation();
    }
    return find_profile(reader, rules) ? Status::kDone : Status::kProfile;
}

Status show_picture(PictureReader& reader, const View& view, int orientation, const Rules& rules, const Layout& layout,
                    uint8_t* out) {
    View inside = view;
    Target target = Target::of(out, view.out, layout, view.turn);
    if (!without_padding(inside, target)) {
        return Status::kDone;
    }
    target = target.stored(orientation);
    const View box = inside.stored(orientation);
    if (is_copy(box)) {
        return copy_rows(reader, box, target) ? Status::kDone : reader.status();
    }
    const int shrink = choose_shrink(box, rules.shrink_gap);
    const Taps rows = taps_of(box.filter, box.top, box.height, shrink, box.out.height, box.limit.top, box.limit.bottom);
    const Taps columns = taps_of(box.filter, box.left, box.width, shrink, box.out.width, box.limit.left, box.limit.right);
    if (!reader.start({rows.begin(), columns.begin(), rows.length(), columns.length()}, shrink)) {
        return reader.status();
    }
    return resize_rows(reader, rows, columns, target) ? Status::kDone : reader.status();
}

}  // namespace imagemill
