#include "pixel_bytes.hpp"

#include <cstring>

#include "processor.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace imagemill {
namespace {

void drop_from(int start, const uint8_t* pixels, int count, uint8_t* out) {
    for (int x = start; x < count; ++x) {
        std::memcpy(out + 3 * x, pixels + 4 * x, 3);
    }
}

void add_from(int start, const uint8_t* pixels, int count, uint8_t* out) {
    for (int x = start; x < count; ++x) {
        std::memcpy(out + 4 * x, pixels + 3 * x, 3);
        out[4 * x + 3] = 0;
    }
}

void drop_baseline(const uint8_t* pixels, int count, uint8_t* out) { drop_from(0, pixels, count, out); }

void add_baseline(const uint8_t* pixels, int count, uint8_t* out) { add_from(0, pixels, count, out); }

#if defined(__x86_64__)
constexpr int kAtOnce = 4;  // pixels
constexpr int kTouched = 6;  // whose bytes 16 of a row of three a pixel reach into

// The last four of the bytes written mean nothing, and the next pixels take their place.
__attribute__((target("ssse3"))) void drop_ssse3(const uint8_t* pixels, int count, uint8_t* out) {
    const __m128i order = _mm_setr_epi8(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1);
    int x = 0;
    for (; x + kTouched <= count; x += kAtOnce) {
        const __m128i four = _mm_loadu_si128(reinterpret_cast<const __m128i*>(pixels + 4 * x));
        _mm_storeu_si128(reinterpret_cast<__m128i*>(out + 3 * x), _mm_shuffle_epi8(four, order));
    }
    drop_from(x, pixels, count, out);
}

__attribute__((target("ssse3"))) void add_ssse3(const uint8_t* pixels, int count, uint8_t* out) {
    const __m128i order = _mm_setr_epi8(0, 1, 2, -1, 3, 4, 5, -1, 6, 7, 8, -1, 9, 10, 11, -1);
    int x = 0;
    for (; x + kTouched <= count; x += kAtOnce) {
        const __m128i four = _mm_loadu_si128(reinterpret_cast<const __m128i*>(pixels + 3 * x));
        _mm_storeu_si128(reinterpret_cast<__m128i*>(out + 4 * x), _mm_shuffle_epi8(four, order));
    }
    add_from(x, pixels, count, out);
}

const bool kHasSsse3 = IMAGEMILL_HAS("ssse3");
const auto drop = kHasSsse3 ? drop_ssse3 : drop_baseline;
const auto add = kHasSsse3 ? add_ssse3 : add_baseline;
#else
constexpr auto drop = drop_baseline;
constexpr auto add = add_baseline;
#endif

}  // namespace

void drop_fourth(const uint8_t* pixels, int count, uint8_t* out) { drop(pixels, count, out); }

void add_fourth(const uint8_t* pixels, int count, uint8_t* out) { add(pixels, count, out); }

}  // namespace imagemill
