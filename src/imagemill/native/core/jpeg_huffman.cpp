#include "jpeg_huffman.hpp"

#include <algorithm>
#include <cstring>

namespace imagemill {
namespace {

// Places in a block, by position: that of a coefficient in zigzag order is one less. Positions beyond 64 are reached
// by what ends a block, with a value of zero, and by what is wrong: the last place serves both.
struct Places {
    uint8_t of[64 + 2 * AcTable::kEnd + 1];
};

constexpr Places make_places() {
    Places places{};
    int position = 1;
    for (int diagonal = 0; diagonal < 15; ++diagonal) {
        for (int i = 0; i <= diagonal; ++i) {
            const int row = diagonal % 2 == 0 ? diagonal - i : i;
            const int column = diagonal - row;
            if (row < kBlockSide && column < kBlockSide) {
                places.of[position++] = static_cast<uint8_t>(row * kBlockSide + column);
            }
        }
    }
    for (; position < static_cast<int>(sizeof places.of); ++position) {
        places.of[position] = kBlockSize - 1;
    }
    return places;
}

constexpr Places kPlaces = make_places();

// One DC difference, whatever its length.
__attribute__((noinline)) bool long_difference(Bits& bits, const DcTable& table, int& value) {
    int length = 0;
    const int size = table.finder().find(bits.bits, length);
    if (size < 0) {
        return false;
    }
    bits.drop(length);
    if (size > 0) {
        value += extended(bits.bits, size);
        bits.drop(size);
    }
    return true;
}

inline bool read_difference(Bits& bits, const DcTable& table, int& value) {
    bits.refill();
    const uint32_t entry = table.entry(bits.bits);
    if ((entry & 0xFF) == 0) {
        if (!long_difference(bits, table, value)) {
            return false;
        }
    } else {
        bits.drop(static_cast<int>(entry & 0xFF));
        value += static_cast<int16_t>(entry >> 16);
    }
    return value == static_cast<int16_t>(value);
}

// One AC symbol, whatever its length; `block` may be null. Leaves 56 bits.
__attribute__((noinline)) bool long_symbol(Bits& bits, const AcTable& table, int& position, int16_t* block) {
    int length = 0;
    const int symbol = table.finder().find(bits.bits, length);
    if (symbol < 0) {
        return false;
    }
    bits.drop(length);
    const int size = symbol & 15;
    if (size == 0) {
        position += symbol == 0xF0 ? 16 : AcTable::kEnd;
    } else {
        position += (symbol >> 4) + 1;
        if (block != nullptr) {
            block[kPlaces.of[position]] = static_cast<int16_t>(extended(bits.bits, size));
        }
        bits.drop(size);
    }
    bits.refill();
    return true;
}

bool is_end(int position) {
    return position == kBlockSize || (position > AcTable::kEnd && position < AcTable::kEnd + kBlockSize);
}

// A step went beyond the last coefficient: by a symbol that belongs to the next block, or one that is wrong.
__attribute__((noinline)) bool step_back(Bits& bits, uint64_t entry, int before, int16_t* block) {
    const auto all = static_cast<int>(entry & 0xFF), first = static_cast<int>(entry >> 24 & 0xFF);
    if (all == 0 || before + static_cast<int>(entry >> 16 & 0xFF) != kBlockSize) {
        return false;
    }
    bits.back(all - first);
    block[kBlockSize - 1] = static_cast<int16_t>(entry >> 32);
    return true;
}

// The AC coefficients of a block whose others are zero; its extent, or 0 where something is wrong.
inline int read_coefficients(Bits& bits, const AcTable& table, int16_t* block) {
    const uint64_t* entries = table.entries();
    int position = 1, before = 1;
    uint64_t entry = 0;
    for (;;) {
        bits.refill();
        for (int i = 0; i < 3; ++i) {  // as many as 56 bits allow
            entry = entries[bits.bits >> (64 - AcTable::kBits)];
            before = position;
            const auto length = static_cast<int>(entry & 0xFF);
            if (__builtin_expect(length == 0, 0)) {
                if (!long_symbol(bits, table, position, block)) {
                    return 0;
                }
            } else {
                const int first = position + static_cast<int>(entry >> 16 & 0xFF);
                position += static_cast<int>(entry >> 8 & 0xFF);
                bits.drop(length);
                block[kPlaces.of[first]] = static_cast<int16_t>(entry >> 32);
                block[kPlaces.of[position]] = static_cast<int16_t>(entry >> 48);
            }
            if (position >= kBlockSize) {
                if (__builtin_expect(is_end(position), 1)) {
                    return position == kBlockSize ? kBlockSize : position - AcTable::kEnd;
                }
                return step_back(bits, entry, before, block) ? kBlockSize : 0;
            }
        }
    }
}

// As above, one symbol at a time from `position` on.
__attribute__((noinline)) bool skip_slowly(Bits& bits, const AcTable& table, int position) {
    while (position < kBlockSize) {
        bits.refill();
        if (!long_symbol(bits, table, position, nullptr)) {
            return false;
        }
    }
    return is_end(position);
}

inline bool skip_coefficients(Bits& bits, const AcTable& table) {
    const uint16_t* skips = table.skips();
    int position = 1;
    for (;;) {
        bits.refill();
        for (int i = 0; i < 3; ++i) {
            const unsigned entry = skips[bits.bits >> (64 - AcTable::kBits)];
            const Bits before = bits;
            const int position_before = position;
            if (__builtin_expect((entry & 0xFF) == 0, 0)) {
                if (!long_symbol(bits, table, position, nullptr)) {
                    return false;
                }
            } else {
                bits.drop(static_cast<int>(entry & 0xFF));
                position += static_cast<int>(entry >> 8);
            }
            if (position >= kBlockSize) {
                if (__builtin_expect(is_end(position), 1)) {
                    return true;
                }
                bits = before;
                return skip_slowly(bits, table, position_before);
            }
        }
    }
}

}  // namespace

struct HuffmanSource::Tables {
    DcTable dc[HuffmanScan::kMostCodes];
    AcTable ac[HuffmanScan::kMostCodes];
};

HuffmanSource::HuffmanSource(const JpegFrame& frame, const uint8_t* data, size_t size)
    : frame_(frame), input_(data, size), bits_(input_.start()) {}

HuffmanSource::~HuffmanSource() = default;

bool HuffmanSource::prepare(const HuffmanScan& scan) {
    tables_.reset(new Tables);
    bool has_dc[HuffmanScan::kMostCodes] = {}, has_ac[HuffmanScan::kMostCodes] = {};
    for (int i = 0; i < frame_.component_count; ++i) {
        const int dc = scan.dc_of[i], ac = scan.ac_of[i];
        if ((!has_dc[dc] && !tables_->dc[dc].build(scan.dc[dc])) || (!has_ac[ac] && !tables_->ac[ac].build(scan.ac[ac]))) {
            return false;
        }
        has_dc[dc] = has_ac[ac] = true;
        const JpegComponent& component = frame_.components[i];
        parts_[i] = {&tables_->dc[dc], &tables_->ac[ac], component.across, component.down, 0};
    }
    restart_interval_ = until_restart_ = scan.restart_interval;
    return true;
}

bool HuffmanSource::start(const Demand& demand) {
    demand_ = demand;
    for (; next_row_ < demand.first_row; ++next_row_) {
        if (!read_row(nullptr, frame_.mcu_columns)) {
            return false;
        }
    }
    return true;
}

bool HuffmanSource::read(const BlockRows& rows) {
    ++next_row_;
    return read_row(&rows, next_row_ == demand_.end_row ? demand_.end_column : frame_.mcu_columns);
}

bool HuffmanSource::ends_well() {
    for (; next_row_ < frame_.mcu_rows; ++next_row_) {
        if (!read_row(nullptr, frame_.mcu_columns)) {
            return false;
        }
    }
    return input_.ends(bits_);
}

bool HuffmanSource::restart(Bits& bits) {
    if (!input_.restart(bits, next_restart_)) {
        return false;
    }
    next_restart_ = (next_restart_ + 1) % 8;
    until_restart_ = restart_interval_;
    for (Part& part : parts_) {
        part.value = 0;
    }
    return true;
}

bool HuffmanSource::read_row(const BlockRows* rows, int columns) {
    Bits bits = bits_;
    for (int column = 0; column < columns; ++column) {
        if (restart_interval_ != 0 && until_restart_-- == 0) {
            if (!restart(bits)) {
                return false;
            }
            --until_restart_;
        }
        const bool is_wanted = rows != nullptr && column >= demand_.first_column && column < demand_.end_column;
        if (!input_.ensure(bits) ||
            !(is_wanted ? read_mcu(bits, *rows, column - demand_.first_column) : skip_mcu(bits))) {
            return false;
        }
    }
    bits_ = bits;
    return input_.holds(bits);
}

bool HuffmanSource::skip_mcu(Bits& bits) {
    for (int i = 0; i < frame_.component_count; ++i) {
        Part& part = parts_[i];
        for (int k = part.across * part.down; k > 0; --k) {
            if (!read_difference(bits, *part.dc, part.value) || !skip_coefficients(bits, *part.ac)) {
                return false;
            }
        }
    }
    return true;
}

bool HuffmanSource::read_mcu(Bits& bits, const BlockRows& rows, int column) {
    for (int i = 0; i < frame_.component_count; ++i) {
        Part& part = parts_[i];
        const ptrdiff_t stride = static_cast<ptrdiff_t>(demand_.end_column - demand_.first_column) * part.across;
        for (int row = 0; row < part.down; ++row) {
            const ptrdiff_t first = row * stride + static_cast<ptrdiff_t>(column) * part.across;
            for (ptrdiff_t k = first; k < first + part.across; ++k) {
                int16_t* block = rows.blocks[i] + k * kBlockSize;
                if (!read_difference(bits, *part.dc, part.value)) {
                    return false;
                }
                int extent = 1;
                if (demand_.sizes[i] == 1) {
                    extent = skip_coefficients(bits, *part.ac) ? 1 : 0;
                } else {
                    std::memset(block, 0, kBlockSize * sizeof *block);
                    extent = read_coefficients(bits, *part.ac, block);
                }
                if (extent == 0) {
                    return false;
                }
                block[0] = static_cast<int16_t>(part.value);
                rows.extents[i][k] = static_cast<uint8_t>(extent);
            }
        }
    }
    return true;
}

}  // namespace imagemill
