// The entropy-coded data of a JPEG as they lie in a file: behind every byte of ones there is a zero.
#pragma once

#include <cstddef>
#include <cstdint>

#include "jpeg_codes.hpp"

namespace imagemill {
namespace jpeg {

// Appends bits to memory; up to kBeyond bytes behind them are written, too.
class StuffedBits {
  public:
    static constexpr size_t kBeyond = 64;

    explicit StuffedBits(uint8_t* place) : place_(place) {}

    void put(Coded code) { put_bits(code >> (32 - (code & 31)), static_cast<int>(code & 31)); }

    // Bits [from, to) of memory of which kBeyond bytes more may be read.
    void copy(const uint8_t* bits, uint64_t from, uint64_t to);

    // Fills the last byte with ones; where the next byte goes.
    uint8_t* finish();

  private:
    void put_bits(uint64_t bits, int length);
    void store();

    uint8_t* place_;
    uint64_t waiting_ = 0;  // from the highest bit down
    int count_ = 0;         // of bits that wait, below 8 but for a moment
};

}  // namespace jpeg
}  // namespace imagemill
