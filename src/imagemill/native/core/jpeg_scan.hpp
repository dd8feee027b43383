// Coefficients of a whole JPEG, and the entropy-coded data of its scans made of them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "jpeg_outline.hpp"

namespace imagemill {

// Quantised coefficients, 64 a block, row by row; of each component blocks_wide x blocks_high blocks.
struct Planes {
    std::vector<int16_t> blocks[kMostComponents];

    // Of zeros; throws std::bad_alloc.
    void allot(const OutlineFrame& frame);
};

// Appends what libjpeg would write behind the scan's header with the tables that hold there: sequential and
// progressive, restart markers among it. `padding` (0 or 1) is the bit that fills up bytes. False where the tables
// have no code for what is to be written.
bool write_scan(const OutlineWalker& outline, const OutlineScan& scan, const Planes& planes, int padding,
                std::vector<uint8_t>& out);

}  // namespace imagemill
