#include "pair.hpp"

#include <algorithm>
#include <cstddef>
#include <memory>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "inlining.hpp"
#include "processor.hpp"

namespace imagemill {
namespace {

// Rows of levels to floats, and the sums of squares of them to means: `scale` rows of `width` levels, `stride` apart,
// `sums` is room for as many numbers as a row has. kScale is the scale, or 0 for any.
struct Kernels {
    void (*to_floats)(const uint8_t* levels, float* out, int count);
    void (*to_means)(const uint8_t* levels, ptrdiff_t stride, int width, int scale, uint16_t* sums, float* out);
};

IMAGEMILL_INLINE void floats_of(const uint8_t* levels, float* out, int count) {
    constexpr float kUnit = 1.0F / 255;
    for (int i = 0; i < count; ++i) {
        out[i] = static_cast<float>(levels[i]) * kUnit;
    }
}

template <int kScale>
IMAGEMILL_INLINE void sum_columns(const uint16_t* sums, int count, int any_scale, float unit, float* out) {
    const int scale = kScale != 0 ? kScale : any_scale;
    for (int i = 0; i < count; ++i, sums += scale) {
        int32_t sum = 0;
        for (int k = 0; k < scale; ++k) {
            sum += sums[k];
        }
        out[i] = static_cast<float>(sum) * unit;
    }
}

IMAGEMILL_INLINE void means_of(const uint8_t* levels, ptrdiff_t stride, int width, int scale, uint16_t* sums,
                               float* out) {
    for (int x = 0; x < width; ++x) {
        sums[x] = levels[x];
    }
    for (int row = 1; row < scale; ++row) {
        levels += stride;
        for (int x = 0; x < width; ++x) {
            sums[x] = static_cast<uint16_t>(sums[x] + levels[x]);
        }
    }
    const float unit = 1.0F / (255.0F * static_cast<float>(scale) * static_cast<float>(scale));
    const int count = width / scale;
    scale == 4   ? sum_columns<4>(sums, count, scale, unit, out)
    : scale == 2 ? sum_columns<2>(sums, count, scale, unit, out)
                 : sum_columns<0>(sums, count, scale, unit, out);
}

void floats_baseline(const uint8_t* levels, float* out, int count) { floats_of(levels, out, count); }

void means_baseline(const uint8_t* levels, ptrdiff_t stride, int width, int scale, uint16_t* sums, float* out) {
    means_of(levels, stride, width, scale, sums, out);
}

constexpr Kernels kBaseline{floats_baseline, means_baseline};

#if defined(__x86_64__)
__attribute__((target("avx2"))) void floats_avx2(const uint8_t* levels, float* out, int count) {
    floats_of(levels, out, count);
}

// The most common scale, 4: eight means at a time.
__attribute__((target("avx2"))) int means_of_four(const uint8_t* levels, ptrdiff_t stride, int width, float* out) {
    const __m256i bytes = _mm256_set1_epi8(1), words = _mm256_set1_epi16(1);
    const __m256 unit = _mm256_set1_ps(1.0F / (255.0F * 4.0F * 4.0F));
    int x = 0;
    for (; x + 32 <= width; x += 32) {
        __m256i sums = _mm256_setzero_si256();
        for (int row = 0; row < 4; ++row) {
            const auto* from = reinterpret_cast<const __m256i*>(levels + row * stride + x);
            sums = _mm256_add_epi16(sums, _mm256_maddubs_epi16(_mm256_loadu_si256(from), bytes));
        }
        _mm256_storeu_ps(out + x / 4, _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_madd_epi16(sums, words)), unit));
    }
    return x;
}

__attribute__((target("avx2"))) void means_avx2(const uint8_t* levels, ptrdiff_t stride, int width, int scale,
                                                uint16_t* sums, float* out) {
    const int done = scale == 4 ? means_of_four(levels, stride, width, out) : 0;
    means_of(levels + done, stride, width - done, scale, sums, out + done / scale);
}

constexpr Kernels kAvx2{floats_avx2, means_avx2};

const Kernels kKernels = IMAGEMILL_HAS("avx2") ? kAvx2 : kBaseline;
#else
const Kernels kKernels = kBaseline;
#endif

}  // namespace

Status show_pair(PictureFile& picture, const Pair& pair) {
    View view = View::whole(picture.sides());
    view = view.cropped(pair.box.top, pair.box.left, pair.box.height, pair.box.width, {});
    view = view.resized(pair.size, Filter::kArea).turned(false, false, pair.is_mirrored != 0);
    const ptrdiff_t plane = static_cast<ptrdiff_t>(pair.size.height) * pair.size.width;
    const std::unique_ptr<uint8_t[]> levels(new uint8_t[static_cast<size_t>(plane) * 3]);
    const Status status = picture.show(view, {3, false}, levels.get());
    if (status != Status::kDone) {
        return status;
    }
    const std::unique_ptr<uint16_t[]> sums(new uint16_t[static_cast<size_t>(pair.kept.width)]);
    float *high = pair.high, *low = pair.low;
    for (int channel = 0; channel < 3; ++channel) {
        const uint8_t* row = levels.get() + channel * plane;
        for (int y = 0; y < pair.kept.height; ++y, row += pair.size.width, high += pair.kept.width) {
            kKernels.to_floats(row, high, pair.kept.width);
            if (low != nullptr && y % pair.scale == 0) {
                kKernels.to_means(row, pair.size.width, pair.kept.width, pair.scale, sums.get(), low);
                low += pair.kept.width / pair.scale;
            }
        }
    }
    return Status::kDone;
}

}  // namespace imagemill
