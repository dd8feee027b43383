// The coefficients of a recoded JPEG, from any row and column of MCUs on.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "jpeg_frame.hpp"
#include "jpeg_outline.hpp"
#include "recoded_codes.hpp"
#include "recoded_file.hpp"
#include "recoded_lanes.hpp"

namespace imagemill::recoded {

class Source : public CoefficientSource {
  public:
    // False where the file is damaged. File and frame must live as long as the source; throws std::bad_alloc.
    bool open(const File& file, const OutlineFrame& frame);

    bool start(const Demand& demand) override;
    bool read(const BlockRows& rows) override;

  private:
    int first_tile() const { return demand_.first_column / tile_columns_; }
    int end_tile() const { return (demand_.end_column - 1) / tile_columns_ + 1; }
    size_t segment_at(int row, int tile) const {
        return static_cast<size_t>(row) * static_cast<size_t>(tiles_of(*frame_, tile_columns_)) + static_cast<size_t>(tile);
    }
    // Blocks of a component in a segment of so many columns of MCUs.
    int blocks_of(const OutlineComponent& one, int columns) const { return columns * one.across * one.down; }

    void allocate();
    bool read_segments();
    bool begin_segment(size_t number, int columns, uint8_t* blocks, int16_t* dc, Lane& lane) const;
    void turn_segment(int number, int tile, const BlockRows& rows) const;

    const uint8_t* segments_ = nullptr;
    const uint8_t* limit_ = nullptr;
    const OutlineFrame* frame_ = nullptr;
    int tile_columns_ = 0;
    int dc_bits_ = 0;
    std::vector<uint32_t> starts_;  // of segments, and the end of the last
    Table table_;
    Demand demand_{};
    int by_dc_alone_ = 0;  // so many components are; their AC come last

    // Segments that were read: those of rows [first_row_, end_row_), of all tiles that are wanted.
    int first_row_ = 0;
    int end_row_ = 0;
    int row_ = 0;
    int rows_at_once_ = 0;
    int segment_blocks_ = 0;  // of the widest segment
    std::unique_ptr<uint8_t[]> memory_;
    LongValues long_values_{};
    std::vector<Lane> lanes_;
    std::vector<int16_t> dc_;
};

}  // namespace imagemill::recoded
