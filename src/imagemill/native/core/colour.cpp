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

uint8_t level_of(float linear) {
    const float clipped = std::min(std::max(linear, 0.0F), 1.0F);
    return kLevels[static_cast<int>(clipped * kSteps + 0.5F)];
}

// One product of two levels over 255, rounded as Pillow rounds it.
uint8_t times(unsigned a, unsigned b) {
    const unsigned product = a * b + 128;
    return static_cast<uint8_t>(((product >> 8) + product) >> 8);
}

}  // namespace

void to_srgb(const ColourMap& map, uint8_t* pixels, int count) {
    const float* m = map.matrix;
    for (int i = 0; i < count; ++i, pixels += 4) {
        const float red = map.linear[0][pixels[0]];
        const float green = map.linear[1][pixels[1]];
        const float blue = map.linear[2][pixels[2]];
        pixels[0] = level_of(m[0] * red + m[1] * green + m[2] * blue);
        pixels[1] = level_of(m[3] * red + m[4] * green + m[5] * blue);
        pixels[2] = level_of(m[6] * red + m[7] * green + m[8] * blue);
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
