// What reading recoded JPEGs spends its time in, in the build for this processor's instructions.
#pragma once

#include <cstddef>
#include <cstdint>

#include "recoded_lanes.hpp"

namespace imagemill::recoded {

// read_lanes() and read_numbers() of recoded_lanes.hpp.
void run_numbers(const uint8_t* data, size_t position, int width, int16_t* out, int count);
void run_lanes(const Table& table, Lane* lanes, int count, const Lane* idle, const LongValues& long_values);

// Blocks of bytes in zigzag order, but for their DC, which is in `dc`, to blocks of coefficients row by row; finds their
// extents.
void turn_blocks(const uint8_t* zigzag, const LongValues& long_values, const int16_t* dc, int16_t* blocks, uint8_t* extents,
                 int count);

}  // namespace imagemill::recoded
