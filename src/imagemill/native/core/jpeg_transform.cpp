#include "jpeg_transform.hpp"

#include <algorithm>
#include <cstring>

#include "jpeg_transform_avx2.hpp"
#include "jpeg_transform_plain.hpp"
#include "processor.hpp"

namespace imagemill {
namespace {

// A block with nothing but its first coefficient is even.
uint8_t even_sample(int16_t coefficient, uint16_t step) {
    const int level = wrapped(wrapped(coefficient * step) * (1 << kPassBits));
    return sample_of((level + 16) >> 5);
}

template <int size>
void fill_block(uint8_t sample, uint8_t* out, ptrdiff_t stride) {
    for (int row = 0; row < size; ++row) {
        std::memset(out + row * stride, sample, size);
    }
}

void transform_one(const int16_t* block, int extent, const uint16_t* steps, int size, uint8_t* out, ptrdiff_t stride) {
    if (size == 1) {
        *out = mean_sample(block[0], steps[0]);
    } else if (size == 2) {
        transform_plain_2(block, steps, out, stride);
    } else if (extent == 1) {
        const uint8_t sample = even_sample(block[0], steps[0]);
        size == 8 ? fill_block<8>(sample, out, stride) : fill_block<4>(sample, out, stride);
    } else if (size == 4) {
        transform_plain<4>(block, steps, out, stride);
    } else {
        transform_plain<8>(block, steps, out, stride);
    }
}

void transform_baseline(const int16_t* blocks, const uint8_t* extents, int count, const uint16_t* steps, int size,
                        uint8_t* out, ptrdiff_t stride) {
    for (int i = 0; i < count; ++i) {
        transform_one(blocks + i * 64, extents[i], steps, size, out + i * size, stride);
    }
}

#if defined(__x86_64__)
void transform_avx2(const int16_t* blocks, const uint8_t* extents, int count, const uint16_t* steps, int size,
                    uint8_t* out, ptrdiff_t stride) {
    for (int i = 0; i < count; i += 2) {
        const int other = i + 1 < count ? i + 1 : i;
        const int16_t *first = blocks + i * 64, *second = blocks + other * 64;
        uint8_t* place = out + i * size;
        bool is_done = false;
        if (size == 2) {
            is_done = transform_two_to_2(first, second, steps, place, stride);
        } else if (size != 1 && (extents[i] != 1 || extents[other] != 1)) {
            const bool is_low = std::max(extents[i], extents[other]) <= kLowExtent;
            const auto to_8 = is_low ? transform_two_low_to_8 : transform_two_to_8;
            is_done = (size == 8 ? to_8 : transform_two_to_4)(first, second, steps, place, stride);
        }
        for (int k = i; !is_done && k <= other; ++k) {
            transform_one(blocks + k * 64, extents[k], steps, size, out + k * size, stride);
        }
    }
}

const auto transform = IMAGEMILL_HAS("avx2") ? transform_avx2 : transform_baseline;
#else
constexpr auto transform = transform_baseline;
#endif

}  // namespace

void transform_blocks(const int16_t* blocks, const uint8_t* extents, int count, const uint16_t* steps, int size,
                      uint8_t* out, ptrdiff_t stride) {
    transform(blocks, extents, count, steps, size, out, stride);
}

}  // namespace imagemill
