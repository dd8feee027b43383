// zlib streams (RFC 1950, RFC 1951) of filtered photographs: runs of a byte and Huffman codes, no search for other
// repetitions, of which there are next to none. The same bytes on every processor.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace imagemill {

constexpr size_t kDeflateSlack = 64;

// Appends the stream of `size` bytes. One byte before them and kDeflateSlack behind them may be read, and mean nothing.
// Throws std::bad_alloc.
void deflate_runs(const uint8_t* data, size_t size, std::vector<uint8_t>& out);

}  // namespace imagemill
