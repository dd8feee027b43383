#include "batch.hpp"

#include <algorithm>
#include <cstring>
#include <memory>
#include <new>

#include "picture.hpp"
#include "team.hpp"

namespace imagemill {
namespace {

Limit limit_of(const Batch& batch, int64_t index) {
    const int32_t* numbers = batch.limits + index * 4;
    return {numbers[0], numbers[1], numbers[2], numbers[3]};
}

// What is asked for of a picture of these sides; false where it has no such part.
bool find_view(const Batch& batch, int64_t index, const Sides& upright, View& view) {
    const double* box = batch.boxes + index * 4;
    const int turn = batch.turns[index];
    view = View::whole(upright);
    view.turn = {(turn & 4) != 0, (turn & 2) != 0, (turn & 1) != 0};
    view.top = box[0];
    view.left = box[1];
    view.height = box[2];
    view.width = box[3];
    view.limit = limit_of(batch, index);
    view.out = view.turn.transpose ? Sides{batch.sides.width, batch.sides.height} : batch.sides;
    view.filter = batch.filter;
    const Limit& limit = view.limit;
    const bool is_sound = limit.top >= 0 && limit.left >= 0 && limit.top < limit.bottom && limit.left < limit.right &&
                          limit.bottom <= upright.height && limit.right <= upright.width;
    // Comparisons that a number which is none fails, too.
    return is_sound && view.height > 0 && view.width > 0 && view.top >= limit.top && view.left >= limit.left &&
           view.top + view.height <= limit.bottom && view.left + view.width <= limit.right;
}

Status decode(const Batch& batch, int64_t index, Text& text) {
    std::unique_ptr<PictureReader> reader;
    int orientation = batch.orientations[index];
    const Status status = open_picture(reader, batch.data[index], batch.sizes[index], batch.rules, text, orientation,
                                       batch.profiles[index]);
    if (status != Status::kDone) {
        return status;
    }
    const Sides upright = stored_sides(reader->sides(), orientation);
    View view;
    if (!find_view(batch, index, upright, view)) {
        text.print("%d rows x %d", upright.height, upright.width);
        return Status::kBadBox;
    }
    const int64_t bytes = static_cast<int64_t>(batch.sides.height) * batch.sides.width * batch.layout.channels;
    return show_picture(*reader, view, orientation, batch.rules, batch.layout, batch.out + index * bytes);
}

Status decode_or_status(const Batch& batch, int64_t index) {
    Text text(batch.texts + index * kTextBytes);
    batch.profiles[index] = 0;
    try {
        return decode(batch, index, text);
    } catch (const std::bad_alloc&) {
        text.print("out of memory");
        return Status::kNoMemory;
    }
}

void decode_one(const Batch& batch, int64_t index) {
    const Status status = decode_or_status(batch, index);
    batch.statuses[index] = static_cast<int32_t>(status);
    if (status != Status::kDone) {  // nothing half written, whatever was in the buffer before
        const size_t bytes = static_cast<size_t>(batch.sides.height) * batch.sides.width * batch.layout.channels;
        std::memset(batch.out + static_cast<size_t>(index) * bytes, 0, bytes);
    }
}

}  // namespace

void decode_batch(const Batch& batch, int threads) {
    // Threads live for one batch: starting one takes microseconds, a batch takes milliseconds, and a process
    // that forks in between inherits no pool that hangs.
    Team team(threads > 1 ? static_cast<int>(std::min<int64_t>(threads, batch.count)) : 0);
    team.run(batch.count, [&batch](int64_t index) { decode_one(batch, index); });
}

}  // namespace imagemill
