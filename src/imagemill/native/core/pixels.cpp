#include "pixels.hpp"

#include <cstring>
#include <memory>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "pixel_bytes.hpp"
#include "pixel_rows.hpp"
#include "processor.hpp"
#include "scaling.hpp"

namespace imagemill {
namespace {

// R, G, B, R, G, B, … into three planes.
void part_baseline(const uint8_t* source, uint8_t* out, ptrdiff_t plane, ptrdiff_t count, bool) {
    for (ptrdiff_t i = 0; i < count; ++i, source += 3) {
        out[i] = source[0];
        out[i + plane] = source[1];
        out[i + 2 * plane] = source[2];
    }
}

#if defined(__x86_64__)
bool is_aligned(const uint8_t* place, uintptr_t to) { return reinterpret_cast<uintptr_t>(place) % to == 0; }

void copy_sse2(const uint8_t* source, uint8_t* out, size_t size, bool streams) {
    size_t done = 0;
    if (streams && is_aligned(out, 16)) {
        for (; done + 64 <= size; done += 64) {
            for (size_t i = done; i < done + 64; i += 16) {
                _mm_stream_si128(reinterpret_cast<__m128i*>(out + i),
                                 _mm_loadu_si128(reinterpret_cast<const __m128i*>(source + i)));
            }
        }
    }
    std::memcpy(out + done, source + done, size - done);
}

__attribute__((target("avx2"))) void copy_avx2(const uint8_t* source, uint8_t* out, size_t size, bool streams) {
    size_t done = 0;
    if (streams && is_aligned(out, 32)) {
        for (; done + 128 <= size; done += 128) {
            for (size_t i = done; i < done + 128; i += 32) {
                _mm256_stream_si256(reinterpret_cast<__m256i*>(out + i),
                                    _mm256_loadu_si256(reinterpret_cast<const __m256i*>(source + i)));
            }
        }
    }
    std::memcpy(out + done, source + done, size - done);
}

// What was streamed is seen by other threads from here on.
void end_streams() { _mm_sfence(); }

// For each channel and each of three registers with sixteen pixels, which of its bytes go where; -1 is none.
struct Picks {
    alignas(32) int8_t places[3][3][32];

    Picks() {
        for (int channel = 0; channel < 3; ++channel) {
            for (int part = 0; part < 3; ++part) {
                for (int i = 0; i < 32; ++i) {
                    const int from = 3 * (i % 16) + channel - 16 * part;
                    places[channel][part][i] = static_cast<int8_t>(from >= 0 && from < 16 ? from : -1);
                }
            }
        }
    }
};
const Picks kPicks;

// Sixteen pixels at a time: every plane's bytes are picked from the three registers that hold them.
__attribute__((target("ssse3"))) void part_ssse3(const uint8_t* source, uint8_t* out, ptrdiff_t plane,
                                                 ptrdiff_t count, bool streams) {
    streams = streams && is_aligned(out, 16) && plane % 16 == 0;
    ptrdiff_t done = 0;
    for (; done + 16 <= count; done += 16, source += 48) {
        const auto* from = reinterpret_cast<const __m128i*>(source);
        const __m128i a = _mm_loadu_si128(from), b = _mm_loadu_si128(from + 1), c = _mm_loadu_si128(from + 2);
        for (int channel = 0; channel < 3; ++channel) {
            const auto* pick = reinterpret_cast<const __m128i*>(kPicks.places[channel]);
            const __m128i all = _mm_or_si128(_mm_or_si128(_mm_shuffle_epi8(a, pick[0]), _mm_shuffle_epi8(b, pick[2])),
                                             _mm_shuffle_epi8(c, pick[4]));
            auto* to = reinterpret_cast<__m128i*>(out + channel * plane + done);
            streams ? _mm_stream_si128(to, all) : _mm_storeu_si128(to, all);
        }
    }
    part_baseline(source, out + done, plane, count - done, false);
}

// The same for 32: each half of a register holds sixteen pixels' part.
__attribute__((target("avx2"))) void part_avx2(const uint8_t* source, uint8_t* out, ptrdiff_t plane, ptrdiff_t count,
                                               bool streams) {
    streams = streams && is_aligned(out, 32) && plane % 32 == 0;
    ptrdiff_t done = 0;
    for (; done + 32 <= count; done += 32, source += 96) {
        __m256i parts[3];
        for (int part = 0; part < 3; ++part) {
            const auto* from = reinterpret_cast<const __m128i*>(source + 16 * part);
            parts[part] = _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128(from)), _mm_loadu_si128(from + 3), 1);
        }
        for (int channel = 0; channel < 3; ++channel) {
            const auto* pick = reinterpret_cast<const __m256i*>(kPicks.places[channel]);
            const __m256i all = _mm256_or_si256(
                _mm256_or_si256(_mm256_shuffle_epi8(parts[0], pick[0]), _mm256_shuffle_epi8(parts[1], pick[1])),
                _mm256_shuffle_epi8(parts[2], pick[2]));
            auto* to = reinterpret_cast<__m256i*>(out + channel * plane + done);
            streams ? _mm256_stream_si256(to, all) : _mm256_storeu_si256(to, all);
        }
    }
    part_baseline(source, out + done, plane, count - done, false);
}

