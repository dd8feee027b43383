// The tables of baseline JPEGs as everybody writes them: quantisation and Huffman codes of ITU-T T.81, annex K.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

namespace imagemill {
namespace jpeg {

// A Huffman table as a file has it.
struct CodeSpec {
    std::array<uint8_t, 16> counts;  // of codes of 1 to 16 bits
    const uint8_t* symbols;
    int size;
};

struct CodeSpecs {
    CodeSpec dc;
    CodeSpec ac;
};

extern const CodeSpecs kLumaSpecs;
extern const CodeSpecs kChromaSpecs;

// The DHT segment of a table: its marker, its length, class and number in one byte, counts, symbols.
std::vector<uint8_t> table_segment(int table, const CodeSpec& spec);

// Steps in natural order for a quality of 1 to 100, as libjpeg scales them.
std::array<uint8_t, 64> luma_steps(int quality);
std::array<uint8_t, 64> chroma_steps(int quality);

// Up to 27 bits, from the highest down, and how many, in the lowest five.
using Coded = uint32_t;

constexpr Coded coded(uint32_t bits, int length) {
    return bits << (32 - length) | static_cast<uint32_t>(length);
}

// Everything that is written for the values of a component, ready made.
class ValueCodes {
  public:
    explicit ValueCodes(const CodeSpecs& specs);

    // A difference of first coefficients.
    Coded dc(int difference) const { return with_value(dc_[size_of(difference)], difference); }

    // A value that is not zero, behind `run` zeros, 0 to 15.
    Coded ac(int run, int value) const {
        const bool is_near = static_cast<unsigned>(value + kNear) < 2 * kNear;
        return is_near ? at(run * 2 * kNear + value + kNear) : with_value(ac_[run << 4 | size_of(value)], value);
    }

    Coded sixteen_zeros() const { return ac_[0xF0]; }
    Coded end_of_block() const { return ac_[0]; }

    // What there is for values of -kNear to kNear - 1 behind 0 to 15 zeros, by run * 2 * kNear + value + kNear; among them
    // the end of a block and no bits at all.
    static constexpr int kNear = 512;
    static constexpr int kEnd = kNear, kNothing = 3 * kNear;
    Coded at(int place) const { return near_[place]; }

  private:
    static int size_of(int value) { return value == 0 ? 0 : 32 - __builtin_clz(static_cast<unsigned>(value < 0 ? -value : value)); }

    static Coded with_value(Coded code, int value) {
        const int size = size_of(value);
        if (size == 0) {
            return code;
        }
        const auto bits = static_cast<uint32_t>(value < 0 ? value - 1 : value) << (32 - size);
        return (code | bits >> (code & 31)) + static_cast<uint32_t>(size);
    }

    Coded dc_[12] = {};
    Coded ac_[256] = {};
    Coded near_[16 * 2 * kNear] = {};
};

extern const ValueCodes kLumaCodes;
extern const ValueCodes kChromaCodes;

}  // namespace jpeg
}  // namespace imagemill
