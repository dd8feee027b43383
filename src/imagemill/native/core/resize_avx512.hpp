// A resize with AVX-512: sums between the directions lie in three planes, so that sixteen output pixels are weighed at
// once. The same bytes as those of kernels.hpp.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "kernels.hpp"
#include "processor.hpp"
#include "resize.hpp"

#if defined(__x86_64__)
#include <immintrin.h>

namespace imagemill {
namespace {

#define IMAGEMILL_AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512vbmi,avx512vnni")))
#define IMAGEMILL_AVX512_INLINE IMAGEMILL_AVX512 __attribute__((always_inline)) inline

const bool kHasAvx512 = IMAGEMILL_HAS("avx512bw") && IMAGEMILL_HAS("avx512vl") && IMAGEMILL_HAS("avx512vbmi") &&
                        IMAGEMILL_HAS("avx512vnni");

constexpr int kLanes = 16;      // sums of 32 bits in a register
constexpr int kWindow = 64;     // sums of 16 bits in two
constexpr int kAtOnce = 2 * kLanes;  // pixels that the loops go on by

// Bytes of a register, or of two.
struct alignas(64) Order {
    uint8_t of[64] = {};
};

// Of four bytes each of two rows, those of a channel in turn; every other byte is to become 0.
constexpr Order pairs_of(int channel) {
    Order order;
    for (int i = 0; i < kLanes; ++i) {
        order.of[4 * i] = static_cast<uint8_t>(4 * i + channel);
        order.of[4 * i + 2] = static_cast<uint8_t>(64 + 4 * i + channel);
    }
    return order;
}

// Of each 32 bits of two registers the bytes from `first` on, `count` of them.
constexpr Order parts_of(int first, int count) {
    Order order;
    for (int i = 0; i < 2 * kLanes; ++i) {
        for (int k = 0; k < count; ++k) {
            order.of[i * count + k] = static_cast<uint8_t>(4 * i + first + k);
        }
    }
    return order;
}

// R, G, B, R, … from byte `first` on, of 32 times R and 32 times G in one register and as many B in another.
constexpr Order pixels_from(int first) {
    Order order;
    for (int i = 0; i < 64; ++i) {
        const int place = first + i, channel = place % 3;
        order.of[i] = static_cast<uint8_t>((channel == 1 ? 32 : channel == 2 ? 64 : 0) + place / 3 % 32);
    }
    return order;
}

constexpr Order kPairs[3] = {pairs_of(0), pairs_of(1), pairs_of(2)};
constexpr Order kMiddles = parts_of(1, 2), kTops = parts_of(3, 1);
constexpr Order kPixels[2] = {pixels_from(0), pixels_from(64)};

IMAGEMILL_AVX512_INLINE __m512i load(const void* from) { return _mm512_loadu_si512(from); }

// To the upper byte. GCC 12 warns of the plain function's own code.
IMAGEMILL_AVX512_INLINE __m512i moved(__m512i sums) {
    static_assert(kAcrossBits + 4 == 24, "what is moved are the levels");
    return _mm512_maskz_slli_epi32(0xFFFF, sums, 4);
}

IMAGEMILL_AVX512_INLINE __mmask64 first_bytes(int count) {
    return count >= 64 ? ~0ULL : count <= 0 ? 0 : (1ULL << count) - 1;
}

class PlaneRows : public RowMaker {
  public:
    // Whether the columns of sixteen output pixels lie close enough together, nothing weighs less than 0 (so that no sum
    // leaves its bounds), and pixels of three channels lie beside each other.
    static bool can_make(const Taps& rows, const Taps& columns, const Target& target) {
        const ptrdiff_t step = target.column_step < 0 ? -target.column_step : target.column_step;
        const bool is_row = target.channels == 3 && (step == 1 || (step == 3 && target.channel_step == 1));
        if (!is_row || rows.has_negative() || columns.has_negative()) {
            return false;
        }
        for (int i = 1; i < columns.count(); ++i) {
            const int place = columns.first(i), before = columns.first(std::max(i - kLanes + 1, 0));
            if (place < columns.first(i - 1) || place - before + 2 > kWindow) {
                return false;
            }
        }
        return true;
    }