using Part = void (*)(const uint8_t*, uint8_t*, ptrdiff_t, ptrdiff_t, bool);
using Copy = void (*)(const uint8_t*, uint8_t*, size_t, bool);

Part choose_part() {
    __builtin_cpu_init();
    return IMAGEMILL_HAS("avx2") ? part_avx2 : IMAGEMILL_HAS("ssse3") ? part_ssse3 : part_baseline;
}

Copy choose_copy() {
    __builtin_cpu_init();
    return IMAGEMILL_HAS("avx2") ? copy_avx2 : copy_sse2;
}

const Part part = choose_part();
const Copy copy_bytes = choose_copy();
#else
constexpr auto part = part_baseline;

void copy_bytes(const uint8_t* source, uint8_t* out, size_t size, bool) { std::memcpy(out, source, size); }

void end_streams() {}
#endif

void copy_row(const uint8_t* source, const Target& target, uint8_t* out, ptrdiff_t count, bool streams) {
    const int channels = target.channels;
    if (target.column_step == channels && (target.channel_step == 1 || channels == 1)) {
        copy_bytes(source, out, static_cast<size_t>(count * channels), streams);
    } else if (target.column_step == 1 && channels == 3) {
        part(source, out, target.channel_step, count, streams);
    } else {
        for (ptrdiff_t i = 0; i < count; ++i, source += channels, out += target.column_step) {
            for (int channel = 0; channel < channels; ++channel) {
                out[channel * target.channel_step] = source[channel];
            }
        }
    }
}

void copy(const uint8_t* pixels, const View& view, const Target& target, bool streams) {
    const ptrdiff_t channels = target.channels, width = view.picture.width, columns = target.sides.width;
    const uint8_t* source = pixels + (static_cast<ptrdiff_t>(view.top) * width + static_cast<ptrdiff_t>(view.left)) * channels;
    if (columns == width && target.row_step == columns * target.column_step) {  // rows follow each other on both sides
        copy_row(source, target, target.origin, columns * target.sides.height, streams);
        return;
    }
    if (channels == 3 && target.column_step == -1) {  // planes that run backwards
        const std::unique_ptr<uint8_t[]> fours(new uint8_t[static_cast<size_t>(columns) * 4]);
        for (int row = 0; row < target.sides.height; ++row, source += width * channels) {
            add_fourth(source, static_cast<int>(columns), fours.get());
            place_row(fours.get(), target, row);
        }
        return;
    }
    for (int row = 0; row < target.sides.height; ++row, source += width * channels) {
        copy_row(source, target, target.origin + row * target.row_step, columns, streams);
    }
}

// Rows of raw pixels as a decoder would give them: four bytes a pixel.
class PixelReader {
  public:
    PixelReader(const uint8_t* first, ptrdiff_t stride, int channels, int width)
        : row_(first), stride_(stride), channels_(channels), width_(width) {}

    int row_bytes() const { return width_ * 4; }
    int column_offset() const { return 0; }

    bool read(uint8_t* const* rows, int count) {
        for (int i = 0; i < count; ++i, row_ += stride_) {
            if (channels_ == 3) {
                add_fourth(row_, width_, rows[i]);
                continue;
            }
            uint8_t* out = rows[i];
            for (int x = 0; x < width_; ++x, out += 4) {
                out[0] = out[1] = out[2] = row_[x];
                out[3] = 0;
            }
        }
        return true;
    }

  private:
    const uint8_t* row_;
    ptrdiff_t stride_;
    int channels_;
    int width_;
};

}  // namespace

Status show_pixels(const uint8_t* pixels, const View& view, const Layout& layout, bool streams, uint8_t* out) {
    View inside = view;
    Target target = Target::of(out, view.out, layout, view.turn);
    if (!without_padding(inside, target)) {
        return Status::kDone;
    }
    if (is_copy(inside)) {
        copy(pixels, inside, target, streams);
        end_streams();
        return Status::kDone;
    }
    if (layout.channels != 1 && layout.channels != 3) {
        return Status::kElsewhere;
    }
    const Limit& limit = inside.limit;
    const Taps rows = taps_of(inside.filter, inside.top, inside.height, 1, inside.out.height, limit.top, limit.bottom);
    const Taps columns = taps_of(inside.filter, inside.left, inside.width, 1, inside.out.width, limit.left, limit.right);
    const ptrdiff_t stride = static_cast<ptrdiff_t>(view.picture.width) * layout.channels;
    PixelReader reader(pixels + rows.begin() * stride + static_cast<ptrdiff_t>(columns.begin()) * layout.channels, stride,
                       layout.channels, columns.length());
    resize_rows(reader, rows, columns, target);
    return Status::kDone;
}

}  // namespace imagemill
