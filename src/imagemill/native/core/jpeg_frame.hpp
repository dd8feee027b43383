// What a JPEG is between its entropy coding and its pixels: sides, sampling, quantisation, and a source of quantised
// coefficients. jpeg_pixels makes rows of pixels of any such pair, whatever the coefficients were stored as.
#pragma once

#include <cstdint>

#include "placement.hpp"

namespace imagemill {

constexpr int kBlockSide = 8;
constexpr int kBlockSize = 64;
constexpr int kMostComponents = 3;

enum class ColourModel : int32_t { kGrey = 0, kYCbCr = 1, kRgb = 2 };

struct JpegComponent {
    // Given: sampling factors, 1 to 4, and quantisation steps, row by row (not in zigzag order).
    int across;
    int down;
    uint16_t steps[kBlockSize];
    // By settle(): blocks as stored, padded to whole MCUs.
    int blocks_wide;
    int blocks_high;
};

// 8 bits a sample; 1 component (kGrey) or 3.
struct JpegFrame {
    // Given.
    Sides sides;
    ColourModel colours;
    int component_count;
    JpegComponent components[kMostComponents];
    // By settle().
    int most_across;
    int most_down;
    int mcu_columns;
    int mcu_rows;

    // Works out what follows from the rest; false where libjpeg-turbo must say what such a file is: sides of 0 or
    // beyond 65500, factors outside 1 to 4 or that do not divide the largest, more than 10 blocks in an MCU. The MCU of
    // a single component is one block, whatever its factors say: they become 1.
    bool settle();
};

// The part of a frame that is wanted, and at which size.
struct Demand {
    int first_row;  // MCUs: rows [first_row, end_row), columns [first_column, end_column)
    int end_row;
    int first_column;
    int end_column;
    // Samples that come of the side of a component's blocks: 8, 4, 2 or 1. libjpeg-turbo's smaller transforms use
    // more than the lowest coefficients: of 4, all but row and column 4; of 2, rows and columns 0, 1, 3, 5 and 7; of
    // 1, the first alone. A source may leave what is not used as it finds it.
    int sizes[kMostComponents];
};

// Where the coefficients of a row of MCUs go. Of a component the MCU row has `down` rows of
// (end_column - first_column) * across blocks, one row after the other, within a row from left to right.
struct BlockRows {
    // 64 a block, row by row (not in zigzag order), aligned to 32 bytes; a source writes all of them, zeros too
    // (but see Demand::sizes).
    int16_t* blocks[kMostComponents];
    // For each block how many coefficients in zigzag order may be other than zero: 1 (the first alone, whether zero
    // or not) to 64. Too large is slower, too small is wrong.
    uint8_t* extents[kMostComponents];
};

// Quantised coefficients, exactly those of the JPEG, DC differences added up. May be used once.
class CoefficientSource {
  public:
    virtual ~CoefficientSource() = default;

    // What is going to be read; `demand` lies within the frame. Called once, before read(). A source that can begin
    // anywhere goes there; one that cannot runs over what comes before, and stores nothing.
    virtual bool start(const Demand& demand) = 0;

    // The next row of MCUs, from demand.first_row on; not called for more than end_row - first_row rows. False where
    // anything is not in perfect order: a decode ends with it, and the rows are worth nothing.
    virtual bool read(const BlockRows& rows) = 0;
};

}  // namespace imagemill
