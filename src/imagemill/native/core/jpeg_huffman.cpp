#include "jpeg_huffman.hpp"

#include <algorithm>
#include <cstring>
#include <iterator>

#include "inlining.hpp"

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

// What compilers make of memset() takes longer to begin than this does in all.
IMAGEMILL_INLINE void clear(int16_t* block) {
    using Zeros = int16_t __attribute__((vector_size(16), may_alias));
    for (int i = 0; i < kBlockSize / 8; ++i) {
        reinterpret_cast<Zeros*>(block)[i] = Zeros{};
    }
}

// Bits that a loop works on go to what is not inlined number by number, and nowhere as a whole: so they stay in registers.

struct Outcome {
    Bits bits;
    int value;
    bool is_sound;
};

IMAGEMILL_INLINE void take(Bits& bits, const Outcome& outcome) {
    bits.bits = outcome.bits.bits;
    bits.count = outcome.bits.count;
    bits.next = outcome.bits.next;
}

// One DC difference added to `value`, whatever its length.
__attribute__((noinline)) Outcome long_difference(uint64_t top, uint32_t count, const uint8_t* next,
                                                  const DcTable& table, int value) {
    Bits bits{top, count, next};
    unsigned length = 0;
    const int size = table.finder().find(bits.bits, length);
    if (size < 0) {
        return {bits, value, false};
    }
    bits.drop(length);
    if (size > 0) {
        value += extended(bits.bits, size);
        bits.drop(static_cast<unsigned>(size));
    }
    return {bits, value, true};
}

IMAGEMILL_INLINE bool read_difference(Bits& bits, const DcTable& table, int& value) {
    bits.refill();
    const DcTable::Entry& entry = table.entry(bits.bits);
    if (__builtin_expect(entry.length == 0, 0)) {
        const Outcome outcome = long_difference(bits.bits, bits.count, bits.next, table, value);
        take(bits, outcome);
        value = outcome.value;
        return outcome.is_sound && value == static_cast<int16_t>(value);
    }
    value += entry.value + rest_of<DcTable::kBits>(bits.bits, entry.rest);
    bits.drop(entry.length);
    return value == static_cast<int16_t>(value);
}

// One AC symbol at `position`, whatever its length; `block` may be null. Leaves 56 bits, and the position as value.
__attribute__((noinline)) Outcome long_symbol(uint64_t top, uint32_t count, const uint8_t* next, const AcTable& table,
                                              size_t position, int16_t* block) {
    Bits bits{top, count, next};
    unsigned length = 0;
    const int symbol = table.finder().find(bits.bits, length);
    if (symbol < 0) {
        return {bits, 0, false};
    }
    bits.drop(length);
    const int size = symbol & 15;
    if (size == 0) {
        position += symbol == 0xF0 ? 16 : AcTable::kEnd;
    } else {
        position += static_cast<size_t>(symbol >> 4) + 1;
        if (block != nullptr) {
            block[kPlaces.of[position]] = static_cast<int16_t>(extended(bits.bits, size));
        }
        bits.drop(static_cast<unsigned>(size));
    }
    bits.refill();
    return {bits, static_cast<int>(position), true};
}

bool is_end(size_t position) {
    return position == kBlockSize || (position > AcTable::kEnd && position < AcTable::kEnd + kBlockSize);
}

// Goes back to where a step began that led out of a block by more than the block's end: by a second symbol that belongs
// to the next block, or by what is not in the table. Takes one symbol instead. Leaves 56 bits.
__attribute__((noinline)) Outcome step_again(uint64_t top, uint32_t count, const uint8_t* next, const AcTable& table,
                                             unsigned length, size_t position, int16_t* block) {
    Bits bits{top, count, next};
    bits.back(length);
    return long_symbol(bits.bits, bits.count, bits.next, table, position, block);
}

// Takes an entry of the table at `place`, which is then that behind it, and may lie beyond the block.
IMAGEMILL_INLINE const AcTable::Entry& step(Bits& bits, const AcTable& table, const uint8_t*& place, int16_t* block) {
    const AcTable::Entry& entry = table.entry(bits.bits);
    const int rest = rest_of<AcTable::kBits>(bits.bits, entry.rest);
    bits.drop(entry.length);
    block[place[entry.first_growth]] = entry.first;
    place += entry.growth;
    block[*place] = static_cast<int16_t>(entry.second + rest);
    return entry;
}

