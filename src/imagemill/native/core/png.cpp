#include "png.hpp"

#include <cstdlib>
#include <cstring>
#include <initializer_list>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "checksums.hpp"
#include "inflate.hpp"

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

// What the filter Paeth predicts: of left, above and above left, the one nearest to left + above - above left.
uint8_t paeth(int left, int above, int corner) {
    const int by_left = std::abs(above - corner), by_above = std::abs(left - corner);
    const int by_corner = std::abs(left + above - 2 * corner);
    return static_cast<uint8_t>(by_left <= by_above && by_left <= by_corner ? left : by_above <= by_corner ? above : corner);
}

// From byte `first` on.
void unfilter_plainly(int filter, uint8_t* row, const uint8_t* above, size_t first, size_t size, size_t step) {
    for (size_t i = first; i < size; ++i) {
        const int left = i < step ? 0 : row[i - step], corner = i < step ? 0 : above[i - step];
        const int guess = filter == 1 ? left : filter == 3 ? (left + above[i]) / 2 : paeth(left, above[i], corner);
        row[i] = static_cast<uint8_t>(row[i] + guess);
    }
}

// Paeth for one byte a pixel: even surfaces, which masks mostly are, eight pixels at a time.
void unfilter_paeth(uint8_t* row, const uint8_t* above, size_t size) {
    int left = 0, corner = 0;
    for (size_t i = 0; i < size;) {
        uint64_t residuals, values;
        if (left == corner && i + 8 <= size) {
            std::memcpy(&residuals, row + i, 8);
            std::memcpy(&values, above + i, 8);
            if (residuals == 0 && values == static_cast<uint64_t>(left) * 0x0101010101010101U) {
                std::memcpy(row + i, &values, 8);
                i += 8;
                continue;
            }
        }
        const int up = above[i];
        row[i] = static_cast<uint8_t>(row[i] + paeth(left, up, corner));
        left = row[i];
        corner = up;
        ++i;
    }
}

#if defined(__SSE2__)
__m128i load_pixel(const uint8_t* place) {
    int32_t value;
    std::memcpy(&value, place, sizeof value);
    return _mm_cvtsi32_si128(value);
}

__m128i absolute(__m128i value) { return _mm_max_epi16(value, _mm_sub_epi16(_mm_setzero_si128(), value)); }

__m128i chosen(__m128i where, __m128i one, __m128i other) {
    return _mm_or_si128(_mm_and_si128(where, one), _mm_andnot_si128(where, other));
}

// Three channels side by side, each in 16 bits; a fourth goes along and is not written. Gives where it stopped: before
// the last pixel, behind which there may be no byte.
template <int kFilter>
size_t unfilter_colour(uint8_t* row, const uint8_t* above, size_t size) {
    const __m128i zero = _mm_setzero_si128(), bytes = _mm_set1_epi16(0xFF);
    __m128i left = zero, corner = zero;
    size_t i = 0;
    for (; i + 4 <= size; i += 3) {
        const __m128i up = _mm_unpacklo_epi8(load_pixel(above + i), zero);
        const __m128i residual = _mm_unpacklo_epi8(load_pixel(row + i), zero);
        __m128i guess;
        if (kFilter == 1) {
            guess = left;
        } else if (kFilter == 3) {
            guess = _mm_srli_epi16(_mm_add_epi16(left, up), 1);
        } else {
            const __m128i by_left = _mm_sub_epi16(up, corner), by_above = _mm_sub_epi16(left, corner);
            const __m128i far_left = absolute(by_left), far_above = absolute(by_above);
            const __m128i far_corner = absolute(_mm_add_epi16(by_left, by_above));
            const __m128i least = _mm_min_epi16(far_corner, _mm_min_epi16(far_left, far_above));
            guess = chosen(_mm_cmpeq_epi16(least, far_left), left,
                           chosen(_mm_cmpeq_epi16(least, far_above), up, corner));
        }
        left = _mm_and_si128(_mm_add_epi16(residual, guess), bytes);
        corner = up;
        const int32_t pixel = _mm_cvtsi128_si32(_mm_packus_epi16(left, left));
        std::memcpy(row + i, &pixel, 3);
    }
    return i;
}
#endif

bool unfilter(int filter, uint8_t* row, const uint8_t* above, size_t size, size_t step) {
    if (filter == 0) {
        return true;
    }
    if (filter == 2) {
        for (size_t i = 0; i < size; ++i) {
            row[i] = static_cast<uint8_t>(row[i] + above[i]);
        }
        return true;
    }
    if (filter > 4) {
        return false;
    }
    size_t done = 0;
#if defined(__SSE2__)
    if (step == 3) {
        done = filter == 1   ? unfilter_colour<1>(row, above, size)
               : filter == 3 ? unfilter_colour<3>(row, above, size)
                             : unfilter_colour<4>(row, above, size);
    }
#endif
    if (step == 1 && filter == 4) {
        unfilter_paeth(row, above, size);
    } else {
        unfilter_plainly(filter, row, above, done, size, step);
    }
    return true;
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

Bytes PngFile::rows() {
    const size_t size = stride_ * static_cast<size_t>(sides_.height);
    Bytes rows(new uint8_t[size + kInflateSlack]);
    if (!inflate_zlib(stream_.get(), stream_size_, rows.get(), size)) {
        return nullptr;
    }
    const Bytes zeros(new uint8_t[stride_]());
    const uint8_t* above = zeros.get() + 1;
    for (int row = 0; row < sides_.height; ++row) {
        uint8_t* place = rows.get() + stride_ * static_cast<size_t>(row);
        if (!unfilter(place[0], place + 1, above, stride_ - 1, is_colour_ ? 3 : 1)) {
            return nullptr;
        }
        above = place + 1;
    }
    return rows;
}

Bytes PngFile::image(int channels) {
    const Bytes stored = rows();
    if (stored == nullptr) {
        return nullptr;
    }
    const size_t width = static_cast<size_t>(sides_.width);
    Bytes pixels(new uint8_t[width * static_cast<size_t>(sides_.height) * static_cast<size_t>(channels)]);
    uint8_t* out = pixels.get();
    for (int row = 0; row < sides_.height; ++row) {
        const uint8_t* from = stored.get() + stride_ * static_cast<size_t>(row) + 1;
        if (is_colour_ == (channels == 3)) {
            std::memcpy(out, from, width * static_cast<size_t>(channels));
            out += width * static_cast<size_t>(channels);
        } else if (is_colour_) {
            for (size_t i = 0; i < width; ++i, from += 3) {  // ITU-R 601 luma in 16-bit fixed point
                *out++ = static_cast<uint8_t>((from[0] * 19595U + from[1] * 38470U + from[2] * 7471U + 0x8000U) >> 16);
            }
        } else {
            for (size_t i = 0; i < width; ++i, out += 3) {
                out[0] = out[1] = out[2] = from[i];
            }
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
