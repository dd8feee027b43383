// Prefix codes of recoded JPEGs (docs/format-recoded-jpeg.md): canonical and short, so that one look into a
// table mostly gives a whole token, its value included.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace imagemill::recoded {

constexpr int kLookBits = 12;    // the longest code of AC tokens, and what is looked up at once
constexpr int kDcLookBits = 10;  // the same for differences of DC
constexpr int kMostSize = 14;  // bits of a coefficient's magnitude; differences of DC have one more

// Symbols of AC tokens: whether it is the block's last, zeros before the coefficient, bits of its magnitude.
constexpr int kSymbols = 512;
constexpr int kSkip = 0x0F0;   // sixteen zeros, and the block goes on
constexpr int kEmpty = 0x100;  // a block without AC coefficients
constexpr int symbol_of(bool last, int run, int size) { return (last ? 0x100 : 0) | run << 4 | size; }
constexpr int kDcSymbols = 16;  // bits of a difference of DC

using Lengths = std::vector<uint8_t>;  // of a symbol's code; 0 where it does not occur

enum class Kind { kDc, kAc };
constexpr int look_bits(Kind kind) { return kind == Kind::kDc ? kDcLookBits : kLookBits; }

// Lengths of an optimal code for how often symbols occur.
Lengths best_lengths(Kind kind, const std::vector<uint32_t>& counts);

// Canonical codes: shorter first, then by symbol.
std::vector<uint16_t> codes_of(const Lengths& lengths);

// What the next bits of a lane begin with. Fields are bytes, so that each is a load of its own and none is a shift
// and a mask.
struct Entry {
    uint8_t length;  // bits to pass over: the code, and the value where it fits; kElsewhere where it does not
    uint8_t go_on;   // by how much the place goes on: zeros and the coefficient; to the last one, which is zero, of an
                     // empty block
    int8_t value;    // or, where it is elsewhere, its size
    uint8_t rest;    // 63 for a block's last token, else 0
};
constexpr int kElsewhere = 64;  // a bit of the length
constexpr int kMostInEntry = 7;  // bits of a value

// Whether a value follows its code; otherwise it is in the lane of values.
constexpr bool is_with_code(Kind kind, int length, int size) {
    return size <= kMostInEntry && length + size <= look_bits(kind);
}

// Fills the 1 << look_bits(kind) entries of a table. False where the lengths are none of a complete code (a single symbol
// may have all of it).
bool fill_table(Kind kind, const Lengths& lengths, Entry* table);

// Lengths as they are stored, four bits at a time.
class LengthsWriter {
  public:
    void put(Kind kind, const Lengths& lengths);
    std::vector<uint8_t> finish();

  private:
    void put_nibble(int nibble);

    std::vector<uint8_t> bytes_;
    bool is_half_ = false;
};

class LengthsReader {
  public:
    LengthsReader(const uint8_t* data, size_t size) : data_(data), nibbles_(size * 2) {}

    bool get(Kind kind, Lengths& lengths);
    bool is_at_end() const { return nibbles_ - next_ < 2; }

  private:
    int get_nibble();  // -1 beyond the end

    const uint8_t* data_;
    size_t nibbles_;
    size_t next_ = 0;
};

// Bits with which JPEG stores a value of a size (T.81, F.1.2.1), and back.
inline uint32_t bits_of(int value, int size) {
    return static_cast<uint32_t>(value < 0 ? value + (1 << size) - 1 : value);
}

inline int value_of(uint32_t bits, int size) {
    const auto value = static_cast<int>(bits);
    return size > 0 && value < 1 << (size - 1) ? value - (1 << size) + 1 : value;
}

inline int size_of(int value) {
    const auto magnitude = static_cast<uint32_t>(value < 0 ? -value : value);
    return magnitude == 0 ? 0 : 32 - __builtin_clz(magnitude);
}

}  // namespace imagemill::recoded
