// The coefficients of a recoded JPEG, from any row and column of MCUs on.
#pragma once

#include <cstdint>
#include <vector>

#include "jpeg_frame.hpp"
#include "jpeg_outline.hpp"
#include "recoded_codes.hpp"
#include "recoded_file.hpp"

namespace imagemill::recoded {

class Source : public CoefficientSource {
  public:
    // False where the file is damaged. File and memory must live as long as the source; throws std::bad_alloc.
    bool open(const File& file, const OutlineFrame& frame);

    bool start(const Demand& demand) override;
    bool read(const BlockRows& rows) override;

  private:
    struct Tile;

    void lay_out(const BlockRows& rows, int first_column, int end_column, Tile* tiles);
    bool read_tile(const Segment& segment, const Tile* tiles);
    void keep_part(const BlockRows& rows, int first_column, int end_column, const Tile* tiles) const;

    const uint8_t* segments_ = nullptr;
    const uint8_t* limit_ = nullptr;
    const OutlineFrame* frame_ = nullptr;
    int tile_columns_ = 0;
    LaneTable lanes_;
    std::vector<Entry> dc_tables_[2], ac_tables_[2];  // of the first component, and of the others
    Demand demand_{};
    int row_ = 0;
    std::vector<int16_t> zigzag_;  // of a run; zeros, but while it is read
    std::vector<int16_t> scratch_blocks_;
    std::vector<uint8_t> scratch_ends_;
};

}  // namespace imagemill::recoded
