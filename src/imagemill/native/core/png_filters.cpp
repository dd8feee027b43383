#include "png_filters.hpp"

#include <cstdlib>
#include <cstring>
#include <memory>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "processor.hpp"

namespace imagemill {
namespace {

enum Filter : uint8_t { kNone, kSub, kUp, kAverage, kPaeth };

// What the filter Paeth predicts: of left, above and above left, the one nearest to left + above - above left.
uint8_t paeth(int left, int above, int corner) {
    const int by_left = std::abs(above - corner), by_above = std::abs(left - corner);
    const int by_corner = std::abs(left + above - 2 * corner);
    return static_cast<uint8_t>(by_left <= by_above && by_left <= by_corner ? left : by_above <= by_corner ? above : corner);
}

// One row; `kStep` bytes a pixel. `row` and `out` may be the same.
template <size_t kStep>
void unfilter_row(int filter, const uint8_t* row, const uint8_t* above, uint8_t* out, size_t size) {
    if (filter == kNone) {
        std::memmove(out, row, size);
        return;
    }
    for (size_t i = 0; i < size; ++i) {
        if (filter == kUp) {
            out[i] = static_cast<uint8_t>(row[i] + above[i]);
            continue;
        }
        const int left = i < kStep ? 0 : out[i - kStep], corner = i < kStep ? 0 : above[i - kStep];
        const int guess = filter == kSub       ? left
                          : filter == kAverage ? (left + above[i]) / 2
                                               : paeth(left, above[i], corner);
        out[i] = static_cast<uint8_t>(row[i] + guess);
    }
}

// Paeth for one byte a pixel: even surfaces, which masks mostly are, eight pixels at a time.
void unfilter_paeth(uint8_t* row, const uint8_t* above, size_t size) {
    int left = 0, corner = 0;
    for (size_t i = 0; i < size;) {
        uint64_t residuals, values;
        if (left == corner && i + 8 <= size) {
            std::memcpy(&residuals, row + i, 8);
            std::memcpy(&values, above + i, 8);
            if (residuals == 0 && values == static_cast<uint64_t>(left) * 0x0101010101010101U) {
                std::memcpy(row + i, &values, 8);
                i += 8;
                continue;
            }
        }
        const int up = above[i];
        row[i] = static_cast<uint8_t>(row[i] + paeth(left, up, corner));
        left = row[i];
        corner = up;
        ++i;
    }
}

// How many rows of a picture at a time, from one whose row above is there.
using SomeRows = void (*)(const uint8_t* rows, ptrdiff_t stride, const uint8_t* above, uint8_t* out, size_t width);
constexpr int kSome = 4;

void some_rows_baseline(const uint8_t* rows, ptrdiff_t stride, const uint8_t* above, uint8_t* out, size_t width) {
    for (int i = 0; i < kSome; ++i, rows += stride) {
        unfilter_row<3>(rows[0], rows + 1, above, out, 3 * width);
        above = out;
        out += 3 * width;
    }
}

#if defined(__x86_64__)
#define IMAGEMILL_AVX2 __attribute__((target("avx2"))) inline __attribute__((always_inline))

// Four rows of pixels as numbers of 16 bits, a row a quarter of the register, each a pixel behind the one above it: so what
// is above is what the row above has just become, and no row waits for another.
class FourRows {
  public:
    IMAGEMILL_AVX2 FourRows(const uint8_t* rows, ptrdiff_t stride, const uint8_t* above, uint8_t* out, ptrdiff_t width)
        : rows_(rows + 1), stride_(stride), above_(above), out_(out), width_(width), left_(_mm256_setzero_si256()),
          up_(_mm256_setzero_si256()) {
        for (int filter = kSub; filter <= kPaeth; ++filter) {
            const auto is = [rows, stride, filter](int row) { return rows[row * stride] == filter ? -1LL : 0LL; };
            masks_[filter] = _mm256_setr_epi64x(is(0), is(1), is(2), is(3));
        }
    }

