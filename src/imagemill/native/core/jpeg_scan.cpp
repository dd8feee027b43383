#include "jpeg_scan.hpp"

#include <algorithm>
#include <cstdlib>

namespace imagemill {
namespace {

constexpr int kLongestRun = 0x7FFF;  // of blocks without more coefficients
// libjpeg ends a run of blocks early where more bits of correction wait than its buffer is sure to hold.
constexpr size_t kMostCorrections = 1000 - kBlockSize + 1;

int size_of(int magnitude) { return magnitude == 0 ? 0 : 32 - __builtin_clz(static_cast<unsigned>(magnitude)); }

// Codes by symbol (T.81, annex C).
struct Codes {
    bool is_sound = false;
    uint16_t bits[256];
    uint8_t lengths[256] = {};

    void take(const HuffmanSpec& spec) {
        is_sound = false;
        std::fill(lengths, lengths + 256, uint8_t{0});
        uint32_t code = 0;
        const uint8_t* symbol = spec.symbols;
        for (int length = 1; length <= 16; ++length, code <<= 1) {
            for (int i = 0; i < spec.counts[length]; ++i) {
                if (code >= 1U << length) {
                    return;
                }
                bits[*symbol] = static_cast<uint16_t>(code++);
                lengths[*symbol++] = static_cast<uint8_t>(length);
            }
        }
        is_sound = spec.is_given;
    }
};

// Bits from the highest on; a zero byte follows each byte of ones (T.81, F.1.2.3).
class StuffedBits {
  public:
    StuffedBits(std::vector<uint8_t>& out, int padding) : out_(out), padding_(padding) {}

    void put(uint32_t bits, int count) {
        waiting_ = waiting_ << count | (bits & ((1U << count) - 1U));
        count_ += count;
        if (count_ >= 32) {
            count_ -= 32;
            put_four(static_cast<uint32_t>(waiting_ >> count_));
        }
    }

    void fill_byte() {
        const int left = (8 - count_) & 7;
        put(padding_ != 0 ? (1U << left) - 1U : 0, left);
        while (count_ >= 8) {
            count_ -= 8;
            put_byte(static_cast<uint8_t>(waiting_ >> count_));
        }
    }

    void put_restart(int number) {
        fill_byte();
        out_.push_back(0xFF);
        out_.push_back(static_cast<uint8_t>(0xD0 + number));
    }

  private:
    void put_four(uint32_t four) {
        const uint8_t bytes[4] = {static_cast<uint8_t>(four >> 24), static_cast<uint8_t>(four >> 16),
                                  static_cast<uint8_t>(four >> 8), static_cast<uint8_t>(four)};
        const uint32_t ones = ~four;
        if (((ones - 0x01010101U) & ~ones & 0x80808080U) == 0) {  // no byte is of ones alone
            out_.insert(out_.end(), bytes, bytes + 4);
            return;
        }
        for (const uint8_t byte : bytes) {
            put_byte(byte);
        }
    }

    void put_byte(uint8_t byte) {
        out_.push_back(byte);
        if (byte == 0xFF) {
            out_.push_back(0);
        }
    }

    std::vector<uint8_t>& out_;
    int padding_;
    uint64_t waiting_ = 0;
    int count_ = 0;
};

class ScanWriter {
  public:
    ScanWriter(const OutlineWalker& outline, const OutlineScan& scan, const Planes& planes, int padding,
               std::vector<uint8_t>& out)
        : frame_(outline.frame()), scan_(scan), planes_(planes), bits_(out, padding) {
        for (int i = 0; i < scan.count; ++i) {
            dc_[i].take(outline.dc_spec(scan.dc_tables[i]));
            ac_[i].take(outline.ac_spec(scan.ac_tables[i]));
        }
    }

    bool write() {
        const bool is_alone = scan_.count == 1;
        const OutlineComponent& only = frame_.components[static_cast<size_t>(scan_.components[0])];
        const int columns = is_alone ? only.own_wide : frame_.mcu_columns;
        const int rows = is_alone ? only.own_high : frame_.mcu_rows;
        int until_restart = scan_.restart_interval, restarts = 0;
        for (int row = 0; row < rows; ++row) {
            for (int column = 0; column < columns; ++column) {
                if (scan_.restart_interval > 0 && until_restart-- == 0) {
                    end_run();
                    bits_.put_restart(restarts++ & 7);
                    std::fill(before_, before_ + 4, 0);
                    until_restart = scan_.restart_interval - 1;
                }
                for (int i = 0; i < scan_.count; ++i) {
                    write_blocks(i, row, column, is_alone);
                }
                if (!has_codes_) {
                    return false;
                }
            }
        }
        end_run();
        bits_.fill_byte();
        return has_codes_;
    }

  private:
    void write_blocks(int i, int row, int column, bool is_alone) {
        const auto place = static_cast<size_t>(scan_.components[i]);
        const OutlineComponent& component = frame_.components[place];
        const int across = is_alone ? 1 : component.across, down = is_alone ? 1 : component.down;
        for (int y = row * down; y < (row + 1) * down; ++y) {
            for (int x = column * across; x < (column + 1) * across; ++x) {
                const auto block = static_cast<size_t>(y) * static_cast<size_t>(component.blocks_wide) +
                                   static_cast<size_t>(x);
                write_block(i, planes_.blocks[place].data() + block * kBlockSize);
            }
        }
    }

