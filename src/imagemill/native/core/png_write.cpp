#include "png_write.hpp"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "checksums.hpp"
#include "deflate.hpp"
#include "inlining.hpp"
#include "processor.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace imagemill {
namespace {

constexpr int kFilters = 5;  // none, left, above, mean, Paeth

// What a row of pixels becomes by each filter, and the sum of the differences' magnitudes.
struct Filtered {
    std::vector<uint8_t> rows[kFilters];
    uint64_t sums[kFilters];
};

uint8_t paeth_guess(int left, int above, int corner) {
    const int by_left = std::abs(above - corner), by_above = std::abs(left - corner);
    const int by_corner = std::abs(left + above - 2 * corner);
    return static_cast<uint8_t>(by_left <= by_above && by_left <= by_corner ? left : by_above <= by_corner ? above : corner);
}

// From byte `start` on; `step` bytes before both rows are zero.
void filter_from(size_t start, const uint8_t* row, const uint8_t* above, size_t size, size_t step, Filtered& out) {
    for (size_t i = start; i < size; ++i) {
        const int left = row[i - step], up = above[i];
        const int guesses[kFilters] = {0, left, up, (left + up) / 2, paeth_guess(left, up, above[i - step])};
        for (int k = 0; k < kFilters; ++k) {
            const auto difference = static_cast<uint8_t>(row[i] - guesses[k]);
            out.rows[k][i] = difference;
            out.sums[k] += static_cast<uint64_t>(std::min<int>(difference, 256 - difference));
        }
    }
}

void filter_baseline(const uint8_t* row, const uint8_t* above, size_t size, size_t step, Filtered& out) {
    filter_from(0, row, above, size, step, out);
}

#if defined(__x86_64__)
IMAGEMILL_AVX2_INLINE __m256i load(const uint8_t* place) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(place));
}

IMAGEMILL_AVX2_INLINE __m256i no_more_than(__m256i a, __m256i b) { return _mm256_cmpeq_epi8(_mm256_min_epu8(a, b), a); }

// paeth_guess in bytes: where left and above lie on one side of the corner, the third distance is the sum of the other two,
// else their difference.
IMAGEMILL_AVX2_INLINE __m256i paeth_guesses(__m256i left, __m256i above, __m256i corner) {
    const __m256i most_left = _mm256_max_epu8(left, corner), most_above = _mm256_max_epu8(above, corner);
    const __m256i by_above = _mm256_sub_epi8(most_left, _mm256_min_epu8(left, corner));
    const __m256i by_left = _mm256_sub_epi8(most_above, _mm256_min_epu8(above, corner));
    const __m256i is_apart = _mm256_xor_si256(_mm256_cmpeq_epi8(most_left, left), _mm256_cmpeq_epi8(most_above, above));
    const __m256i sum = _mm256_adds_epu8(by_left, by_above);
    const __m256i difference = _mm256_sub_epi8(_mm256_max_epu8(by_left, by_above), _mm256_min_epu8(by_left, by_above));
    const __m256i by_corner = _mm256_blendv_epi8(sum, difference, is_apart);
    const __m256i takes_above = no_more_than(by_above, by_corner);
    const __m256i takes_left = _mm256_and_si256(no_more_than(by_left, by_above), no_more_than(by_left, by_corner));
    return _mm256_blendv_epi8(_mm256_blendv_epi8(corner, above, takes_above), left, takes_left);
}

