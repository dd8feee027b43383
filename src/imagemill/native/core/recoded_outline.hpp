// Outlines of JPEGs made smaller: most have the same tables.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace imagemill::recoded {

std::vector<uint8_t> pack_outline(const std::vector<uint8_t>& outline);

// False where the packed bytes do not give exactly `size` bytes.
bool unpack_outline(const uint8_t* packed, size_t packed_size, size_t size, std::vector<uint8_t>& outline);

}  // namespace imagemill::recoded
