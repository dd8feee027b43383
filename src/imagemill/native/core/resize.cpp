#include "resize.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

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

Taps::Taps(Filter filter, double start, double stop, int count) : first_(count), size_(count) {
    const int low = static_cast<int>(std::floor(start));
    const int high = std::max(static_cast<int>(std::ceil(stop)), low + 1);
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
        first_[output] = begin - low;
        size_[output] = end - begin;
    }
}

namespace {

// Four rows at a time: the compiler turns the inner loops into vector code. Always inlined, so that it is
// compiled once for each instruction set below.
__attribute__((always_inline)) inline void weigh_rows_inline(const uint8_t* const* rows, const float* weights,
                                                             int count, float* __restrict sums, int length) {
    for (int k = 0; k < count; k += 4) {
        const uint8_t* __restrict a = rows[k];
        const uint8_t* __restrict b = rows[k + 1];
        const uint8_t* __restrict c = rows[k + 2];
        const uint8_t* __restrict d = rows[k + 3];
        const float wa = weights[k], wb = weights[k + 1], wc = weights[k + 2], wd = weights[k + 3];
        if (k == 0) {
            for (int x = 0; x < length; ++x) {
                sums[x] = (wa * a[x] + wb * b[x]) + (wc * c[x] + wd * d[x]);
            }
        } else {
            for (int x = 0; x < length; ++x) {
                sums[x] += (wa * a[x] + wb * b[x]) + (wc * c[x] + wd * d[x]);
            }
        }
    }
}

void weigh_rows_baseline(const uint8_t* const* rows, const float* weights, int count, float* sums, int length) {
    weigh_rows_inline(rows, weights, count, sums, length);
}

using WeighRows = void (*)(const uint8_t* const*, const float*, int, float*, int);

#if defined(__x86_64__) && defined(__GNUC__)
__attribute__((target("avx2"))) void weigh_rows_avx2(const uint8_t* const* rows, const float* weights, int count,
                                                     float* sums, int length) {
    weigh_rows_inline(rows, weights, count, sums, length);
}

bool has_avx2() {
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx2") != 0;
}

const bool kHasAvx2 = has_avx2();
const WeighRows kWeighRows = kHasAvx2 ? weigh_rows_avx2 : weigh_rows_baseline;
#else
const bool kHasAvx2 = false;
const WeighRows kWeighRows = weigh_rows_baseline;
#endif

using Pixel = float __attribute__((vector_size(16)));
using Levels = int32_t __attribute__((vector_size(16)));

Pixel load(const float* values) {
    Pixel pixel;
    std::memcpy(&pixel, values, sizeof pixel);
    return pixel;
}

// Rounded and clipped to 0..255. Comparisons give masks of ones, with which the values are picked.
Levels to_levels(Pixel pixel) {
    const Pixel half = {0.5F, 0.5F, 0.5F, 0.5F};
    const Levels zero = {0, 0, 0, 0};
    const Levels full = {255, 255, 255, 255};
    Levels levels = __builtin_convertvector(pixel + half, Levels);
    levels &= levels > zero;
    const Levels over = levels > full;
    return (levels & ~over) | (full & over);
}

uint8_t to_grey(const Levels& levels) {
    // ITU-R 601 luma in 16-bit fixed point, as Pillow converts RGB to L.
    return static_cast<uint8_t>((levels[0] * 19595 + levels[1] * 38470 + levels[2] * 7471 + 0x8000) >> 16);
}

}  // namespace

void weigh_rows(const uint8_t* const* rows, const float* weights, int count, float* sums, int length) {
    kWeighRows(rows, weights, count, sums, length);
}

void weigh_columns(const float* pixels, const Taps& taps, const Target& target, int row) {
    uint8_t* out = target.origin + row * target.row_step;
    for (int column = 0; column < target.sides.width; ++column, out += target.column_step) {
        const float* source = pixels + static_cast<ptrdiff_t>(taps.first(column)) * 4;
        const float* weights = taps.weights(column);
        Pixel sum = load(source) * weights[0];
        for (int k = 1; k < taps.size(column); ++k) {
            sum += load(source + static_cast<ptrdiff_t>(k) * 4) * weights[k];
        }
        const Levels levels = to_levels(sum);
        if (target.channels == 1) {
            *out = to_grey(levels);
            continue;
        }
        out[0] = static_cast<uint8_t>(levels[0]);
        out[target.channel_step] = static_cast<uint8_t>(levels[1]);
        out[2 * target.channel_step] = static_cast<uint8_t>(levels[2]);
    }
}

const char* kernel_name() { return kHasAvx2 ? "avx2" : "baseline"; }

}  // namespace imagemill
