#include "resize.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "kernels.hpp"

namespace imagemill {
namespace {

double reach(Filter filter) {
    switch (filter) {
        case Filter::kBox:
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

int clamp(double value, int low, int high) {
    return static_cast<int>(std::min<double>(std::max<double>(value, low), high));
}

}  // namespace

Taps::Taps(Filter filter, double start, double stop, int count, int low, int high) : first_(count), size_(count) {
    const double scale = (stop - start) / count;
    const double stretch = std::max(scale, 1.0);
    const double support = reach(filter) * stretch;
    const int most = std::min(static_cast<int>(std::ceil(support)) * 2 + 1, high - low);
    widest_ = (most + 3) / 4 * 4;
    whole_.assign(static_cast<size_t>(count) * widest_, 0);
    spread_.assign(static_cast<size_t>(count) * widest_ * 4, 0.0F);
    std::vector<double> line(widest_);
    for (int output = 0; output < count; ++output) {
        const double centre = start + (output + 0.5) * scale;
        int begin = clamp(std::floor(centre - support + 0.5), low, high - 1);
        int end = clamp(std::floor(centre + support + 0.5), begin + 1, high);
        end = std::min(end, begin + most);
        double total = 0.0;
        for (int x = begin; x < end; ++x) {
            line[x - begin] = weight_at(filter, (x + 0.5 - centre) / stretch);
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
        store(&line[0], end - begin, static_cast<size_t>(output) * widest_);
        first_[output] = begin;
        size_[output] = end - begin;
    }
    begin_ = *std::min_element(first_.begin(), first_.end());
    length_ = 0;
    for (int output = 0; output < count; ++output) {
        first_[output] -= begin_;
        length_ = std::max(length_, first_[output] + size_[output]);
    }
}

void Taps::store(const double* line, int count, size_t place) {
    int rest = kUnit, largest = 0;
    for (int k = 0; k < count; ++k) {
        for (int channel = 0; channel < 4; ++channel) {
            spread_[(place + k) * 4 + channel] = static_cast<float>(line[k]);
        }
        whole_[place + k] = static_cast<int16_t>(std::lround(line[k] * kUnit));
        rest -= whole_[place + k];
        largest = line[k] > line[largest] ? k : largest;
    }
    whole_[place + largest] = static_cast<int16_t>(whole_[place + largest] + rest);  // an even surface stays as it is
}

namespace {

using WeighRows = void (*)(const uint8_t* const*, const int16_t*, int, float*, int);
using WeighColumns = void (*)(const float*, const Taps&, const Target&, int);

struct Kernels {
    const char* name;
    WeighRows weigh_rows;
    WeighColumns weigh_columns;
};

void rows_baseline(const uint8_t* const* rows, const int16_t* weights, int count, float* sums, int length) {
    weigh_rows_from(rows, weights, count, sums, 0, length);
}

void columns_baseline(const float* pixels, const Taps& taps, const Target& target, int row) {
    weigh_columns_inline(pixels, taps, target, row);
}

constexpr Kernels kBaseline{"baseline", rows_baseline, columns_baseline};

#if defined(__x86_64__)
// 32 sums at a time stay in registers while the rows pass, two of them in one multiplication.
__attribute__((target("avx2"))) void rows_avx2(const uint8_t* const* rows, const int16_t* weights, int count,
                                               float* sums, int length) {
    const __m256i zero = _mm256_setzero_si256();
    const __m256 unit = _mm256_set1_ps(1.0F / kUnit);
    int x = 0;
    for (; x + 32 <= length; x += 32) {
        __m256i a = zero, b = zero, c = zero, d = zero;
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
        // Unpacking works in halves of registers: each holds the sums of two places, 16 apart.
        const __m256i parts[4] = {_mm256_permute2x128_si256(a, b, 0x20), _mm256_permute2x128_si256(c, d, 0x20),
                                  _mm256_permute2x128_si256(a, b, 0x31), _mm256_permute2x128_si256(c, d, 0x31)};
        for (int i = 0; i < 4; ++i) {
            _mm256_storeu_ps(sums + x + 8 * i, _mm256_mul_ps(_mm256_cvtepi32_ps(parts[i]), unit));
        }
    }
    weigh_rows_from(rows, weights, count, sums, x, length);
}

__attribute__((target("avx2"))) void columns_avx2(const float* pixels, const Taps& taps, const Target& target,
                                                  int row) {
    weigh_columns_inline(pixels, taps, target, row);
}

constexpr Kernels kAvx2{"avx2", rows_avx2, columns_avx2};

Kernels choose_kernels() {
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx2") ? kAvx2 : kBaseline;
}
#else
Kernels choose_kernels() { return kBaseline; }
#endif

const Kernels kKernels = choose_kernels();

}  // namespace

void weigh_rows(const uint8_t* const* rows, const int16_t* weights, int count, float* sums, int length) {
    kKernels.weigh_rows(rows, weights, count, sums, length);
}

void weigh_columns(const float* pixels, const Taps& taps, const Target& target, int row) {
    kKernels.weigh_columns(pixels, taps, target, row);
}

const char* kernel_name() { return kKernels.name; }

}  // namespace imagemill
