#include "resize.hpp"

#include <algorithm>
#include <cstring>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "inlining.hpp"
#include "kernels.hpp"
#include "processor.hpp"
#include "resize_avx512.hpp"

namespace imagemill {
namespace {

constexpr int kOverread = 8;  // pixels behind the last that weigh nothing, and are read

// Columns, and their weights as kernels want them: for eight channels of four neighbouring pixels, of each four weights
// the first two in turn, four times, then the other two.
struct Columns {
    const Taps& taps;
    const int16_t* spread;

    const int16_t* spread_weights(int output) const {
        return spread + static_cast<size_t>(output) * static_cast<size_t>(taps.widest()) * 4;
    }
};

// sums[x] = sum of weights[k] * rows[k][x] for x below `length`, with kSumBits fractional bits. `count` is even.
using WeighRows = void (*)(const uint8_t* const* rows, const int16_t* weights, int count, int16_t* sums, int length);

// One output row: weighs pixels of four such sums (R, G, B, unused) along the row and writes bytes to row `row`.
using WeighColumns = void (*)(const int16_t* pixels, const Columns& columns, const Target& target, int row);

struct Kernels {
    const char* name;
    WeighRows weigh_rows;
    WeighColumns weigh_columns;
};

void rows_baseline(const uint8_t* const* rows, const int16_t* weights, int count, int16_t* sums, int length) {
    weigh_rows_from(rows, weights, count, sums, 0, length);
}

void columns_baseline(const int16_t* pixels, const Columns& columns, const Target& target, int row) {
    weigh_columns_from(pixels, columns.taps, target, target.origin + row * target.row_step, 0, target.sides.width);
}

constexpr Kernels kBaseline{"baseline", rows_baseline, columns_baseline};

#if defined(__x86_64__)
// 32 sums at a time stay in registers while the rows pass, two of them in one multiplication.
__attribute__((target("avx2"))) void rows_avx2(const uint8_t* const* rows, const int16_t* weights, int count,
                                               int16_t* sums, int length) {
    const __m256i zero = _mm256_setzero_si256(), half = _mm256_set1_epi32(1 << (kDownBits - 1));
    int x = 0;
    for (; x + 32 <= length; x += 32) {
        __m256i a = half, b = half, c = half, d = half;
        for (int k = 0; k < count; k += 2) {
            const __m256i one = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(rows[k] + x));
            const __m256i other = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(rows[k + 1] + x));
            int32_t pair;
            std::memcpy(&pair, weights + k, sizeof pair);
            const __m256i factors = _mm256_set1_epi32(pair);
            const __m256i low = _mm256_unpacklo_epi8(one, other), high = _mm256_unpackhi_epi8(one, other);
            a = _mm256_add_epi32(a, _mm256_madd_epi16(_mm256_unpacklo_epi8(low, zero), factors));
            b = _mm256_add_epi32(b, _mm256_madd_epi16(_mm256_unpackhi_epi8(low, zero), factors));
            c = _mm256_add_epi32(c, _mm256_madd_epi16(_mm256_unpacklo_epi8(high, zero), factors));
            d = _mm256_add_epi32(d, _mm256_madd_epi16(_mm256_unpackhi_epi8(high, zero), factors));
        }
        // Unpacking works in halves of registers: each holds the sums of two stretches, 16 apart.
        const __m256i first = _mm256_packs_epi32(_mm256_srai_epi32(a, kDownBits), _mm256_srai_epi32(b, kDownBits));
        const __m256i second = _mm256_packs_epi32(_mm256_srai_epi32(c, kDownBits), _mm256_srai_epi32(d, kDownBits));
        auto* out = reinterpret_cast<__m256i*>(sums + x);
        _mm256_storeu_si256(out, _mm256_permute2x128_si256(first, second, 0x20));
        _mm256_storeu_si256(out + 1, _mm256_permute2x128_si256(first, second, 0x31));
    }
    weigh_rows_from(rows, weights, count, sums, x, length);
}

// The pixel of output `column`, in 32 bits a channel, not yet rounded. Four taps at a time.
IMAGEMILL_AVX2_INLINE __m128i weigh_pixel_avx2(const int16_t* pixels, const Columns& columns, int column, int groups) {
    // Two neighbours' channels side by side, for sums of two products.
    const __m256i pairs = _mm256_setr_epi8(0, 1, 8, 9, 2, 3, 10, 11, 4, 5, 12, 13, 6, 7, 14, 15,  //
                                           0, 1, 8, 9, 2, 3, 10, 11, 4, 5, 12, 13, 6, 7, 14, 15);
    const auto* source = reinterpret_cast<const __m256i*>(pixels + static_cast<ptrdiff_t>(columns.taps.first(column)) * 4);
    const auto* weights = reinterpret_cast<const __m256i*>(columns.spread_weights(column));
    __m256i sum = _mm256_setzero_si256();
    for (int k = 0; k < groups; ++k) {
        const __m256i values = _mm256_shuffle_epi8(_mm256_loadu_si256(source + k), pairs);
        sum = _mm256_add_epi32(sum, _mm256_madd_epi16(values, _mm256_loadu_si256(weights + k)));
    }
    return _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256(sum, 1));
}

