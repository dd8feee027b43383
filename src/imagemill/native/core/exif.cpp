#include "exif.hpp"

#include <cstring>

namespace imagemill {
namespace {

constexpr unsigned kOrientationTag = 0x0112;
constexpr size_t kEntryBytes = 12;

uint32_t number(const uint8_t* bytes, int count, bool big) {
    uint32_t value = 0;
    for (int i = 0; i < count; ++i) {
        value = value << 8 | bytes[big ? i : count - 1 - i];
    }
    return value;
}

}  // namespace

int exif_orientation(const uint8_t* tiff, size_t size) {
    if (size < 8) {
        return 1;
    }
    const bool big = std::memcmp(tiff, "MM\0*", 4) == 0;
    if (!big && std::memcmp(tiff, "II*\0", 4) != 0) {
        return 1;
    }
    const size_t start = number(tiff + 4, 4, big);
    if (start > size || size - start < 2) {
        return 1;
    }
    const size_t entries = number(tiff + start, 2, big);
    for (size_t i = 0; i < entries; ++i) {
        const size_t position = start + 2 + i * kEntryBytes;
        if (position > size || size - position < kEntryBytes) {
            return 1;
        }
        if (number(tiff + position, 2, big) == kOrientationTag) {
            const uint32_t value = number(tiff + position + 8, 2, big);
            return value >= 1 && value <= 8 ? static_cast<int>(value) : 1;
        }
    }
    return 1;
}

}  // namespace imagemill
