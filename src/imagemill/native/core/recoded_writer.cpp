#include "recoded_writer.hpp"

#include <algorithm>

#include "recoded_codes.hpp"
#include "recoded_source.hpp"

namespace imagemill::recoded {
namespace {

// Tiles of about so many samples' width: a crop reads little that it does not need, and few bytes are spent on tiles.
constexpr int kTileSamples = 512;

struct Token {
    uint16_t symbol;
    uint16_t bits;  // of the value
};

// Calls token(symbol, value) for each AC token of a block.
template <typename Call>
void tokens_of(const int16_t* block, const Call& token) {
    int before = 0, waiting = 0, value = 0;
    for (int k = 1; k < kBlockSize; ++k) {
        const int found = block[kZigzag[k]];
        if (found == 0) {
            continue;
        }
        if (value != 0) {
            token(symbol_of(false, waiting, size_of(value)), value);
        }
        waiting = k - before - 1;
        for (; waiting > 15; waiting -= 16) {
            token(kSkip, 0);
        }
        value = found;
        before = k;
    }
    if (value != 0) {
        token(symbol_of(true, waiting, size_of(value)), value);
    } else {
        token(kEmpty, 0);
    }
}

class Bits {
  public:
    void put(uint32_t bits, int count) {
        waiting_ = waiting_ << count | bits;
        count_ += count;
        if (count_ >= 32) {
            count_ -= 32;
            put_bytes(static_cast<uint32_t>(waiting_ >> count_), 4);
        }
    }

    std::vector<uint8_t>& finish() {
        const int bytes = (count_ + 7) / 8;
        put_bytes(static_cast<uint32_t>(waiting_ << (32 - count_)), bytes);
        waiting_ = 0;
        count_ = 0;
        return bytes_;
    }

    void clear() { bytes_.clear(); }

  private:
    // The first `count` of four bytes.
    void put_bytes(uint32_t four, int count) {
        const uint8_t bytes[4] = {static_cast<uint8_t>(four >> 24), static_cast<uint8_t>(four >> 16),
                                  static_cast<uint8_t>(four >> 8), static_cast<uint8_t>(four)};
        bytes_.insert(bytes_.end(), bytes, bytes + count);
    }

    std::vector<uint8_t> bytes_;
    uint64_t waiting_ = 0;
    int count_ = 0;
};

struct Coder {
    Kind kind;
    Lengths lengths;
    std::vector<uint16_t> codes = {};
    int cheapest = 0;  // symbol

    void make(const std::vector<uint32_t>& counts) {
        lengths = best_lengths(kind, counts);
        codes = codes_of(lengths);
        int least = 64;
        for (size_t symbol = 0; symbol < lengths.size(); ++symbol) {
            const int bits = lengths[symbol] + (static_cast<int>(symbol) & 15);
            if (lengths[symbol] > 0 && bits < least) {
                least = bits;
                cheapest = static_cast<int>(symbol);
            }
        }
    }

    // `values` may be null for what means nothing.
    void put(Bits& bits, Bits* values, int symbol, int value) const {
        const auto place = static_cast<size_t>(symbol);
        const int size = symbol & 15, length = lengths[place];
        if (is_with_code(kind, length, size)) {
            bits.put(static_cast<uint32_t>(codes[place]) << size | bits_of(value, size), length + size);
            return;
        }
        bits.put(codes[place], length);
        if (values != nullptr) {
            values->put(bits_of(value, size), size);
        }
    }
};

class Writer {
  public:
    Writer(const OutlineFrame& frame, const Planes& planes) : frame_(frame), planes_(planes) {}

    std::vector<uint8_t> write(Header header, const std::vector<uint8_t>& outline) {
        int most_across = 1;
        for (const OutlineComponent& one : frame_.components) {
            most_across = std::max(most_across, one.across);
        }
        const int tiles = divided_up(frame_.mcu_columns * most_across * kBlockSide, kTileSamples);
        const int columns = divided_up(frame_.mcu_columns, tiles);
        header.tile_columns = static_cast<uint16_t>(columns);
        count_symbols(columns);
        LengthsWriter lengths;
        for (size_t set = 0; set < sets(); ++set) {
            dc_[set].make(dc_counts_[set]);
            ac_[set].make(ac_counts_[set]);
            lengths.put(Kind::kDc, dc_[set].lengths);
            lengths.put(Kind::kAc, ac_[set].lengths);
        }
        std::vector<uint8_t> lanes, segments;
        for (int row = 0; row < frame_.mcu_rows; ++row) {
            for (int column = 0; column < frame_.mcu_columns; column += columns) {
                write_segment(row, column, std::min(column + columns, frame_.mcu_columns), lanes, segments);
            }
        }
        return make_file(header, outline, lengths.finish(), lanes, segments);
    }

  private:
    static int divided_up(int number, int by) { return (number + by - 1) / by; }
    size_t sets() const { return frame_.components.size() == 1 ? 1 : 2; }

    const int16_t* block_at(size_t place, int y, int x) const {
        const auto wide = static_cast<size_t>(frame_.components[place].blocks_wide);
        return planes_.blocks[place].data() + (static_cast<size_t>(y) * wide + static_cast<size_t>(x)) * kBlockSize;
    }

    // Calls run(place, y, first, end) for each row of blocks of a component that a segment has.
    template <typename Call>
    void runs_of(size_t place, int row, int first_column, int end_column, const Call& run) const {
        const OutlineComponent& one = frame_.components[place];
        for (int y = row * one.down; y < (row + 1) * one.down; ++y) {
            run(y, first_column * one.across, end_column * one.across);
        }
    }

