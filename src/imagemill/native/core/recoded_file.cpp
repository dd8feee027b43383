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

void put_varint(std::vector<uint8_t>& out, uint32_t number) {
    for (; number >= 0x80; number >>= 7) {
        out.push_back(static_cast<uint8_t>(number | 0x80));
    }
    out.push_back(static_cast<uint8_t>(number));
}

bool get_varint(const uint8_t*& data, const uint8_t* end, uint32_t& number) {
    number = 0;
    for (int shift = 0; shift < 32; shift += 7) {
        if (data == end) {
            return false;
        }
        const uint8_t byte = *data++;
        number |= static_cast<uint32_t>(byte & 0x7F) << shift;
        if (byte < 0x80) {
            return shift < 28 || byte < 0x10;
        }
    }
    return false;
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
    header.lanes_stored = number_at<uint32_t>(data + 40);
    header.lengths_stored = number_at<uint16_t>(data + 44);
    header.tile_columns = static_cast<uint16_t>(data[46] + 1);
    header.flags = data[47];
    const uint64_t parts = uint64_t{header.outline_stored} + header.lengths_stored + header.lanes_stored;
    const uint64_t room = size - kHeaderBytes - kTrailerBytes;
    if (parts > room || header.flags > (kPadsWithZeros | kNormalised) || header.outline_size > kMostOutlineBytes) {
        return false;
    }
    const uint8_t* next = data + kHeaderBytes;
    for (auto [part, length] : {std::pair{&file.outline, uint64_t{header.outline_stored}},
                                std::pair{&file.lengths, uint64_t{header.lengths_stored}},
                                std::pair{&file.lanes, uint64_t{header.lanes_stored}},
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
                               const std::vector<uint8_t>& lengths, const std::vector<uint8_t>& lanes,
                               const std::vector<uint8_t>& segments) {
    const std::vector<uint8_t> packed = pack_outline(outline);
    std::vector<uint8_t> out(kMagic, kMagic + sizeof kMagic);
    out.reserve(kHeaderBytes + packed.size() + lengths.size() + lanes.size() + segments.size() + kTrailerBytes);
    put_number(out, header.digest);
    put_number(out, header.original_digest);
    put_number(out, header.size);
    put_number(out, header.original_size);
    put_number(out, static_cast<uint32_t>(outline.size()));
    put_number(out, static_cast<uint32_t>(packed.size()));
    put_number(out, static_cast<uint32_t>(lanes.size()));
    put_number(out, static_cast<uint16_t>(lengths.size()));
    out.push_back(static_cast<uint8_t>(header.tile_columns - 1));
    out.push_back(header.flags);
    for (const auto* part : {&packed, &lengths, &lanes, &segments}) {
        out.insert(out.end(), part->begin(), part->end());
    }
    put_number(out, xxh3_64(out.data(), out.size()));
    return out;
}

// The length of the lane of values, and of those of codes together; then of each of these but the last its difference
// from an equal share of what is left, as 2d or -2d - 1.
void LaneTable::put(std::vector<uint8_t>& out, const uint32_t lengths[kLanes]) {
    uint32_t left = lengths[0] + lengths[1] + lengths[2] + lengths[3];
    put_varint(out, lengths[4]);
    put_varint(out, left);
    for (int lane = 0; lane < 3; ++lane) {
        const auto share = static_cast<int32_t>(left / static_cast<uint32_t>(4 - lane));
        const int32_t difference = static_cast<int32_t>(lengths[lane]) - share;
        put_varint(out, static_cast<uint32_t>(difference >= 0 ? 2 * difference : -2 * difference - 1));
        left -= lengths[lane];
    }
}

bool LaneTable::read(const Part& part, size_t count, size_t size) {
    // A byte a number at least: a header cannot ask for more memory than its file has bytes.
    if (count > part.size / kLanes) {
        return false;
    }
    segments_.resize(count);
    const uint8_t *next = part.data, *end = part.data + part.size;
    uint64_t start = 0;
    for (Segment& segment : segments_) {
        uint32_t left = 0;
        if (!get_varint(next, end, segment.lengths[4]) || !get_varint(next, end, left) ||
            uint64_t{left} + segment.lengths[4] > size - start) {
            return false;
        }
        segment.start = start;
        start += uint64_t{left} + segment.lengths[4];
        for (int lane = 0; lane < 3; ++lane) {
            uint32_t coded = 0;
            if (!get_varint(next, end, coded)) {
                return false;
            }
            const int64_t half = coded >> 1, difference = (coded & 1) != 0 ? -half - 1 : half;
            const int64_t length = left / static_cast<uint32_t>(4 - lane) + difference;
            if (length < 0 || length > left) {
                return false;
            }
            segment.lengths[lane] = static_cast<uint32_t>(length);
            left -= static_cast<uint32_t>(length);
        }
        segment.lengths[3] = left;
    }
    return next == end && start == size;
}

}  // namespace imagemill::recoded
