// What the codes of a deflate block stand for, as tables.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

namespace imagemill {
namespace inflating {

constexpr int kMaxBits = 15;
constexpr int kMaxLength = 258;
constexpr int kSymbols = 288;
constexpr int kDistances = 32;

// What a code stands for. `op` says how `value` is meant: up to 15, a length or distance of that many extra bits from
// `value` on; kLiterals and how many of them, one or two, the first in the low byte; or one of the others. Subtables
// have kSubtable + their index bits.
struct Entry {
    uint16_t value;
    uint8_t bits;  // of the code, or of its part in this table; of both codes
    uint8_t op;
};
constexpr uint8_t kLiterals = 16;
constexpr uint8_t kLiteral = kLiterals + 1;
constexpr uint8_t kEnd = 32;
constexpr uint8_t kInvalid = 33;
constexpr uint8_t kSubtable = 64;

// A table of 2 ** kBits entries for the first bits of a code, then the subtables. The most entries that a prefix code of
// 288 (32) symbols and 15 bits needs in all are 1334 with 10 bits, 402 with 8 (zlib's examples/enough.c counts them).
template <int kIndexBits, int kSize>
struct Table {
    static constexpr int kBits = kIndexBits;
    std::array<Entry, kSize> entries;
};
using LiteralTable = Table<10, 1334>;
using DistanceTable = Table<8, 402>;

inline uint32_t reversed(uint32_t code, int bits) {
    uint32_t result = 0;
    for (int i = 0; i < bits; ++i) {
        result = result << 1 | (code >> i & 1U);
    }
    return result;
}

// Fills a table from the lengths of codes; false for a set of codes that is no prefix code, or leaves codes unused
// (but for a single one of one bit, or none, where `may_be_thin`).
template <typename AnyTable, typename Meaning>
bool make_table(AnyTable& table, const uint8_t* lengths, int count, bool may_be_thin, Meaning meaning) {
    constexpr int kBits = AnyTable::kBits;
    int counts[kMaxBits + 1] = {};
    for (int symbol = 0; symbol < count; ++symbol) {
        ++counts[lengths[symbol]];
    }
    counts[0] = 0;
    uint32_t next[kMaxBits + 2] = {};
    int64_t left = 1;
    int used = 0;
    for (int bits = 1; bits <= kMaxBits; ++bits) {
        left = 2 * left - counts[bits];
        used += counts[bits];
        next[bits + 1] = (next[bits] + static_cast<uint32_t>(counts[bits])) << 1;
        if (left < 0) {
            return false;
        }
    }
    if (left > 0 && !(may_be_thin && (used == 0 || (used == 1 && counts[1] == 1)))) {
        return false;
    }
    table.entries.fill({0, 1, kInvalid});
    // The longest code that begins with each index says how large the subtable is.
    uint8_t longest[1 << kBits] = {};
    uint32_t codes[kSymbols];
    for (int symbol = 0; symbol < count; ++symbol) {
        const int bits = lengths[symbol];
        if (bits == 0) {
            continue;
        }
        codes[symbol] = reversed(next[bits]++, bits);
        if (bits > kBits) {
            uint8_t& most = longest[codes[symbol] & ((1U << kBits) - 1)];
            most = std::max(most, static_cast<uint8_t>(bits));
        }
    }
    uint32_t end = 1U << kBits;
    for (uint32_t index = 0; index < 1U << kBits; ++index) {
        if (longest[index] != 0) {
            const int bits = longest[index] - kBits;
            if (end + (1U << bits) > table.entries.size()) {
                return false;
            }
            table.entries[index] = {static_cast<uint16_t>(end), kBits, static_cast<uint8_t>(kSubtable + bits)};
            end += 1U << bits;
        }
    }
    for (int symbol = 0; symbol < count; ++symbol) {
        const int bits = lengths[symbol];
        if (bits == 0) {
            continue;
        }
        Entry entry = meaning(symbol);
        uint32_t first = codes[symbol], limit = 1U << kBits, base = 0;
        int own = bits;
        if (bits > kBits) {
            const Entry& link = table.entries[first & ((1U << kBits) - 1)];
            base = link.value;
            limit = 1U << (link.op - kSubtable);
            first >>= kBits;
            own = bits - kBits;
        }
        entry.bits = static_cast<uint8_t>(own);
        for (uint32_t place = first; place < limit; place += 1U << own) {
            table.entries[base + place] = entry;
        }
    }
    return true;
}

inline Entry literal_or_length(int symbol) {
    static constexpr uint16_t kBase[] = {3,  4,  5,  6,  7,  8,  9,  10, 11,  13,  15,  17,  19,  23, 27,
                                         31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258};
    static constexpr uint8_t kExtra[] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0};
    if (symbol < 256) {
        return {static_cast<uint16_t>(symbol), 0, kLiteral};
    }
    if (symbol == 256) {
        return {0, 0, kEnd};
    }
    return symbol <= 285 ? Entry{kBase[symbol - 257], 0, kExtra[symbol - 257]} : Entry{0, 0, kInvalid};
}

// Two literals whose codes fit into the index become one entry.
inline void join_literals(LiteralTable& table) {
    // From the end: what follows a code lies before it in the table, and is still a single one.
    for (uint32_t index = 1U << LiteralTable::kBits; index-- > 0;) {
        Entry& entry = table.entries[index];
        const Entry next = table.entries[index >> entry.bits];
        if (entry.op == kLiteral && next.op == kLiteral && entry.bits + next.bits <= LiteralTable::kBits) {
            entry = {static_cast<uint16_t>(entry.value | next.value << 8), static_cast<uint8_t>(entry.bits + next.bits),
                     kLiterals + 2};
        }
    }
}

inline Entry distance(int symbol) {
    if (symbol > 29) {
        return {0, 0, kInvalid};
    }
    const int extra = symbol < 4 ? 0 : symbol / 2 - 1;
    const int base = symbol < 4 ? symbol + 1 : ((2 + symbol % 2) << extra) + 1;
    return {static_cast<uint16_t>(base), 0, static_cast<uint8_t>(extra)};
}

}  // namespace inflating
}  // namespace imagemill
