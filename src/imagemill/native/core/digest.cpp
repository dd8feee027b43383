// Written from the algorithm's public description (xxHash, doc/xxhash_spec.md). The vector code of long inputs
// computes in integers: every processor gives the same number.

#include "digest.hpp"

#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>

#include "processor.hpp"
#endif

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "values are stored little-endian and read as they are");

namespace imagemill {
namespace {

constexpr uint64_t kPrime32_1 = 0x9E3779B1U, kPrime32_2 = 0x85EBCA77U, kPrime32_3 = 0xC2B2AE3DU;
constexpr uint64_t kPrime64_1 = 0x9E3779B185EBCA87ULL, kPrime64_2 = 0xC2B2AE3D27D4EB4FULL;
constexpr uint64_t kPrime64_3 = 0x165667B19E3779F9ULL, kPrime64_4 = 0x85EBCA77C2B2AE63ULL;
constexpr uint64_t kPrime64_5 = 0x27D4EB2F165667C5ULL;
constexpr uint64_t kMix1 = 0x165667919E3779F9ULL, kMix2 = 0x9FB21C651E98DF25ULL;

constexpr size_t kSecretBytes = 192;
constexpr uint8_t kSecret[kSecretBytes] = {
    0xb8, 0xfe, 0x6c, 0x39, 0x23, 0xa4, 0x4b, 0xbe, 0x7c, 0x01, 0x81, 0x2c, 0xf7, 0x21, 0xad, 0x1c,
    0xde, 0xd4, 0x6d, 0xe9, 0x83, 0x90, 0x97, 0xdb, 0x72, 0x40, 0xa4, 0xa4, 0xb7, 0xb3, 0x67, 0x1f,
    0xcb, 0x79, 0xe6, 0x4e, 0xcc, 0xc0, 0xe5, 0x78, 0x82, 0x5a, 0xd0, 0x7d, 0xcc, 0xff, 0x72, 0x21,
    0xb8, 0x08, 0x46, 0x74, 0xf7, 0x43, 0x24, 0x8e, 0xe0, 0x35, 0x90, 0xe6, 0x81, 0x3a, 0x26, 0x4c,
    0x3c, 0x28, 0x52, 0xbb, 0x91, 0xc3, 0x00, 0xcb, 0x88, 0xd0, 0x65, 0x8b, 0x1b, 0x53, 0x2e, 0xa3,
    0x71, 0x64, 0x48, 0x97, 0xa2, 0x0d, 0xf9, 0x4e, 0x38, 0x19, 0xef, 0x46, 0xa9, 0xde, 0xac, 0xd8,
    0xa8, 0xfa, 0x76, 0x3f, 0xe3, 0x9c, 0x34, 0x3f, 0xf9, 0xdc, 0xbb, 0xc7, 0xc7, 0x0b, 0x4f, 0x1d,
    0x8a, 0x51, 0xe0, 0x4b, 0xcd, 0xb4, 0x59, 0x31, 0xc8, 0x9f, 0x7e, 0xc9, 0xd9, 0x78, 0x73, 0x64,
    0xea, 0xc5, 0xac, 0x83, 0x34, 0xd3, 0xeb, 0xc3, 0xc5, 0x81, 0xa0, 0xff, 0xfa, 0x13, 0x63, 0xeb,
    0x17, 0x0d, 0xdd, 0x51, 0xb7, 0xf0, 0xda, 0x49, 0xd3, 0x16, 0x55, 0x26, 0x29, 0xd4, 0x68, 0x9e,
    0x2b, 0x16, 0xbe, 0x58, 0x7d, 0x47, 0xa1, 0xfc, 0x8f, 0xf8, 0xb8, 0xd1, 0x7a, 0xd0, 0x31, 0xce,
    0x45, 0xcb, 0x3a, 0x8f, 0x95, 0x16, 0x04, 0x28, 0xaf, 0xd7, 0xfb, 0xca, 0xbb, 0x4b, 0x40, 0x7e,
};

constexpr size_t kStripeBytes = 64;
constexpr size_t kBlockStripes = (kSecretBytes - kStripeBytes) / 8;
constexpr size_t kBlockBytes = kStripeBytes * kBlockStripes;
constexpr int kLanes = 8;

uint64_t read64(const uint8_t* bytes) {
    uint64_t value;
    std::memcpy(&value, bytes, sizeof value);
    return value;
}

uint32_t read32(const uint8_t* bytes) {
    uint32_t value;
    std::memcpy(&value, bytes, sizeof value);
    return value;
}

uint64_t rotated(uint64_t value, int bits) { return value << bits | value >> (64 - bits); }

// Both halves of the 128-bit product, folded by exclusive or.
uint64_t folded_product(uint64_t a, uint64_t b) {
    const uint64_t a_low = a & 0xFFFFFFFFU, a_high = a >> 32, b_low = b & 0xFFFFFFFFU, b_high = b >> 32;
    const uint64_t low = a_low * b_low, cross = a_high * b_low, other = a_low * b_high;
    const uint64_t middle = (low >> 32) + (cross & 0xFFFFFFFFU) + other;
    const uint64_t high = a_high * b_high + (cross >> 32) + (middle >> 32);
    return high ^ a * b;
}

uint64_t avalanche(uint64_t hash) {
    hash = (hash ^ hash >> 37) * kMix1;
    return hash ^ hash >> 32;
}

uint64_t old_avalanche(uint64_t hash) {
    hash = (hash ^ hash >> 33) * kPrime64_2;
    hash = (hash ^ hash >> 29) * kPrime64_3;
    return hash ^ hash >> 32;
}

uint64_t mixed(const uint8_t* data, const uint8_t* secret) {
    return folded_product(read64(data) ^ read64(secret), read64(data + 8) ^ read64(secret + 8));
}

uint64_t up_to_16(const uint8_t* data, size_t size) {
    if (size > 8) {
        const uint64_t low = read64(data) ^ read64(kSecret + 24) ^ read64(kSecret + 32);
        const uint64_t high = read64(data + size - 8) ^ read64(kSecret + 40) ^ read64(kSecret + 48);
        return avalanche(size + __builtin_bswap64(low) + high + folded_product(low, high));
    }
    if (size >= 4) {
        const uint64_t both = read32(data + size - 4) + (static_cast<uint64_t>(read32(data)) << 32);
        uint64_t hash = both ^ read64(kSecret + 8) ^ read64(kSecret + 16);
        hash ^= rotated(hash, 49) ^ rotated(hash, 24);
        hash *= kMix2;
        hash ^= (hash >> 35) + size;
        hash *= kMix2;
        return hash ^ hash >> 28;
    }
    if (size > 0) {
        const uint32_t word = static_cast<uint32_t>(data[0]) << 16 | static_cast<uint32_t>(data[size >> 1]) << 24 |
                              data[size - 1] | static_cast<uint32_t>(size) << 8;
        return old_avalanche(static_cast<uint64_t>(word ^ read32(kSecret) ^ read32(kSecret + 4)));
    }
    return old_avalanche(read64(kSecret + 56) ^ read64(kSecret + 64));
}

uint64_t up_to_128(const uint8_t* data, size_t size) {
    uint64_t hash = size * kPrime64_1;
    for (size_t i = (size - 1) / 32 + 1; i-- > 0;) {
        hash += mixed(data + 16 * i, kSecret + 32 * i);
        hash += mixed(data + size - 16 * (i + 1), kSecret + 32 * i + 16);
    }
    return avalanche(hash);
}

uint64_t up_to_240(const uint8_t* data, size_t size) {
    constexpr size_t kFirstRounds = 8;
    uint64_t hash = size * kPrime64_1;
    for (size_t i = 0; i < kFirstRounds; ++i) {
        hash += mixed(data + 16 * i, kSecret + 16 * i);
    }
    hash = avalanche(hash);
    for (size_t i = kFirstRounds; i < size / 16; ++i) {
        hash += mixed(data + 16 * i, kSecret + 16 * (i - kFirstRounds) + 3);
    }
    return avalanche(hash + mixed(data + size - 16, kSecret + 136 - 17));
}

// `count` stripes from `data` on, the secret moving on by 8 bytes a stripe.
[[maybe_unused]] void accumulate(uint64_t* lanes, const uint8_t* data, const uint8_t* secret, size_t count) {
    for (size_t stripe = 0; stripe < count; ++stripe, data += kStripeBytes, secret += 8) {
        for (int i = 0; i < kLanes; ++i) {
            const uint64_t value = read64(data + 8 * i);
            const uint64_t key = value ^ read64(secret + 8 * i);
            lanes[i ^ 1] += value;
            lanes[i] += (key & 0xFFFFFFFFU) * (key >> 32);
        }
    }
}

using Accumulate = void (*)(uint64_t*, const uint8_t*, const uint8_t*, size_t);

#if defined(__x86_64__)
void accumulate_sse2(uint64_t* lanes, const uint8_t* data, const uint8_t* secret, size_t count) {
    auto* sums = reinterpret_cast<__m128i*>(lanes);
    for (size_t stripe = 0; stripe < count; ++stripe, data += kStripeBytes, secret += 8) {
        for (int i = 0; i < 4; ++i) {
            const __m128i value = _mm_loadu_si128(reinterpret_cast<const __m128i*>(data) + i);
            const __m128i key = _mm_xor_si128(value, _mm_loadu_si128(reinterpret_cast<const __m128i*>(secret) + i));
            const __m128i product = _mm_mul_epu32(key, _mm_srli_epi64(key, 32));
            sums[i] = _mm_add_epi64(sums[i], _mm_add_epi64(product, _mm_shuffle_epi32(value, _MM_SHUFFLE(1, 0, 3, 2))));
        }
    }
}

__attribute__((target("avx2"))) void accumulate_avx2(uint64_t* lanes, const uint8_t* data, const uint8_t* secret,
                                                     size_t count) {
    auto* sums = reinterpret_cast<__m256i*>(lanes);
    __m256i half[2] = {sums[0], sums[1]};
    for (size_t stripe = 0; stripe < count; ++stripe, data += kStripeBytes, secret += 8) {
        for (int i = 0; i < 2; ++i) {
            const __m256i value = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(data) + i);
            const __m256i mask = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(secret) + i);
            const __m256i key = _mm256_xor_si256(value, mask);
            const __m256i product = _mm256_mul_epu32(key, _mm256_srli_epi64(key, 32));
            const __m256i swapped = _mm256_shuffle_epi32(value, _MM_SHUFFLE(1, 0, 3, 2));
            half[i] = _mm256_add_epi64(half[i], _mm256_add_epi64(product, swapped));
        }
    }
    sums[0] = half[0];
    sums[1] = half[1];
}

