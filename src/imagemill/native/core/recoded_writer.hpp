// A recoded JPEG of coefficients, and all coefficients of one.
#pragma once

#include <cstdint>
#include <vector>

#include "jpeg_outline.hpp"
#include "jpeg_scan.hpp"
#include "recoded_file.hpp"

namespace imagemill::recoded {

// Coefficients are within kMostSize bits. The header's sizes of parts and width of tiles are filled in.
std::vector<uint8_t> write_file(Header header, const std::vector<uint8_t>& outline, const OutlineFrame& frame,
                                const Planes& planes);

// False where the file is damaged. Throws std::bad_alloc.
bool read_all(const File& file, const OutlineFrame& frame, Planes& planes);

// The same, every row into the same memory.
bool run_over(const File& file, const OutlineFrame& frame);

}  // namespace imagemill::recoded
