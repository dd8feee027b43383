#include "samples.hpp"

#include <cstring>
#include <memory>
#include <new>
#include <vector>

#include "changes.hpp"
#include "digest.hpp"
#include "masks.hpp"
#include "picture_file.hpp"
#include "pixels.hpp"
#include "png.hpp"

namespace imagemill {
namespace {

// A batch of raw pictures that takes more than a core's share of the caches.
constexpr int64_t kLargeBytes = 4 << 20;

// One sample on its way into the batch: its first picture decides what is drawn, the others follow.
class Sample {
  public:
    Sample(const Samples& samples, int64_t index)
        : samples_(samples), index_(index), rng_(samples.epoch_state, samples.names[index]) {}

    Status load() {
        const Column* columns = samples_.columns + static_cast<int64_t>(samples_.shards[index_]) * samples_.field_count;
        for (const bool is_turn_of_images : {true, false}) {
            for (int i = 0; i < samples_.field_count; ++i) {
                const FieldPlan& field = samples_.fields[i];
                const bool is_image = field.kind == FieldKind::kImage || field.kind == FieldKind::kPixels;
                const Status status = is_image == is_turn_of_images ? load_field(field, columns[i]) : Status::kDone;
                if (status != Status::kDone) {
                    return status;
                }
            }
        }
        if (samples_.states != nullptr) {
            samples_.states[index_] = rng_.state();
        }
        return Status::kDone;
    }

  private:
    Status load_field(const FieldPlan& field, const Column& column) {
        const int64_t row = samples_.rows[index_];
        const uint8_t* data = column.values + column.starts[row];
        const int64_t size = column.lengths[row];
        if (!is_sound(column, row, data, static_cast<size_t>(size))) {
            return Status::kDamaged;
        }
        uint8_t* out = field.out + index_ * field.size_bytes;
        switch (field.kind) {
            case FieldKind::kImage:
                return changed(field, show_file(field, data, static_cast<size_t>(size), out), out);
            case FieldKind::kPixels:
                return changed(field, show_raw(field, data, size, out), out);
            case FieldKind::kMask:
                return show_mask_file(field, data, static_cast<size_t>(size), out);
            case FieldKind::kMaskPixels:
                return show_raw_mask(field, data, size, out);
            case FieldKind::kBytes:
                if (size != field.size_bytes) {
                    return Status::kElsewhere;
                }
                std::memcpy(out, data, static_cast<size_t>(size));
                return Status::kDone;
            case FieldKind::kPlace: {
                const int64_t place[2] = {static_cast<int64_t>(reinterpret_cast<intptr_t>(data)), size};
                std::memcpy(field.out + index_ * static_cast<int64_t>(sizeof place), place, sizeof place);
                return Status::kDone;
            }
        }
        return Status::kElsewhere;
    }

    // Whether a value is what was written, as far as that is asked for. Two threads may check the same value at the
    // same time: both then write the same byte.
    bool is_sound(const Column& column, int64_t row, const uint8_t* data, size_t size) {
        if (samples_.verify == Verify::kNever || column.digests == nullptr) {
            return true;
        }
        uint8_t* checked = column.checked + row;
        if (samples_.verify == Verify::kFirst && __atomic_load_n(checked, __ATOMIC_RELAXED) != 0) {
            return true;
        }
        if (xxh3_64(data, size) != column.digests[row]) {
            return false;
        }
        __atomic_store_n(checked, uint8_t{1}, __ATOMIC_RELAXED);
        return true;
    }

    Status show_file(const FieldPlan& field, const uint8_t* data, size_t size, uint8_t* out) {
        const Rules rules{samples_.shrink_gap, samples_.max_pixels, samples_.profiles, samples_.profile_count};
        PictureFile file(rules);
        uint64_t profile;
        const Status status = file.open(data, size, &profile);
        View view;
        if (status != Status::kDone) {
            return status;
        }
        return find_view(field, file.sides(), view) ? file.show(view, layout_of(field), out) : Status::kElsewhere;
    }

    Status show_raw(const FieldPlan& field, const uint8_t* data, int64_t size, uint8_t* out) {
        View view;
        const int64_t wanted = static_cast<int64_t>(field.raw_sides.height) * field.raw_sides.width * field.channels;
        if (size != wanted || !find_view(field, field.raw_sides, view)) {
            return Status::kElsewhere;
        }
        const bool streams = field.size_bytes * samples_.count >= kLargeBytes && samples_.change_count == 0;
        return show_pixels(data, view, layout_of(field), streams, out);
    }

    Status show_mask_file(const FieldPlan& field, const uint8_t* data, size_t size, uint8_t* out) {
        if (!looks_like_png(data, size)) {
            return Status::kNotJpeg;
        }
        PngFile file;
        const Status status = file.open(data, size, samples_.max_pixels, true);
        View view;
        if (status != Status::kDone) {
            return status;
        }
        if (!find_view(field, file.sides(), view)) {
            return Status::kElsewhere;
        }
        const Bytes values = file.values();
        if (values == nullptr) {
            return Status::kDoubtful;
        }
        show_mask(values.get(), view, field.element_bytes, field.channels, out);
        return Status::kDone;
    }

    Status show_raw_mask(const FieldPlan& field, const uint8_t* data, int64_t size, uint8_t* out) {
        View view;
        const int64_t pixels = static_cast<int64_t>(field.raw_sides.height) * field.raw_sides.width;
        if (size != pixels * field.element_bytes * field.channels || !find_view(field, field.raw_sides, view)) {
            return Status::kElsewhere;
        }
        show_mask(data, view, field.element_bytes, field.channels, out);
        return Status::kDone;
    }

    // What is seen of a picture of these sides; false where it is none of the size that the batch has.
    bool find_view(const FieldPlan& field, const Sides& sides, View& view) {
        if (!is_drawn_) {
            if (!draw(samples_.steps, samples_.geometry_count, sides, rng_, drawn_)) {
                return false;
            }
            const Operation* others = samples_.steps + samples_.geometry_count;
            draw_changes(others, samples_.change_count, drawn_.size(), rng_, changes_);
            is_drawn_ = true;
        }
        view = drawn_.on(sides);
        return view.size().height == field.sides.height && view.size().width == field.sides.width;
    }

    Status changed(const FieldPlan& field, Status status, uint8_t* out) {
        if (status == Status::kDone) {
            for (const Change& change : changes_) {
                apply_change(change, out, field.sides, layout_of(field));
            }
        }
        return status;
    }

    static Layout layout_of(const FieldPlan& field) { return {field.channels, field.channels_last != 0}; }

    const Samples& samples_;
    int64_t index_;
    SampleRng rng_;
    bool is_drawn_ = false;
    View drawn_{};
    std::vector<Change> changes_;
};

void load_one(const Samples& samples, int64_t index) {
    Status status = Status::kNoMemory;
    try {
        status = Sample(samples, index).load();
    } catch (const std::bad_alloc&) {
        // The sample's own message is the status.
    }
    samples.statuses[index] = static_cast<int32_t>(status);
}

}  // namespace

void load_samples(const Samples& samples, Team& team) {
    team.run(samples.count, [&samples](int64_t index) { load_one(samples, index); });
}

}  // namespace imagemill
