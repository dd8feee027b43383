// A picture's entropy-coded data, from which the JPEG of any part on the grid of its MCUs is copied: tiles that overlap are
// transformed and coded once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "jpeg_blocks.hpp"
#include "jpeg_codes.hpp"
#include "jpeg_forward.hpp"
#include "placement.hpp"

namespace imagemill {
namespace jpeg {

// How JPEGs are made.
struct Settings {
    Settings(int channels, int quality, int across, int down);

    int components;        // 1 or 3
    int across, down;      // samples of luma to one of chroma; 1 and 1 of a grey picture
    int quality;
    Sides mcu;             // in pixels
    Divisors luma, chroma;
};

// Rows and columns of MCUs.
struct Window {
    int top, left, bottom, right;
};

class CodedArea {
  public:
    // Rows of `settings.components` bytes a pixel; both outlive the area.
    CodedArea(const Settings& settings, const uint8_t* pixels, int64_t row_bytes, Sides sides);

    // Makes sure that rows of MCUs are coded; those asked for from the top down are coded once.
    void code(int first, int last);

    // The scan of a part of the rows coded. `out` has room for `most_bytes` of it.
    uint8_t* write(const Window& window, uint8_t* out) const;
    size_t most_bytes(const Window& window) const;

    Sides in_mcus() const { return {mcu_rows_, mcu_columns_}; }

  private:
    // Where the data of an MCU's components begin, and their first and last first coefficients.
    struct Mcu {
        uint64_t starts[3];
        int16_t first[3];
        int16_t last[3];
    };

    void convert(int row);
    void transform(int row);
    void code_row();
    void make_room();
    uint64_t start_of(size_t mcu) const { return mcu < mcus_.size() ? mcus_[mcu].starts[0] : bits_; }
    size_t index_of(int row, int column) const;

    const Settings& settings_;
    const uint8_t* pixels_;
    int64_t row_bytes_;
    Sides sides_;
    int mcu_rows_, mcu_columns_;
    int first_row_ = 0, next_row_ = 0;

    std::vector<int16_t> planes_[3], scratch_;
    std::vector<Block> blocks_[3];
    ComponentRow rows_[3];

    std::unique_ptr<uint8_t[]> data_;
    size_t capacity_ = 0;
    uint64_t bits_ = 0;
    std::vector<Mcu> mcus_;
};

}  // namespace jpeg
}  // namespace imagemill
