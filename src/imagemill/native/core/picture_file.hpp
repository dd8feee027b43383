// A picture in memory, whatever its kind: a JPEG, a recoded one, a PNG, or raw pixels.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "picture_reader.hpp"
#include "placement.hpp"
#include "png.hpp"
#include "rules.hpp"
#include "status.hpp"
#include "view.hpp"

namespace imagemill {

class PictureFile {
  public:
    explicit PictureFile(const Rules& rules) : rules_(rules) {}

    // Reads the header; `data` and the rules must live as long as this. `profile` becomes the hash of the file's colour
    // profile, 0 where it has none or the file is not for the core. Throws std::bad_alloc.
    Status open(const uint8_t* data, size_t size, uint64_t* profile);

    // Raw pixels, (H, W, 3) bytes.
    void open_raw(const uint8_t* pixels, const Sides& sides);

    // Upright.
    const Sides& sides() const { return sides_; }

    // What is seen of it, once; the view lies in the picture. Raw pixels want layouts of 3 channels. Throws std::bad_alloc.
    Status show(const View& view, const Layout& layout, uint8_t* out);

  private:
    const Rules& rules_;
    Text text_{nullptr};
    Sides sides_{0, 0};
    const uint8_t* raw_ = nullptr;
    std::unique_ptr<PngFile> png_;
    std::unique_ptr<PictureReader> reader_;
    int orientation_ = 0;
};

}  // namespace imagemill
