// Written from FIPS 180-4, and from Intel's description of the instructions that do two rounds at a time.

#include "sha256.hpp"

#include <cstring>

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>

#include "processor.hpp"
#endif

namespace imagemill {
namespace {

constexpr size_t kBlockBytes = 64;
constexpr int kRounds = 64;
constexpr int kWords = 8;

// Fractional parts of the cube roots of the first 64 primes, and of the square roots of the first 8.
alignas(16) constexpr uint32_t kConstants[kRounds] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};
constexpr uint32_t kStart[kWords] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                     0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};

uint32_t rotated(uint32_t value, int bits) { return value >> bits | value << (32 - bits); }

uint32_t read_big(const uint8_t* bytes) {
    uint32_t value;
    std::memcpy(&value, bytes, sizeof value);
    return __builtin_bswap32(value);
}

void digest_plain(uint32_t* state, const uint8_t* data, size_t blocks) {
    for (; blocks > 0; --blocks, data += kBlockBytes) {
        uint32_t w[kRounds];
        for (int i = 0; i < 16; ++i) {
            w[i] = read_big(data + 4 * i);
        }
        for (int i = 16; i < kRounds; ++i) {
            const uint32_t early = rotated(w[i - 15], 7) ^ rotated(w[i - 15], 18) ^ w[i - 15] >> 3;
            const uint32_t late = rotated(w[i - 2], 17) ^ rotated(w[i - 2], 19) ^ w[i - 2] >> 10;
            w[i] = w[i - 16] + early + w[i - 7] + late;
        }
        uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
        uint32_t e = state[4], f = state[5], g = state[6], h = state[7];
        for (int i = 0; i < kRounds; ++i) {
            const uint32_t chosen = (e & f) ^ (~e & g), majority = (a & b) ^ (a & c) ^ (b & c);
            const uint32_t first = h + (rotated(e, 6) ^ rotated(e, 11) ^ rotated(e, 25)) + chosen + kConstants[i] + w[i];
            const uint32_t second = (rotated(a, 2) ^ rotated(a, 13) ^ rotated(a, 22)) + majority;
            h = g;
            g = f;
            f = e;
            e = d + first;
            d = c;
            c = b;
            b = a;
            a = first + second;
        }
        const uint32_t found[kWords] = {a, b, c, d, e, f, g, h};
        for (int i = 0; i < kWords; ++i) {
            state[i] += found[i];
        }
    }
}

using Digest = void (*)(uint32_t*, const uint8_t*, size_t);

#if defined(__x86_64__)
// The state as the instructions want it: A, B, E, F in one register and C, D, G, H in the other, from the top down.
__attribute__((target("sha,sse4.1"))) void digest_sha(uint32_t* state, const uint8_t* data, size_t blocks) {
    const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0bLL, 0x0405060700010203LL);
    const __m128i dcba = _mm_loadu_si128(reinterpret_cast<const __m128i*>(state));
    const __m128i hgfe = _mm_loadu_si128(reinterpret_cast<const __m128i*>(state + 4));
    const __m128i cdab = _mm_shuffle_epi32(dcba, _MM_SHUFFLE(2, 3, 0, 1));
    const __m128i efgh = _mm_shuffle_epi32(hgfe, _MM_SHUFFLE(0, 1, 2, 3));
    __m128i abef = _mm_alignr_epi8(cdab, efgh, 8);
    __m128i cdgh = _mm_blend_epi16(efgh, cdab, 0xF0);
    for (; blocks > 0; --blocks, data += kBlockBytes) {
        const __m128i abef_before = abef, cdgh_before = cdgh;
        __m128i w[4];
        for (int i = 0; i < 4; ++i) {
            w[i] = _mm_shuffle_epi8(_mm_loadu_si128(reinterpret_cast<const __m128i*>(data) + i), swap);
        }
#pragma GCC unroll 16
        for (int i = 0; i < kRounds / 4; ++i) {
            const __m128i now = w[i % 4];
            const __m128i sums = _mm_add_epi32(now, _mm_load_si128(reinterpret_cast<const __m128i*>(kConstants) + i));
            cdgh = _mm_sha256rnds2_epu32(cdgh, abef, sums);
            abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(sums, _MM_SHUFFLE(1, 0, 3, 2)));
            if (i < kRounds / 4 - 4) {
                const __m128i next = w[(i + 1) % 4], last = w[(i + 3) % 4];
                const __m128i nine = _mm_alignr_epi8(last, w[(i + 2) % 4], 4);
                w[i % 4] = _mm_sha256msg2_epu32(_mm_add_epi32(_mm_sha256msg1_epu32(now, next), nine), last);
            }
        }
        abef = _mm_add_epi32(abef, abef_before);
        cdgh = _mm_add_epi32(cdgh, cdgh_before);
    }
    const __m128i feba = _mm_shuffle_epi32(abef, _MM_SHUFFLE(0, 1, 2, 3));
    const __m128i dchg = _mm_shuffle_epi32(cdgh, _MM_SHUFFLE(2, 3, 0, 1));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(state), _mm_blend_epi16(feba, dchg, 0xF0));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(state + 4), _mm_alignr_epi8(dchg, feba, 8));
}

// Compilers differ in whether __builtin_cpu_supports() knows "sha".
Digest choose_digest() {
    unsigned a = 0, b = 0, c = 0, d = 0;
    constexpr unsigned kSha = 1U << 29;
    __builtin_cpu_init();
    const bool has_sha = __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (b & kSha) != 0 && may_use("sha");
    return has_sha && IMAGEMILL_HAS("sse4.1") ? digest_sha : digest_plain;
}
#else
Digest choose_digest() { return digest_plain; }
#endif

const Digest kDigest = choose_digest();

}  // namespace

void sha256(const uint8_t* data, size_t size, uint8_t* digest) {
    uint32_t state[kWords];
    std::memcpy(state, kStart, sizeof state);
    const size_t whole = size / kBlockBytes * kBlockBytes, left = size - whole;
    kDigest(state, data, whole / kBlockBytes);
    // What is left, a bit that is set, and the number of bits at the end of the last block.
    uint8_t end[2 * kBlockBytes] = {};
    if (left > 0) {
        std::memcpy(end, data + whole, left);
    }
    end[left] = 0x80;
    const size_t blocks = left + 1 + sizeof(uint64_t) <= kBlockBytes ? 1 : 2;
    const uint64_t bits = __builtin_bswap64(static_cast<uint64_t>(size) * 8);
    std::memcpy(end + blocks * kBlockBytes - sizeof bits, &bits, sizeof bits);
    kDigest(state, end, blocks);
    for (int i = 0; i < kWords; ++i) {
        const uint32_t word = __builtin_bswap32(state[i]);
        std::memcpy(digest + 4 * i, &word, sizeof word);
    }
}

}  // namespace imagemill
