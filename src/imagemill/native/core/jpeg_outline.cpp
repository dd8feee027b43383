#include "jpeg_outline.hpp"

#include <algorithm>
#include <cstring>

#include "colour.hpp"
#include "exif.hpp"

namespace imagemill {
namespace {

enum Marker : int {
    kSof0 = 0xC0,
    kSof1 = 0xC1,
    kSof2 = 0xC2,
    kDht = 0xC4,
    kJpg = 0xC8,
    kDac = 0xCC,
    kSoi = 0xD8,
    kEoi = 0xD9,
    kSos = 0xDA,
    kDqt = 0xDB,
    kDnl = 0xDC,
    kDri = 0xDD,
    kDhp = 0xDE,
    kExp = 0xDF,
    kApp0 = 0xE0,
};

// A file may repeat its scans without end; honest ones have a dozen.
constexpr int kMostScans = 500;
constexpr int kLongestSide = 65500;  // libjpeg's

int divided_up(int number, int by) { return (number + by - 1) / by; }

bool is_alone(int marker) { return marker == 0x01 || (marker >= 0xD0 && marker <= kSoi); }

bool begins_with(const uint8_t* payload, size_t size, const char* prefix, size_t length) {
    return size >= length && std::memcmp(payload, prefix, length) == 0;
}

}  // namespace

const uint8_t kZigzag[kBlockSize] = {0,  1,  8,  16, 9,  2,  3,  10, 17, 24, 32, 25, 18, 11, 4,  5,
                                     12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6,  7,  14, 21, 28,
                                     35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51,
                                     58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63};

bool OutlineWalker::refuse(const char* why) {
    why_ = why;
    return false;
}

bool OutlineWalker::next(OutlineScan& scan) {
    if (why_ != nullptr) {
        return false;
    }
    if (position_ == 0) {
        if (size_ < 4 || data_[0] != 0xFF || data_[1] != kSoi || data_[2] != 0xFF) {
            return refuse("not-jpeg");
        }
        position_ = 2;
    }
    while (position_ < size_) {
        // Decoders pass over stray bytes between segments, and over fill bytes.
        const auto* found = static_cast<const uint8_t*>(std::memchr(data_ + position_, 0xFF, size_ - position_));
        if (found == nullptr) {
            break;
        }
        position_ = static_cast<size_t>(found - data_);
        while (position_ < size_ && data_[position_] == 0xFF) {
            ++position_;
        }
        if (position_ == size_) {
            break;
        }
        const int marker = data_[position_++];
        if (marker == 0 || is_alone(marker)) {
            continue;
        }
        if (marker == kEoi) {
            return scans_ > 0 ? false : refuse("no-scan");
        }
        if (size_ - position_ < 2) {
            break;
        }
        const size_t length = static_cast<size_t>(data_[position_]) << 8 | data_[position_ + 1];
        if (length < 2 || length > size_ - position_) {
            break;
        }
        const uint8_t* payload = data_ + position_ + 2;
        position_ += length;
        if (marker == kSos) {
            return read_scan(payload, length - 2, scan);
        }
        if (!read_segment(marker, payload, length - 2)) {
            return false;
        }
    }
    return refuse("truncated");
}

bool OutlineWalker::read_segment(int marker, const uint8_t* payload, size_t size) {
    switch (marker) {
        case kSof0:
        case kSof1:
        case kSof2:
            return read_frame(marker, payload, size);
        case kDht:
            return read_codes(payload, size);
        case kDqt:
            return read_steps(payload, size);
        case kDri:
            if (size != 2) {
                return refuse("damaged");
            }
            restart_interval_ = payload[0] << 8 | payload[1];
            return true;
        case kDac:
            return refuse("arithmetic");
        case kDnl:
        case kDhp:
        case kExp:
            return refuse("hierarchical");
        default:
            break;
    }
    if (marker >= 0xC9 && marker <= 0xCB) {
        return refuse("arithmetic");
    }
    if (marker > kSof2 && marker <= 0xCF && marker != kJpg) {
        return refuse("hierarchical");
    }
    read_application(marker, payload, size);
    return true;
}

bool OutlineWalker::read_frame(int marker, const uint8_t* payload, size_t size) {
    if (frame_.marker != 0 || size < 6) {
        return refuse("damaged");
    }
    if (payload[0] != 8) {
        return refuse("12-bit");
    }
    frame_.marker = marker;
    frame_.height = payload[1] << 8 | payload[2];
    frame_.width = payload[3] << 8 | payload[4];
    const int count = payload[5];
    if (count == 4) {
        return refuse("cmyk");
    }
    if ((count != 1 && count != 3) || size != 6 + 3 * static_cast<size_t>(count)) {
        return refuse("unusual-components");
    }
    if (std::min(frame_.height, frame_.width) < 1 || std::max(frame_.height, frame_.width) > kLongestSide) {
        return refuse("unusual-size");
    }
    int most_across = 1, most_down = 1, blocks = 0;
    for (int i = 0; i < count; ++i) {
        const uint8_t* entry = payload + 6 + 3 * i;
        OutlineComponent one{entry[0], entry[1] >> 4, entry[1] & 15, entry[2], false, {}, 0, 0, 0, 0};
        if (std::min(one.across, one.down) < 1 || std::max(one.across, one.down) > 4 || one.table > 3) {
            return refuse("damaged");
        }
        for (const OutlineComponent& other : frame_.components) {
            if (other.id == one.id) {
                return refuse("unusual-components");
            }
        }
        most_across = std::max(most_across, one.across);
        most_down = std::max(most_down, one.down);
        blocks += one.across * one.down;
        frame_.components.push_back(one);
    }
    if (count > 1 && blocks > 10) {
        return refuse("unusual-sampling");
    }
    for (OutlineComponent& one : frame_.components) {
        // A single component's MCU is a block, whatever its factors are.
        one.own_wide = divided_up(divided_up(frame_.width * one.across, most_across), kBlockSide);
        one.own_high = divided_up(divided_up(frame_.height * one.down, most_down), kBlockSide);
        one.across = count == 1 ? 1 : one.across;
        one.down = count == 1 ? 1 : one.down;
    }
    most_across = count == 1 ? 1 : most_across;
    most_down = count == 1 ? 1 : most_down;
    frame_.mcu_columns = divided_up(frame_.width, kBlockSide * most_across);
    frame_.mcu_rows = divided_up(frame_.height, kBlockSide * most_down);
    for (OutlineComponent& one : frame_.components) {
        one.blocks_wide = frame_.mcu_columns * one.across;
        one.blocks_high = frame_.mcu_rows * one.down;
    }
    return true;
}

bool OutlineWalker::read_steps(const uint8_t* payload, size_t size) {
    while (size > 0) {
        const int number = payload[0] & 15, wide = payload[0] >> 4;
        const size_t length = wide != 0 ? 2 * kBlockSize : kBlockSize;
        if (number > 3 || wide > 1 || size < 1 + length) {
            return refuse("damaged");
        }
        for (int k = 0; k < kBlockSize; ++k) {
            const uint8_t* step = payload + 1 + (wide != 0 ? 2 * k : k);
            steps_[number][kZigzag[k]] = static_cast<uint16_t>(wide != 0 ? step[0] << 8 | step[1] : step[0]);
        }
        has_steps_[number] = true;
        payload += 1 + length;
        size -= 1 + length;
    }
    return true;
}

bool OutlineWalker::read_codes(const uint8_t* payload, size_t size) {
    while (size > 0) {
        const int number = payload[0] & 15, kind = payload[0] >> 4;
        if (number > 3 || kind > 1 || size < 17) {
            return refuse("damaged");
        }
        HuffmanSpec& spec = kind == 0 ? dc_[number] : ac_[number];
        size_t symbols = 0;
        for (int length = 1; length <= 16; ++length) {
            spec.counts[length] = payload[length];
            symbols += payload[length];
        }
        if (symbols > sizeof spec.symbols || size < 17 + symbols) {
            return refuse("damaged");
        }
        std::copy_n(payload + 17, symbols, spec.symbols);
        std::fill(spec.symbols + symbols, spec.symbols + sizeof spec.symbols, uint8_t{0});
        spec.is_given = true;
        payload += 17 + symbols;
        size -= 17 + symbols;
    }
    return true;
}

bool OutlineWalker::read_scan(const uint8_t* payload, size_t size, OutlineScan& scan) {
    if (frame_.marker == 0 || size < 1 || ++scans_ > kMostScans) {
        return refuse("damaged");
    }
    scan.count = payload[0];
    if (scan.count < 1 || scan.count > static_cast<int>(frame_.components.size()) ||
        size != 4 + 2 * static_cast<size_t>(scan.count)) {
        return refuse("damaged");
    }
    for (int i = 0; i < scan.count; ++i) {
        const uint8_t* entry = payload + 1 + 2 * i;
        int place = 0;
        while (place < static_cast<int>(frame_.components.size()) &&
               frame_.components[static_cast<size_t>(place)].id != entry[0]) {
            ++place;
        }
        scan.components[i] = place;
        scan.dc_tables[i] = entry[1] >> 4;
        scan.ac_tables[i] = entry[1] & 15;
        if (place == static_cast<int>(frame_.components.size()) || scan.dc_tables[i] > 3 || scan.ac_tables[i] > 3) {
            return refuse("damaged");
        }
        OutlineComponent& one = frame_.components[static_cast<size_t>(place)];
        if (!one.has_steps) {
            // libjpeg takes the table as it is when the component first occurs.
            if (!has_steps_[one.table]) {
                return refuse("damaged");
            }
            std::copy_n(steps_[one.table], kBlockSize, one.steps);
            one.has_steps = true;
        }
    }
    const uint8_t* rest = payload + 1 + 2 * scan.count;
    scan.first = rest[0];
    scan.last = rest[1];
    scan.high = rest[2] >> 4;
    scan.low = rest[2] & 15;
    scan.restart_interval = restart_interval_;
    if (!frame_.is_progressive()) {
        // These numbers mean nothing then, and some writers put others there.
        scan.first = scan.high = scan.low = 0;
        scan.last = kBlockSize - 1;
    }
    const bool is_band = scan.first > 0;
    if (scan.first > scan.last || scan.last >= kBlockSize || scan.low > 13 ||
        (scan.high != 0 && scan.high != scan.low + 1) || (is_band && scan.count != 1) ||
        (frame_.is_progressive() && !is_band && scan.last != 0)) {
        return refuse("damaged");
    }
    return true;
}

void OutlineWalker::read_application(int marker, const uint8_t* payload, size_t size) {
    if (scans_ > 0) {
        return;
    }
    if (marker == kApp0 && begins_with(payload, size, "JFIF\0", 5) && size >= 14) {
        has_jfif_ = true;
    } else if (marker == kApp0 + 14 && begins_with(payload, size, "Adobe", 5) && size >= 12) {
        adobe_ = payload[11];
    } else if (marker == kApp0 + 1 && begins_with(payload, size, "Exif\0\0", 6)) {
        if (orientation_ == 1) {
            orientation_ = exif_orientation(payload + 6, size - 6);
        }
    } else if (marker == kApp0 + 2) {
        profile_hash_ = profile_hash_with(profile_hash_, payload, size);
    }
}

ColourModel OutlineWalker::colours() const {
    if (frame_.components.size() == 1) {
        return ColourModel::kGrey;
    }
    if (has_jfif_) {
        return ColourModel::kYCbCr;
    }
    if (adobe_ >= 0) {
        return adobe_ == 0 ? ColourModel::kRgb : ColourModel::kYCbCr;
    }
    const auto id = [this](size_t place) { return frame_.components[place].id; };
    return id(0) == 'R' && id(1) == 'G' && id(2) == 'B' ? ColourModel::kRgb : ColourModel::kYCbCr;
}

}  // namespace imagemill