Accumulate choose_accumulate() {
    __builtin_cpu_init();
    return IMAGEMILL_HAS("avx2") ? accumulate_avx2 : accumulate_sse2;
}
#else
Accumulate choose_accumulate() { return accumulate; }
#endif

const Accumulate kAccumulate = choose_accumulate();

uint64_t of_long(const uint8_t* data, size_t size) {
    alignas(32) uint64_t lanes[kLanes] = {kPrime32_3, kPrime64_1, kPrime64_2, kPrime64_3,
                                          kPrime64_4, kPrime32_2, kPrime64_5, kPrime32_1};
    const uint8_t* const last_secret = kSecret + kSecretBytes - kStripeBytes;
    const size_t blocks = (size - 1) / kBlockBytes;
    for (size_t block = 0; block < blocks; ++block) {
        kAccumulate(lanes, data + block * kBlockBytes, kSecret, kBlockStripes);
        for (int i = 0; i < kLanes; ++i) {
            lanes[i] = (lanes[i] ^ lanes[i] >> 47 ^ read64(last_secret + 8 * i)) * kPrime32_1;
        }
    }
    kAccumulate(lanes, data + blocks * kBlockBytes, kSecret, (size - 1 - blocks * kBlockBytes) / kStripeBytes);
    kAccumulate(lanes, data + size - kStripeBytes, last_secret - 7, 1);
    uint64_t hash = size * kPrime64_1;
    for (int i = 0; i < kLanes; i += 2) {
        const uint8_t* secret = kSecret + 11 + 8 * i;
        hash += folded_product(lanes[i] ^ read64(secret), lanes[i + 1] ^ read64(secret + 8));
    }
    return avalanche(hash);
}

}  // namespace

uint64_t xxh3_64(const uint8_t* data, size_t size) {
    if (size <= 16) {
        return up_to_16(data, size);
    }
    if (size <= 128) {
        return up_to_128(data, size);
    }
    return size <= 240 ? up_to_240(data, size) : of_long(data, size);
}

}  // namespace imagemill
