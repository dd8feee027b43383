// Which instructions are used: the newest that this processor has, or the oldest where the environment says
// IMAGEMILL_CPU=baseline (so that one machine can test both).
#pragma once

#include <cstdlib>
#include <cstring>

namespace imagemill {

inline bool takes_baseline() {
    const char* wanted = std::getenv("IMAGEMILL_CPU");
    return wanted != nullptr && std::strcmp(wanted, "baseline") == 0;
}

}  // namespace imagemill

// The compiler wants the feature's name spelt out where it is asked for.
#define IMAGEMILL_HAS(feature) (__builtin_cpu_supports(feature) != 0 && !imagemill::takes_baseline())
