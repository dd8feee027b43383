// An encoded picture, read row by row: only the rows and columns asked for.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>

#include "colour.hpp"
#include "placement.hpp"
#include "status.hpp"

namespace imagemill {

class PictureReader {
  public:
    explicit PictureReader(Text& text) : text_(text) {}
    virtual ~PictureReader() = default;
    PictureReader(const PictureReader&) = delete;
    PictureReader& operator=(const PictureReader&) = delete;

    virtual Sides sides() const = 0;
    int orientation() const { return orientation_; }         // of the EXIF block; 1 where it has none
    uint64_t profile_hash() const { return profile_hash_; }  // of the ICC profile; 0 where there is none

    // 1 of grey, 3 of colours, 4 of inks.
    virtual int channels() const = 0;

    // What read() gives goes through this; null leaves it as it is.
    void convert(std::unique_ptr<Colours> colours) { colours_ = std::move(colours); }

    // Prepares for the rows and columns of `region`, which is in pixels of the picture shrunk by `shrink`
    // (1, 2, 4 or 8). Rows of pixels then come from the region's top on. Throws std::bad_alloc.
    virtual bool start(const Box& region, int shrink) = 0;

    virtual int row_bytes() const = 0;      // of a row that read() fills
    virtual int column_offset() const = 0;  // pixels before the region's left column in such a row

    // The next `count` rows as R, G, B and an unused byte.
    virtual bool read(uint8_t* const* rows, int count) = 0;

    Status status() const { return status_; }

  protected:
    bool refuse(const char* why) {
        text_.print("%s", why);
        status_ = Status::kDoubtful;
        return false;
    }

    Text& text_;
    Status status_ = Status::kDone;
    int orientation_ = 1;
    uint64_t profile_hash_ = 0;
    std::unique_ptr<Colours> colours_;
};

}  // namespace imagemill
