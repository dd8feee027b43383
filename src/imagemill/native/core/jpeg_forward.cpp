#include "jpeg_forward.hpp"

#include <cstdlib>

#include "jpeg_forward_avx2.hpp"
#include "jpeg_forward_plain.hpp"
#include "processor.hpp"

namespace imagemill {
namespace jpeg {
namespace {

void convert_baseline(const uint8_t* pixels, int width, int16_t* luma, int16_t* blue, int16_t* red) {
    convert_from(0, pixels, width, luma, blue, red);
}

void halve_baseline(const int16_t* upper, const int16_t* lower, bool is_pair, int width, int16_t* out) {
    halve_from(0, upper, lower, is_pair, width, out);
}

void transform_baseline(const int16_t* samples, ptrdiff_t stride, int count, const Divisors& divisors, Block* out) {
    for (int i = 0; i < count; ++i) {
        transform_plain(samples + i * kBlockSide, stride, divisors, out[i]);
    }
}

#if defined(__x86_64__)
const bool kHasAvx2 = IMAGEMILL_HAS("avx2");
const auto convert = kHasAvx2 ? convert_avx2 : convert_baseline;
const auto halve = kHasAvx2 ? halve_avx2 : halve_baseline;
const auto transform = kHasAvx2 ? transform_avx2 : transform_baseline;
#else
constexpr auto convert = convert_baseline;
constexpr auto halve = halve_baseline;
constexpr auto transform = transform_baseline;
#endif

}  // namespace

// After A. Fog, "Optimizing subroutines in assembly language", division by multiplication: a power of two that is as
// large as fits over the divisor, rounded so that the error stays below what 16 bits show.
Divisors::Divisors(const std::array<uint8_t, kBlockSize>& steps) {
    for (size_t k = 0; k < kBlockSize; ++k) {
        const uint32_t divisor = 8U * steps[k];
        int bits = 16;
        for (uint32_t rest = divisor; rest > 1; rest >>= 1) {
            ++bits;
        }
        uint32_t quotient = (1U << bits) / divisor, half = divisor / 2;
        const uint32_t remainder = (1U << bits) % divisor;
        if (remainder == 0) {
            quotient /= 2;  // which would need 17 bits
            --bits;
        } else if (remainder <= divisor / 2) {
            ++half;
        } else {
            ++quotient;
        }
        bias[k] = static_cast<uint16_t>(half);
        factor[k] = static_cast<uint16_t>(quotient);
        scale[k] = static_cast<uint16_t>(1U << (32 - bits));
    }
}

void convert_row(const uint8_t* pixels, int width, int16_t* luma, int16_t* blue, int16_t* red) {
    convert(pixels, width, luma, blue, red);
}

void halve_rows(const int16_t* upper, const int16_t* lower, bool is_pair, int width, int16_t* out) {
    halve(upper, lower, is_pair, width, out);
}

void transform_blocks(const int16_t* samples, ptrdiff_t stride, int count, const Divisors& divisors, Block* out) {
    transform(samples, stride, count, divisors, out);
}

}  // namespace jpeg
}  // namespace imagemill
