#include "png.hpp"

#include <cstring>
#include <initializer_list>
#include <utility>

#include "checksums.hpp"
#include "inflate.hpp"
#include "png_filters.hpp"

namespace imagemill {
namespace {

constexpr uint8_t kSignature[] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n'};
constexpr size_t kFrame = 12;  // a chunk's length, name and checksum

uint32_t number_at(const uint8_t* place) {
    return static_cast<uint32_t>(place[0]) << 24 | place[1] << 16 | place[2] << 8 | place[3];
}

bool is_one_of(const uint8_t* name, std::initializer_list<const char*> names) {
    for (const char* each : names) {
        if (std::memcmp(name, each, 4) == 0) {
            return true;
        }
    }
    return false;
}

// Chunks after which pixels are what they are without them. Of the others, eXIf turns, iCCP and tRNS colour an image,
// iTXt and zTXt may hold a profile or more than is sound, acTL and fcTL make frames.
bool is_harmless(const uint8_t* name, bool is_mask) {
    return is_one_of(name, {"PLTE", "IDAT", "IEND", "sRGB", "gAMA", "cHRM", "pHYs", "tEXt", "tIME", "bKGD", "sBIT"}) ||
           (is_mask && is_one_of(name, {"tRNS", "hIST"}));
}

}  // namespace

bool looks_like_png(const uint8_t* data, size_t size) {
    return size >= sizeof kSignature && std::memcmp(data, kSignature, sizeof kSignature) == 0;
}

Status PngFile::open(const uint8_t* data, size_t size, int64_t max_pixels, bool is_mask) {
    stream_.reset(new uint8_t[size + kInflateSlack]);
    bool has_palette = false, has_ended = false, is_in_stream = false;
    int colour_type = -1;
    for (size_t place = sizeof kSignature; !has_ended; ) {
        if (size - place < kFrame) {
            return Status::kNotJpeg;
        }
        const uint32_t length = number_at(data + place);
        const uint8_t* name = data + place + 4;
        if (length > size - place - kFrame || crc32(name, size_t{4} + length) != number_at(name + 4 + length)) {
            return Status::kNotJpeg;
        }
        const uint8_t* content = name + 4;
        if (colour_type < 0) {  // the first chunk is the header
            if (!is_one_of(name, {"IHDR"}) || length != 13) {
                return Status::kNotJpeg;
            }
            const uint32_t width = number_at(content), height = number_at(content + 4);
            colour_type = content[9];
            depth_ = content[8];
            if (width == 0 || height == 0 || width > INT32_MAX || height > INT32_MAX || content[10] != 0 ||
                content[11] != 0 || content[12] != 0) {
                return Status::kNotJpeg;
            }
            if (static_cast<uint64_t>(width) * height > static_cast<uint64_t>(max_pixels)) {
                return Status::kTooLarge;
            }
            sides_ = {static_cast<int>(height), static_cast<int>(width)};
        } else if (!is_harmless(name, is_mask)) {
            return Status::kNotJpeg;
        } else if (is_one_of(name, {"IDAT"})) {
            if (stream_size_ > 0 && !is_in_stream) {
                return Status::kNotJpeg;  // decoders differ about pixels in two places
            }
            std::memcpy(&stream_[stream_size_], content, length);
            stream_size_ += length;
        } else {
            has_palette = has_palette || is_one_of(name, {"PLTE"});
            has_ended = is_one_of(name, {"IEND"});
        }
        is_in_stream = is_one_of(name, {"IDAT"});
        place += kFrame + length;
    }
    const bool has_indices = colour_type == 3;
    const bool is_packed = depth_ == 1 || depth_ == 2 || depth_ == 4;
    is_colour_ = colour_type == 2;
    const bool is_known = colour_type == 0 || is_colour_ || (has_indices && has_palette);
    if (!is_known || (depth_ != 8 && !(is_packed && !is_colour_)) || (is_mask ? is_colour_ : has_indices || depth_ != 8)) {
        return Status::kNotJpeg;
    }
    std::memset(&stream_[stream_size_], 0, kInflateSlack);
    const size_t bits = static_cast<size_t>(sides_.width) * static_cast<size_t>(is_colour_ ? 3 * depth_ : depth_);
    stride_ = 1 + (bits + 7) / 8;
    return Status::kDone;
}

Bytes PngFile::filtered() {
    const size_t size = stride_ * static_cast<size_t>(sides_.height);
    Bytes rows(new uint8_t[size + kInflateSlack]);
    return inflate_zlib(stream_.get(), stream_size_, rows.get(), size) ? std::move(rows) : nullptr;
}

Bytes PngFile::rows() {
    Bytes rows = filtered();
    return rows != nullptr && unfilter_bytes(rows.get(), stride_, sides_.height) ? std::move(rows) : nullptr;
}

Bytes PngFile::colours() {
    const Bytes rows = filtered();
    const size_t size = (stride_ - 1) * static_cast<size_t>(sides_.height);
    Bytes pixels(new uint8_t[size]);
    return rows != nullptr && unfilter_colours(rows.get(), sides_, pixels.get()) ? std::move(pixels) : nullptr;
}

Bytes PngFile::image(int channels) {
    Bytes stored = is_colour_ ? colours() : rows();
    if (stored == nullptr || (is_colour_ && channels == 3)) {
        return stored;
    }
    const size_t width = static_cast<size_t>(sides_.width), count = width * static_cast<size_t>(sides_.height);
    Bytes pixels(new uint8_t[count * static_cast<size_t>(channels)]);
    uint8_t* out = pixels.get();
    const uint8_t* from = stored.get();
    if (is_colour_) {
        for (size_t i = 0; i < count; ++i, from += 3) {  // ITU-R 601 luma in 16-bit fixed point
            *out++ = static_cast<uint8_t>((from[0] * 19595U + from[1] * 38470U + from[2] * 7471U + 0x8000U) >> 16);
        }
        return pixels;
    }
    for (int row = 0; row < sides_.height; ++row, from += width) {
        ++from;
        if (channels == 1) {
            std::memcpy(out, from, width);
            out += width;
            continue;
        }
        for (size_t i = 0; i < width; ++i, out += 3) {
            out[0] = out[1] = out[2] = from[i];
        }
    }
    return pixels;
}

Bytes PngFile::values() {
    const Bytes stored = rows();
    if (stored == nullptr) {
        return nullptr;
    }
    const size_t width = static_cast<size_t>(sides_.width);
    Bytes values(new uint8_t[width * static_cast<size_t>(sides_.height)]);
    uint8_t* out = values.get();
    const int mask = (1 << depth_) - 1;
    for (int row = 0; row < sides_.height; ++row, out += width) {
        const uint8_t* from = stored.get() + stride_ * static_cast<size_t>(row) + 1;
        if (depth_ == 8) {
            std::memcpy(out, from, width);
            continue;
        }
        for (size_t i = 0; i < width; ++i) {
            const size_t bit = i * static_cast<size_t>(depth_);
            out[i] = static_cast<uint8_t>(from[bit / 8] >> (8 - static_cast<size_t>(depth_) - bit % 8) & static_cast<size_t>(mask));
        }
    }
    return values;
}

}  // namespace imagemill
