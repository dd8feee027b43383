// The C interface that native/ loads with ctypes, which lets go of the interpreter lock for the
// length of a call. A plain interface needs no headers of Python, and one build serves every version of it.

#include <cstdint>
#include <cstdio>
#include <new>

#include <jpeglib.h>
#include <unistd.h>

#include "batch.hpp"
#include "digest.hpp"
#include "samples.hpp"
#include "team.hpp"

#define IMAGEMILL_TEXT_(x) #x
#define IMAGEMILL_TEXT(x) IMAGEMILL_TEXT_(x)
#define IMAGEMILL_EXPORT extern "C" __attribute__((visibility("default")))

using imagemill::Batch;
using imagemill::Samples;
using imagemill::Team;

namespace {

// Threads do not survive a fork: a child must leave its parent's alone.
struct OwnedTeam {
    explicit OwnedTeam(int threads) : team(threads), process(getpid()) {}

    Team team;
    pid_t process;
};

}  // namespace

// Raised whenever the meaning of an argument changes; native/__init__.py refuses a library of another number.
IMAGEMILL_EXPORT int32_t imagemill_interface() { return 2; }

IMAGEMILL_EXPORT const char* imagemill_build() { return "libjpeg-turbo " IMAGEMILL_TEXT(LIBJPEG_TURBO_VERSION); }

IMAGEMILL_EXPORT const char* imagemill_kernel() { return imagemill::kernel_name(); }

IMAGEMILL_EXPORT uint64_t imagemill_xxh3(const uint8_t* data, size_t size) { return imagemill::xxh3_64(data, size); }

// 0 where the batch was worked on, else it was not touched.
IMAGEMILL_EXPORT int32_t imagemill_decode_batch(const Batch* batch, int32_t threads) {
    const auto filter = static_cast<int32_t>(batch->filter);
    const bool is_sensible = batch->count >= 0 && batch->sides.height >= 1 && batch->sides.width >= 1 && filter >= 0 &&
                             filter <= 2 && (batch->layout.channels == 1 || batch->layout.channels == 3);
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
