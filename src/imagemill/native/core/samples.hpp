// Samples of a packed dataset, from its maps to a batch: found, checked, drawn, decoded.
#pragma once

#include <cstddef>
#include <cstdint>

#include "program.hpp"
#include "rules.hpp"
#include "status.hpp"
#include "team.hpp"

namespace imagemill {

// The numbers of these are part of the interface: native/samples.py has the same lists.
enum class FieldKind : int32_t {
    kImage = 0,       // files; whatever is neither a JPEG nor a PNG is handed back
    kPixels = 1,      // raw pictures, (H, W, C) bytes
    kBytes = 2,       // values of equal size, copied
    kPlace = 3,       // values of any size: only where they lie is written, as address and length (two int64)
    kMask = 4,        // files; whatever is no PNG of one channel and up to 8 bits is handed back
    kMaskPixels = 5,  // raw masks, (H, W, C) elements
};

enum class Verify : int32_t { kNever = 0, kFirst = 1, kAlways = 2 };

struct FieldPlan {
    FieldKind kind;
    int32_t channels;  // of the picture or mask in the batch, and of raw ones
    int32_t channels_last;
    int32_t element_bytes;  // of a mask
    Sides sides;            // of the picture or mask in the batch
    Sides raw_sides;        // of a raw one as stored
    int64_t size_bytes;     // in the batch, where all are equal, else 0
    uint8_t* out;           // count values, one after the other
};

// Where the values of one field of one shard lie; arrays have an entry a row.
struct Column {
    const uint8_t* values;
    const int64_t* starts;
    const int64_t* lengths;
    const uint64_t* digests;  // null where there are none
    uint8_t* checked;  // whether a value's digest was found right
};

struct Samples {
    int64_t count;
    const int64_t* rows;     // count, within their shards
    const int32_t* shards;   // count, numbers in `columns`
    const uint64_t* names;   // count: what tells a sample's random stream from others of the epoch
    uint64_t epoch_state;    // of that stream, before the name
    const Column* columns;   // shards * fields
    const FieldPlan* fields;
    const Operation* steps;  // geometry, then changes of pixels
    int32_t field_count;
    int32_t geometry_count;
    int32_t change_count;
    Verify verify;
    int32_t profile_count;
    const Profile* profiles;  // sorted by hash
    double shrink_gap;
    int64_t max_pixels;
    int32_t* statuses;       // count, written
    uint64_t* states;        // count, written: of the random streams when all is drawn; null where nobody asks
};

// Every sample is written whole, or has a status that says why it is not.
void load_samples(const Samples& samples, Team& team);

}  // namespace imagemill
