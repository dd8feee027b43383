#include "recoded_kernels.hpp"

#include <cstring>

#include "jpeg_outline.hpp"
#include "processor.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace imagemill::recoded {
namespace {

using ReadLanes = void(const Entry*, Lane*, int, const Lane*, const LongValues&);

struct Kernels {
    decltype(&run_numbers) numbers;
    ReadLanes* lanes;
    ReadLanes* lanes_of_two_codes;
    decltype(&turn_blocks) turn;
};

void numbers_baseline(const uint8_t* data, size_t position, int width, int16_t* out, int count) {
    read_numbers(data, position, width, out, count);
}

template <bool kTwoCodes>
void lanes_baseline(const Entry* table, Lane* lanes, int count, const Lane* idle, const LongValues& long_values) {
    read_lanes<kTwoCodes>(table, lanes, count, idle, long_values);
}

void turn_baseline(const uint8_t* zigzag, const LongValues& long_values, const int16_t* dc, int16_t* blocks,
                   uint8_t* extents, int count) {
    const uint8_t* marks = long_values.marks_of(zigzag);
    for (int i = 0; i < count; ++i, zigzag += kBlockSize, blocks += kBlockSize) {
        const uint8_t* high = zigzag + long_values.distance;
        int last = 0;
        std::memset(blocks, 0, kBlockSize * sizeof *blocks);
        for (int first = 0; first < kBlockSize; first += 8) {
            uint64_t used = eight_bytes(zigzag + first) | (marks[i] != 0 ? eight_bytes(high + first) : 0);
            while (used != 0) {
                const int place = __builtin_clzll(used) / 8;
                used &= ~(uint64_t{0xFF} << (56 - 8 * place));
                last = first + place;
                const int more = marks[i] != 0 ? static_cast<int8_t>(high[last]) * 256 : 0;
                blocks[kZigzag[last]] = static_cast<int16_t>(static_cast<int8_t>(zigzag[last]) + more);
            }
        }
        blocks[0] = dc[i];
        extents[i] = static_cast<uint8_t>(last + 1);
    }
}

#if defined(__x86_64__)
// Shifts by a register without the detour over the flags.
#define IMAGEMILL_BMI __attribute__((target("bmi,bmi2")))
#define IMAGEMILL_AVX512 __attribute__((target("lzcnt,avx512f,avx512bw")))

IMAGEMILL_BMI void numbers_bmi2(const uint8_t* data, size_t position, int width, int16_t* out, int count) {
    read_numbers(data, position, width, out, count);
}

template <bool kTwoCodes>
IMAGEMILL_BMI void lanes_bmi2(const Entry* table, Lane* lanes, int count, const Lane* idle, const LongValues& long_values) {
    read_lanes<kTwoCodes>(table, lanes, count, idle, long_values);
}

// Row by row, where each coefficient stands in zigzag order.
struct Places {
    alignas(64) uint16_t of[kBlockSize];

    Places() {
        for (int k = 0; k < kBlockSize; ++k) {
            of[kZigzag[k]] = static_cast<uint16_t>(k);
        }
    }
};

// Row by row, which byte of each sixteen in zigzag order a coefficient is; 0x80 where it is none of them.
struct Picks {
    alignas(32) uint8_t of[4][kBlockSize];

    Picks() {
        std::memset(of, 0x80, sizeof of);
        for (int k = 0; k < kBlockSize; ++k) {
            of[k / 16][kZigzag[k]] = static_cast<uint8_t>(k % 16);
        }
    }
};

// Blocks with longer values, which are few, go the plain way.
__attribute__((target("avx2"))) void turn_avx2(const uint8_t* zigzag, const LongValues& long_values, const int16_t* dc,
                                               int16_t* blocks, uint8_t* extents, int count) {
    static const Picks picks;
    const uint8_t* marks = long_values.marks_of(zigzag);
    const auto bytes_at = [](const uint8_t* from) __attribute__((target("avx2"), always_inline)) {
        return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
    };
    const __m256i zero = _mm256_setzero_si256();
    for (int i = 0; i < count; ++i, zigzag += kBlockSize, blocks += kBlockSize) {
        if (__builtin_expect(marks[i] != 0, 0)) {
            turn_baseline(zigzag, long_values, dc + i, blocks, extents + i, 1);
            continue;
        }
        uint64_t used = 0;
        for (int half = 0; half < 2; ++half) {  // four rows
            const __m256i unused = _mm256_cmpeq_epi8(bytes_at(zigzag + 32 * half), zero);
            used |= static_cast<uint64_t>(~static_cast<uint32_t>(_mm256_movemask_epi8(unused))) << 32 * half;
            __m256i bytes = zero;
            for (int part = 0; part < 4; ++part) {
                const __m128i sixteen = _mm_loadu_si128(reinterpret_cast<const __m128i*>(zigzag + 16 * part));
                const __m256i picked =
                    _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(sixteen), bytes_at(picks.of[part] + 32 * half));
                bytes = _mm256_or_si256(bytes, picked);
            }
            auto* out = reinterpret_cast<__m256i*>(blocks + 32 * half);
            _mm256_storeu_si256(out, _mm256_cvtepi8_epi16(_mm256_castsi256_si128(bytes)));
            _mm256_storeu_si256(out + 1, _mm256_cvtepi8_epi16(_mm256_extracti128_si256(bytes, 1)));
        }
        blocks[0] = dc[i];
        extents[i] = static_cast<uint8_t>(64 - __builtin_clzll(used | 1));
    }
}

