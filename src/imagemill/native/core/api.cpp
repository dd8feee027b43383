// The C interface that native/ loads with ctypes, which lets go of the interpreter lock for the
// length of a call. A plain interface needs no headers of Python, and one build serves every version of it.

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>
#include <new>
#include <vector>

#include <jpeglib.h>
#include <unistd.h>

#include "batch.hpp"
#include "changes.hpp"
#include "digest.hpp"
#include "jpeg_parts.hpp"
#include "jpeg_reader.hpp"
#include "look.hpp"
#include "near.hpp"
#include "pair_batch.hpp"
#include "pixel_bytes.hpp"
#include "pixels.hpp"
#include "png.hpp"
#include "png_write.hpp"
#include "proofs.hpp"
#include "recode.hpp"
#include "resize.hpp"
#include "recoded_file.hpp"
#include "recoded_reader.hpp"
#include "samples.hpp"
#include "sha256.hpp"
#include "team.hpp"

#define IMAGEMILL_TEXT_(x) #x
#define IMAGEMILL_TEXT(x) IMAGEMILL_TEXT_(x)
#define IMAGEMILL_EXPORT extern "C" __attribute__((visibility("default")))

using imagemill::Batch;
using imagemill::JpegReader;
using imagemill::PictureReader;
using imagemill::ProofQueue;
using imagemill::Samples;
using imagemill::Team;

namespace {

constexpr double kNeverReduced = 1e9;  // times the target's sides: no picture is that large

// Threads do not survive a fork: a child must leave its parent's alone.
struct OwnedTeam {
    explicit OwnedTeam(int threads) : team(threads), process(getpid()) {}

    Team team;
    pid_t process;
};

// Bytes of a length that the caller cannot know.
using Bytes = std::vector<uint8_t>;

// Calls store(row, its pixels of four bytes) for the rows of a box; a status.
template <typename Store>
int32_t read_rows(const uint8_t* data, size_t size, const int32_t* box, int32_t shrink, int32_t decoder,
                  const Store& store) {
    imagemill::Text text(nullptr);
    try {
        JpegReader of_jpeg(text, static_cast<JpegReader::Decoder>(decoder));
        imagemill::RecodedReader of_recoded(text);
        const bool is_recoded = imagemill::recoded::is_recoded(data, size);
        PictureReader& reader = is_recoded ? static_cast<PictureReader&>(of_recoded) : of_jpeg;
        const bool is_open = is_recoded ? of_recoded.open(data, size, INT64_MAX) : of_jpeg.open(data, size);
        if (!is_open || !reader.start({box[0], box[1], box[2], box[3]}, shrink)) {
            return static_cast<int32_t>(reader.status());
        }
        std::vector<uint8_t> row(static_cast<size_t>(reader.row_bytes()));
        uint8_t* place = row.data();
        for (int32_t y = 0; y < box[2]; ++y) {
            if (!reader.read(&place, 1)) {
                return static_cast<int32_t>(reader.status());
            }
            store(y, place + static_cast<size_t>(reader.column_offset()) * 4);
        }
    } catch (const std::bad_alloc&) {
        return static_cast<int32_t>(imagemill::Status::kNoMemory);
    }
    return 0;
}

}  // namespace

// Raised whenever the meaning of an argument changes; native/__init__.py refuses a library of another number.
IMAGEMILL_EXPORT int32_t imagemill_interface() { return 10; }

IMAGEMILL_EXPORT const char* imagemill_build() { return "libjpeg-turbo " IMAGEMILL_TEXT(LIBJPEG_TURBO_VERSION); }

IMAGEMILL_EXPORT const char* imagemill_kernel() { return imagemill::kernel_name(); }

IMAGEMILL_EXPORT uint64_t imagemill_xxh3(const uint8_t* data, size_t size) { return imagemill::xxh3_64(data, size); }

// 0 where the batch was worked on, else it was not touched.
IMAGEMILL_EXPORT int32_t imagemill_decode_batch(const Batch* batch, int32_t threads) {
    const auto filter = static_cast<int32_t>(batch->filter);
    const bool is_sensible = batch->count >= 0 && batch->sides.height >= 1 && batch->sides.width >= 1 && filter >= 0 &&
                             filter <= 3 && (batch->layout.channels == 1 || batch->layout.channels == 3);
    if (!is_sensible) {
        return 1;
    }
    try {
        imagemill::decode_batch(*batch, threads);
    } catch (const std::bad_alloc&) {
        return 2;
    }
    return 0;
}

