// Baseline JPEGs of parts of one picture, each byte by byte what libjpeg-turbo makes of it by default. Parts that overlap
// and lie on one grid of MCUs are transformed and coded together.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "jpeg_area.hpp"
#include "placement.hpp"

namespace imagemill {
namespace jpeg {

// What the caller asks for; native/jpeg_parts.py has the same.
struct PartsRequest {
    const uint8_t* pixels;  // rows of RGB or grey
    int64_t row_bytes;
    int32_t channels;
    int32_t quality;       // 1 to 100
    int32_t across, down;  // chroma is halved where these are 2
    int64_t count;
    const int32_t* boxes;  // top, left, height, width of each part, inside the picture
};

class Parts {
  public:
    // The pixels are read while parts are written.
    explicit Parts(const PartsRequest& request);

    // One part; valid until the next call. Throws std::bad_alloc.
    const uint8_t* write(int64_t part, size_t& size);

  private:
    struct Group {
        Box box;
        int64_t members;
        std::unique_ptr<CodedArea> area;
    };

    void put_in_groups();
    bool fits_grid(const Box& box) const;
    size_t put_header(Sides sides);

    Settings settings_;
    const uint8_t* pixels_;
    int64_t row_bytes_;
    std::vector<Box> boxes_;
    std::vector<Group> groups_;
    std::vector<size_t> group_of_;
    std::unique_ptr<uint8_t[]> file_;
    size_t capacity_ = 0;
};

}  // namespace jpeg
}  // namespace imagemill
