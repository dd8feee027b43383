// Colours of decoded rows: four bytes a pixel, of which the first three count.
#pragma once

#include <cstddef>
#include <cstdint>

namespace imagemill {

// What a colour profile of three curves and a matrix says, as the way to linear sRGB.
struct ColourMap {
    float linear[3][256];  // of each level of R, G, B
    float matrix[9];       // row by row, to linear sRGB
};
static_assert(sizeof(ColourMap) == 4 * (3 * 256 + 9), "native/__init__.py lays it out like this");

// What a batch knows of profiles by their hash: colours are sRGB anyway (no map), or how they become it.
struct Profile {
    uint64_t hash;
    const ColourMap* map;
};

// The hash of a profile goes on with the payload of another APP2 segment; it stays as it is (0 at first, then never)
// where that is no part of a profile.
uint64_t profile_hash_with(uint64_t hash, const uint8_t* payload, size_t size);

// Levels in a profile's colours to levels in sRGB, clipped to what sRGB can show.
void to_srgb(const ColourMap& map, uint8_t* pixels, int count);

// C, M, Y, K to R, G, B: stored inks are inverted (0 is full ink), as Adobe writes them; ink laid over black, as
// Pillow has it.
void inks_to_colours(uint8_t* pixels, size_t count);

}  // namespace imagemill