// 1 where every code of the JPEG is there and nothing is to be remarked of it; 0 says nothing.
IMAGEMILL_EXPORT int32_t imagemill_prove(const uint8_t* data, size_t size) {
    return imagemill::is_proven(data, size) ? 1 : 0;
}

IMAGEMILL_EXPORT void imagemill_sha256(const uint8_t* data, size_t size, uint8_t* digest) {
    imagemill::sha256(data, size, digest);
}

// Null where there is no memory; see ProofQueue.
IMAGEMILL_EXPORT ProofQueue* imagemill_proofs_start(int32_t threads, int32_t bell, int64_t* marks) {
    try {
        return new ProofQueue(threads, bell, marks);
    } catch (const std::bad_alloc&) {
        return nullptr;
    }
}

// 0 where there is no memory, or no thread.
IMAGEMILL_EXPORT int32_t imagemill_proofs_put(ProofQueue* queue, const uint8_t* data, size_t size, int64_t ticket,
                                              int64_t mark, int32_t decodes, const char* path) {
    try {
        return queue->put({data, size, ticket, mark, decodes != 0, path}) ? 1 : 0;
    } catch (const std::bad_alloc&) {
        return 0;
    }
}

IMAGEMILL_EXPORT int64_t imagemill_proofs_take(ProofQueue* queue, imagemill::Proof* proofs, int64_t room) {
    return queue->take(proofs, room);
}

IMAGEMILL_EXPORT void imagemill_proofs_end(ProofQueue* queue) { delete queue; }

// A part of a JPEG as it is stored, or of a recoded one, shrunk by 1, 2, 4 or 8, as R, G, B and an unused byte; for tests
// and benchmarks. Box: top, left, height, width. Without `out` the rows are made all the same. A status.
IMAGEMILL_EXPORT int32_t imagemill_read_jpeg(const uint8_t* data, size_t size, const int32_t* box, int32_t shrink,
                                             int32_t decoder, uint8_t* out) {
    const auto bytes = static_cast<size_t>(box[3]) * 4;
    return read_rows(data, size, box, shrink, decoder, [out, bytes](int32_t y, const uint8_t* row) {
        if (out != nullptr) {
            std::memcpy(out + static_cast<size_t>(y) * bytes, row, bytes);
        }
    });
}

// The same as it is, as R, G and B.
IMAGEMILL_EXPORT int32_t imagemill_read_rgb(const uint8_t* data, size_t size, const int32_t* box, uint8_t* out) {
    const auto bytes = static_cast<size_t>(box[3]) * 3;
    return read_rows(data, size, box, 1, 0, [out, box, bytes](int32_t y, const uint8_t* row) {
        imagemill::drop_fourth(row, box[3], out + static_cast<size_t>(y) * bytes);
    });
}

// 1 where the look was taken; 0 says nothing of the file.
IMAGEMILL_EXPORT int32_t imagemill_look(imagemill::Look* look) {
    try {
        return imagemill::look_at(*look) ? 1 : 0;
    } catch (const std::bad_alloc&) {
        return 0;
    }
}

// How many pairs were found; see NearSearch.
IMAGEMILL_EXPORT int64_t imagemill_find_near(const imagemill::NearSearch* search) {
    return imagemill::find_near(*search);
}

// Null where there is no memory.
IMAGEMILL_EXPORT OwnedTeam* imagemill_team_start(int32_t threads) {
    try {
        return new OwnedTeam(threads);
    } catch (const std::bad_alloc&) {
        return nullptr;
    }
}

IMAGEMILL_EXPORT void imagemill_team_end(OwnedTeam* owned) {
    if (owned->process == getpid()) {
        delete owned;
    }
}