    void write_block(int i, const int16_t* block) {
        if (!frame_.is_progressive()) {
            write_dc(i, block[0]);
            write_ac_whole(i, block);
        } else if (scan_.first == 0) {
            if (scan_.high == 0) {
                write_dc(i, block[0] >> scan_.low);
            } else {
                bits_.put(static_cast<uint32_t>(block[0] >> scan_.low) & 1U, 1);
            }
        } else if (scan_.high == 0) {
            write_ac_first(block);
        } else {
            write_ac_more(block);
        }
    }

    void put_code(const Codes& codes, int symbol) {
        if (!codes.is_sound || codes.lengths[symbol] == 0) {
            has_codes_ = false;
            return;
        }
        bits_.put(codes.bits[symbol], codes.lengths[symbol]);
    }

    void put_value(int value, int size) {
        if (size > 0) {
            bits_.put(static_cast<uint32_t>(value < 0 ? value - 1 : value), size);
        }
    }

    void write_dc(int i, int value) {
        const int difference = value - before_[i], size = size_of(std::abs(difference));
        before_[i] = value;
        put_code(dc_[i], size);
        put_value(difference, std::min(size, 16));
    }

    void write_ac_whole(int i, const int16_t* block) {
        int run = 0;
        for (int k = 1; k < kBlockSize; ++k) {
            const int value = block[kZigzag[k]];
            if (value == 0) {
                ++run;
                continue;
            }
            for (; run > 15; run -= 16) {
                put_code(ac_[i], 0xF0);
            }
            const int size = size_of(std::abs(value));
            put_code(ac_[i], (run << 4 | size) & 0xFF);
            put_value(value, size);
            run = 0;
        }
        if (run > 0) {
            put_code(ac_[i], 0);
        }
    }

    void write_ac_first(const int16_t* block) {
        int run = 0;
        for (int k = scan_.first; k <= scan_.last; ++k) {
            const int value = block[kZigzag[k]], magnitude = std::abs(value) >> scan_.low;
            if (magnitude == 0) {
                ++run;
                continue;
            }
            end_run();
            for (; run > 15; run -= 16) {
                put_code(ac_[0], 0xF0);
            }
            const int size = size_of(magnitude);
            put_code(ac_[0], (run << 4 | size) & 0xFF);
            put_value(value < 0 ? -magnitude : magnitude, size);
            run = 0;
        }
        if (run > 0 && ++empty_blocks_ == kLongestRun) {
            end_run();
        }
    }

    void write_ac_more(const int16_t* block) {
        int magnitudes[kBlockSize], end = 0;
        for (int k = scan_.first; k <= scan_.last; ++k) {
            magnitudes[k] = std::abs(block[kZigzag[k]]) >> scan_.low;
            if (magnitudes[k] == 1) {
                end = k;  // the last that becomes other than zero here
            }
        }
        int run = 0;
        std::vector<uint8_t>& mine = corrections_of_block_;
        mine.clear();
        for (int k = scan_.first; k <= scan_.last; ++k) {
            if (magnitudes[k] == 0) {
                ++run;
                continue;
            }
            while (run > 15 && k <= end) {
                end_run();
                put_code(ac_[0], 0xF0);
                run -= 16;
                put_corrections(mine);
            }
            if (magnitudes[k] > 1) {
                mine.push_back(static_cast<uint8_t>(magnitudes[k] & 1));
                continue;
            }
            end_run();
            put_code(ac_[0], (run << 4 | 1) & 0xFF);
            bits_.put(block[kZigzag[k]] < 0 ? 0 : 1, 1);
            put_corrections(mine);
            run = 0;
        }
        if (run > 0 || !mine.empty()) {
            ++empty_blocks_;
            corrections_.insert(corrections_.end(), mine.begin(), mine.end());
            if (empty_blocks_ == kLongestRun || corrections_.size() > kMostCorrections) {
                end_run();
            }
        }
    }

    void put_corrections(std::vector<uint8_t>& corrections) {
        for (const uint8_t bit : corrections) {
            bits_.put(bit, 1);
        }
        corrections.clear();
    }

    // Writes the run of blocks that have nothing more in this band (T.81, G.1.2.2).
    void end_run() {
        if (empty_blocks_ == 0) {
            return;
        }
        const int size = size_of(empty_blocks_) - 1;
        put_code(ac_[0], size << 4);
        bits_.put(static_cast<uint32_t>(empty_blocks_), size);
        empty_blocks_ = 0;
        put_corrections(corrections_);
    }

    const OutlineFrame& frame_;
    const OutlineScan& scan_;
    const Planes& planes_;
    StuffedBits bits_;
    Codes dc_[4], ac_[4];
    int before_[4] = {};
    bool has_codes_ = true;
    int empty_blocks_ = 0;
    std::vector<uint8_t> corrections_, corrections_of_block_;
};

}  // namespace

void Planes::allot(const OutlineFrame& frame) {
    for (size_t i = 0; i < frame.components.size(); ++i) {
        const OutlineComponent& one = frame.components[i];
        const auto count = static_cast<size_t>(one.blocks_wide) * static_cast<size_t>(one.blocks_high);
        blocks[i].assign(count * kBlockSize, 0);
    }
}

bool write_scan(const OutlineWalker& outline, const OutlineScan& scan, const Planes& planes, int padding,
                std::vector<uint8_t>& out) {
    return ScanWriter(outline, scan, planes, padding, out).write();
}

}  // namespace imagemill
