// How a recoded JPEG lies in memory (docs/format-recoded-jpeg.md): parts and their bounds.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "jpeg_outline.hpp"

namespace imagemill::recoded {

constexpr uint8_t kMagic[8] = {0x89, 'R', 'J', 'P', 'G', '\r', '\n', 2};  // the last is the version
constexpr size_t kHeaderBytes = 48;
constexpr size_t kTrailerBytes = 8;  // xxh3-64 of all before
constexpr uint64_t kMostOutlineBytes = 1 << 24;

enum Flag : uint8_t {
    kPadsWithZeros = 1,  // the bits that fill up bytes of the JPEG
    kNormalised = 2,     // the JPEG is not the original, but one with its coefficients
    kCompact = 4,        // tokens have two codes
};
constexpr int kAllFlags = kPadsWithZeros | kNormalised | kCompact;

struct Header {
    uint64_t digest;            // xxh3-64 of the JPEG that comes back
    uint64_t original_digest;   // of the file that was recoded: the same, unless normalised
    uint32_t size;              // of the JPEG
    uint32_t original_size;
    uint32_t outline_size;
    uint32_t outline_stored;    // bytes that it takes here
    uint32_t table_stored;      // bytes of the table of segments
    uint16_t lengths_stored;    // bytes of the code lengths
    uint16_t tile_columns;      // MCUs
    uint8_t flags;
};

struct Part {
    const uint8_t* data;
    size_t size;
};

// The parts of a file, all inside it, kTrailerBytes behind the last.
struct File {
    Header header;
    Part outline;
    Part lengths;
    Part table;
    Part segments;
};

bool is_recoded(const uint8_t* data, size_t size);

// False where they do not fit together.
bool open_file(const uint8_t* data, size_t size, File& file);

// Whether the trailer is what it should be.
bool has_right_digest(const uint8_t* data, size_t size);

// The outline as it was: a JPEG without entropy-coded data.
bool read_outline(const File& file, std::vector<uint8_t>& outline);

// A file of these parts.
std::vector<uint8_t> make_file(const Header& header, const std::vector<uint8_t>& outline,
                               const std::vector<uint8_t>& lengths, const std::vector<uint8_t>& table,
                               const std::vector<uint8_t>& segments);

// Rows of MCUs are cut into tiles; a segment is a tile's part of a row. In order of rows, then tiles, the table has the
// length of each in two bytes.
void put_length(std::vector<uint8_t>& table, size_t length);

// Where each of `count` segments begins in the file's segments, and the end of the last. False where they do not fill them.
bool read_starts(const File& file, size_t count, std::vector<uint32_t>& starts);

inline int tiles_of(const OutlineFrame& frame, int tile_columns) {
    return (frame.mcu_columns + tile_columns - 1) / tile_columns;
}

}  // namespace imagemill::recoded