IMAGEMILL_AVX2_INLINE __m128i rounded(__m128i sums) {
    return _mm_srai_epi32(_mm_add_epi32(sums, _mm_set1_epi32(1 << (kAcrossBits - 1))), kAcrossBits);
}

// Four output pixels from `column` on, `step` apart: R R R R G G G G B B B B and four that are not used.
IMAGEMILL_AVX2_INLINE __m128i weigh_four(const int16_t* pixels, const Columns& columns, int column, int step, int groups) {
    const auto grouped = [&](int i) __attribute__((target("avx2"), always_inline)) {
        const int place = column + i * step;
        return rounded(weigh_pixel_avx2(pixels, columns, place, groups != 0 ? groups : (columns.taps.size(place) + 3) / 4));
    };
    // Packing clips: to 16 bits with sign, then to 0..255.
    const __m128i bytes = _mm_packus_epi16(_mm_packs_epi32(grouped(0), grouped(1)),
                                           _mm_packs_epi32(grouped(2), grouped(3)));
    return _mm_shuffle_epi8(bytes, _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
}

// Eight at a time into three planes, `out` ascending; gives how many columns it has done.
IMAGEMILL_AVX2_INLINE int weigh_planes(const int16_t* pixels, const Columns& columns, const Target& target, uint8_t* out,
                                bool backwards, int groups) {
    const int width = target.sides.width, step = backwards ? -1 : 1;
    int done = 0;
    for (; done + 8 <= width; done += 8) {
        const int column = backwards ? width - 1 - done : done;
        const __m128i first = weigh_four(pixels, columns, column, step, groups);
        const __m128i second = weigh_four(pixels, columns, column + 4 * step, step, groups);
        const __m128i red_green = _mm_unpacklo_epi32(first, second), blue = _mm_unpackhi_epi32(first, second);
        _mm_storel_epi64(reinterpret_cast<__m128i*>(out + done), red_green);
        _mm_storel_epi64(reinterpret_cast<__m128i*>(out + done + target.channel_step), _mm_srli_si128(red_green, 8));
        _mm_storel_epi64(reinterpret_cast<__m128i*>(out + done + 2 * target.channel_step), blue);
    }
    return done;
}

__attribute__((target("avx2"))) void columns_avx2(const int16_t* pixels, const Columns& columns, const Target& target,
                                                  int row) {
    uint8_t* out = target.origin + row * target.row_step;
    const int width = target.sides.width;
    const bool backwards = target.column_step == -1;
    int done = 0;
    if (target.channels == 3 && (target.column_step == 1 || backwards)) {
        uint8_t* first = backwards ? out - (width - 1) : out;
        // As many taps for every pixel, where they are few: branches that go either way cost more than zeros.
        const int groups = columns.taps.widest() / 4;
        done = groups == 1   ? weigh_planes(pixels, columns, target, first, backwards, 1)
               : groups == 2 ? weigh_planes(pixels, columns, target, first, backwards, 2)
                             : weigh_planes(pixels, columns, target, first, backwards, 0);
    }
    weigh_columns_from(pixels, columns.taps, target, out, backwards ? 0 : done, backwards ? width - done : width);
}

constexpr Kernels kAvx2{"avx2", rows_avx2, columns_avx2};

Kernels choose_kernels() {
    __builtin_cpu_init();
    return IMAGEMILL_HAS("avx2") ? kAvx2 : kBaseline;
}
#else
Kernels choose_kernels() { return kBaseline; }
#endif

const Kernels kKernels = choose_kernels();

// Sums in between are of pixels, four channels each.
class PixelRows : public RowMaker {
  public:
    PixelRows(const Taps& columns, const Target& target)
        : columns_(columns),
          target_(target),
          sums_((static_cast<size_t>(columns.length()) + kOverread) * 4),
          spread_(static_cast<size_t>(columns.count()) * static_cast<size_t>(columns.widest()) * 4) {
        int16_t* out = spread_.data();
        for (int output = 0; output < columns.count(); ++output) {
            const int16_t* weights = columns.weights(output);
            for (int k = 0; k < columns.widest(); k += 2) {
                for (int channel = 0; channel < 4; ++channel, out += 2) {
                    std::copy_n(weights + k, 2, out);
                }
            }
        }
    }

    void make(const uint8_t* const* rows, const int16_t* weights, int count, int row) override {
        kKernels.weigh_rows(rows, weights, count, sums_.data(), columns_.length() * 4);
        kKernels.weigh_columns(sums_.data(), {columns_, spread_.data()}, target_, row);
    }

  private:
    const Taps& columns_;
    Target target_;
    std::vector<int16_t> sums_;
    std::vector<int16_t> spread_;
};

}  // namespace

std::unique_ptr<RowMaker> RowMaker::of(const Taps& rows, const Taps& columns, const Target& target) {
#if defined(__x86_64__)
    if (kHasAvx512 && PlaneRows::can_make(rows, columns, target)) {
        return std::make_unique<PlaneRows>(columns, target);
    }
#endif
    return std::make_unique<PixelRows>(columns, target);
}

const char* kernel_name() { return kHasAvx512 ? "avx512" : kKernels.name; }

}  // namespace imagemill
