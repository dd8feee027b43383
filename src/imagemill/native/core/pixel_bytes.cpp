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
// What lies behind the last byte that is written means nothing, and the next pixels take its place: so as many pixels are
// left to the plain code as those bytes reach into.
__attribute__((target("ssse3"))) void drop_ssse3(const uint8_t* pixels, int count, uint8_t* out) {
    const __m128i order = _mm_setr_epi8(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1);
    int x = 0;
    for (; x + 6 <= count; x += 4) {
        const __m128i four = _mm_loadu_si128(reinterpret_cast<const __m128i*>(pixels + 4 * x));
        _mm_storeu_si128(reinterpret_cast<__m128i*>(out + 3 * x), _mm_shuffle_epi8(four, order));
    }
    drop_from(x, pixels, count, out);
}

__attribute__((target("ssse3"))) void add_ssse3(const uint8_t* pixels, int count, uint8_t* out) {
    const __m128i order = _mm_setr_epi8(0, 1, 2, -1, 3, 4, 5, -1, 6, 7, 8, -1, 9, 10, 11, -1);
    int x = 0;
    for (; x + 6 <= count; x += 4) {
        const __m128i four = _mm_loadu_si128(reinterpret_cast<const __m128i*>(pixels + 3 * x));
        _mm_storeu_si128(reinterpret_cast<__m128i*>(out + 4 * x), _mm_shuffle_epi8(four, order));
    }
    add_from(x, pixels, count, out);
}

struct alignas(64) ByteOrder {
    explicit constexpr ByteOrder(bool is_dropped) {
        for (int i = 0; i < 64; ++i) {
            of[i] = static_cast<uint8_t>(is_dropped ? i % 48 / 3 * 4 + i % 3 : i / 4 * 3 + i % 4 % 3);
        }
    }
    uint8_t of[64] = {};
};

constexpr ByteOrder kDropped(true), kAdded(false);

__attribute__((target("avx512f,avx512bw,avx512vbmi"))) void drop_avx512(const uint8_t* pixels, int count, uint8_t* out) {
    constexpr __mmask64 all = ~__mmask64{0};  // what has no mask warns of what is not set
    const __m512i order = _mm512_load_si512(kDropped.of);
    int x = 0;
    for (; x + 22 <= count; x += 16) {
        _mm512_storeu_si512(out + 3 * x, _mm512_maskz_permutexvar_epi8(all, order, _mm512_loadu_si512(pixels + 4 * x)));
    }
    drop_from(x, pixels, count, out);
}

__attribute__((target("avx512f,avx512bw,avx512vbmi"))) void add_avx512(const uint8_t* pixels, int count, uint8_t* out) {
    constexpr __mmask64 colours = 0x7777777777777777;
    const __m512i order = _mm512_load_si512(kAdded.of);
    int x = 0;
    for (; x + 22 <= count; x += 16) {
        _mm512_storeu_si512(out + 4 * x,
                            _mm512_maskz_permutexvar_epi8(colours, order, _mm512_loadu_si512(pixels + 3 * x)));
    }
    add_from(x, pixels, count, out);
}

const bool kHasSsse3 = IMAGEMILL_HAS("ssse3");
const bool kHasAvx512 = IMAGEMILL_HAS("avx512bw") && IMAGEMILL_HAS("avx512vbmi");
const auto drop = kHasAvx512 ? drop_avx512 : kHasSsse3 ? drop_ssse3 : drop_baseline;
const auto add = kHasAvx512 ? add_avx512 : kHasSsse3 ? add_ssse3 : add_baseline;
#else
constexpr auto drop = drop_baseline;
constexpr auto add = add_baseline;
#endif

}  // namespace

void drop_fourth(const uint8_t* pixels, int count, uint8_t* out) { drop(pixels, count, out); }

void add_fourth(const uint8_t* pixels, int count, uint8_t* out) { add(pixels, count, out); }

}  // namespace imagemill
