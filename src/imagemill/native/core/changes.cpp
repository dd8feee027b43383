#include "changes.hpp"

#include <algorithm>
#include <cmath>

#include "inlining.hpp"
#include "processor.hpp"
#include "program.hpp"

namespace imagemill {
namespace {

// Weights of R, G, B in a grey, as single precision has them.
constexpr float kGrey[3] = {0.2989F, 0.587F, 0.114F};

constexpr ptrdiff_t kBlock = 1024;

uint8_t to_level(double value) { return static_cast<uint8_t>(std::min(std::max(value + 0.5, 0.0), 255.0)); }

IMAGEMILL_INLINE uint8_t to_byte(float value) {
    value += 0.5F;
    value = value > 0.0F ? value : 0.0F;
    value = value < 255.0F ? value : 255.0F;
    return static_cast<uint8_t>(static_cast<int32_t>(value));
}

// Every pixel blended with its own grey.
IMAGEMILL_INLINE void saturate_inline(uint8_t* __restrict red, uint8_t* __restrict green, uint8_t* __restrict blue,
                                      ptrdiff_t count, double factor) {
    const auto own = static_cast<float>(factor), rest = static_cast<float>(1 - factor);
    for (ptrdiff_t i = 0; i < count; ++i) {
        const float r = red[i], g = green[i], b = blue[i];
        const float grey = (r * kGrey[0] + g * kGrey[1] + b * kGrey[2]) * rest;
        red[i] = to_byte(r * own + grey);
        green[i] = to_byte(g * own + grey);
        blue[i] = to_byte(b * own + grey);
    }
}

// One channel of HSV's colour `place` sixths along the circle, given largest value and chroma.
IMAGEMILL_INLINE float channel_at(float place, float largest, float chroma) {
    place = place >= 6.0F ? place - 6.0F : place;
    float share = 4.0F - place;
    share = share < place ? share : place;
    share = share < 1.0F ? share : 1.0F;
    share = share > 0.0F ? share : 0.0F;
    return largest - chroma * share;
}

// The circle of HSV turned; value and saturation stay.
IMAGEMILL_INLINE void turn_hue_inline(uint8_t* __restrict red, uint8_t* __restrict green, uint8_t* __restrict blue,
                                      ptrdiff_t count, double part) {
    const auto turn = static_cast<float>(6 * part);
    for (ptrdiff_t i = 0; i < count; ++i) {
        const float r = red[i], g = green[i], b = blue[i];
        float largest = r > g ? r : g, smallest = r < g ? r : g;
        largest = largest > b ? largest : b;
        smallest = smallest < b ? smallest : b;
        const float chroma = largest - smallest;
        const float divisor = chroma > 0.0F ? chroma : 1.0F;
        const float from_red = (g - b) / divisor, from_green = (b - r) / divisor + 2.0F;
        const float from_blue = (r - g) / divisor + 4.0F;
        float hue = largest == g ? from_green : from_blue;
        hue = largest == r ? from_red : hue;
        hue += turn;
        hue = hue < 0.0F ? hue + 6.0F : hue;
        hue = hue >= 6.0F ? hue - 6.0F : hue;
        red[i] = to_byte(channel_at(hue + 5.0F, largest, chroma));
        green[i] = to_byte(channel_at(hue + 3.0F, largest, chroma));
        blue[i] = to_byte(channel_at(hue + 1.0F, largest, chroma));
    }
}

// ITU-R 601 luma in 16-bit fixed point, as Pillow converts RGB to L.
IMAGEMILL_INLINE void to_grey_inline(uint8_t* __restrict red, uint8_t* __restrict green, uint8_t* __restrict blue,
                                     ptrdiff_t count, double) {
    for (ptrdiff_t i = 0; i < count; ++i) {
        const auto grey = static_cast<uint8_t>((red[i] * 19595U + green[i] * 38470U + blue[i] * 7471U + 0x8000U) >> 16);
        red[i] = green[i] = blue[i] = grey;
    }
}

using OnPlanes = void (*)(uint8_t*, uint8_t*, uint8_t*, ptrdiff_t, double);

struct Kernels {
    OnPlanes saturate;
    OnPlanes turn_hue;
    OnPlanes to_grey;
};

#define IMAGEMILL_ON_PLANES(name, body, target)                                                                     \
    target void name(uint8_t* red, uint8_t* green, uint8_t* blue, ptrdiff_t count, double amount) {                 \
        body(red, green, blue, count, amount);                                                                      \
    }

IMAGEMILL_ON_PLANES(saturate_baseline, saturate_inline, )
IMAGEMILL_ON_PLANES(turn_hue_baseline, turn_hue_inline, )
IMAGEMILL_ON_PLANES(to_grey_baseline, to_grey_inline, )
constexpr Kernels kBaseline{saturate_baseline, turn_hue_baseline, to_grey_baseline};

#if defined(__x86_64__)
#define IMAGEMILL_AVX2 __attribute__((target("avx2")))
IMAGEMILL_ON_PLANES(saturate_avx2, saturate_inline, IMAGEMILL_AVX2)
IMAGEMILL_ON_PLANES(turn_hue_avx2, turn_hue_inline, IMAGEMILL_AVX2)
IMAGEMILL_ON_PLANES(to_grey_avx2, to_grey_inline, IMAGEMILL_AVX2)
constexpr Kernels kAvx2{saturate_avx2, turn_hue_avx2, to_grey_avx2};

Kernels choose_kernels() {
    __builtin_cpu_init();
    return IMAGEMILL_HAS("avx2") ? kAvx2 : kBaseline;
}
#else
Kernels choose_kernels() { return kBaseline; }
#endif

const Kernels kKernels = choose_kernels();

// The planes of a picture; those of interleaved pixels are parted and joined a block at a time.
void on_planes(OnPlanes kernel, uint8_t* pixels, ptrdiff_t count, const Layout& layout, double amount) {
    if (!layout.channels_last) {
        kernel(pixels, pixels + count, pixels + 2 * count, count, amount);
        return;
    }
    uint8_t planes[3][kBlock];
    for (ptrdiff_t start = 0; start < count; start += kBlock) {
        const ptrdiff_t length = std::min(count - start, kBlock);
        uint8_t* block = pixels + 3 * start;
        for (ptrdiff_t i = 0; i < length; ++i) {
            for (int channel = 0; channel < 3; ++channel) {
                planes[channel][i] = block[3 * i + channel];
            }
        }
        kernel(planes[0], planes[1], planes[2], length, amount);
        for (ptrdiff_t i = 0; i < length; ++i) {
            for (int channel = 0; channel < 3; ++channel) {
                block[3 * i + channel] = planes[channel][i];
            }
        }
    }
}

// factor * level + (1 - factor) * other, for every byte.
void blend(uint8_t* pixels, ptrdiff_t size, double other, double factor) {
    uint8_t levels[256];
    for (int i = 0; i < 256; ++i) {
        levels[i] = to_level(i * factor + (1 - factor) * other);
    }
    for (ptrdiff_t i = 0; i < size; ++i) {
        pixels[i] = levels[pixels[i]];
    }
}

// The mean grey of a picture.
double mean_grey(const uint8_t* pixels, ptrdiff_t count, const Layout& layout) {
    double means[3] = {};
    for (int channel = 0; channel < layout.channels; ++channel) {
        uint64_t sum = 0;
        if (layout.channels_last) {
            for (ptrdiff_t i = 0; i < count; ++i) {
                sum += pixels[i * layout.channels + channel];
            }
        } else {
            for (ptrdiff_t start = 0; start < count; start += kBlock) {  // sums of a block need but 32 bits
                uint32_t part = 0;
                for (ptrdiff_t i = start, end = std::min(count, start + kBlock); i < end; ++i) {
                    part += pixels[channel * count + i];
                }
                sum += part;
            }
        }
        means[channel] = static_cast<double>(sum) / static_cast<double>(count);
    }
    return layout.channels == 1 ? means[0] : means[0] * kGrey[0] + means[1] * kGrey[1] + means[2] * kGrey[2];
}

void erase(const Change& change, uint8_t* pixels, const Sides& sides, const Layout& layout) {
    const ptrdiff_t area = static_cast<ptrdiff_t>(sides.height) * sides.width;
    const ptrdiff_t right = layout.channels_last ? layout.channels : 1, deep = layout.channels_last ? 1 : area;
    const int bottom = std::min(change.box.top + change.box.height, sides.height);
    const int last_column = std::min(change.box.left + change.box.width, sides.width);
    SampleRng rng(0, change.seed);
    uint64_t word = 0;
    int left_in_word = 0;
    for (int row = change.box.top; row < bottom; ++row) {
        for (int column = change.box.left; column < last_column; ++column) {
            uint8_t* place = pixels + (static_cast<ptrdiff_t>(row) * sides.width + column) * right;
            for (int channel = 0; channel < layout.channels; ++channel, place += deep) {
                if (change.kind == Change::Kind::kFill) {
                    *place = change.colour[channel];
                    continue;
                }
                if (left_in_word == 0) {
                    word = rng.bits();
                    left_in_word = 8;
                }
                *place = static_cast<uint8_t>(word);
                word >>= 8;
                --left_in_word;
            }
        }
    }
}

}  // namespace

void apply_change(const Change& change, uint8_t* pixels, const Sides& sides, const Layout& layout) {
    const ptrdiff_t count = static_cast<ptrdiff_t>(sides.height) * sides.width;
    const bool is_colour = layout.channels == 3;
    switch (change.kind) {
        case Change::Kind::kBrightness:
            blend(pixels, count * layout.channels, 0.0, change.amount);
            return;
        case Change::Kind::kContrast:
            blend(pixels, count * layout.channels, mean_grey(pixels, count, layout), change.amount);
            return;
        case Change::Kind::kFill:
        case Change::Kind::kNoise:
            erase(change, pixels, sides, layout);
            return;
        case Change::Kind::kSaturation:
        case Change::Kind::kHue:
        case Change::Kind::kGrey:
            if (is_colour) {
                const OnPlanes kernel = change.kind == Change::Kind::kSaturation ? kKernels.saturate
                                        : change.kind == Change::Kind::kHue      ? kKernels.turn_hue
                                                                                 : kKernels.to_grey;
                on_planes(kernel, pixels, count, layout, change.amount);
            }
            return;
    }
}

}  // namespace imagemill
