// Coefficients of a sequential Huffman-coded JPEG of one scan: faster than libjpeg's decoder, and strict.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "entropy_bits.hpp"
#include "huffman_table.hpp"
#include "jpeg_frame.hpp"

namespace imagemill {

// What is beside the frame in the headers of a scan with all components.
struct HuffmanScan {
    static constexpr int kMostCodes = 4;
    HuffmanCode dc[kMostCodes];
    HuffmanCode ac[kMostCodes];
    int dc_of[kMostComponents];  // which of them is a component's
    int ac_of[kMostComponents];
    int restart_interval;  // MCUs; 0 for none
};

class HuffmanSource : public CoefficientSource {
  public:
    // `data` begins behind the scan's header and must live as long as the source. `frame` is settled.
    HuffmanSource(const JpegFrame& frame, const uint8_t* data, size_t size);
    ~HuffmanSource() override;

    // Builds tables, or takes those of the thread's last file; false where a code is none.
    bool prepare(const HuffmanScan& scan);

    bool start(const Demand& demand) override;
    bool read(const BlockRows& rows) override;

    // Runs over the rows that are left, and says whether the data end behind them as they should. Not after rows were
    // read to less than their last column.
    bool ends_well();

  private:
    struct Tables;

    static constexpr int kMostBlocks = 10;

    // A block of an MCU. They are gone through in one loop: of several inside one another nobody can foretell the ends,
    // with as many codes between them.
    struct Block {
        const DcTable* dc;
        const AcTable* ac;
        int component;
        int across;       // blocks of the component in a row of the MCU
        ptrdiff_t first;  // in the component's part of BlockRows, of the first MCU
    };

    bool read_row(const BlockRows* rows, int columns);
    bool restart(Bits& bits);
    bool skip_mcu(Bits& bits);
    bool read_mcu(Bits& bits, const BlockRows& rows, int column);

    const JpegFrame& frame_;
    EntropyBits input_;
    std::shared_ptr<const Tables> tables_;
    Block blocks_[kMostBlocks];
    int block_count_ = 0;
    int values_[kMostComponents] = {};  // of the last DC coefficients
    Demand demand_{};
    Bits bits_;
    int restart_interval_ = 0;
    int until_restart_ = 0;
    int next_restart_ = 0;
    int next_row_ = 0;
};

}  // namespace imagemill
