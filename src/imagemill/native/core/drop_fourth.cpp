#include "drop_fourth.hpp"

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

void drop_baseline(const uint8_t* pixels, int count, uint8_t* out) { drop_from(0, pixels, count, out); }

#if defined(__x86_64__)
// Four pixels at a time; of the 16 bytes written four mean nothing, and the next pixels take their place.
__attribute__((target("ssse3"))) void drop_ssse3(const uint8_t* pixels, int count, uint8_t* out) {
    const __m128i order = _mm_setr_epi8(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1);
    int x = 0;
    for (; x + 6 <= count; x += 4) {
        const __m128i four = _mm_loadu_si128(reinterpret_cast<const __m128i*>(pixels + 4 * x));
        _mm_storeu_si128(reinterpret_cast<__m128i*>(out + 3 * x), _mm_shuffle_epi8(four, order));
    }
    drop_from(x, pixels, count, out);
}

const auto drop = IMAGEMILL_HAS("ssse3") ? drop_ssse3 : drop_baseline;
#else
constexpr auto drop = drop_baseline;
#endif

}  // namespace

void drop_fourth(const uint8_t* pixels, int count, uint8_t* out) { drop(pixels, count, out); }

}  // namespace imagemill
