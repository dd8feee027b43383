// The segments of a JPEG: its frame, tables and scans, without the entropy-coded data (ITU-T T.81, annex B).
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "jpeg_frame.hpp"

namespace imagemill {

extern const uint8_t kZigzag[kBlockSize];  // row by row, by place in zigzag order

// Counts of codes by length (1 to 16) and symbols, as a DHT segment has them.
struct HuffmanSpec {
    bool is_given = false;
    uint8_t counts[17] = {};
    uint8_t symbols[256] = {};
};

struct OutlineComponent {
    int id;
    int across;
    int down;
    int table;  // of quantisation
    bool has_steps;
    uint16_t steps[kBlockSize];  // row by row
    // Blocks that a scan of this component alone has, and blocks padded to whole MCUs.
    int own_wide;
    int own_high;
    int blocks_wide;
    int blocks_high;
};

struct OutlineFrame {
    int marker = 0;  // 0xC0, 0xC1 or 0xC2; 0 where none was read yet
    int height = 0;
    int width = 0;
    int mcu_columns = 0;
    int mcu_rows = 0;
    std::vector<OutlineComponent> components;

    bool is_progressive() const { return marker == 0xC2; }
};

struct OutlineScan {
    int count;
    int components[4];  // places in the frame
    int dc_tables[4];
    int ac_tables[4];
    int first;  // of the coefficients in zigzag order, and last
    int last;
    int high;  // bits left out before, and now (successive approximation)
    int low;
    int restart_interval;  // MCUs; 0 for none
};

// Goes from scan to scan. Whoever has entropy-coded data behind a scan's header passes over them.
class OutlineWalker {
  public:
    OutlineWalker(const uint8_t* data, size_t size) : data_(data), size_(size) {}

    // Reads on to behind the next scan's header. False at the end of the picture, and where is_sound() no longer
    // holds.
    bool next(OutlineScan& scan);

    size_t position() const { return position_; }
    void pass(size_t bytes) { position_ += bytes; }

    // False where segments make no sense, or are of a kind that is not read here; why() has a short code for it.
    bool is_sound() const { return why_ == nullptr; }
    const char* why() const { return why_; }

    const OutlineFrame& frame() const { return frame_; }
    const HuffmanSpec& dc_spec(int table) const { return dc_[table]; }
    const HuffmanSpec& ac_spec(int table) const { return ac_[table]; }

    // As of what came before the first scan: 3 components are YCbCr or RGB as libjpeg-turbo decides it.
    ColourModel colours() const;
    int orientation() const { return orientation_; }         // of the EXIF block; 1 where there is none
    uint64_t profile_hash() const { return profile_hash_; }  // as JpegReader has it

  private:
    bool refuse(const char* why);
    bool read_segment(int marker, const uint8_t* payload, size_t size);
    bool read_frame(int marker, const uint8_t* payload, size_t size);
    bool read_steps(const uint8_t* payload, size_t size);
    bool read_codes(const uint8_t* payload, size_t size);
    bool read_scan(const uint8_t* payload, size_t size, OutlineScan& scan);
    void read_application(int marker, const uint8_t* payload, size_t size);

    const uint8_t* data_;
    size_t size_;
    size_t position_ = 0;
    const char* why_ = nullptr;
    int scans_ = 0;
    int restart_interval_ = 0;
    OutlineFrame frame_;
    bool has_steps_[4] = {};
    uint16_t steps_[4][kBlockSize] = {};
    HuffmanSpec dc_[4], ac_[4];
    bool has_jfif_ = false;
    int adobe_ = -1;  // what an Adobe segment says of colours
    int orientation_ = 1;
    uint64_t profile_hash_ = 0;
};

}  // namespace imagemill