// What is drawn for one sample, for tests. box: top, left, height, width; numbers: limit, size before the turn, the
// turn's three parts, filter. 1 where nothing can be drawn.
IMAGEMILL_EXPORT int32_t imagemill_draw(const imagemill::Operation* steps, int32_t count, int32_t height, int32_t width,
                                        uint64_t epoch_state, uint64_t name, double* box, int32_t* numbers) {
    imagemill::SampleRng rng(epoch_state, name);
    imagemill::View view;
    if (!imagemill::draw(steps, count, {height, width}, rng, view)) {
        return 1;
    }
    const double found[4] = {view.top, view.left, view.height, view.width};
    std::memcpy(box, found, sizeof found);
    const int32_t others[10] = {view.limit.top,      view.limit.left,      view.limit.bottom,
                                view.limit.right,    view.out.height,      view.out.width,
                                view.turn.transpose, view.turn.flip_rows,  view.turn.flip_columns,
                                static_cast<int32_t>(view.filter)};
    std::memcpy(numbers, others, sizeof others);
    return 0;
}

// One change of pixels, in their place, of a picture of 1 or 3 channels, the channels last.
IMAGEMILL_EXPORT void imagemill_change(int32_t kind, double amount, uint8_t* pixels, int32_t height, int32_t width,
                                       int32_t channels) {
    imagemill::Change change;
    change.kind = static_cast<imagemill::Change::Kind>(kind);
    change.amount = amount;
    imagemill::apply_change(change, pixels, {height, width}, {channels, true});
}

// The pixels of a PNG file of these sides, (H, W, channels), or with 0 channels the values of a mask, (H, W). Gives a
// Status.
IMAGEMILL_EXPORT int32_t imagemill_read_png(const uint8_t* data, size_t size, int32_t height, int32_t width,
                                            int32_t channels, uint8_t* out) {
    if (!imagemill::looks_like_png(data, size)) {
        return static_cast<int32_t>(imagemill::Status::kNotJpeg);
    }
    try {
        imagemill::PngFile file;
        const auto status = file.open(data, size, static_cast<int64_t>(height) * width, channels == 0);
        if (status != imagemill::Status::kDone) {
            return static_cast<int32_t>(status);
        }
        if (file.sides().height != height || file.sides().width != width) {
            return static_cast<int32_t>(imagemill::Status::kElsewhere);
        }
        const imagemill::Bytes pixels = channels == 0 ? file.values() : file.image(channels);
        if (pixels == nullptr) {
            return static_cast<int32_t>(imagemill::Status::kDoubtful);
        }
        std::memcpy(out, pixels.get(), static_cast<size_t>(height) * width * std::max(channels, 1));
    } catch (const std::bad_alloc&) {
        return static_cast<int32_t>(imagemill::Status::kNoMemory);
    }
    return static_cast<int32_t>(imagemill::Status::kDone);
}

// A PNG of 1 or 3 channels, for imagemill_bytes_end(). Null where there is no memory.
IMAGEMILL_EXPORT Bytes* imagemill_write_png(const uint8_t* pixels, int64_t row_bytes, int32_t height, int32_t width,
                                            int32_t channels) {
    try {
        return new Bytes(imagemill::write_png(pixels, row_bytes, {height, width}, channels));
    } catch (const std::bad_alloc&) {
        return nullptr;
    }
}

// An RGB picture made smaller by area, into planes: rows of `width` pixels, `stride` pixels from each to the next. Gives
// a Status.
IMAGEMILL_EXPORT int32_t imagemill_shrink(const uint8_t* pixels, int32_t height, int32_t width, int32_t stride,
                                          int32_t out_height, int32_t out_width, uint8_t* out) {
    try {
        imagemill::View view = imagemill::View::whole({height, stride});
        view.width = width;
        view.limit.right = width;
        view = view.resized({out_height, out_width}, imagemill::Filter::kArea);
        return static_cast<int32_t>(imagemill::show_pixels(pixels, view, {3, false}, false, out));
    } catch (const std::bad_alloc&) {
        return static_cast<int32_t>(imagemill::Status::kNoMemory);
    }
}

// Pictures, for imagemill_pairs_show() and then imagemill_pairs_end(); null where there is no memory. The sources and the
// profiles known must live as long.
IMAGEMILL_EXPORT imagemill::PairBatch* imagemill_pairs_open(const imagemill::PairSource* sources, int64_t count,
                                                           const char* names, int64_t max_pixels,
                                                           const imagemill::Profile* known, int64_t known_count,
                                                           imagemill::PairFound* found) {
    try {
        std::unique_ptr<imagemill::PairBatch> batch(
            new imagemill::PairBatch({kNeverReduced, max_pixels, known, known_count}));
        batch->open(sources, count, names, found);
        return batch.release();
    } catch (const std::bad_alloc&) {
        return nullptr;
    }
}

