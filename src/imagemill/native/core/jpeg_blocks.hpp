// The lossless half of writing a JPEG: Huffman codes of blocks of coefficients.
#pragma once

#include <cstdint>
#include <cstring>

#include "inlining.hpp"
#include "jpeg_codes.hpp"
#include "jpeg_forward.hpp"

namespace imagemill {
namespace jpeg {

inline uint64_t big_endian(uint64_t word) {
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    return __builtin_bswap64(word);
#else
    return word;
#endif
}

// Appends bits to memory, nothing stuffed; up to eight bytes behind them are written, too.
struct PlainBits {
    uint8_t* place;
    uint64_t waiting;  // from the highest bit down
    int count;         // below 8 after a flush

    // Twice at most before a flush.
    IMAGEMILL_INLINE void put(Coded code) {
        waiting |= static_cast<uint64_t>(code & ~31U) << 32 >> count;
        count += static_cast<int>(code & 31);
    }

    // The same for two, joined before it is known where they go.
    IMAGEMILL_INLINE void put_two(Coded first, Coded second) {
        const uint64_t one = static_cast<uint64_t>(first & ~31U) << 32, other = static_cast<uint64_t>(second & ~31U) << 32;
        waiting |= (one | other >> (first & 31)) >> count;
        count += static_cast<int>((first & 31) + (second & 31));
    }

    IMAGEMILL_INLINE void flush() {
        const uint64_t bytes = big_endian(waiting);
        std::memcpy(place, &bytes, sizeof bytes);
        place += count >> 3;
        waiting <<= count & ~7;
        count &= 7;
    }
};

// Coefficients of one component in a row of MCUs: blocks of the real picture, row by row, `stride` apart.
struct ComponentRow {
    const Block* blocks;
    int stride;
    int across, down;  // blocks in an MCU
    int wide, high;    // blocks that are there; the others of the last MCUs repeat the one before them
    const ValueCodes* codes;
};

// Codes the blocks of one component of one MCU. `last` is the first coefficient before them, and then of them.
void code_blocks(const ComponentRow& row, int mcu, int16_t& last, PlainBits& bits);

}  // namespace jpeg
}  // namespace imagemill
