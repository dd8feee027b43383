#include "jpeg_stuffed_bits.hpp"

#include <algorithm>

#include "processor.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace imagemill {
namespace jpeg {
namespace {

constexpr uint8_t kOnes = 0xFF;

uint8_t* store_byte(uint8_t byte, uint8_t* out) {
    *out++ = byte;
    if (byte == kOnes) {
        *out++ = 0;
    }
    return out;
}

// So many bytes, each of the bits from `shift` on of one byte and those before of the next; where the next byte goes.
uint8_t* copy_baseline(const uint8_t* from, int shift, uint64_t count, uint8_t* out) {
    for (; count > 0; --count, ++from) {
        out = store_byte(static_cast<uint8_t>((from[0] << 8 | from[1]) >> (8 - shift)), out);
    }
    return out;
}

#if defined(__x86_64__)
// 32 bytes at a time, of which only those before and with the first byte of ones are done with.
__attribute__((target("avx2"))) uint8_t* copy_avx2(const uint8_t* from, int shift, uint64_t count, uint8_t* out) {
    constexpr uint64_t kAtOnce = 32;
    const __m128i left = _mm_cvtsi32_si128(shift), right = _mm_cvtsi32_si128(8 - shift);
    const __m256i lower = _mm256_set1_epi8(static_cast<char>((1 << shift) - 1)), ones = _mm256_set1_epi8(-1);
    while (count >= kAtOnce) {
        const __m256i here = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
        const __m256i next = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + 1));
        const __m256i bytes = _mm256_or_si256(_mm256_andnot_si256(lower, _mm256_sll_epi16(here, left)),
                                              _mm256_and_si256(lower, _mm256_srl_epi16(next, right)));
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), bytes);
        const auto full = static_cast<uint32_t>(_mm256_movemask_epi8(_mm256_cmpeq_epi8(bytes, ones)));
        uint64_t done = kAtOnce;
        if (full != 0) {
            done = static_cast<uint64_t>(__builtin_ctz(full)) + 1;
            out[done] = 0;
            ++out;
        }
        from += done;
        out += done;
        count -= done;
    }
    return copy_baseline(from, shift, count, out);
}

const auto copy_bytes = IMAGEMILL_HAS("avx2") ? copy_avx2 : copy_baseline;
#else
constexpr auto copy_bytes = copy_baseline;
#endif

}  // namespace

// Stores all whole bytes that wait.
void StuffedBits::store() {
    for (; count_ >= 8; count_ -= 8, waiting_ <<= 8) {
        place_ = store_byte(static_cast<uint8_t>(waiting_ >> 56), place_);
    }
}

void StuffedBits::put_bits(uint64_t bits, int length) {
    if (length > 0) {
        waiting_ |= bits << (64 - length) >> count_;
        count_ += length;
        store();
    }
}

void StuffedBits::copy(const uint8_t* bits, uint64_t from, uint64_t to) {
    const auto put_some = [&](uint64_t most) {  // up to 8
        const auto length = static_cast<int>(std::min(to - from, most));
        const int pair = bits[from / 8] << 8 | bits[from / 8 + 1];
        put_bits(static_cast<uint64_t>(pair << from % 8 & 0xFFFF) >> (16 - length), length);
        from += static_cast<uint64_t>(length);
    };
    put_some(static_cast<uint64_t>(-count_ & 7));
    if (count_ == 0) {
        const uint64_t bytes = (to - from) / 8;
        place_ = copy_bytes(bits + from / 8, static_cast<int>(from % 8), bytes, place_);
        from += 8 * bytes;
    }
    put_some(8);
}

uint8_t* StuffedBits::finish() {
    put_bits(0x7F, 7);
    return place_;
}

}  // namespace jpeg
}  // namespace imagemill