__attribute__((target("avx2"))) void filter_avx2(const uint8_t* row, const uint8_t* above, size_t size, size_t step,
                                                 Filtered& out) {
    const __m256i zero = _mm256_setzero_si256(), one = _mm256_set1_epi8(1);
    __m256i sums[kFilters] = {zero, zero, zero, zero, zero};
    size_t i = 0;
    for (; i + sizeof(__m256i) <= size; i += sizeof(__m256i)) {
        const __m256i values = load(row + i), left = load(row + i - step), up = load(above + i);
        const __m256i odd = _mm256_and_si256(_mm256_xor_si256(left, up), one);  // for which the mean was rounded up
        const __m256i guesses[kFilters] = {zero, left, up, _mm256_sub_epi8(_mm256_avg_epu8(left, up), odd),
                                           paeth_guesses(left, up, load(above + i - step))};
        for (int k = 0; k < kFilters; ++k) {
            const __m256i differences = _mm256_sub_epi8(values, guesses[k]);
            _mm256_storeu_si256(reinterpret_cast<__m256i*>(out.rows[k].data() + i), differences);
            sums[k] = _mm256_add_epi64(sums[k], _mm256_sad_epu8(_mm256_abs_epi8(differences), zero));
        }
    }
    for (int k = 0; k < kFilters; ++k) {
        alignas(32) uint64_t parts[4];
        _mm256_store_si256(reinterpret_cast<__m256i*>(parts), sums[k]);
        out.sums[k] += parts[0] + parts[1] + parts[2] + parts[3];
    }
    filter_from(i, row, above, size, step, out);
}

const auto filter_row = IMAGEMILL_HAS("avx2") ? filter_avx2 : filter_baseline;
#else
constexpr auto filter_row = filter_baseline;
#endif

constexpr size_t kBefore = 1;  // of the bytes to be deflated

// Rows with their filters, kBefore bytes before them and kDeflateSlack behind them.
std::vector<uint8_t> filtered(const uint8_t* pixels, int64_t row_bytes, Sides sides, int channels) {
    const auto step = static_cast<size_t>(channels), size = step * static_cast<size_t>(sides.width);
    const auto height = static_cast<size_t>(sides.height);
    std::vector<uint8_t> stream(kBefore + height * (size + 1) + kDeflateSlack);
    std::vector<uint8_t> above(step + size), row(step + size);
    Filtered made;
    for (auto& each : made.rows) {
        each.resize(size);
    }
    uint8_t* place = stream.data() + kBefore;
    for (size_t y = 0; y < height; ++y, std::swap(above, row)) {
        std::memcpy(row.data() + step, pixels + static_cast<int64_t>(y) * row_bytes, size);
        std::fill_n(made.sums, kFilters, uint64_t{0});
        filter_row(row.data() + step, above.data() + step, size, step, made);
        const auto best = std::min_element(made.sums, made.sums + kFilters) - made.sums;
        *place++ = static_cast<uint8_t>(best);
        place = std::copy(made.rows[best].begin(), made.rows[best].end(), place);
    }
    return stream;
}

void put_number(std::vector<uint8_t>& out, size_t number) {
    for (int shift = 24; shift >= 0; shift -= 8) {
        out.push_back(static_cast<uint8_t>(number >> shift));
    }
}

// Calls fill() between the head of a chunk and its checksum.
template <typename Fill>
void put_chunk(std::vector<uint8_t>& out, const char* name, const Fill& fill) {
    const size_t start = out.size();
    put_number(out, 0);
    out.insert(out.end(), name, name + 4);
    fill();
    const size_t length = out.size() - start - 8;
    for (size_t i = 0; i < 4; ++i) {
        out[start + i] = static_cast<uint8_t>(length >> (24 - 8 * i));
    }
    put_number(out, crc32(out.data() + start + 4, length + 4));
}

}  // namespace

std::vector<uint8_t> write_png(const uint8_t* pixels, int64_t row_bytes, Sides sides, int channels) {
    constexpr uint8_t kSignature[] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n'};
    const std::vector<uint8_t> stream = filtered(pixels, row_bytes, sides, channels);
    std::vector<uint8_t> out(kSignature, kSignature + sizeof kSignature);
    put_chunk(out, "IHDR", [&] {
        put_number(out, static_cast<size_t>(sides.width));
        put_number(out, static_cast<size_t>(sides.height));
        for (const int byte : {8, channels == 1 ? 0 : 2, 0, 0, 0}) {
            out.push_back(static_cast<uint8_t>(byte));
        }
    });
    put_chunk(out, "IDAT", [&] { deflate_runs(stream.data() + kBefore, stream.size() - kBefore - kDeflateSlack, out); });
    put_chunk(out, "IEND", [] {});
    return out;
}

}  // namespace imagemill
