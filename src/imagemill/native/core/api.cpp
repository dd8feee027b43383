// The C interface that native/__init__.py loads with ctypes, which lets go of the interpreter lock for the
// length of a call. A plain interface needs no headers of Python, and one build serves every version of it.

#include <cstdint>
#include <cstdio>
#include <new>

#include <jpeglib.h>

#include "batch.hpp"

#define IMAGEMILL_TEXT_(x) #x
#define IMAGEMILL_TEXT(x) IMAGEMILL_TEXT_(x)
#define IMAGEMILL_EXPORT extern "C" __attribute__((visibility("default")))

// Raised whenever the meaning of an argument changes; native/__init__.py refuses a library of another number.
IMAGEMILL_EXPORT int32_t imagemill_interface() { return 1; }

IMAGEMILL_EXPORT const char* imagemill_build() { return "libjpeg-turbo " IMAGEMILL_TEXT(LIBJPEG_TURBO_VERSION); }

IMAGEMILL_EXPORT const char* imagemill_kernel() { return imagemill::kernel_name(); }

// Arguments as in imagemill::Batch; 0 where the batch was worked on, else it was not touched.
IMAGEMILL_EXPORT int32_t imagemill_decode_batch(int64_t count, const uint8_t* const* data, const size_t* sizes,
                                                const int32_t* boxes, const uint8_t* flips,
                                                const uint8_t* orientations, uint8_t* out, int32_t height,
                                                int32_t width, int32_t channels, int32_t channels_last,
                                                int32_t filter, double shrink_gap, int64_t max_pixels,
                                                const uint64_t* trusted, int64_t trusted_count, int32_t threads,
                                                int32_t* statuses, uint64_t* profiles, char* texts) {
    const bool sensible = count >= 0 && height >= 1 && width >= 1 && (channels == 1 || channels == 3) && filter >= 0 &&
                          filter <= 2 && trusted_count >= 0;
    if (!sensible) {
        return 1;
    }
    const imagemill::Batch batch{count,
                                 data,
                                 sizes,
                                 boxes,
                                 flips,
                                 orientations,
                                 out,
                                 {height, width},
                                 channels,
                                 channels_last != 0,
                                 static_cast<imagemill::Filter>(filter),
                                 shrink_gap,
                                 max_pixels,
                                 trusted,
                                 trusted_count,
                                 statuses,
                                 profiles,
                                 texts};
    try {
        imagemill::decode_batch(batch, threads);
    } catch (const std::bad_alloc&) {
        return 2;
    }
    return 0;
}
