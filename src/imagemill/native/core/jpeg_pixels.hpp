// Rows of pixels of a frame and its coefficients: the same as libjpeg-turbo's (JDCT_ISLOW, fancy upsampling), of any part
// of the picture as they are in the whole, at full, half, quarter or eighth size.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "jpeg_frame.hpp"
#include "placement.hpp"

namespace imagemill {

// A stretch of rows or columns.
struct Stretch {
    int begin;
    int end;
};

class JpegPixels {
  public:
    // Both must live as long as this; `frame` is settled.
    JpegPixels(const JpegFrame& frame, CoefficientSource& source) : frame_(frame), source_(source) {}

    // Prepares for `region` of the picture shrunk by `shrink` (1, 2, 4 or 8), which holds it. False where the source
    // cannot start. Called once. Throws std::bad_alloc.
    bool start(const Box& region, int shrink);

    // Of a row that read() fills: a little more than the region's.
    int row_bytes() const;

    // The next `count` rows of the region as R, G, B and an unused byte; false where the source fails.
    bool read(uint8_t* const* rows, int count);

  private:
    // Samples of a component on their way: two rows of MCUs, of which the older is needed for what lies beside the newer.
    struct Plane {
        int size;          // samples of the side of a block
        Sides sides;       // of the whole component at that size
        int across;        // pixels that a sample becomes
        int down;
        bool is_smooth;    // interpolated, not repeated
        int mcu_rows;      // samples of an MCU
        int mcu_columns;
        Stretch rows;      // that the region needs
        Stretch columns;
        int first_column;  // of the whole component, in the buffer
        ptrdiff_t stride;
        uint8_t* samples;  // of first_column in the first row of the ring
        const uint8_t* row(int number) const;
    };

    void plan(const Box& region, int shrink);
    Demand demand() const;
    void allocate(const Demand& demand);
    bool read_mcu_row();
    void transform(int component, int mcu_row);
    void pad_edges(const Plane& plane, uint8_t* row) const;
    const uint8_t* full_row(int component, int y);
    void make_row(int y, uint8_t* out);

    const JpegFrame& frame_;
    CoefficientSource& source_;
    Box region_{};
    Plane planes_[kMostComponents];
    int next_mcu_row_ = 0;
    int next_y_ = 0;
    int block_columns_[kMostComponents];
    BlockRows blocks_{};
    std::unique_ptr<uint8_t[]> memory_;
    uint8_t* scratch_[kMostComponents];
};

}  // namespace imagemill
