#include "huffman_table.hpp"

#include <algorithm>
#include <cstring>
#include <iterator>

namespace imagemill {
namespace {

// Calls use(symbol, its code followed by zeros to `bits` bits, its length) for every code of up to `bits` bits.
template <typename Use>
void each_code(const HuffmanCode& code, unsigned bits, const Use& use) {
    uint32_t next = 0;
    const uint8_t* symbol = code.symbols;
    for (unsigned length = 1; length <= bits; ++length, next <<= 1) {
        for (int i = 0; i < code.counts[length]; ++i) {
            use(*symbol++, next++ << (bits - length), length);
        }
    }
}

// A symbol or two; `missing` bits of the value are not in the table.
AcTable::Entry entry_of(unsigned length, unsigned growth, unsigned first_growth, int first, int second,
                        unsigned missing = 0) {
    return {static_cast<uint8_t>(length),       static_cast<uint8_t>(growth),
            static_cast<uint8_t>(first_growth), static_cast<uint8_t>(64 - AcTable::kBits - missing),
            static_cast<int16_t>(first),        static_cast<int16_t>(second)};
}

constexpr unsigned kMostGrowth = 64;  // of several symbols; so that none is taken for the end of a block

unsigned growth_of(unsigned symbol) {
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
    std::fill(std::begin(entries_), std::end(entries_), Entry{});
    each_code(code, kBits, [this](int size, uint32_t first, int length) {
        const int all = length + size, missing = std::max(all - kBits, 0);
        if (size != 0 && length == kBits) {
            return;  // not even the sign of the value is in the table
        }
        for (uint32_t i = 0; i < 1U << (kBits - length); ++i) {
            const uint64_t value_bits = static_cast<uint64_t>(i) << (63 - kBits + length) << 1;
            const int value = size == 0 ? 0 : extended(value_bits, size);
            entries_[first + i] = {static_cast<uint8_t>(all), static_cast<uint8_t>(64 - kBits - missing),
                                   static_cast<int16_t>(value)};
        }
    });
    return true;
}

bool AcTable::build(const HuffmanCode& code) {
    if (!finder_.build(code)) {
        return false;
    }
    build_entries(code);
    build_skips(code);
    return true;
}

void AcTable::build_entries(const HuffmanCode& code) {
    constexpr unsigned bits = kBits, count = 1U << kBits;
    Entry single[count];
    std::fill(single, single + count, entry_of(0, kUnknown, kUnknown, 0, 0));
    each_code(code, kBits, [&single](unsigned symbol, uint32_t first, unsigned length) {
        const unsigned size = symbol & 15, all = length + size, growth = growth_of(symbol);
        if (size != 0 && length == bits) {
            return;  // not even the sign of the value is in the table
        }
        for (uint32_t i = 0; i < 1U << (bits - length); ++i) {
            const uint64_t value_bits = static_cast<uint64_t>(i) << (63 - bits + length) << 1;
            const int value = size == 0 ? 0 : extended(value_bits, static_cast<int>(size));
            single[first + i] = entry_of(all, growth, growth, value, value, all > bits ? all - bits : 0);
        }
    });
    for (uint32_t i = 0; i < count; ++i) {
        const Entry &first = single[i], &second = single[i << (first.length & 31) & (count - 1)];
        const unsigned length = first.length + second.length, growth = first.growth + second.growth;
        const bool is_pair = first.length != 0 && second.length != 0 && length <= bits && first.growth < kEnd;
        entries_[i] = is_pair ? entry_of(length, growth, first.growth, first.first, second.first) : first;
    }
}

void AcTable::build_skips(const HuffmanCode& code) {
    uint16_t single[1 << kSkipBits];
    std::fill(std::begin(single), std::end(single), static_cast<uint16_t>(kUnknown << 8));
    each_code(code, kSkipBits, [&single](unsigned symbol, uint32_t first, unsigned length) {
        const auto entry = static_cast<uint16_t>((length + (symbol & 15)) | growth_of(symbol) << 8);
        std::fill_n(single + first, 1U << (kSkipBits - length), entry);
    });
    for (uint32_t i = 0; i < 1U << kSkipBits; ++i) {
        unsigned length = single[i] & 0xFFU, growth = single[i] >> 8;
        while (length != 0 && length < unsigned{kSkipBits} && growth < kEnd) {
            const uint16_t next = single[i << length & ((1U << kSkipBits) - 1)];
            const unsigned longer = length + (next & 0xFFU), further = growth + (next >> 8);
            if ((next & 0xFF) == 0 || longer > unsigned{kSkipBits} || further % kEnd > kMostGrowth) {
                break;
            }
            length = longer;
            growth = further;
        }
        skips_[i] = static_cast<uint16_t>(length | growth << 8);
    }
}

}  // namespace imagemill
