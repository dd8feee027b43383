// One recoded JPEG, read row by row: the same pixels as JpegReader's of the JPEG.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "jpeg_frame.hpp"
#include "jpeg_outline.hpp"
#include "jpeg_pixels.hpp"
#include "jpeg_reader.hpp"
#include "picture_reader.hpp"
#include "recoded_file.hpp"
#include "recoded_source.hpp"

namespace imagemill {

class RecodedReader : public PictureReader {
  public:
    explicit RecodedReader(Text& text) : PictureReader(text) {}

    // Reads the header. `data` must live as long as the reader. Throws std::bad_alloc.
    bool open(const uint8_t* data, size_t size, int64_t max_pixels);

    Sides sides() const override { return {frame_.height, frame_.width}; }
    int channels() const override { return static_cast<int>(frame_.components.size()); }
    bool start(const Box& region, int shrink) override;
    int row_bytes() const override { return restored_ ? restored_->row_bytes() : pixels_->row_bytes(); }
    int column_offset() const override { return restored_ ? restored_->column_offset() : 0; }
    bool read(uint8_t* const* rows, int count) override;

  private:
    recoded::File file_{};
    OutlineFrame frame_;
    JpegFrame settled_{};
    recoded::Source source_;
    std::unique_ptr<JpegPixels> pixels_;
    int region_width_ = 0;
    // Samplings that JpegPixels has not: the JPEG itself, and its reader.
    std::vector<uint8_t> jpeg_;
    std::unique_ptr<JpegReader> restored_;
};

}  // namespace imagemill