    // All of them.
    IMAGEMILL_AVX2 void run() {
        ptrdiff_t at = 0;
        for (; at < kSome - 1; ++at) {
            careful_step(at);
        }
        for (; at < width_ - 1; ++at) {
            step(at);
        }
        for (; at < width_ + kSome - 1; ++at) {
            careful_step(at);
        }
    }

  private:
    static IMAGEMILL_AVX2 int32_t pixel_at(const uint8_t* place) {
        int32_t pixel;
        std::memcpy(&pixel, place, sizeof pixel);
        return pixel;
    }

    // The first row's pixel is `at`. A fourth byte goes along, and is overwritten by the next pixel.
    IMAGEMILL_AVX2 void step(ptrdiff_t at) {
        const uint8_t* from = rows_ + 3 * at;
        const ptrdiff_t back = stride_ - 3, down = 3 * width_ - 3;
        const __m128i residuals = _mm_setr_epi32(pixel_at(from), pixel_at(from + back), pixel_at(from + 2 * back),
                                                 pixel_at(from + 3 * back));
        const __m128i pixels = next(residuals, pixel_at(above_ + 3 * at));
        uint8_t* to = out_ + 3 * at;
        const auto first = static_cast<uint64_t>(_mm_cvtsi128_si64(pixels));
        const auto second = static_cast<uint64_t>(_mm_extract_epi64(pixels, 1));
        const uint32_t stored[kSome] = {static_cast<uint32_t>(first), static_cast<uint32_t>(first >> 32),
                                        static_cast<uint32_t>(second), static_cast<uint32_t>(second >> 32)};
        for (int row = 0; row < kSome; ++row) {
            std::memcpy(to + row * down, &stored[row], sizeof stored[row]);
        }
    }

    // The same where some rows have no such pixel; writes no byte beyond a row.
    IMAGEMILL_AVX2 void careful_step(ptrdiff_t at) {
        alignas(16) int32_t residuals[kSome] = {}, there[kSome] = {}, stored[kSome];
        int32_t above = 0;
        if (at < width_) {
            std::memcpy(&above, above_ + 3 * at, 3);
        }
        for (int row = 0; row < kSome; ++row) {
            const ptrdiff_t x = at - row;
            if (x >= 0 && x < width_) {
                residuals[row] = pixel_at(rows_ + row * stride_ + 3 * x);
                there[row] = -1;
            }
        }
        const __m128i pixels = next(_mm_load_si128(reinterpret_cast<const __m128i*>(residuals)), above);
        left_ = _mm256_and_si256(left_, _mm256_cvtepi32_epi64(_mm_load_si128(reinterpret_cast<const __m128i*>(there))));
        _mm_store_si128(reinterpret_cast<__m128i*>(stored), pixels);
        for (int row = 0; row < kSome; ++row) {
            if (there[row] != 0) {
                std::memcpy(out_ + row * 3 * width_ + 3 * (at - row), &stored[row], 3);
            }
        }
    }

