// XXH3, 64 bits, seed 0: the digest that every stored value carries.
#pragma once

#include <cstddef>
#include <cstdint>

namespace imagemill {

uint64_t xxh3_64(const uint8_t* data, size_t size);

}  // namespace imagemill
