#include "samples.hpp"

#include <cstring>
#include <new>

#include "digest.hpp"
#include "picture.hpp"
#include "pixels.hpp"

namespace imagemill {
namespace {

// A batch of raw pictures that takes more than a core's share of the caches.
constexpr int64_t kLargeBytes = 4 << 20;

// One sample on its way into the batch: its first picture decides what is drawn, the others follow.
class Sample {
  public:
    Sample(const Samples& samples, int64_t index) : samples_(samples), index_(index) {}

    Status load() {
        const Column* columns = samples_.columns + static_cast<int64_t>(samples_.shards[index_]) * samples_.field_count;
        for (int i = 0; i < samples_.field_count; ++i) {
            const Status status = load_field(samples_.fields[i], columns[i]);
            if (status != Status::kDone) {
                return status;
            }
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
            case FieldKind::kJpeg:
                return decode(field, data, static_cast<size_t>(size), out);
            case FieldKind::kPixels:
                return show_raw(field, data, size, out);
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

    Status decode(const FieldPlan& field, const uint8_t* data, size_t size, uint8_t* out) {
        Text text(nullptr);
        JpegReader reader(text);
        const Rules rules{samples_.shrink_gap, samples_.max_pixels, samples_.profiles, samples_.profile_count};
        int orientation = 0;
        uint64_t profile = 0;
        const Status status = open_picture(reader, data, size, rules, text, orientation, profile);
        if (status != Status::kDone) {
            return status;
        }
        View view;
        if (!find_view(field, stored_sides(reader.sides(), orientation), view)) {
            return Status::kElsewhere;
        }
        return show_picture(reader, view, orientation, rules, {field.channels, field.channels_last != 0}, out);
    }

    Status show_raw(const FieldPlan& field, const uint8_t* data, int64_t size, uint8_t* out) {
        View view;
        const int64_t wanted = static_cast<int64_t>(field.raw_sides.height) * field.raw_sides.width * field.channels;
        if (size != wanted || !find_view(field, field.raw_sides, view)) {
            return Status::kElsewhere;
        }
        const bool streams = field.size_bytes * samples_.count >= kLargeBytes;
        return show_pixels(data, view, {field.channels, field.channels_last != 0}, streams, out);
    }

    // What is seen of a picture of these sides; false where it is none of the size that the batch has.
    bool find_view(const FieldPlan& field, const Sides& sides, View& view) {
        if (!is_drawn_) {
            SampleRng rng(samples_.epoch_state, samples_.names[index_]);
            if (!draw(samples_.steps, samples_.step_count, sides, rng, drawn_)) {
                return false;
            }
            is_drawn_ = true;
        }
        view = drawn_.on(sides);
        return view.size().height == field.sides.height && view.size().width == field.sides.width;
    }

    const Samples& samples_;
    int64_t index_;
    bool is_drawn_ = false;
    View drawn_{};
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