// Once. Gives a Status for each picture.
IMAGEMILL_EXPORT void imagemill_pairs_show(imagemill::PairBatch* batch, const imagemill::Pair* pairs, int32_t* statuses) {
    batch->show(pairs, statuses);
}

IMAGEMILL_EXPORT void imagemill_pairs_end(imagemill::PairBatch* batch) { delete batch; }

// Values at (address, length), one after the other, a zero byte behind each.
IMAGEMILL_EXPORT void imagemill_join(const int64_t* places, int64_t count, char* out) {
    for (int64_t i = 0; i < count; ++i, places += 2) {
        const auto size = static_cast<size_t>(places[1]);
        std::memcpy(out, reinterpret_cast<const char*>(static_cast<intptr_t>(places[0])), size);
        out[size] = 0;
        out += size + 1;
    }
}

// 0 where the samples were worked on, else they were not touched.
IMAGEMILL_EXPORT int32_t imagemill_load_samples(OwnedTeam* owned, const Samples* samples) {
    if (owned->process != getpid()) {
        return 1;
    }
    try {
        imagemill::load_samples(*samples, owned->team);
    } catch (const std::bad_alloc&) {
        return 2;
    }
    return 0;
}

// Reads every coefficient of a JPEG (by libjpeg) or a recoded one, and leaves it at that; for benchmarks. 1 where that
// went well.
IMAGEMILL_EXPORT int32_t imagemill_run_over(const uint8_t* data, size_t size) {
    try {
        return imagemill::run_over(data, size) ? 1 : 0;
    } catch (const std::bad_alloc&) {
        return 0;
    }
}

// The recoded form of a JPEG or of a recoded one, compact or not, for imagemill_bytes_end(). Null where there is none:
// `why` then has a short code of the reason, or is null where there was no memory.
IMAGEMILL_EXPORT Bytes* imagemill_recode(const uint8_t* data, size_t size, int64_t max_pixels, int32_t compact,
                                         const char** why) {
    *why = nullptr;
    try {
        const auto coding = compact != 0 ? imagemill::Coding::kCompact : imagemill::Coding::kFast;
        Bytes made = imagemill::recode(data, size, max_pixels, coding, *why);
        return *why == nullptr ? new Bytes(std::move(made)) : nullptr;
    } catch (const std::bad_alloc&) {
        *why = nullptr;
        return nullptr;
    }
}

// The JPEG of a recoded one, for imagemill_bytes_end(). Null where there is none: `damaged` is then 1, or 0 where there
// was no memory.
IMAGEMILL_EXPORT Bytes* imagemill_restore(const uint8_t* data, size_t size, int64_t max_pixels, int32_t* damaged) {
    *damaged = 0;
    try {
        Bytes made;
        *damaged = imagemill::restore(data, size, max_pixels, made) ? 0 : 1;
        return *damaged == 0 ? new Bytes(std::move(made)) : nullptr;
    } catch (const std::bad_alloc&) {
        *damaged = 0;
        return nullptr;
    }
}

// JPEGs of parts of a picture, for imagemill_jpeg_parts_end(). Null where there is no memory.
IMAGEMILL_EXPORT imagemill::jpeg::Parts* imagemill_jpeg_parts_start(const imagemill::jpeg::PartsRequest* request) {
    try {
        return new imagemill::jpeg::Parts(*request);
    } catch (const std::bad_alloc&) {
        return nullptr;
    }
}

// One of them, valid until the next call; null where there is no memory.
IMAGEMILL_EXPORT const uint8_t* imagemill_jpeg_part(imagemill::jpeg::Parts* parts, int64_t part, size_t* size) {
    try {
        return parts->write(part, *size);
    } catch (const std::bad_alloc&) {
        return nullptr;
    }
}

IMAGEMILL_EXPORT void imagemill_jpeg_parts_end(imagemill::jpeg::Parts* parts) { delete parts; }

IMAGEMILL_EXPORT const uint8_t* imagemill_bytes_data(const Bytes* bytes) { return bytes->data(); }

IMAGEMILL_EXPORT size_t imagemill_bytes_size(const Bytes* bytes) { return bytes->size(); }

IMAGEMILL_EXPORT void imagemill_bytes_end(Bytes* bytes) { delete bytes; }
