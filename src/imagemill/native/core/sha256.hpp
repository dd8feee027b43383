// SHA-256 (FIPS 180-4).
#pragma once

#include <cstddef>
#include <cstdint>

namespace imagemill {

constexpr size_t kSha256Bytes = 32;

void sha256(const uint8_t* data, size_t size, uint8_t* digest);

}  // namespace imagemill
