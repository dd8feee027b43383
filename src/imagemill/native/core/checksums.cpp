#include "checksums.hpp"

#include <algorithm>
#include <array>
#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "processor.hpp"

namespace imagemill {
namespace {

constexpr int kSlices = 16;
using Tables = std::array<std::array<uint32_t, 256>, kSlices>;

// tables[k][b]: what byte b does to the checksum when k more bytes follow it.
Tables make_tables() {
    Tables tables{};
    for (uint32_t value = 0; value < 256; ++value) {
        uint32_t crc = value;
        for (int bit = 0; bit < 8; ++bit) {
            crc = (crc >> 1) ^ ((crc & 1U) != 0 ? 0xEDB88320U : 0U);
        }
        tables[0][value] = crc;
    }
    for (uint32_t value = 0; value < 256; ++value) {
        for (int slice = 1; slice < kSlices; ++slice) {
            const uint32_t before = tables[slice - 1][value];
            tables[slice][value] = (before >> 8) ^ tables[0][before & 0xFFU];
        }
    }
    return tables;
}

const Tables kTables = make_tables();

constexpr uint32_t kModulus = 65521;
constexpr size_t kChunk = 32, kMost = 5536;  // bytes for which the sums of adler32 fit into 32 bits, a multiple of kChunk

// Both sums of so many chunks, not yet reduced.
void add_baseline(const uint8_t* data, size_t chunks, uint32_t& low, uint32_t& high) {
    for (; chunks > 0; --chunks, data += kChunk) {
        uint32_t sum = 0, weighed = 0;
        for (size_t i = 0; i < kChunk; ++i) {
            sum += data[i];
            weighed += static_cast<uint32_t>(kChunk - i) * data[i];
        }
        high += static_cast<uint32_t>(kChunk) * low + weighed;
        low += sum;
    }
}

// A checksum that goes on; `size` is a multiple of kSlices.
uint32_t slice_baseline(uint32_t crc, const uint8_t* data, size_t size) {
    for (; size > 0; size -= kSlices, data += kSlices) {
        uint8_t block[kSlices];
        std::memcpy(block, data, kSlices);
        for (int i = 0; i < 4; ++i) {
            block[i] = static_cast<uint8_t>(block[i] ^ (crc >> (8 * i)));
        }
        crc = 0;
        for (int i = 0; i < kSlices; ++i) {
            crc ^= kTables[kSlices - 1 - i][block[i]];
        }
    }
    return crc;
}

#if defined(__x86_64__)
__attribute__((target("avx2"))) uint32_t sum_of(__m256i lanes) {
    const __m128i halves = _mm_add_epi32(_mm256_castsi256_si128(lanes), _mm256_extracti128_si256(lanes, 1));
    const __m128i pairs = _mm_add_epi32(halves, _mm_shuffle_epi32(halves, 0x4E));
    return static_cast<uint32_t>(_mm_cvtsi128_si32(_mm_add_epi32(pairs, _mm_shuffle_epi32(pairs, 0xB1))));
}

__attribute__((target("avx2"))) void add_avx2(const uint8_t* data, size_t chunks, uint32_t& low, uint32_t& high) {
    const __m256i zero = _mm256_setzero_si256(), ones = _mm256_set1_epi16(1);
    const __m256i weights = _mm256_setr_epi8(32, 31, 30, 29, 28, 27, 26, 25, 24, 23, 22, 21, 20, 19, 18, 17, 16, 15, 14, 13,
                                             12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1);
    __m256i sums = zero, before = zero, weighed = zero;
    for (size_t i = 0; i < chunks; ++i, data += kChunk) {
        const __m256i bytes = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(data));
        before = _mm256_add_epi32(before, sums);
        sums = _mm256_add_epi32(sums, _mm256_sad_epu8(bytes, zero));
        weighed = _mm256_add_epi32(weighed, _mm256_madd_epi16(_mm256_maddubs_epi16(bytes, weights), ones));
    }
    high += static_cast<uint32_t>(kChunk) * (static_cast<uint32_t>(chunks) * low + sum_of(before)) + sum_of(weighed);
    low += sum_of(sums);
}

// x to this power modulo the polynomial, bits reflected, as a carry-less product of reflected numbers wants it.
constexpr int64_t power(int exponent) {
    uint32_t value = 0x80000000U;
    for (int i = 0; i < exponent; ++i) {
        value = (value >> 1) ^ ((value & 1U) != 0 ? 0xEDB88320U : 0U);
    }
    return static_cast<int64_t>(uint64_t{value} << 1);
}

// What 16 bytes are worth so many bits further on.
template <int kBits>
__attribute__((target("pclmul"))) __m128i moved(__m128i bytes) {
    constexpr int64_t kLow = power(kBits + 32), kHigh = power(kBits - 32);
    const __m128i factors = _mm_set_epi64x(kHigh, kLow);
    return _mm_xor_si128(_mm_clmulepi64_si128(bytes, factors, 0x00), _mm_clmulepi64_si128(bytes, factors, 0x11));
}

// Gopal and others, "Fast CRC computation for generic polynomials using PCLMULQDQ instruction", 2009: four blocks of 16
// bytes are folded into the next four, then into one, of which the tables make the checksum.
__attribute__((target("pclmul"))) uint32_t slice_pclmul(uint32_t crc, const uint8_t* data, size_t size) {
    constexpr size_t kBlocks = 4, kAll = kBlocks * kSlices;
    if (size < kAll) {
        return slice_baseline(crc, data, size);
    }
    const auto load = [&data](size_t block) __attribute__((target("pclmul"))) {
        return _mm_loadu_si128(reinterpret_cast<const __m128i*>(data + block * kSlices));
    };
    __m128i folded[kBlocks] = {_mm_xor_si128(load(0), _mm_cvtsi32_si128(static_cast<int>(crc))), load(1), load(2), load(3)};
    for (data += kAll, size -= kAll; size >= kAll; data += kAll, size -= kAll) {
        for (size_t i = 0; i < kBlocks; ++i) {
            folded[i] = _mm_xor_si128(moved<8 * kAll>(folded[i]), load(i));
        }
    }
    __m128i one = folded[0];
    for (size_t i = 1; i < kBlocks; ++i) {
        one = _mm_xor_si128(moved<8 * kSlices>(one), folded[i]);
    }
    for (; size > 0; data += kSlices, size -= kSlices) {
        one = _mm_xor_si128(moved<8 * kSlices>(one), load(0));
    }
    uint8_t last[kSlices];
    _mm_storeu_si128(reinterpret_cast<__m128i*>(last), one);
    return slice_baseline(0, last, kSlices);
}

const auto kAdd = IMAGEMILL_HAS("avx2") ? add_avx2 : add_baseline;
const auto kSlice = IMAGEMILL_HAS("pclmul") ? slice_pclmul : slice_baseline;
#else
const auto kAdd = add_baseline;
const auto kSlice = slice_baseline;
#endif

}  // namespace

uint32_t crc32(const uint8_t* data, size_t size) {
    const size_t whole = size / kSlices * kSlices;
    uint32_t crc = kSlice(0xFFFFFFFFU, data, whole);
    for (size_t i = whole; i < size; ++i) {
        crc = (crc >> 8) ^ kTables[0][(crc ^ data[i]) & 0xFFU];
    }
    return ~crc;
}

uint32_t adler32(const uint8_t* data, size_t size) {
    uint32_t low = 1, high = 0;
    while (size > 0) {
        size_t part = std::min(size, kMost);
        size -= part;
        kAdd(data, part / kChunk, low, high);
        data += part / kChunk * kChunk;
        for (part %= kChunk; part > 0; --part, ++data) {
            low += *data;
            high += low;
        }
        low %= kModulus;
        high %= kModulus;
    }
    return high << 16 | low;
}

}  // namespace imagemill