// The AC coefficients of a block whose others are zero; its extent, or 0 where something is wrong.
IMAGEMILL_INLINE int read_coefficients(Bits& bits, const AcTable& table, int16_t* block) {
    const uint8_t* const end = kPlaces.of + kBlockSize;
    const uint8_t* place = kPlaces.of + 1;
    for (;;) {
        bits.refill();
        const AcTable::Entry* entry = &step(bits, table, place, block);
        if (place < end) {
            entry = &step(bits, table, place, block);  // twice, as 56 bits allow
            if (place < end) {
                continue;
            }
        }
        auto position = static_cast<size_t>(place - kPlaces.of);
        if (__builtin_expect(!is_end(position), 0)) {
            const Outcome outcome = step_again(bits.bits, bits.count, bits.next, table, entry->length,
                                               position - entry->growth, block);
            take(bits, outcome);
            position = static_cast<size_t>(outcome.value);
            if (!outcome.is_sound) {
                return 0;
            }
            if (position < kBlockSize) {
                place = kPlaces.of + position;
                continue;
            }
            if (!is_end(position)) {
                return 0;
            }
        }
        return static_cast<int>(position == kBlockSize ? position : position - AcTable::kEnd);
    }
}

// Goes on where AcTable::skip() led out of a block by more than the block's end, or by what is no code in the table: one
// symbol at a time. Leaves 56 bits.
__attribute__((noinline)) Outcome skip_on(uint64_t top, uint32_t count, const uint8_t* next, const AcTable& table,
                                          unsigned entry, size_t position) {
    Outcome outcome{{top, count, next}, static_cast<int>(position - (entry >> 8)), true};
    const bool is_single = (entry & 0xFF) == 0;
    if (!is_single) {
        outcome.bits.back(entry & 0xFF);
    }
    do {
        Bits bits = outcome.bits;
        bits.refill();
        outcome = long_symbol(bits.bits, bits.count, bits.next, table, static_cast<size_t>(outcome.value), nullptr);
    } while (outcome.is_sound && !is_single && outcome.value < kBlockSize);
    const auto found = static_cast<size_t>(outcome.value);
    outcome.is_sound = outcome.is_sound && (found < kBlockSize || is_end(found));
    return outcome;
}

IMAGEMILL_INLINE bool skip_coefficients(Bits& bits, const AcTable& table) {
    size_t position = 1;
    for (;;) {
        bits.refill();
        for (int i = 0; i < 2; ++i) {  // as many as 56 bits allow
            const unsigned entry = table.skip(bits.bits);
            bits.drop(entry);
            position += entry >> 8;
            if (position < kBlockSize) {
                continue;
            }
            if (is_end(position)) {
                return true;
            }
            const Outcome outcome = skip_on(bits.bits, bits.count, bits.next, table, entry, position);
            take(bits, outcome);
            position = static_cast<size_t>(outcome.value);
            if (!outcome.is_sound || position >= kBlockSize) {
                return outcome.is_sound;
            }
        }
    }
}

}  // namespace

struct HuffmanSource::Tables {
    HuffmanScan scan;  // of which the codes that components have are in tables
    int component_count;
    DcTable dc[HuffmanScan::kMostCodes];
    AcTable ac[HuffmanScan::kMostCodes];

    // False where a code is none.
    bool build() {
        bool has_dc[HuffmanScan::kMostCodes] = {}, has_ac[HuffmanScan::kMostCodes] = {};
        for (int i = 0; i < component_count; ++i) {
            const int d = scan.dc_of[i], a = scan.ac_of[i];
            if ((!has_dc[d] && !dc[d].build(scan.dc[d])) || (!has_ac[a] && !ac[a].build(scan.ac[a]))) {
                return false;
            }
            has_dc[d] = has_ac[a] = true;
        }
        return true;
    }

    bool are_for(const HuffmanScan& other, int count) const {
        bool are_same = component_count == count;
        for (int i = 0; are_same && i < count; ++i) {
            const int d = scan.dc_of[i], a = scan.ac_of[i];
            are_same = d == other.dc_of[i] && a == other.ac_of[i] &&
                       std::memcmp(&scan.dc[d], &other.dc[d], sizeof(HuffmanCode)) == 0 &&
                       std::memcmp(&scan.ac[a], &other.ac[a], sizeof(HuffmanCode)) == 0;
        }
        return are_same;
    }
};