    PlaneRows(const Taps& columns, const Target& target)
        : length_(columns.length()),
          target_(target),
          pairs_((columns.longest() + 1) / 2),
          groups_((columns.count() + kAtOnce - 1) / kAtOnce * 2),
          stride_((static_cast<size_t>(length_) + kAtOnce - 1) / kAtOnce * kAtOnce),
          sums_(3 * stride_ + static_cast<size_t>(2 * pairs_) + kWindow),
          starts_(static_cast<size_t>(groups_)),
          places_(static_cast<size_t>(groups_) * 2 * kLanes),
          weights_(static_cast<size_t>(groups_) * static_cast<size_t>(pairs_) * 2 * kLanes) {
        for (int group = 0; group < groups_; ++group) {
            lay_out(columns, group);
        }
    }

    void make(const uint8_t* const* rows, const int16_t* weights, int count, int row) override {
        weigh_rows(rows, weights, count);
        uint8_t* out = target_.origin + row * target_.row_step;
        if (target_.column_step < 0) {
            out += (target_.sides.width - 1) * target_.column_step;
        }
        switch (pairs_) {
            case 1:
                return weigh_columns<1>(out);
            case 2:
                return weigh_columns<2>(out);
            case 3:
                return weigh_columns<3>(out);
            default:
                return weigh_columns<0>(out);
        }
    }

  private:
    // The tables of a group of output pixels, in the order of their addresses.
    void lay_out(const Taps& columns, int group) {
        const int width = columns.count();
        const auto column_of = [&](int lane) {
            const int place = std::min(group * kLanes + lane, width - 1);
            return target_.column_step < 0 ? width - 1 - place : place;
        };
        const int start = std::min(columns.first(column_of(0)), columns.first(column_of(kLanes - 1)));
        starts_[static_cast<size_t>(group)] = start;
        for (int lane = 0; lane < kLanes; ++lane) {
            const int column = column_of(lane);
            const size_t place = static_cast<size_t>(group) * 2 * kLanes + static_cast<size_t>(2 * lane);
            places_[place] = static_cast<int16_t>(columns.first(column) - start);
            places_[place + 1] = static_cast<int16_t>(places_[place] + 1);
            is_wide_ = is_wide_ || places_[place + 1] >= kWindow / 2;
            for (int pair = 0; pair < pairs_; ++pair) {
                const int from = group * pairs_ + pair;
                std::memcpy(&weights_[static_cast<size_t>(from) * 2 * kLanes + static_cast<size_t>(2 * lane)],
                            columns.weights(column) + 2 * pair, 2 * sizeof(int16_t));
            }
        }
    }

    // All sums of the columns, two rows in one multiplication.
    IMAGEMILL_AVX512 void weigh_rows(const uint8_t* const* rows, const int16_t* weights, int count) {
        const __m512i half = _mm512_set1_epi32(1 << (kDownBits - 1)), middles = load(&kMiddles);
        const __m512i order[3] = {load(&kPairs[0]), load(&kPairs[1]), load(&kPairs[2])};
        constexpr __mmask64 kEven = 0x5555555555555555ULL;
        for (int x = 0; x < length_; x += kAtOnce) {
            __m512i sums[2][3] = {{half, half, half}, {half, half, half}};
            for (int k = 0; k < count; k += 2) {
                int32_t pair;
                std::memcpy(&pair, weights + k, sizeof pair);
                const __m512i factors = _mm512_set1_epi32(pair);
                for (int i = 0; i < 2; ++i) {
                    const ptrdiff_t place = (static_cast<ptrdiff_t>(x) + i * kLanes) * 4;
                    const __m512i one = load(rows[k] + place), other = load(rows[k + 1] + place);
                    for (int c = 0; c < 3; ++c) {
                        const __m512i levels = _mm512_maskz_permutex2var_epi8(kEven, one, order[c], other);
                        sums[i][c] = _mm512_dpwssd_epi32(sums[i][c], levels, factors);
                    }
                }
            }
            for (int c = 0; c < 3; ++c) {
                static_assert(kDownBits == 8, "what is kept are the two bytes in the middle");
                _mm512_storeu_si512(&sums_[static_cast<size_t>(c) * stride_ + static_cast<size_t>(x)],
                                    _mm512_permutex2var_epi8(sums[0][c], middles, sums[1][c]));
            }
        }
    }

