#include "resize.hpp"

#include <algorithm>
#include <cmath>

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
    weights_.assign(static_cast<size_t>(count) * widest_, 0.0F);
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
        float* weights = &weights_[static_cast<size_t>(output) * widest_];
        for (int x = begin; x < end; ++x) {
            weights[x - begin] = static_cast<float>(line[x - begin] / total);
        }
        while (end - begin > 1 && weights[end - begin - 1] == 0.0F) {
            --end;
        }
        first_[output] = begin;
        size_[output] = end - begin;
    }
    begin_ = *std::min_element(first_.begin(), first_.end());
    length_ = 0;
    for (int output = 0; output < count; ++output) {
        first_[output] -= begin_;
        length_ = std::max(length_, first_[output] + size_[output]);
    }
    spread_.resize(weights_.size() * 4);
    for (size_t i = 0; i < spread_.size(); ++i) {
        spread_[i] = weights_[i / 4];
    }
}

namespace {

using WeighRows = void (*)(const uint8_t* const*, const float*, int, float*, int);
using WeighColumns = void (*)(const float*, const Taps&, const Target&, int);

struct Kernels {
    const char* name;
    WeighRows weigh_rows;
    WeighColumns weigh_columns;
};

void rows_baseline(const uint8_t* const* rows, const float* weights, int count, float* sums, int length) {
    weigh_rows_inline(rows, weights, count, sums, length);
}

void columns_baseline(const float* pixels, const Taps& taps, const Target& target, int row) {
    weigh_columns_inline(pixels, taps, target, row);
}

constexpr Kernels kBaseline{"baseline", rows_baseline, columns_baseline};

#if defined(__x86_64__)
__attribute__((target("avx2"))) void rows_avx2(const uint8_t* const* rows, const float* weights, int count,
                                               float* sums, int length) {
    weigh_rows_inline(rows, weights, count, sums, length);
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

void weigh_rows(const uint8_t* const* rows, const float* weights, int count, float* sums, int length) {
    kKernels.weigh_rows(rows, weights, count, sums, length);
}

void weigh_columns(const float* pixels, const Taps& taps, const Target& target, int row) {
    kKernels.weigh_columns(pixels, taps, target, row);
}

const char* kernel_name() { return kKernels.name; }

}  // namespace imagemill
