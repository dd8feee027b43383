// Colours of decoded rows: four bytes a pixel, of which the first three count.
#pragma once

#include <cstddef>
#include <cstdint>

namespace imagemill {

// What a batch knows of profiles by their hash: levels are sRGB anyway (no map), or how they become it. A map of three
// channels is the linear value of each level of R, G and B, then a matrix, row by row, to linear sRGB; one of a single
// channel the linear value of each grey.
struct Profile {
    uint64_t hash;
    const float* map;
    int64_t channels;
};

// The hash of a profile goes on with the payload of another APP2 segment; it stays as it is (0 at first, then never)
// where that is no part of a profile.
uint64_t profile_hash_with(uint64_t hash, const uint8_t* payload, size_t size);

// From levels in a profile's colours to levels in sRGB, clipped to what sRGB can show.
class Colours {
  public:
    // Of a profile with a map.
    explicit Colours(const Profile& profile);

    void to_srgb(uint8_t* pixels, int count) const;

  private:
    bool is_grey_;
    uint8_t greys_[256];
    float parts_[3][256][4];  // what each level of R, G and B adds to linear R, G and B
};

// C, M, Y, K to R, G, B: stored inks are inverted (0 is full ink), as Adobe writes them; ink laid over black, as
// Pillow has it.
void inks_to_colours(uint8_t* pixels, size_t count);

}  // namespace imagemill
