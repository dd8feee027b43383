#include "colour.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

namespace imagemill {
namespace {

constexpr int kSteps = 1 << 14;

// IEC 61966-2-1's transfer function, fine enough that the nearest step is within 0.1 of a level.
std::array<uint8_t, kSteps + 1> make_levels() {
    std::array<uint8_t, kSteps + 1> levels{};
    for (int i = 0; i <= kSteps; ++i) {
        const double x = static_cast<double>(i) / kSteps;
        const double y = x <= 0.0031308 ? 12.92 * x : 1.055 * std::pow(x, 1 / 2.4) - 0.055;
        levels[i] = static_cast<uint8_t>(std::lround(255 * y));
    }
    return levels;
}

const std::array<uint8_t, kSteps + 1> kLevels = make_levels();

using Floats = float __attribute__((vector_size(16)));
using Ints = int32_t __attribute__((vector_size(16)));

// Places in kLevels.
Ints steps_of(Floats linear) {
    const Floats zero{}, one = zero + 1.0F;
    linear = linear > zero ? linear : zero;
    linear = linear < one ? linear : one;
    return __builtin_convertvector(linear * static_cast<float>(kSteps) + 0.5F, Ints);
}

Floats four(const float* from) {
    Floats values;
    std::memcpy(&values, from, sizeof values);
    return values;
}

// One product of two levels over 255, rounded as Pillow rounds it.
uint8_t times(unsigned a, unsigned b) {
    const unsigned product = a * b + 128;
    return static_cast<uint8_t>(((product >> 8) + product) >> 8);
}

}  // namespace

Colours::Colours(const Profile& profile) : is_grey_(profile.channels == 1) {
    if (is_grey_) {
        for (int level = 0; level < 256; ++level) {
            greys_[level] = kLevels[static_cast<size_t>(steps_of(Floats{profile.map[level]})[0])];
        }
        return;
    }
    const float* matrix = profile.map + 3 * 256;
    for (int level = 0; level < 256; ++level) {
        for (int from = 0; from < 3; ++from) {
            for (int to = 0; to < 3; ++to) {
                parts_[from][level][to] = matrix[3 * to + from] * profile.map[256 * from + level];
            }
            parts_[from][level][3] = 0.0F;
        }
    }
}

void Colours::to_srgb(uint8_t* pixels, int count) const {
    const uint8_t* end = pixels + static_cast<ptrdiff_t>(count) * 4;
    if (is_grey_) {
        for (; pixels != end; pixels += 4) {
            pixels[0] = pixels[1] = pixels[2] = greys_[pixels[0]];
        }
        return;
    }
    for (; pixels != end; pixels += 4) {
        const Ints steps = steps_of(four(parts_[0][pixels[0]]) + four(parts_[1][pixels[1]]) + four(parts_[2][pixels[2]]));
        for (int channel = 0; channel < 3; ++channel) {
            pixels[channel] = kLevels[static_cast<size_t>(steps[channel])];
        }
    }
}

// FNV-1a: tells profiles apart that someone has looked at before; nothing is protected by it.
uint64_t profile_hash_with(uint64_t hash, const uint8_t* payload, size_t size) {
    constexpr char kPrefix[] = "ICC_PROFILE";  // with the literal's own zero
    if (size < sizeof kPrefix || std::memcmp(payload, kPrefix, sizeof kPrefix) != 0) {
        return hash;
    }
    hash = hash != 0 ? hash : 0xcbf29ce484222325ULL;
    for (size_t i = 0; i < size; ++i) {
        hash = (hash ^ payload[i]) * 0x100000001b3ULL;
    }
    return hash | 1;
}

void inks_to_colours(uint8_t* pixels, size_t count) {
    for (size_t i = 0; i < count; ++i, pixels += 4) {
        const unsigned key = pixels[3];
        for (int channel = 0; channel < 3; ++channel) {
            pixels[channel] = static_cast<uint8_t>(key - times(255U - pixels[channel], key));
        }
    }
}

}  // namespace imagemill
