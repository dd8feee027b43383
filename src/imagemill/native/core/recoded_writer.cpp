#include "recoded_writer.hpp"

#include <algorithm>

#include "recoded_codes.hpp"
#include "recoded_source.hpp"

namespace imagemill::recoded {
namespace {

// Tiles of so many samples' width: a crop reads little that it does not need, and few bytes are spent on tiles.
constexpr int kTileSamples = 64;
// Ten blocks an MCU, and so many MCUs: of any a segment's length fits into the table of segments.
constexpr int kMostTileColumns = kTileSamples / kBlockSide;
static_assert(10 * kMostTileColumns * kBlockSize * (kLookBits + kMostSize) / 8 < UINT16_MAX, "two bytes a length");

// See best_lengths(): each value in a place of its own costs the decoder as much time as ten tokens.
constexpr int kMostShortened = 2, kMostShortenedOfCompact = 1;

// Calls put(place, symbol, value) for each AC token of a block; the place is the symbol's in tables of one code after the
// other.
template <bool kTwoCodes, typename Call>
void tokens_of(const int16_t* block, const Call& put) {
    int before = 0, code = 0;
    const auto token = [&](int symbol, int value) {
        put(static_cast<size_t>(code * kSymbols + symbol), symbol, value);
        code = kTwoCodes ? code_behind(code, symbol) : 0;
    };
    uint64_t used = 0;  // those other than zero, without branches that would be as often wrong as right
    for (int k = 1; k < kBlockSize; ++k) {
        used |= static_cast<uint64_t>(block[kZigzag[k]] != 0) << k;
    }
    if (used == 0) {
        token(kEmpty, 0);
    }
    for (; used != 0; used &= used - 1) {
        const int k = __builtin_ctzll(used), value = block[kZigzag[k]];
        int run = k - before - 1;
        for (; run > 15; run -= 16) {
            token(kSkip, 0);
        }
        token(symbol_of((used & (used - 1)) == 0, run, size_of(value)), value);
        before = k;
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

template <bool kTwoCodes>
class Writer {
  public:
    Writer(const OutlineFrame& frame, const Planes& planes) : frame_(frame), planes_(planes) {}

    std::vector<uint8_t> write(Header header, const std::vector<uint8_t>& outline) {
        int most_across = 1;
        for (const OutlineComponent& one : frame_.components) {
            most_across = std::max(most_across, one.across);
        }
        const int columns = kTileSamples / (most_across * kBlockSide);
        header.tile_columns = static_cast<uint16_t>(columns);
        make_codes();
        std::vector<uint8_t> table, segments;
        for (int row = 0; row < frame_.mcu_rows; ++row) {
            for (int column = 0; column < frame_.mcu_columns; column += columns) {
                write_segment(row, column, std::min(column + columns, frame_.mcu_columns));
                const std::vector<uint8_t>& bytes = bits_.finish();
                put_length(table, bytes.size());
                segments.insert(segments.end(), bytes.begin(), bytes.end());
                bits_.clear();
            }
        }
        return make_file(header, outline, pack_lengths(dc_bits_, all_lengths_), table, segments);
    }

  private:
    const int16_t* block_at(size_t place, int y, int x) const {
        const auto wide = static_cast<size_t>(frame_.components[place].blocks_wide);
        return planes_.blocks[place].data() + (static_cast<size_t>(y) * wide + static_cast<size_t>(x)) * kBlockSize;
    }

    // Calls each(block) for the blocks of a component that a segment has.
    template <typename Call>
    void blocks_of(size_t place, int row, int first_column, int end_column, const Call& each) const {
        const OutlineComponent& one = frame_.components[place];
        for (int y = row * one.down; y < (row + 1) * one.down; ++y) {
            for (int x = first_column * one.across; x < end_column * one.across; ++x) {
                each(block_at(place, y, x));
            }
        }
    }

    // Finds one code or two, and the bits that the first DC of any segment needs.
    void make_codes() {
        constexpr size_t codes = kTwoCodes ? 2 : 1;
        std::vector<uint32_t> counts(codes * kSymbols, 0);
        for (const auto& blocks : planes_.blocks) {
            for (size_t i = 0; i < blocks.size(); i += kBlockSize) {
                dc_bits_ = std::max(dc_bits_, bits_for(folded(blocks[i])));
                tokens_of<kTwoCodes>(blocks.data() + i, [&](size_t place, int, int) { ++counts[place]; });
            }
        }
        for (size_t code = 0; code < codes; ++code) {
            const auto first = counts.begin() + static_cast<std::ptrdiff_t>(code * kSymbols);
            std::vector<uint32_t> its_counts(first, first + kSymbols);
            const bool is_used = std::any_of(first, first + kSymbols, [](uint32_t count) { return count > 0; });
            its_counts[kEmpty] += is_used ? 0 : 1;  // a code is never without symbols
            const Lengths lengths = best_lengths(its_counts, kTwoCodes ? kMostShortenedOfCompact : kMostShortened);
            const std::vector<uint16_t> its_codes = codes_of(lengths);
            lengths_.insert(lengths_.end(), lengths.begin(), lengths.end());
            codes_.insert(codes_.end(), its_codes.begin(), its_codes.end());
            all_lengths_.push_back(lengths);
        }
    }

    static int bits_for(uint32_t number) { return number == 0 ? 0 : 32 - __builtin_clz(number); }

    void write_segment(int row, int first_column, int end_column) {
        for (size_t place = 0; place < frame_.components.size(); ++place) {
            write_dc(place, row, first_column, end_column);
        }
        for (size_t place = frame_.components.size(); place-- > 0;) {
            blocks_of(place, row, first_column, end_column, [this](const int16_t* block) {
                tokens_of<kTwoCodes>(block, [this](size_t place, int symbol, int value) {
                    const int size = symbol & 15;
                    bits_.put(static_cast<uint32_t>(codes_[place]) << size | bits_of(value, size), lengths_[place] + size);
                });
            });
        }
    }

    void write_dc(size_t place, int row, int first_column, int end_column) {
        const int wide = (end_column - first_column) * frame_.components[place].across;
        dc_.clear();
        blocks_of(place, row, first_column, end_column, [this](const int16_t* block) { dc_.push_back(block[0]); });
        uint32_t most = 0;
        for (size_t i = 1; i < dc_.size(); ++i) {
            most = std::max(most, difference_at(i, wide));
        }
        // Sixteen bits are stored as fifteen, and fifteen are not used.
        const int width = std::min(bits_for(most), 15);
        bits_.put(folded(dc_[0]), dc_bits_);
        bits_.put(static_cast<uint32_t>(width), 4);
        for (size_t i = 1; i < dc_.size(); ++i) {
            bits_.put(difference_at(i, wide), width == 15 ? 16 : width);
        }
    }

    uint32_t difference_at(size_t i, int wide) const {
        const auto back = i % static_cast<size_t>(wide) == 0 ? static_cast<size_t>(wide) : 1;
        return folded(dc_[i] - dc_[i - back]);
    }

    const OutlineFrame& frame_;
    const Planes& planes_;
    std::vector<Lengths> all_lengths_;  // by code; these end to end, and the codes:
    Lengths lengths_;
    std::vector<uint16_t> codes_;
    int dc_bits_ = 1;
    std::vector<int> dc_;
    Bits bits_;
};

}  // namespace

std::vector<uint8_t> write_file(Header header, const std::vector<uint8_t>& outline, const OutlineFrame& frame,
                                const Planes& planes) {
    return (header.flags & kCompact) != 0 ? Writer<true>(frame, planes).write(header, outline)
                                           : Writer<false>(frame, planes).write(header, outline);
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
