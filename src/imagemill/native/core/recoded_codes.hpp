// The prefix codes of recoded JPEGs (docs/format-recoded-jpeg.md): canonical and short, so that one look into a table
// gives whole tokens, their values included.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace imagemill::recoded {

constexpr int kLookBits = 11;  // the longest code, and what is looked up at once
constexpr int kMostSize = 14;  // bits of a coefficient's magnitude; differences of DC have one more

// Symbols of tokens: whether it is the block's last, zeros before the coefficient, bits of its magnitude.
constexpr int kSymbols = 512;
constexpr int kSkip = 0x0F0;   // sixteen zeros, and the block goes on
constexpr int kEmpty = 0x100;  // a block without AC coefficients
constexpr int symbol_of(bool last, int run, int size) { return (last ? 0x100 : 0) | run << 4 | size; }

// Compact files have two codes: the first where values tend to be large, at a block's start too, the second where they
// tend to be small. Which of them the token behind a symbol is in:
constexpr int kMostCodes = 2;
constexpr int code_behind(int code, int symbol) {
    const int size = symbol & 15;
    return symbol >= kEmpty || size >= 4 ? 0 : size <= 1 ? 1 : code;
}

using Lengths = std::vector<uint8_t>;  // of a symbol's code; 0 where it does not occur

// Lengths of a code for how often symbols occur. Codes that are longer by up to so many bits than would leave room for
// the value in a look-up are made that short, where all of them can be: other codes grow.
Lengths best_lengths(const std::vector<uint32_t>& counts, int most_shortened);

// Canonical codes: shorter first, then by symbol.
std::vector<uint16_t> codes_of(const Lengths& lengths);

// What the next bits of a segment begin with: one token that does not fit into them with its value, or one to four tokens
// of one block that do. Fields are bytes, so that each is a load of its own and none is a shift and a mask.
struct Entry {
    uint8_t length;  // bits to pass over; kLong with one token that does not fit: those of its code alone; kSecond where
                     // the next token is in the second code
    uint8_t go_on;   // by how much the place goes on: zeros and coefficients; to the last one, which is zero, of an empty
                     // block
    uint8_t rest;    // 63 with a block's last token, else 0
    uint8_t skip;    // by how much the place goes on to the first value
    int8_t values[4];  // that coefficient and those behind it; kLong: the size of the value alone
};
constexpr int kLong = 128;  // bits of the length
constexpr int kSecond = 64;
constexpr int kMostInEntry = 7;  // bits of a value

struct Table {
    Entry entries[kMostCodes << kLookBits];  // of one code after the other
    bool has_two_codes;

    // False where the lengths are none of a complete code (a single symbol may have half of it). One or two codes.
    bool fill(const std::vector<Lengths>& codes);
};

// Lengths of codes as they are stored, four bits at a time, behind another number of four bits.
std::vector<uint8_t> pack_lengths(int first, const std::vector<Lengths>& codes);
// As many codes as `codes` has.
bool unpack_lengths(const uint8_t* data, size_t size, int& first, std::vector<Lengths>& codes);

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

// A number with a sign as one without: 0, -1, 1, -2, …; and back.
inline uint32_t folded(int value) { return static_cast<uint32_t>(value < 0 ? -2 * value - 1 : 2 * value); }
inline int unfolded(uint32_t number) { return static_cast<int>(number >> 1) ^ -static_cast<int>(number & 1); }

}  // namespace imagemill::recoded
