// PNG files of up to 8 bits a channel (PNG specification, third edition), proven whole: grey, RGB and palette indices,
// not interlaced. Everything else, and whatever is not in perfect order, is handed back.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "placement.hpp"
#include "status.hpp"

namespace imagemill {

using Bytes = std::unique_ptr<uint8_t[]>;

bool looks_like_png(const uint8_t* data, size_t size);

class PngFile {
  public:
    // Looks at all chunks and their checksums. kNotJpeg where another decoder has to see to the file. A mask's colours
    // do not matter: what a file says of them is passed over. Throws std::bad_alloc.
    Status open(const uint8_t* data, size_t size, int64_t max_pixels, bool is_mask);

    const Sides& sides() const { return sides_; }

    // Pixels of an image, (H, W, channels) bytes: grey levels and colours become each other as Pillow has it. Null where
    // the stream is damaged. Throws std::bad_alloc.
    Bytes image(int channels);

    // Values as stored, a byte each, (H, W): levels, or indices of a palette. Null as above.
    Bytes values();

  private:
    Bytes filtered();  // as the stream has them; null where it is damaged
    Bytes rows();      // without filters, a byte a step; row i begins at i * stride_ + 1
    Bytes colours();   // without filters, (H, W, 3)

    Sides sides_{0, 0};
    int depth_ = 0;
    bool is_colour_ = false;
    size_t stride_ = 0;  // bytes of a row with its filter
    size_t stream_size_ = 0;
    Bytes stream_;  // all of its parts, and slack
};

}  // namespace imagemill