IMAGEMILL_AVX512 void turn_avx512(const uint8_t* zigzag, const LongValues& long_values, const int16_t* dc, int16_t* blocks,
                                  uint8_t* extents, int count) {
    static const Places places;
    const uint8_t* marks = long_values.marks_of(zigzag);
    const __m512i low = _mm512_load_si512(places.of), high = _mm512_load_si512(places.of + 32);
    for (int i = 0; i < count; ++i, zigzag += kBlockSize, blocks += kBlockSize) {
        const __m512i bytes = _mm512_loadu_si512(zigzag);
        uint64_t used = _mm512_test_epi8_mask(bytes, bytes) | 1;
        __m512i first = _mm512_cvtepi8_epi16(_mm512_castsi512_si256(bytes));
        __m512i second = _mm512_cvtepi8_epi16(_mm512_extracti64x4_epi64(bytes, 1));
        if (__builtin_expect(marks[i] != 0, 0)) {
            const __m512i high = _mm512_loadu_si512(zigzag + long_values.distance);
            used |= _mm512_test_epi8_mask(high, high);
            const __m512i more = _mm512_cvtepi8_epi16(_mm512_castsi512_si256(high));
            const __m512i most = _mm512_cvtepi8_epi16(_mm512_extracti64x4_epi64(high, 1));
            first = _mm512_add_epi16(first, _mm512_slli_epi16(more, 8));
            second = _mm512_add_epi16(second, _mm512_slli_epi16(most, 8));
        }
        first = _mm512_mask_set1_epi16(first, 1, dc[i]);
        extents[i] = static_cast<uint8_t>(64 - __builtin_clzll(used));
        _mm512_storeu_si512(blocks, _mm512_permutex2var_epi16(first, low, second));
        _mm512_storeu_si512(blocks + 32, _mm512_permutex2var_epi16(first, high, second));
    }
}
#endif

Kernels choose_kernels() {
    Kernels chosen{numbers_baseline, lanes_baseline<false>, lanes_baseline<true>, turn_baseline};
#if defined(__x86_64__)
    if (IMAGEMILL_HAS("bmi") && IMAGEMILL_HAS("bmi2")) {
        chosen.numbers = numbers_bmi2;
        chosen.lanes = lanes_bmi2<false>;
        chosen.lanes_of_two_codes = lanes_bmi2<true>;
    }
    if (IMAGEMILL_HAS("avx2")) {
        chosen.turn = turn_avx2;
    }
    if (IMAGEMILL_HAS("avx512bw")) {
        chosen.turn = turn_avx512;
    }
#endif
    return chosen;
}

const Kernels kKernels = choose_kernels();

}  // namespace

void run_numbers(const uint8_t* data, size_t position, int width, int16_t* out, int count) {
    kKernels.numbers(data, position, width, out, count);
}

void run_lanes(const Table& table, Lane* lanes, int count, const Lane* idle, const LongValues& long_values) {
    const auto read = table.has_two_codes ? kKernels.lanes_of_two_codes : kKernels.lanes;
    read(table.entries, lanes, count, idle, long_values);
}

void turn_blocks(const uint8_t* zigzag, const LongValues& long_values, const int16_t* dc, int16_t* blocks, uint8_t* extents,
                 int count) {
    kKernels.turn(zigzag, long_values, dc, blocks, extents, count);
}

}  // namespace imagemill::recoded
