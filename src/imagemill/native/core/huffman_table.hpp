// Tables that turn the next bits of a JPEG into coefficients, up to two at a time.
#pragma once

#include <cstdint>

namespace imagemill {

// A code as a file gives it: how many symbols have codes of each length, 1 to 16, and the symbols in order.
struct HuffmanCode {
    uint8_t counts[17];  // counts[0] is not used
    uint8_t symbols[256];
};

// Any symbol, by its length: for the codes too long for the tables.
class SymbolFinder {
  public:
    // False where codes do not fit into their lengths, or one of them is all ones.
    bool build(const HuffmanCode& code);

    // The symbol that the top 16 bits begin with, and the length of its code; -1 where it is nobody's.
    int find(uint64_t bits, unsigned& length) const {
        const auto top = static_cast<uint32_t>(bits >> 48);
        for (length = 1; length <= 16; ++length) {
            if (top < limits_[length]) {
                return symbols_[(top >> (16 - length)) + offsets_[length]];
            }
        }
        return -1;
    }

  private:
    uint32_t limits_[17];   // of codes of a length or shorter, with zeros behind them to 16 bits: one beyond the last
    int32_t offsets_[17];   // from a code to its place in `symbols_`
    uint8_t symbols_[256];
};

// What a code of `size` bits of value says (T.81, F.2.2.1); `bits` begin with them.
inline int extended(uint64_t bits, int size) {
    const int value = static_cast<int>(bits >> 1 >> (63 - size));
    return value >> (size - 1) != 0 ? value : value - (1 << size) + 1;
}

// The lowest bits of a value of which a table of `table_bits` has the others: 64 - table_bits - `shift` bits. No branch,
// as nobody can foretell whether there are any.
template <int table_bits>
int rest_of(uint64_t next, unsigned shift) {
    return static_cast<int>((next & (~uint64_t{0} >> table_bits)) >> shift);
}

// DC differences.
class DcTable {
  public:
    static constexpr int kBits = 10;
    static constexpr int kMostSize = 15;

    // False also where a symbol is no size of a difference.
    bool build(const HuffmanCode& code);

    // A code and its value, of which the lowest bits may lie behind the table's bits. The length is 0 where the next bits
    // are not in the table.
    struct Entry {
        uint8_t length;  // of both
        uint8_t rest;    // for rest_of()
        int16_t value;
    };
    const Entry& entry(uint64_t bits) const { return entries_[bits >> (64 - kBits)]; }
    const SymbolFinder& finder() const { return finder_; }

  private:
    Entry entries_[1 << kBits];
    SymbolFinder finder_;
};

// AC coefficients. A position counts coefficients in zigzag order that are done with, whether zero or not.
class AcTable {
  public:
    static constexpr int kBits = 11;
    // What the end of a block adds to the position: beyond all that runs can.
    static constexpr unsigned kEnd = 128;

    bool build(const HuffmanCode& code);

    // Where the next bits are not in a table the length is 0, and the growth leads out of the block, so that whoever runs
    // over it need look at nothing but the position.
    static constexpr unsigned kUnknown = 255;

    // One or two symbols with their values. Of one alone the lowest bits of the value may lie behind the table's bits. Then
    // there is no second, which has the first's place and value instead; whoever stores it last needs no rest in the first.
    // Fields are read one by one: that costs less than shifting them out of one number, as shifts are what the loop waits for.
    struct Entry {
        uint8_t length;        // of all
        uint8_t growth;        // of the position, in all
        uint8_t first_growth;
        uint8_t rest;          // for rest_of()
        int16_t first;
        int16_t second;
    };
    const Entry& entry(uint64_t bits) const { return entries_[bits >> (64 - kBits)]; }

    // Where nothing is to be read: as many symbols as fit, with their values; of the first, the code alone must. Low byte:
    // length of all, up to 26; then by how much the position grows. One number, as there are shifts to spare here.
    static constexpr int kSkipBits = 11;
    unsigned skip(uint64_t bits) const { return skips_[bits >> (64 - kSkipBits)]; }

    const SymbolFinder& finder() const { return finder_; }

  private:
    Entry entries_[1 << kBits];
    uint16_t skips_[1 << kSkipBits];

    void build_entries(const HuffmanCode& code);
    void build_skips(const HuffmanCode& code);

    SymbolFinder finder_;
};

}  // namespace imagemill
