// What the transforms of two blocks at a time with AVX2 have in common, there and back.
#pragma once

#if defined(__x86_64__)
#include <immintrin.h>

#include <cstdint>

#include "inlining.hpp"

namespace imagemill {
namespace {

// A row of eight numbers of 16 bits of each of two blocks, one in either half.
using Rows = __m256i[8];

// Of pairs of neighbouring numbers, for a multiplication that adds them up.
IMAGEMILL_AVX2_INLINE __m256i factors(int even, int odd) {
    return _mm256_set1_epi32(static_cast<int>(static_cast<uint32_t>(odd) << 16 | (static_cast<uint32_t>(even) & 0xFFFF)));
}

IMAGEMILL_AVX2_INLINE void transpose(Rows& rows) {
    __m256i a[8], b[8];
    for (int i = 0; i < 4; ++i) {
        a[2 * i] = _mm256_unpacklo_epi16(rows[2 * i], rows[2 * i + 1]);
        a[2 * i + 1] = _mm256_unpackhi_epi16(rows[2 * i], rows[2 * i + 1]);
    }
    for (int i = 0; i < 2; ++i) {
        b[4 * i] = _mm256_unpacklo_epi32(a[4 * i], a[4 * i + 2]);
        b[4 * i + 1] = _mm256_unpackhi_epi32(a[4 * i], a[4 * i + 2]);
        b[4 * i + 2] = _mm256_unpacklo_epi32(a[4 * i + 1], a[4 * i + 3]);
        b[4 * i + 3] = _mm256_unpackhi_epi32(a[4 * i + 1], a[4 * i + 3]);
    }
    for (int i = 0; i < 4; ++i) {
        rows[2 * i] = _mm256_unpacklo_epi64(b[i], b[i + 4]);
        rows[2 * i + 1] = _mm256_unpackhi_epi64(b[i], b[i + 4]);
    }
}

}  // namespace
}  // namespace imagemill

#endif
