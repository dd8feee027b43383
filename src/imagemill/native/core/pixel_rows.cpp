#include "pixel_rows.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "kernels.hpp"
#include "processor.hpp"

namespace imagemill {
namespace {

void place_from(const uint8_t* pixels, const Target& target, uint8_t* out, int begin) {
    for (int column = begin; column < target.sides.width; ++column) {
        store_pixel(pixels + static_cast<ptrdiff_t>(column) * 4, target, out + column * target.column_step);
    }
}

void place_baseline(const uint8_t* pixels, const Target& target, uint8_t* out) { place_from(pixels, target, out, 0); }

#if defined(__x86_64__)
// Sixteen pixels at a time into three planes, which run forwards or backwards.
__attribute__((target("avx2"))) void place_avx2(const uint8_t* pixels, const Target& target, uint8_t* out) {
    const bool is_backwards = target.column_step == -1;
    int done = 0;
    if (target.channels == 3 && (target.column_step == 1 || is_backwards)) {
        const __m256i by_channel = _mm256_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15,  //
                                                    0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
        const __m256i together = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
        const __m128i reversed = _mm_setr_epi8(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
        for (; done + 16 <= target.sides.width; done += 16) {
            const auto* from = reinterpret_cast<const __m256i*>(pixels + static_cast<ptrdiff_t>(done) * 4);
            const __m256i one = _mm256_permutevar8x32_epi32(
                _mm256_shuffle_epi8(_mm256_loadu_si256(from), by_channel), together);
            const __m256i other = _mm256_permutevar8x32_epi32(
                _mm256_shuffle_epi8(_mm256_loadu_si256(from + 1), by_channel), together);
            const __m256i red_blue = _mm256_unpacklo_epi64(one, other), green = _mm256_unpackhi_epi64(one, other);
            __m128i planes[3] = {_mm256_castsi256_si128(red_blue), _mm256_castsi256_si128(green),
                                 _mm256_extracti128_si256(red_blue, 1)};
            uint8_t* to = is_backwards ? out - done - 15 : out + done;
            for (__m128i& plane : planes) {
                plane = is_backwards ? _mm_shuffle_epi8(plane, reversed) : plane;
                _mm_storeu_si128(reinterpret_cast<__m128i*>(to), plane);
                to += target.channel_step;
            }
        }
    }
    place_from(pixels, target, out, done);
}

const auto place = IMAGEMILL_HAS("avx2") ? place_avx2 : place_baseline;
#else
constexpr auto place = place_baseline;
#endif

}  // namespace

void place_row(const uint8_t* pixels, const Target& target, int row) {
    place(pixels, target, target.origin + row * target.row_step);
}

}  // namespace imagemill
