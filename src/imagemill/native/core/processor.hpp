// Which instructions are used: the newest that this processor has, or older ones where the environment says so, that one
// machine can test all: IMAGEMILL_CPU=avx2 is without AVX-512, IMAGEMILL_CPU=baseline without anything.
#pragma once

#include <cstdlib>
#include <cstring>

namespace imagemill {

inline bool may_use(const char* feature) {
    const char* wanted = std::getenv("IMAGEMILL_CPU");
    if (wanted != nullptr && std::strcmp(wanted, "avx2") == 0) {
        return std::strncmp(feature, "avx512", 6) != 0;
    }
    return wanted == nullptr || std::strcmp(wanted, "baseline") != 0;
}

}  // namespace imagemill

// The compiler wants the feature's name spelt out where it is asked for.
#define IMAGEMILL_HAS(feature) (__builtin_cpu_supports(feature) != 0 && imagemill::may_use(feature))
