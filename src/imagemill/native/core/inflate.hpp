// DEFLATE (RFC 1951) in the envelope of zlib (RFC 1950), for streams whose length is known beforehand, as in PNG.
#pragma once

#include <cstddef>
#include <cstdint>

namespace imagemill {

// What both buffers must have behind their ends, so that the inner loop need not look where it is: bytes may be read
// and written there, and mean nothing.
constexpr size_t kInflateSlack = 512;

// Whether `data` is one whole zlib stream of exactly `size` bytes with the right checksum, and nothing behind it; then
// these are written to `out`. Streams that decoders differ about count as none. Never reads or writes beyond the slack.
bool inflate_zlib(const uint8_t* data, size_t data_size, uint8_t* out, size_t size);

}  // namespace imagemill
