// Loops that are compiled for several instruction sets are inlined into a function of each.
#pragma once

#define IMAGEMILL_INLINE __attribute__((always_inline)) inline
#define IMAGEMILL_AVX2_INLINE __attribute__((target("avx2"), always_inline)) inline
