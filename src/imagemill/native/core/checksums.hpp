// The checksums of PNG and of the streams in it (RFC 2083, RFC 1950).
#pragma once

#include <cstddef>
#include <cstdint>

namespace imagemill {

uint32_t crc32(const uint8_t* data, size_t size);
uint32_t adler32(const uint8_t* data, size_t size);

}  // namespace imagemill
