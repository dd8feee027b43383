#include "inflate.hpp"

#include <algorithm>
#include <array>
#include <cstring>

#include "checksums.hpp"

namespace imagemill {
namespace {

constexpr int kMaxBits = 15;
constexpr int kMaxLength = 258;
constexpr int kLiterals = 288;
constexpr int kDistances = 32;

// What a code stands for. `op` says how `value` is meant: up to 15, a length or distance of that many extra bits from
// `value` on; or one of these. Subtables have kSubtable + their index bits.
struct Entry {
    uint16_t value;
    uint8_t bits;  // of the code, or of its part in this table
    uint8_t op;
};
constexpr uint8_t kLiteral = 16;
constexpr uint8_t kEnd = 17;
constexpr uint8_t kInvalid = 18;
constexpr uint8_t kSubtable = 32;

// A table of 2 ** kBits entries for the first bits of a code, then the subtables. The most entries that a prefix code of
// 288 (32) symbols and 15 bits needs in all are 2342 with 11 bits, 402 with 8 (zlib's examples/enough.c counts them).
template <int kIndexBits, int kSize>
struct Table {
    static constexpr int kBits = kIndexBits;
    std::array<Entry, kSize> entries;
};
using LiteralTable = Table<11, 2342>;
using DistanceTable = Table<8, 402>;

uint32_t reversed(uint32_t code, int bits) {
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
    uint32_t codes[kLiterals];
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

Entry literal_or_length(int symbol) {
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

Entry distance(int symbol) {
    if (symbol > 29) {
        return {0, 0, kInvalid};
    }
    const int extra = symbol < 4 ? 0 : symbol / 2 - 1;
    const int base = symbol < 4 ? symbol + 1 : ((2 + symbol % 2) << extra) + 1;
    return {static_cast<uint16_t>(base), 0, static_cast<uint8_t>(extra)};
}

class Inflater {
  public:
    // Reads up to 24 bytes behind `end`.
    Inflater(const uint8_t* data, const uint8_t* end, uint8_t* out, size_t size)
        : in_(data), in_end_(end), begin_(out), out_(out), out_end_(out + size) {}

    // All blocks; the output must be full with the last.
    bool run() {
        for (;;) {
            refill();
            const bool is_last = take(1) != 0;
            const uint32_t kind = take(2);
            bool is_right = false;
            if (kind == 0) {
                is_right = stored();
            } else if (kind == 1) {
                is_right = fixed_tables() && block();
            } else if (kind == 2) {
                is_right = read_tables() && block();
            }
            if (!is_right) {
                return false;
            }
            if (is_last) {
                return out_ == out_end_ && position() <= in_end_;
            }
        }
    }

    // The first byte that is not used.
    const uint8_t* position() const { return in_ - count_ / 8; }

  private:
    // At least 56 bits from here on.
    void refill() {
        uint64_t word;
        std::memcpy(&word, in_, sizeof word);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
        word = __builtin_bswap64(word);
#endif
        buffer_ |= word << count_;
        in_ += (63 - count_) >> 3;
        count_ |= 56;
    }

    uint32_t take(int bits) {
        const auto value = static_cast<uint32_t>(buffer_ & ((uint64_t{1} << bits) - 1));
        drop(bits);
        return value;
    }

    void drop(int bits) {
        buffer_ >>= bits;
        count_ -= bits;
    }

    template <typename AnyTable>
    Entry look_up(const AnyTable& table) {
        Entry entry = table.entries[buffer_ & ((1U << AnyTable::kBits) - 1)];
        if (entry.op >= kSubtable) {
            drop(AnyTable::kBits);
            entry = table.entries[entry.value + (buffer_ & ((1U << (entry.op - kSubtable)) - 1))];
        }
        drop(entry.bits);
        return entry;
    }

    bool has_run_out() const { return in_ > in_end_ + 8; }

    bool stored() {
        drop(count_ % 8);
        in_ = position();
        buffer_ = 0;
        count_ = 0;
        if (in_end_ - in_ < 4) {
            return false;
        }
        const size_t length = in_[0] | in_[1] << 8, complement = in_[2] | in_[3] << 8;
        in_ += 4;
        if ((length ^ complement) != 0xFFFF || length > static_cast<size_t>(in_end_ - in_) ||
            length > static_cast<size_t>(out_end_ - out_)) {
            return false;
        }
        std::memcpy(out_, in_, length);
        in_ += length;
        out_ += length;
        return true;
    }

    bool fixed_tables() {
        uint8_t lengths[kLiterals];
        for (int symbol = 0; symbol < kLiterals; ++symbol) {
            lengths[symbol] = symbol < 144 ? 8 : symbol < 256 ? 9 : symbol < 280 ? 7 : 8;
        }
        uint8_t distances[kDistances];
        std::fill(distances, distances + kDistances, uint8_t{5});
        return make_table(literals_, lengths, kLiterals, false, literal_or_length) &&
               make_table(distances_, distances, kDistances, false, distance);
    }

    bool read_tables() {
        static constexpr uint8_t kOrder[] = {16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15};
        refill();
        const int literal_count = static_cast<int>(take(5)) + 257, distance_count = static_cast<int>(take(5)) + 1;
        const int code_count = static_cast<int>(take(4)) + 4;
        if (literal_count > 286 || distance_count > 30) {
            return false;
        }
        uint8_t code_lengths[19] = {};
        for (int i = 0; i < code_count; ++i) {
            refill();
            code_lengths[kOrder[i]] = static_cast<uint8_t>(take(3));
        }
        Table<7, 128> codes;
        const auto as_it_is = [](int symbol) { return Entry{static_cast<uint16_t>(symbol), 0, kLiteral}; };
        if (!make_table(codes, code_lengths, 19, false, as_it_is)) {
            return false;
        }
        uint8_t lengths[kLiterals + kDistances] = {};
        const int total = literal_count + distance_count;
        for (int i = 0; i < total;) {
            refill();
            const Entry entry = look_up(codes);
            if (entry.op != kLiteral || has_run_out()) {
                return false;
            }
            if (entry.value < 16) {
                lengths[i++] = static_cast<uint8_t>(entry.value);
                continue;
            }
            const int repeats = entry.value == 16   ? static_cast<int>(take(2)) + 3
                                : entry.value == 17 ? static_cast<int>(take(3)) + 3
                                                    : static_cast<int>(take(7)) + 11;
            if (i + repeats > total || (entry.value == 16 && i == 0)) {
                return false;
            }
            std::fill(lengths + i, lengths + i + repeats, entry.value == 16 ? lengths[i - 1] : uint8_t{0});
            i += repeats;
        }
        return lengths[256] != 0 && make_table(literals_, lengths, literal_count, true, literal_or_length) &&
               make_table(distances_, lengths + literal_count, distance_count, true, distance);
    }

    // Codes up to the end of a block. A round writes at most two literals and a match, which the slack holds.
    bool block() {
        while (out_ <= out_end_ && !has_run_out()) {
            refill();
            Entry entry = look_up(literals_);
            if (entry.op == kLiteral) {
                *out_++ = static_cast<uint8_t>(entry.value);
                entry = look_up(literals_);
                if (entry.op == kLiteral) {
                    *out_++ = static_cast<uint8_t>(entry.value);
                    continue;
                }
                refill();
            }
            if (entry.op == kEnd) {
                return true;
            }
            if (entry.op == kInvalid) {
                return false;
            }
            const auto length = static_cast<size_t>(entry.value + take(entry.op));
            entry = look_up(distances_);
            if (entry.op >= kLiteral) {
                return false;
            }
            const auto back = static_cast<size_t>(entry.value + take(entry.op));
            if (back > static_cast<size_t>(out_ - begin_)) {
                return false;
            }
            copy(back, length);
        }
        return false;
    }

    // Earlier output once more; may write 7 bytes more than `length`.
    void copy(size_t back, size_t length) {
        const uint8_t* from = out_ - back;
        uint8_t* to = out_;
        out_ += length;
        if (back < 8) {
            for (int i = 0; i < 8; ++i) {
                *to++ = *from++;
            }
            from = to - (7 / back + 1) * back;  // the same bytes, at least 8 back
        }
        for (; to < out_; to += 8, from += 8) {
            uint64_t word;
            std::memcpy(&word, from, sizeof word);
            std::memcpy(to, &word, sizeof word);
        }
    }

    const uint8_t* in_;
    const uint8_t* in_end_;
    uint8_t* begin_;
    uint8_t* out_;
    uint8_t* out_end_;
    uint64_t buffer_ = 0;
    int count_ = 0;
    LiteralTable literals_;
    DistanceTable distances_;
};

static_assert(kInflateSlack > kMaxLength + 16, "a match may begin at the very end");

}  // namespace

bool inflate_zlib(const uint8_t* data, size_t data_size, uint8_t* out, size_t size) {
    constexpr size_t kEnvelope = 6;
    // Deflate, a window of at most 32 KiB, no dictionary, the header's own check.
    if (data_size < kEnvelope || (data[0] & 0x0F) != 8 || data[0] >> 4 > 7 || (data[1] & 0x20) != 0 ||
        (data[0] * 256 + data[1]) % 31 != 0) {
        return false;
    }
    const uint8_t* end = data + data_size - 4;
    Inflater inflater(data + 2, end, out, size);
    if (!inflater.run() || inflater.position() != end) {
        return false;
    }
    const uint32_t wanted = static_cast<uint32_t>(end[0]) << 24 | end[1] << 16 | end[2] << 8 | end[3];
    return adler32(out, size) == wanted;
}

}  // namespace imagemill
