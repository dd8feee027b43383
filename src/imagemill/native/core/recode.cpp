#include "recode.hpp"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>

#include "digest.hpp"
#include "jpeg_outline.hpp"
#include "jpeg_planes.hpp"
#include "jpeg_scan.hpp"
#include "recoded_file.hpp"
#include "recoded_source.hpp"
#include "recoded_writer.hpp"

namespace imagemill {
namespace {

constexpr int kLargest = (1 << recoded::kMostSize) - 1;  // differences of DC then have a bit more

// The outline of a JPEG whose scans are as write_scan() writes them; false where they are not.
bool take_outline(const uint8_t* data, size_t size, const Planes& planes, int padding, std::vector<uint8_t>& outline) {
    OutlineWalker walker(data, size);
    OutlineScan scan;
    std::vector<uint8_t> coded;
    size_t kept = 0;
    outline.clear();
    while (walker.next(scan)) {
        outline.insert(outline.end(), data + kept, data + walker.position());
        kept = walker.position();
        coded.clear();
        if (!write_scan(walker, scan, planes, padding, coded) || coded.size() > size - kept ||
            std::memcmp(coded.data(), data + kept, coded.size()) != 0) {
            return false;
        }
        walker.pass(coded.size());
        kept += coded.size();
    }
    outline.insert(outline.end(), data + kept, data + size);
    return walker.is_sound();
}

bool are_in_range(const Planes& planes) {
    for (const auto& blocks : planes.blocks) {
        const auto [least, most] = std::minmax_element(blocks.begin(), blocks.end());
        if (!blocks.empty() && (*least < -kLargest || *most > kLargest)) {
            return false;
        }
    }
    return true;
}

// Frame and tables of a JPEG with its entropy-coded data: the walker stops behind the first scan's header.
const char* look_at(const uint8_t* data, size_t size, int64_t max_pixels, OutlineFrame& frame) {
    OutlineWalker walker(data, size);
    OutlineScan scan;
    if (!walker.next(scan)) {
        return walker.is_sound() ? "damaged" : walker.why();
    }
    frame = walker.frame();
    if (static_cast<int64_t>(frame.height) * frame.width > max_pixels || size > UINT32_MAX) {
        return "too-large";
    }
    return nullptr;
}

// Whether the scans of a progressive JPEG bring every coefficient to its last bit: decoders guess what is left out.
bool has_all_scans(const std::vector<uint8_t>& outline) {
    OutlineWalker walker(outline.data(), outline.size());
    OutlineScan scan;
    std::array<std::array<bool, kBlockSize>, kMostComponents> is_complete{};
    while (walker.next(scan)) {
        for (int i = 0; i < scan.count; ++i) {
            auto& component = is_complete[static_cast<size_t>(scan.components[i])];
            std::fill(component.begin() + scan.first, component.begin() + scan.last + 1, scan.low == 0);
        }
    }
    for (size_t i = 0; i < walker.frame().components.size(); ++i) {
        if (std::find(is_complete[i].begin(), is_complete[i].end(), false) != is_complete[i].end()) {
            return false;
        }
    }
    return true;
}

struct Contents {
    recoded::File file;
    std::vector<uint8_t> outline;
    OutlineFrame frame;
    Planes planes;
};

// All that a recoded JPEG has, its trailer checked; false where it is damaged or has more pixels than allowed.
bool read_contents(const uint8_t* data, size_t size, int64_t max_pixels, Contents& contents) {
    if (!recoded::open_file(data, size, contents.file) || !recoded::has_right_digest(data, size) ||
        !recoded::read_outline(contents.file, contents.outline)) {
        return false;
    }
    OutlineWalker walker(contents.outline.data(), contents.outline.size());
    OutlineScan scan;
    if (!walker.next(scan) || static_cast<int64_t>(walker.frame().height) * walker.frame().width > max_pixels) {
        return false;
    }
    contents.frame = walker.frame();
    return recoded::read_all(contents.file, contents.frame, contents.planes);
}

uint8_t flag_of(Coding coding) { return coding == Coding::kCompact ? recoded::kCompact : 0; }

// From one coding to the other: the outline, the digests and all other flags stay.
std::vector<uint8_t> recode_again(const uint8_t* data, size_t size, int64_t max_pixels, Coding coding, const char*& why) {
    Contents contents;
    if (!read_contents(data, size, max_pixels, contents) || !are_in_range(contents.planes)) {
        why = "damaged";
        return {};
    }
    why = nullptr;
    recoded::Header header = contents.file.header;
    header.flags = static_cast<uint8_t>((header.flags & ~recoded::kCompact) | flag_of(coding));
    return recoded::write_file(header, contents.outline, contents.frame, contents.planes);
}

}  // namespace

std::vector<uint8_t> recode(const uint8_t* data, size_t size, int64_t max_pixels, Coding coding, const char*& why) {
    if (recoded::is_recoded(data, size)) {
        return recode_again(data, size, max_pixels, coding, why);
    }
    OutlineFrame frame;
    why = look_at(data, size, max_pixels, frame);
    if (why != nullptr) {
        return {};
    }
    Planes planes;
    if (!read_planes(data, size, frame, planes)) {
        why = "damaged";
        return {};
    }
    if (!are_in_range(planes)) {
        why = "unusual-coefficients";
        return {};
    }
    recoded::Header header{};
    header.original_digest = xxh3_64(data, size);
    header.original_size = static_cast<uint32_t>(size);
    std::vector<uint8_t> outline, plain;
    if (!take_outline(data, size, planes, 1, outline)) {
        header.flags = recoded::kPadsWithZeros;
        if (!take_outline(data, size, planes, 0, outline)) {
            header.flags = recoded::kNormalised;
            plain = normalised(data, size);
            if (plain.empty() || look_at(plain.data(), plain.size(), max_pixels, frame) != nullptr ||
                !read_planes(plain.data(), plain.size(), frame, planes) ||
                !take_outline(plain.data(), plain.size(), planes, 1, outline)) {
                why = "unusual-coding";
                return {};
            }
            data = plain.data();
            size = plain.size();
        }
    }
    if (!has_all_scans(outline)) {
        why = "scans-missing";
        return {};
    }
    if (outline.size() > recoded::kMostOutlineBytes) {
        why = "too-large";
        return {};
    }
    header.digest = xxh3_64(data, size);
    header.size = static_cast<uint32_t>(size);
    header.flags = static_cast<uint8_t>(header.flags | flag_of(coding));
    return recoded::write_file(header, outline, frame, planes);
}

bool run_over(const uint8_t* data, size_t size) {
    if (!recoded::is_recoded(data, size)) {
        return run_over_jpeg(data, size);
    }
    recoded::File file;
    std::vector<uint8_t> outline;
    if (!recoded::open_file(data, size, file) || !recoded::read_outline(file, outline)) {
        return false;
    }
    OutlineWalker walker(outline.data(), outline.size());
    OutlineScan scan;
    return walker.next(scan) && recoded::run_over(file, walker.frame());
}

bool restore(const uint8_t* data, size_t size, int64_t max_pixels, std::vector<uint8_t>& jpeg) {
    Contents contents;
    if (!read_contents(data, size, max_pixels, contents)) {
        return false;
    }
    const recoded::Header& header = contents.file.header;
    const std::vector<uint8_t>& outline = contents.outline;
    const int padding = (header.flags & recoded::kPadsWithZeros) != 0 ? 0 : 1;
    jpeg.clear();
    // Of a damaged header nothing is believed that costs memory.
    jpeg.reserve(std::min<size_t>(header.size, 2 * size));
    OutlineWalker walker(outline.data(), outline.size());
    OutlineScan scan;
    size_t kept = 0;
    while (walker.next(scan)) {
        jpeg.insert(jpeg.end(), outline.data() + kept, outline.data() + walker.position());
        kept = walker.position();
        if (!write_scan(walker, scan, contents.planes, padding, jpeg) || jpeg.size() > header.size) {
            return false;
        }
    }
    jpeg.insert(jpeg.end(), outline.begin() + static_cast<std::ptrdiff_t>(kept), outline.end());
    return walker.is_sound() && jpeg.size() == header.size &&
           xxh3_64(jpeg.data(), jpeg.size()) == header.digest;
}

}  // namespace imagemill