    // Sixteen pixels of a channel, 2 ** kAcrossBits times; `pairs` is 0 where only pairs_ says how many there are.
    template <int pairs, bool is_wide>
    IMAGEMILL_AVX512_INLINE void weigh_group(int group, __m512i* sums) const {
        const __m512i half = _mm512_set1_epi32(1 << (kAcrossBits - 1));
        const __m512i places = load(&places_[static_cast<size_t>(group) * 2 * kLanes]);
        const int count = pairs != 0 ? pairs : pairs_;
        const int16_t* from = sums_.data() + starts_[static_cast<size_t>(group)];
        const int16_t* weights = &weights_[static_cast<size_t>(group) * static_cast<size_t>(count) * 2 * kLanes];
        sums[0] = sums[1] = sums[2] = half;
        for (int k = 0; k < count; ++k, from += 2, weights += 2 * kLanes) {
            const __m512i factors = load(weights);
            for (int c = 0; c < 3; ++c) {
                const int16_t* window = from + static_cast<size_t>(c) * stride_;
                const __m512i values =
                    is_wide ? _mm512_permutex2var_epi16(load(window), places, load(window + kWindow / 2))
                            : _mm512_permutexvar_epi16(places, load(window));
                sums[c] = _mm512_dpwssd_epi32(sums[c], values, factors);
            }
        }
    }

    template <int pairs, bool is_wide>
    IMAGEMILL_AVX512_INLINE void weigh_groups(uint8_t* out) const {
        const __m512i tops = load(&kTops);
        const bool is_parted = target_.channel_step != 1;
        for (int done = 0; done < target_.sides.width; done += kAtOnce) {
            __m512i sums[2][3], levels[3];
            weigh_group<pairs, is_wide>(done / kLanes, sums[0]);
            weigh_group<pairs, is_wide>(done / kLanes + 1, sums[1]);
            for (int c = 0; c < 3; ++c) {
                levels[c] = _mm512_permutex2var_epi8(moved(sums[0][c]), tops, moved(sums[1][c]));
            }
            const int left = std::min(target_.sides.width - done, kAtOnce);
            if (is_parted) {
                for (int c = 0; c < 3; ++c) {
                    _mm512_mask_storeu_epi8(out + c * target_.channel_step + done, first_bytes(left), levels[c]);
                }
                continue;
            }
            const __m512i halves = _mm512_set_epi64(11, 10, 9, 8, 3, 2, 1, 0);
            const __m512i two = _mm512_permutex2var_epi64(levels[0], halves, levels[1]);
            for (int i = 0; i < 2; ++i) {
                _mm512_mask_storeu_epi8(out + 3 * done + 64 * i, first_bytes(3 * left - 64 * i),
                                        _mm512_permutex2var_epi8(two, load(&kPixels[i]), levels[2]));
            }
        }
    }

    template <int pairs>
    IMAGEMILL_AVX512 void weigh_columns(uint8_t* out) const {
        is_wide_ ? weigh_groups<pairs, true>(out) : weigh_groups<pairs, false>(out);
    }

    int length_;
    Target target_;
    int pairs_;   // of neighbouring pixels that make an output pixel
    int groups_;  // of kLanes output pixels
    bool is_wide_ = false;  // pixels of a group do not lie in one register
    size_t stride_;
    std::vector<int16_t> sums_;
    std::vector<int> starts_;       // of each group
    std::vector<int16_t> places_;   // behind that, of the first pair of each output pixel
    std::vector<int16_t> weights_;  // for each group, for each pair
};

}  // namespace
}  // namespace imagemill
#else
namespace imagemill {
namespace {
constexpr bool kHasAvx512 = false;
}  // namespace
}  // namespace imagemill
#endif
