#include "recoded_outline.hpp"

#include <algorithm>
#include <cstring>

#include "jpeg_codes.hpp"

namespace imagemill::recoded {
namespace {

// The four tables of T.81, K.3, as DHT segments: what lies before the outline for whoever copies from there.
std::vector<uint8_t> standard_tables() {
    std::vector<uint8_t> out;
    int number = 0;
    for (const jpeg::CodeSpecs* specs : {&jpeg::kLumaSpecs, &jpeg::kChromaSpecs}) {
        for (const std::vector<uint8_t>& segment :
             {jpeg::table_segment(number, specs->dc), jpeg::table_segment(0x10 | number, specs->ac)}) {
            out.insert(out.end(), segment.begin(), segment.end());
        }
        ++number;
    }
    return out;
}

const std::vector<uint8_t>& before() {
    static const std::vector<uint8_t> made = standard_tables();
    return made;
}

constexpr size_t kShortestCopy = 6;
constexpr int kHashBits = 12;

size_t hash_of(const uint8_t* bytes) {
    uint32_t four;
    std::memcpy(&four, bytes, sizeof four);
    return static_cast<size_t>(four * 2654435761U >> (32 - kHashBits));
}

void put_varint(std::vector<uint8_t>& out, size_t number) {
    for (; number >= 0x80; number >>= 7) {
        out.push_back(static_cast<uint8_t>(number | 0x80));
    }
    out.push_back(static_cast<uint8_t>(number));
}

}  // namespace

// Pairs of a run of literal bytes and a copy: count, bytes, length of the copy, how far back it begins.
std::vector<uint8_t> pack_outline(const std::vector<uint8_t>& outline) {
    std::vector<uint8_t> all = before(), out;
    all.insert(all.end(), outline.begin(), outline.end());
    const size_t size = all.size();
    std::vector<size_t> last_seen(size_t{1} << kHashBits, SIZE_MAX);
    size_t next = 0, literals = before().size();
    while (next + kShortestCopy <= size) {
        size_t& seen = last_seen[hash_of(all.data() + next)];
        const size_t candidate = seen;
        seen = next;
        size_t length = 0;
        if (next >= before().size() && candidate != SIZE_MAX) {
            while (next + length < size && all[candidate + length] == all[next + length]) {
                ++length;
            }
        }
        if (length < kShortestCopy) {
            ++next;
            continue;
        }
        put_varint(out, next - literals);
        out.insert(out.end(), all.begin() + static_cast<std::ptrdiff_t>(literals),
                   all.begin() + static_cast<std::ptrdiff_t>(next));
        put_varint(out, length);
        put_varint(out, next - candidate);
        next += length;
        literals = next;
    }
    if (literals < size) {
        put_varint(out, size - literals);
        out.insert(out.end(), all.begin() + static_cast<std::ptrdiff_t>(literals), all.end());
    }
    return out;
}

bool unpack_outline(const uint8_t* packed, size_t packed_size, size_t size, std::vector<uint8_t>& outline) {
    const uint8_t* end = packed + packed_size;
    const auto get_varint = [&packed, end](size_t& number) {
        number = 0;
        for (int shift = 0; shift < 32; shift += 7) {
            if (packed == end) {
                return false;
            }
            const uint8_t byte = *packed++;
            number |= static_cast<size_t>(byte & 0x7F) << shift;
            if (byte < 0x80) {
                return true;
            }
        }
        return false;
    };
    std::vector<uint8_t> all = before();
    size_t next = all.size();
    all.resize(next + size);
    while (next < all.size()) {
        size_t literals = 0, length = 0, back = 0;
        if (!get_varint(literals) || literals > static_cast<size_t>(end - packed) || literals > all.size() - next) {
            return false;
        }
        std::copy_n(packed, literals, all.begin() + static_cast<std::ptrdiff_t>(next));
        packed += literals;
        next += literals;
        if (next == all.size()) {
            break;
        }
        if (!get_varint(length) || !get_varint(back) || length > all.size() - next || back < 1 || back > next) {
            return false;
        }
        for (; length > 0; --length, ++next) {
            all[next] = all[next - back];
        }
    }
    outline.assign(all.begin() + static_cast<std::ptrdiff_t>(before().size()), all.end());
    return packed == end;
}

}  // namespace imagemill::recoded
