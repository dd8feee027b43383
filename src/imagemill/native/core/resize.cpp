#include "resize.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "kernels.hpp"
#include "processor.hpp"

namespace imagemill {
namespace {

double reach(Filter filter) {
    switch (filter) {
        case Filter::kBox:
        case Filter::kArea:
            return 0.5;
        case Filter::kBilinear:
            return 1.0;
        default:
            return 2.0;
    }
}

double weight_at(Filter filter, double x) {
    if (filter == Filter::kBox) {
        return x > -0.5 && x <= 0.5 ? 1.0 : 0.0;
    }
    x = std::fabs(x);
    if (filter == Filter::kBilinear) {
        return x < 1.0 ? 1.0 - x : 0.0;
    }
    constexpr double a = -0.5;  // Keys' cubic convolution, as in Pillow
    if (x < 1.0) {
        return ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0;
    }
    return x < 2.0 ? (((x - 5.0) * x + 8.0) * x - 4.0) * a : 0.0;
}

// How much of the pixel [x, x + 1) a stretch covers.
double covered(double start, double stop, int x) {
    return std::max(0.0, std::min(stop, x + 1.0) - std::max(start, static_cast<double>(x)));
}

int clamp(double value, int low, int high) {
    return static_cast<int>(std::min<double>(std::max<double>(value, low), high));
}

}  // namespace

Taps::Taps(Filter filter, double start, double stop, int count, int low, int high) : first_(count), size_(count) {
    const double scale = (stop - start) / count;
    const double stretch = std::max(scale, 1.0);
    const double support = reach(filter) * stretch;
    const int most = std::min(static_cast<int>(std::ceil(support)) * 2 + 1, high - low);
    const int stride = (most + 3) / 4 * 4;
    whole_.assign(static_cast<size_t>(count) * stride, 0);
    std::vector<double> line(stride);
    for (int output = 0; output < count; ++output) {
        const double centre = start + (output + 0.5) * scale;
        const double before = filter == Filter::kArea ? 0.0 : 0.5, behind = filter == Filter::kArea ? 1.0 : 0.5;
        int begin = clamp(std::floor(centre - support + before), low, high - 1);
        int end = clamp(std::floor(centre + support + behind), begin + 1, high);
        end = std::min(end, begin + most);
        double total = 0.0;
        for (int x = begin; x < end; ++x) {
            line[x - begin] = filter == Filter::kArea ? covered(centre - support, centre + support, x)
                                                      : weight_at(filter, (x + 0.5 - centre) / stretch);
            total += line[x - begin];
        }
        if (total == 0.0) {  // a sliver at the edge of the box: its nearest pixel
            begin = clamp(std::floor(centre), low, high - 1);
            end = begin + 1;
            line[0] = total = 1.0;
        }
        for (int k = 0; k < end - begin; ++k) {
            line[k] /= total;
        }
        while (end - begin > 1 && static_cast<float>(line[end - begin - 1]) == 0.0F) {
            --end;
        }
        store(&line[0], end - begin, static_cast<size_t>(output) * stride);
        first_[output] = begin;
        size_[output] = end - begin;
    }
    begin_ = *std::min_element(first_.begin(), first_.end());
    length_ = 0;
    for (int output = 0; output < count; ++output) {
        first_[output] -= begin_;
        length_ = std::max(length_, first_[output] + size_[output]);
    }
    widest_ = (*std::max_element(size_.begin(), size_.end()) + 3) / 4 * 4;
    for (int output = 1; widest_ < stride && output < count; ++output) {
        const auto from = whole_.begin() + static_cast<ptrdiff_t>(output) * stride;
        std::copy(from, from + widest_, whole_.begin() + static_cast<ptrdiff_t>(output) * widest_);
    }
}

void Taps::store(const double* line, int count, size_t place) {
    int rest = kUnit, largest = 0;
    for (int k = 0; k < count; ++k) {
        whole_[place + k] = static_cast<int16_t>(std::lround(line[k] * kUnit));
        rest -= whole_[place + k];
        largest = line[k] > line[largest] ? k : largest;
    }
    whole_[place + largest] = static_cast<int16_t>(whole_[place + largest] + rest);  // an even surface stays as it is
}

void Taps::spread() {
    const size_t count = first_.size() * static_cast<size_t>(widest_);
    spread_.resize(count * 4);
    int16_t* out = spread_.data();
    for (size_t k = 0; k < count; k += 2) {
        for (int channel = 0; channel < 4; ++channel) {
            *out++ = whole_[k];
            *out++ = whole_[k + 1];
        }
    }
}

namespace {

using WeighRows = void (*)(const uint8_t* const*, const int16_t*, int, int16_t*, int);
using WeighColumns = void (*)(const int16_t*, const Taps&, const Target&, int);

struct Kernels {
    const char* name;
    WeighRows weigh_rows;
    WeighColumns weigh_columns;
};

void rows_baseline(const uint8_t* const* rows, const int16_t* weights, int count, int16_t* sums, int length) {
    weigh_rows_from(rows, weights, count, sums, 0, length);
}

void columns_baseline(const int16_t* pixels, const Taps& taps, const Target& target, int row) {
    weigh_columns_from(pixels, taps, target, target.origin + row * target.row_step, 0, target.sides.width);
}

constexpr Kernels kBaseline{"baseline", rows_baseline, columns_baseline};

#if defined(__x86_64__)
#define IMAGEMILL_AVX2 __attribute__((target("avx2"), always_inline)) inline

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
IMAGEMILL_AVX2 __m128i weigh_pixel_avx2(const int16_t* pixels, const Taps& taps, int column, int groups) {
    // Two neighbours' channels side by side, for sums of two products.
    const __m256i pairs = _mm256_setr_epi8(0, 1, 8, 9, 2, 3, 10, 11, 4, 5, 12, 13, 6, 7, 14, 15,  //
                                           0, 1, 8, 9, 2, 3, 10, 11, 4, 5, 12, 13, 6, 7, 14, 15);
    const auto* source = reinterpret_cast<const __m256i*>(pixels + static_cast<ptrdiff_t>(taps.first(column)) * 4);
    const auto* weights = reinterpret_cast<const __m256i*>(taps.spread_weights(column));
    __m256i sum = _mm256_setzero_si256();
    for (int k = 0; k < groups; ++k) {
        const __m256i values = _mm256_shuffle_epi8(_mm256_loadu_si256(source + k), pairs);
        sum = _mm256_add_epi32(sum, _mm256_madd_epi16(values, _mm256_loadu_si256(weights + k)));
    }
    return _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256(sum, 1));
}

IMAGEMILL_AVX2 __m128i rounded(__m128i sums) {
    return _mm_srai_epi32(_mm_add_epi32(sums, _mm_set1_epi32(1 << (kAcrossBits - 1))), kAcrossBits);
}

// Four output pixels from `column` on, `step` apart: R R R R G G G G B B B B and four that are not used.
IMAGEMILL_AVX2 __m128i weigh_four(const int16_t* pixels, const Taps& taps, int column, int step, int groups) {
    const auto grouped = [&](int i) __attribute__((target("avx2"), always_inline)) {
        const int place = column + i * step;
        return rounded(weigh_pixel_avx2(pixels, taps, place, groups != 0 ? groups : (taps.size(place) + 3) / 4));
    };
    // Packing clips: to 16 bits with sign, then to 0..255.
    const __m128i bytes = _mm_packus_epi16(_mm_packs_epi32(grouped(0), grouped(1)),
                                           _mm_packs_epi32(grouped(2), grouped(3)));
    return _mm_shuffle_epi8(bytes, _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
}

// Eight at a time into three planes, `out` ascending; gives how many columns it has done.
IMAGEMILL_AVX2 int weigh_planes(const int16_t* pixels, const Taps& taps, const Target& target, uint8_t* out,
                                bool backwards, int groups) {
    const int width = target.sides.width, step = backwards ? -1 : 1;
    int done = 0;
    for (; done + 8 <= width; done += 8) {
        const int column = backwards ? width - 1 - done : done;
        const __m128i first = weigh_four(pixels, taps, column, step, groups);
        const __m128i second = weigh_four(pixels, taps, column + 4 * step, step, groups);
        const __m128i red_green = _mm_unpacklo_epi32(first, second), blue = _mm_unpackhi_epi32(first, second);
        _mm_storel_epi64(reinterpret_cast<__m128i*>(out + done), red_green);
        _mm_storel_epi64(reinterpret_cast<__m128i*>(out + done + target.channel_step), _mm_srli_si128(red_green, 8));
        _mm_storel_epi64(reinterpret_cast<__m128i*>(out + done + 2 * target.channel_step), blue);
    }
    return done;
}

__attribute__((target("avx2"))) void columns_avx2(const int16_t* pixels, const Taps& taps, const Target& target,
                                                  int row) {
    uint8_t* out = target.origin + row * target.row_step;
    const int width = target.sides.width;
    const bool backwards = target.column_step == -1;
    int done = 0;
    if (target.channels == 3 && (target.column_step == 1 || backwards)) {
        uint8_t* first = backwards ? out - (width - 1) : out;
        // As many taps for every pixel, where they are few: branches that go either way cost more than zeros.
        const int groups = taps.widest() / 4;
        done = groups == 1   ? weigh_planes(pixels, taps, target, first, backwards, 1)
               : groups == 2 ? weigh_planes(pixels, taps, target, first, backwards, 2)
                             : weigh_planes(pixels, taps, target, first, backwards, 0);
    }
    weigh_columns_from(pixels, taps, target, out, backwards ? 0 : done, backwards ? width - done : width);
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

}  // namespace

void weigh_rows(const uint8_t* const* rows, const int16_t* weights, int count, int16_t* sums, int length) {
    kKernels.weigh_rows(rows, weights, count, sums, length);
}

void weigh_columns(const int16_t* pixels, const Taps& taps, const Target& target, int row) {
    kKernels.weigh_columns(pixels, taps, target, row);
}

const char* kernel_name() { return kKernels.name; }

}  // namespace imagemill
