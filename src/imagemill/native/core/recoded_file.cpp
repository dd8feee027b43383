#include "recoded_file.hpp"

#include <algorithm>
#include <cstring>

#include "digest.hpp"
#include "recoded_outline.hpp"

namespace imagemill::recoded {
namespace {

template <typename Number>
Number number_at(const uint8_t* bytes) {
    Number number = 0;
    for (size_t i = sizeof number; i-- > 0;) {
        number = static_cast<Number>(static_cast<uint64_t>(number) << 8 | bytes[i]);
    }
    return number;
}

template <typename Number>
void put_number(std::vector<uint8_t>& out, Number number) {
    for (size_t i = 0; i < sizeof number; ++i) {
        out.push_back(static_cast<uint8_t>(static_cast<uint64_t>(number) >> (8 * i)));
    }
}

}  // namespace

bool is_recoded(const uint8_t* data, size_t size) {
    return size >= sizeof kMagic && std::memcmp(data, kMagic, sizeof kMagic - 1) == 0;
}

bool open_file(const uint8_t* data, size_t size, File& file) {
    if (!is_recoded(data, size) || data[7] != kMagic[7] || size < kHeaderBytes + kTrailerBytes) {
        return false;
    }
    Header& header = file.header;
    header.digest = number_at<uint64_t>(data + 8);
    header.original_digest = number_at<uint64_t>(data + 16);
    header.size = number_at<uint32_t>(data + 24);
    header.original_size = number_at<uint32_t>(data + 28);
    header.outline_size = number_at<uint32_t>(data + 32);
    header.outline_stored = number_at<uint32_t>(data + 36);
    header.table_stored = number_at<uint32_t>(data + 40);
    header.lengths_stored = number_at<uint16_t>(data + 44);
    header.tile_columns = static_cast<uint16_t>(data[46] + 1);
    header.flags = data[47];
    const uint64_t parts = uint64_t{header.outline_stored} + header.lengths_stored + header.table_stored;
    const uint64_t room = size - kHeaderBytes - kTrailerBytes;
    if (parts > room || header.flags > kAllFlags || header.outline_size > kMostOutlineBytes) {
        return false;
    }
    const uint8_t* next = data + kHeaderBytes;
    for (auto [part, length] : {std::pair{&file.outline, uint64_t{header.outline_stored}},
                                std::pair{&file.lengths, uint64_t{header.lengths_stored}},
                                std::pair{&file.table, uint64_t{header.table_stored}},
                                std::pair{&file.segments, room - parts}}) {
        *part = {next, static_cast<size_t>(length)};
        next += length;
    }
    return true;
}

bool has_right_digest(const uint8_t* data, size_t size) {
    return size >= kTrailerBytes &&
           number_at<uint64_t>(data + size - kTrailerBytes) == xxh3_64(data, size - kTrailerBytes);
}

bool read_outline(const File& file, std::vector<uint8_t>& outline) {
    return unpack_outline(file.outline.data, file.outline.size, file.header.outline_size, outline);
}

std::vector<uint8_t> make_file(const Header& header, const std::vector<uint8_t>& outline,
                               const std::vector<uint8_t>& lengths, const std::vector<uint8_t>& table,
                               const std::vector<uint8_t>& segments) {
    const std::vector<uint8_t> packed = pack_outline(outline);
    std::vector<uint8_t> out(kMagic, kMagic + sizeof kMagic);
    out.reserve(kHeaderBytes + packed.size() + lengths.size() + table.size() + segments.size() + kTrailerBytes);
    put_number(out, header.digest);
    put_number(out, header.original_digest);
    put_number(out, header.size);
    put_number(out, header.original_size);
    put_number(out, static_cast<uint32_t>(outline.size()));
    put_number(out, static_cast<uint32_t>(packed.size()));
    put_number(out, static_cast<uint32_t>(table.size()));
    put_number(out, static_cast<uint16_t>(lengths.size()));
    out.push_back(static_cast<uint8_t>(header.tile_columns - 1));
    out.push_back(header.flags);
    for (const auto* part : {&packed, &lengths, &table, &segments}) {
        out.insert(out.end(), part->begin(), part->end());
    }
    put_number(out, xxh3_64(out.data(), out.size()));
    return out;
}

void put_length(std::vector<uint8_t>& table, size_t length) { put_number(table, static_cast<uint16_t>(length)); }

bool read_starts(const File& file, size_t count, std::vector<uint32_t>& starts) {
    // A header cannot ask for more memory than its file has bytes.
    if (file.table.size != 2 * count) {
        return false;
    }
    starts.resize(count + 1);
    uint64_t start = 0;
    for (size_t i = 0; i < count; ++i) {
        starts[i] = static_cast<uint32_t>(start);
        start += number_at<uint16_t>(file.table.data + 2 * i);
        if (start > file.segments.size) {
            return false;
        }
    }
    starts[count] = static_cast<uint32_t>(start);
    return start == file.segments.size;
}

}  // namespace imagemill::recoded