    // Calls difference(value) for each DC of a segment's component.
    template <typename Call>
    void differences_of(size_t place, int row, int first_column, int end_column, const Call& difference) const {
        int above = 0;
        runs_of(place, row, first_column, end_column, [&](int y, int first, int end) {
            int before = above;
            above = block_at(place, y, first)[0];
            for (int x = first; x < end; ++x) {
                const int value = block_at(place, y, x)[0];
                difference(x - first, value - before);
                before = value;
            }
        });
    }

    void count_symbols(int columns) {
        for (size_t set = 0; set < sets(); ++set) {
            dc_counts_[set].assign(kDcSymbols, 0);
            ac_counts_[set].assign(kSymbols, 0);
        }
        for (size_t place = 0; place < frame_.components.size(); ++place) {
            const size_t set = place == 0 ? 0 : 1;
            auto& dc = dc_counts_[set];
            auto& ac = ac_counts_[set];
            for (int row = 0; row < frame_.mcu_rows; ++row) {
                for (int column = 0; column < frame_.mcu_columns; column += columns) {
                    const int end = std::min(column + columns, frame_.mcu_columns);
                    differences_of(place, row, column, end,
                                   [&](int, int value) { ++dc[static_cast<size_t>(size_of(value))]; });
                }
            }
            const auto& blocks = planes_.blocks[place];
            for (size_t i = 0; i < blocks.size(); i += kBlockSize) {
                tokens_of(blocks.data() + i, [&](int symbol, int) { ++ac[static_cast<size_t>(symbol)]; });
            }
        }
    }

    void write_segment(int row, int first_column, int end_column, std::vector<uint8_t>& lanes,
                       std::vector<uint8_t>& segments) {
        for (size_t place = 0; place < frame_.components.size(); ++place) {
            const Coder& coder = dc_[place == 0 ? 0 : 1];
            differences_of(place, row, first_column, end_column, [&](int i, int value) {
                coder.put(lanes_[i & 3], &lanes_[4], size_of(value), value);
            });
        }
        for (size_t place = frame_.components.size(); place-- > 0;) {
            const Coder& coder = ac_[place == 0 ? 0 : 1];
            runs_of(place, row, first_column, end_column, [&](int y, int first, int end) {
                unsigned lane = 0;
                for (int x = first; x < end; ++x) {
                    tokens_of(block_at(place, y, x), [&](int symbol, int value) {
                        coder.put(lanes_[lane++ & 3], &lanes_[4], symbol, value);
                    });
                }
                while ((lane & 3) != 0) {
                    coder.put(lanes_[lane++ & 3], nullptr, coder.cheapest, 0);
                }
            });
        }
        uint32_t lengths[kLanes];
        for (int lane = 0; lane < kLanes; ++lane) {
            const std::vector<uint8_t>& bytes = lanes_[lane].finish();
            lengths[lane] = static_cast<uint32_t>(bytes.size());
            segments.insert(segments.end(), bytes.begin(), bytes.end());
            lanes_[lane].clear();
        }
        LaneTable::put(lanes, lengths);
    }

    const OutlineFrame& frame_;
    const Planes& planes_;
    std::vector<uint32_t> dc_counts_[2], ac_counts_[2];
    Coder dc_[2] = {{Kind::kDc, {}}, {Kind::kDc, {}}}, ac_[2] = {{Kind::kAc, {}}, {Kind::kAc, {}}};
    Bits lanes_[kLanes];
};

}  // namespace

std::vector<uint8_t> write_file(Header header, const std::vector<uint8_t>& outline, const OutlineFrame& frame,
                                const Planes& planes) {
    return Writer(frame, planes).write(header, outline);
}

namespace {

// Reads all rows; those of a component are `stride` rows of MCUs apart.
bool read_rows(const File& file, const OutlineFrame& frame, Planes& planes, size_t stride) {
    Source source;
    if (!source.open(file, frame) || !source.start({0, frame.mcu_rows, 0, frame.mcu_columns, {8, 8, 8}})) {
        return false;
    }
    std::vector<uint8_t> extents[kMostComponents];
    for (size_t i = 0; i < frame.components.size(); ++i) {
        const OutlineComponent& one = frame.components[i];
        extents[i].resize(static_cast<size_t>(one.blocks_wide) * static_cast<size_t>(one.down));
    }
    for (int row = 0; row < frame.mcu_rows; ++row) {
        BlockRows rows{};
        for (size_t i = 0; i < frame.components.size(); ++i) {
            const size_t blocks = extents[i].size() * static_cast<size_t>(row) * stride;
            rows.blocks[i] = planes.blocks[i].data() + blocks * kBlockSize;
            rows.extents[i] = extents[i].data();
        }
        if (!source.read(rows)) {
            return false;
        }
    }
    return true;
}

}  // namespace

bool read_all(const File& file, const OutlineFrame& frame, Planes& planes) {
    planes.allot(frame);
    return read_rows(file, frame, planes, 1);
}

bool run_over(const File& file, const OutlineFrame& frame) {
    Planes planes;
    for (size_t i = 0; i < frame.components.size(); ++i) {
        const OutlineComponent& one = frame.components[i];
        planes.blocks[i].resize(static_cast<size_t>(one.blocks_wide) * static_cast<size_t>(one.down) * kBlockSize);
    }
    return read_rows(file, frame, planes, 0);
}

}  // namespace imagemill::recoded