    // What four residuals become, given the pixel above the first; four bytes each. Which of Paeth's three it is shows last:
    // all three sums are there by then.
    IMAGEMILL_AVX2 __m128i next(__m128i packed, int32_t above) {
        const __m256i bytes = _mm256_set1_epi16(0xFF), residuals = _mm256_cvtepu8_epi16(packed);
        const __m256i first = _mm256_castsi128_si256(_mm_cvtepu8_epi16(_mm_cvtsi32_si128(above)));
        const __m256i corner = up_, left = left_;
        const __m256i up = _mm256_blend_epi32(_mm256_permute4x64_epi64(left, 0x90), first, 0x03);
        const __m256i by_left = _mm256_sub_epi16(up, corner), by_above = _mm256_sub_epi16(left, corner);
        const __m256i far_left = _mm256_abs_epi16(by_left), far_above = _mm256_abs_epi16(by_above);
        const __m256i far_corner = _mm256_abs_epi16(_mm256_add_epi16(by_left, by_above));
        const __m256i least = _mm256_min_epi16(far_corner, _mm256_min_epi16(far_left, far_above));
        const __m256i is_left = _mm256_cmpeq_epi16(least, far_left), is_above = _mm256_cmpeq_epi16(least, far_above);
        const __m256i with_left = _mm256_add_epi16(residuals, left), with_up = _mm256_add_epi16(residuals, up);
        const __m256i by_paeth = _mm256_blendv_epi8(
            _mm256_blendv_epi8(_mm256_add_epi16(residuals, corner), with_up, is_above), with_left, is_left);
        const __m256i mean = _mm256_srli_epi16(_mm256_add_epi16(left, up), 1);
        const __m256i guess = _mm256_or_si256(_mm256_and_si256(left, masks_[kSub]),
                                              _mm256_or_si256(_mm256_and_si256(up, masks_[kUp]),
                                                              _mm256_and_si256(mean, masks_[kAverage])));
        const __m256i sum = _mm256_blendv_epi8(_mm256_add_epi16(residuals, guess), by_paeth, masks_[kPaeth]);
        up_ = up;
        left_ = _mm256_and_si256(sum, bytes);
        const __m256i halves = _mm256_packus_epi16(left_, left_);
        return _mm_unpacklo_epi64(_mm256_castsi256_si128(halves), _mm256_extracti128_si256(halves, 1));
    }

    const uint8_t* rows_;
    ptrdiff_t stride_;
    const uint8_t* above_;
    uint8_t* out_;
    ptrdiff_t width_;
    __m256i masks_[kPaeth + 1];
    __m256i left_;  // what the rows' last pixels became
    __m256i up_;    // and what was above them
};

__attribute__((target("avx2"))) void some_rows_avx2(const uint8_t* rows, ptrdiff_t stride, const uint8_t* above,
                                                    uint8_t* out, size_t width) {
    FourRows(rows, stride, above, out, static_cast<ptrdiff_t>(width)).run();
}

const SomeRows kSomeRows = IMAGEMILL_HAS("avx2") ? some_rows_avx2 : some_rows_baseline;
#else
const SomeRows kSomeRows = some_rows_baseline;
#endif

// Whether no pixel of some rows depends on the one before it.
bool are_simple(const uint8_t* rows, ptrdiff_t stride) {
    int count = 0;
    for (int i = 0; i < kSome; ++i) {
        count += rows[i * stride] == kNone || rows[i * stride] == kUp ? 1 : 0;
    }
    return count == kSome;
}

}  // namespace

bool unfilter_bytes(uint8_t* rows, size_t stride, int height) {
    const std::unique_ptr<uint8_t[]> zeros(new uint8_t[stride]());
    const uint8_t* above = zeros.get();
    for (int row = 0; row < height; ++row, rows += stride) {
        if (rows[0] > kPaeth) {
            return false;
        }
        if (rows[0] == kPaeth) {
            unfilter_paeth(rows + 1, above, stride - 1);
        } else {
            unfilter_row<1>(rows[0], rows + 1, above, rows + 1, stride - 1);
        }
        above = rows + 1;
    }
    return true;
}

bool unfilter_colours(const uint8_t* rows, const Sides& sides, uint8_t* out) {
    const auto width = static_cast<size_t>(sides.width), size = 3 * width;
    const std::unique_ptr<uint8_t[]> zeros(new uint8_t[size + 1]());
    const uint8_t* above = zeros.get();
    const auto stride = static_cast<ptrdiff_t>(size + 1);
    for (int row = 0; row < sides.height; ++row) {
        if (rows[row * stride] > kPaeth) {
            return false;
        }
    }
    for (int row = 0; row < sides.height;) {
        const bool are_some = row + kSome <= sides.height && width >= kSome && !are_simple(rows, stride);
        if (are_some) {
            kSomeRows(rows, stride, above, out, width);
        } else {
            unfilter_row<3>(rows[0], rows + 1, above, out, size);
        }
        const int count = are_some ? kSome : 1;
        rows += count * stride;
        out += static_cast<size_t>(count) * size;
        above = out - size;
        row += count;
    }
    return true;
}

}  // namespace imagemill