HuffmanSource::HuffmanSource(const JpegFrame& frame, const uint8_t* data, size_t size)
    : frame_(frame), input_(data, size), bits_(input_.start()) {}

HuffmanSource::~HuffmanSource() = default;

bool HuffmanSource::prepare(const HuffmanScan& scan) {
    // Most files have the codes that the standard suggests: building tables would be a tenth of the work on a small one.
    thread_local std::shared_ptr<const Tables> latest;
    if (latest == nullptr || !latest->are_for(scan, frame_.component_count)) {
        const std::shared_ptr<Tables> made(new Tables);
        made->scan = scan;
        made->component_count = frame_.component_count;
        if (!made->build()) {
            return false;
        }
        latest = made;
    }
    tables_ = latest;
    for (int i = 0; i < frame_.component_count; ++i) {
        const JpegComponent& component = frame_.components[i];
        for (int k = 0; k < component.across * component.down; ++k) {
            blocks_[block_count_++] = {&tables_->dc[scan.dc_of[i]], &tables_->ac[scan.ac_of[i]], i, component.across, k};
        }
    }
    restart_interval_ = until_restart_ = scan.restart_interval;
    return true;
}

bool HuffmanSource::start(const Demand& demand) {
    demand_ = demand;
    for (int i = 0; i < block_count_; ++i) {
        Block& block = blocks_[i];
        const ptrdiff_t stride = static_cast<ptrdiff_t>(demand.end_column - demand.first_column) * block.across;
        block.first = block.first / block.across * stride + block.first % block.across;
    }
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
    until_restart_ = restart_interval_ - 1;
    std::fill(std::begin(values_), std::end(values_), 0);
    return true;
}

bool HuffmanSource::read_row(const BlockRows* rows, int columns) {
    Bits bits{bits_.bits, bits_.count, bits_.next};
    for (int column = 0; column < columns; ++column) {
        const bool is_restart = restart_interval_ != 0 && until_restart_-- == 0;
        if (is_restart || !input_.has_mcu(bits.next)) {
            bits_ = {bits.bits, bits.count, bits.next};
            if (is_restart ? !restart(bits_) : !input_.more(bits_)) {
                return false;
            }
            bits.bits = bits_.bits;
            bits.count = bits_.count;
            bits.next = bits_.next;
        }
        const bool is_wanted = rows != nullptr && column >= demand_.first_column && column < demand_.end_column;
        if (!(is_wanted ? read_mcu(bits, *rows, column - demand_.first_column) : skip_mcu(bits))) {
            return false;
        }
    }
    bits_ = {bits.bits, bits.count, bits.next};
    return input_.holds(bits_);
}

IMAGEMILL_INLINE bool HuffmanSource::skip_mcu(Bits& bits) {
    for (int i = 0; i < block_count_; ++i) {
        const Block& block = blocks_[i];
        if (!read_difference(bits, *block.dc, values_[block.component]) || !skip_coefficients(bits, *block.ac)) {
            return false;
        }
    }
    return true;
}

IMAGEMILL_INLINE bool HuffmanSource::read_mcu(Bits& bits, const BlockRows& rows, int column) {
    for (int i = 0; i < block_count_; ++i) {
        const Block& its = blocks_[i];
        const ptrdiff_t place = its.first + static_cast<ptrdiff_t>(column) * its.across;
        int16_t* block = rows.blocks[its.component] + place * kBlockSize;
        int& value = values_[its.component];
        if (!read_difference(bits, *its.dc, value)) {
            return false;
        }
        int extent = 1;
        if (demand_.sizes[its.component] == 1) {
            extent = skip_coefficients(bits, *its.ac) ? 1 : 0;
        } else {
            clear(block);
            extent = read_coefficients(bits, *its.ac, block);
        }
        if (extent == 0) {
            return false;
        }
        block[0] = static_cast<int16_t>(value);
        rows.extents[its.component][place] = static_cast<uint8_t>(extent);
    }
    return true;
}

}  // namespace imagemill
