#include "huffman_table.hpp"

#include <algorithm>
#include <cstring>
#include <iterator>

namespace imagemill {
namespace {

// Calls use(symbol, its code followed by zeros to `bits` bits, its length) for every code of up to `bits` bits.
template <typename Use>
void each_code(const HuffmanCode& code, int bits, const Use& use) {
    uint32_t next = 0;
    const uint8_t* symbol = code.symbols;
    for (int length = 1; length <= bits; ++length, next <<= 1) {
        for (int i = 0; i < code.counts[length]; ++i) {
            use(*symbol++, next++ << (bits - length), length);
        }
    }
}

constexpr uint64_t entry_of(int length, int growth, int first_growth, int first_length, int first, int second) {
    return static_cast<uint64_t>(length) | static_cast<uint64_t>(growth) << 8 |
           static_cast<uint64_t>(first_growth) << 16 | static_cast<uint64_t>(first_length) << 24 |
           static_cast<uint64_t>(static_cast<uint16_t>(first)) << 32 |
           static_cast<uint64_t>(static_cast<uint16_t>(second)) << 48;
}

int field(uint64_t entry, int from) { return static_cast<int>(entry >> from & 0xFF); }

constexpr int kMostGrowth = 64;  // of several symbols; so that none is taken for the end of a block

int growth_of(int symbol) {
    if ((symbol & 15) != 0) {
        return (symbol >> 4) + 1;
    }
    return symbol == 0xF0 ? 16 : AcTable::kEnd;
}

}  // namespace

bool SymbolFinder::build(const HuffmanCode& code) {
    uint32_t next = 0;
    int place = 0;
    std::memcpy(symbols_, code.symbols, sizeof symbols_);
    for (int length = 1; length <= 16; ++length, next <<= 1) {
        offsets_[length] = place - static_cast<int32_t>(next);
        place += code.counts[length];
        next += code.counts[length];
        limits_[length] = next << (16 - length);
        if (place > 256 || (code.counts[length] != 0 && next >= 1U << length)) {
            return false;
        }
    }
    return true;
}

bool DcTable::build(const HuffmanCode& code) {
    if (!finder_.build(code)) {
        return false;
    }
    int count = 0;
    for (int length = 1; length <= 16; ++length) {
        count += code.counts[length];
    }
    if (std::any_of(code.symbols, code.symbols + count, [](uint8_t size) { return size > kMostSize; })) {
        return false;
    }
    std::fill(std::begin(entries_), std::end(entries_), 0);
    each_code(code, kBits, [this](int size, uint32_t first, int length) {
        const int all = length + size;
        for (uint32_t i = 0; all <= kBits && i < 1U << (kBits - length); ++i) {
            const uint64_t value_bits = static_cast<uint64_t>(i) << (63 - kBits + length) << 1;
            const int value = size == 0 ? 0 : extended(value_bits, size);
            entries_[first + i] = static_cast<uint32_t>(all) | static_cast<uint32_t>(value) << 16;
        }
    });
    return true;
}

bool AcTable::build(const HuffmanCode& code) {
    if (!finder_.build(code)) {
        return false;
    }
    uint64_t single[1 << kBits] = {};
    each_code(code, kBits, [&single](int symbol, uint32_t first, int length) {
        const int size = symbol & 15, all = length + size, growth = growth_of(symbol);
        for (uint32_t i = 0; i < 1U << (kBits - length); ++i) {
            const uint64_t value_bits = static_cast<uint64_t>(i) << (63 - kBits + length) << 1;
            const int value = size == 0 || all > kBits ? 0 : extended(value_bits, size);
            single[first + i] = all > kBits ? entry_of(0, symbol, symbol, length, 0, 0)
                                            : entry_of(all, growth, growth, all, value, value);
        }
    });
    for (uint32_t i = 0; i < 1U << kBits; ++i) {
        uint64_t entry = single[i];
        int length = field(entry, 0), growth = field(entry, 8);
        const uint64_t second = single[i << length & ((1U << kBits) - 1)];
        const int second_length = field(second, 0);
        if (length != 0 && growth < kEnd && second_length != 0 && length + second_length <= kBits) {
            entry = (entry & ~0xFFFF00000000FFFFULL) | (second & 0xFFFF000000000000ULL);
            entry |= entry_of(length + second_length, growth + field(second, 8), 0, 0, 0, 0);
        }
        entries_[i] = entry;
        uint64_t next = single[i];
        length = growth = 0;
        while (field(next, 0) != 0 && length + field(next, 0) <= kBits && growth + field(next, 8) % kEnd <= kMostGrowth &&
               growth < kEnd) {
            length += field(next, 0);
            growth += field(next, 8);
            next = single[i << length & ((1U << kBits) - 1)];
        }
        skips_[i] = static_cast<uint16_t>(length | growth << 8);
    }
    return true;
}

}  // namespace imagemill
