#include "deflate.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "checksums.hpp"
#include "inlining.hpp"
#include "processor.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace imagemill {
namespace {

constexpr size_t kBlockBytes = 48 << 10;
constexpr int kLongestCode = 12;  // four of them fit between two flushes
constexpr int kShortestRun = 4, kLongestRun = 258;
constexpr int kEnd = 256, kFirstLength = 257, kSymbols = 286;
constexpr int kLengthSymbols = 19, kLongestLengthCode = 7;

// A run of the byte before it.
struct Run {
    uint32_t start;  // in its block
    uint32_t length;
};

// Bits, the first the lowest, and how many.
struct Code {
    uint16_t bits;
    uint16_t length;
};

// How a run's length is told: symbol, and bits behind it.
struct RunCode {
    uint16_t symbol;
    uint8_t extra_bits;
    uint8_t extra;
};

constexpr uint16_t kRunBases[] = {3,  4,  5,  6,  7,  8,  9,  10, 11,  13,  15,  17,  19,  23, 27,
                                  31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258};
constexpr uint8_t kRunExtras[] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0};

RunCode run_code(uint32_t length) {
    size_t place = std::size(kRunBases) - 1;
    while (kRunBases[place] > length) {
        --place;
    }
    return {static_cast<uint16_t>(kFirstLength + place), kRunExtras[place],
            static_cast<uint8_t>(length - kRunBases[place])};
}

class BitWriter {
  public:
    explicit BitWriter(uint8_t* place) : place_(place) {}

    // Up to 56 bits between two flushes.
    IMAGEMILL_INLINE void put(uint64_t bits, int length) {
        waiting_ |= bits << count_;
        count_ += length;
    }

    IMAGEMILL_INLINE void put(Code code) { put(code.bits, code.length); }

    IMAGEMILL_INLINE void flush() {
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
        const uint64_t bytes = waiting_;
#else
        const uint64_t bytes = __builtin_bswap64(waiting_);
#endif
        std::memcpy(place_, &bytes, sizeof bytes);
        place_ += count_ >> 3;
        waiting_ >>= count_ & ~7;
        count_ &= 7;
    }

    uint8_t* finish() {
        count_ += 7;
        flush();
        return place_;
    }

  private:
    uint8_t* place_;
    uint64_t waiting_ = 0;
    int count_ = 0;
};

// Lengths of a prefix code for how often symbols occur, none above `longest`: Huffman's, and where those are longer, the
// rarest symbols make room one after the other.
void find_lengths(const uint32_t* counts, int symbols, int longest, uint8_t* lengths) {
    std::vector<std::pair<uint32_t, int>> leaves;
    std::fill_n(lengths, symbols, uint8_t{0});
    for (int symbol = 0; symbol < symbols; ++symbol) {
        if (counts[symbol] > 0) {
            leaves.emplace_back(counts[symbol], symbol);
        }
    }
    if (leaves.size() < 2) {
        for (const auto& leaf : leaves) {
            lengths[leaf.second] = 1;
        }
        return;
    }
    std::sort(leaves.begin(), leaves.end());
    // Nodes come out by weight, so two queues do: leaves, and pairs in the order in which they are made.
    const size_t count = leaves.size();
    std::vector<uint32_t> weights(count - 1), parents(2 * count - 1);
    size_t leaf = 0, pair = 0;
    for (size_t made = 0; made + 1 < count; ++made) {
        weights[made] = 0;
        for (int i = 0; i < 2; ++i) {
            const bool takes_leaf = pair == made || (leaf < count && leaves[leaf].first <= weights[pair]);
            weights[made] += takes_leaf ? leaves[leaf].first : weights[pair];
            parents[takes_leaf ? leaf++ : count + pair++] = static_cast<uint32_t>(count + made);
        }
    }
    std::vector<int> depths(2 * count - 1);
    std::array<int, 64> of_depth{};
    for (size_t node = 2 * count - 2; node-- > 0;) {
        depths[node] = depths[parents[node]] + 1;
        if (node < count) {
            ++of_depth[static_cast<size_t>(std::min(depths[node], longest))];
        }
    }
    // In units of the longest code.
    int64_t taken = 0;
    for (int depth = 1; depth <= longest; ++depth) {
        taken += static_cast<int64_t>(of_depth[static_cast<size_t>(depth)]) << (longest - depth);
    }
    for (; taken > int64_t{1} << longest; --taken) {
        int depth = longest - 1;
        while (of_depth[static_cast<size_t>(depth)] == 0) {
            --depth;
        }
        // A code gets a bit longer and takes one of the longest beside it.
        --of_depth[static_cast<size_t>(depth)];
        of_depth[static_cast<size_t>(depth) + 1] += 2;
        --of_depth[static_cast<size_t>(longest)];
    }
    size_t next = 0;
    for (int depth = longest; depth >= 1; --depth) {
        for (int i = 0; i < of_depth[static_cast<size_t>(depth)]; ++i) {
            lengths[leaves[next++].second] = static_cast<uint8_t>(depth);
        }
    }
}

// Canonical codes, turned round: their first bit goes first.
void find_codes(const uint8_t* lengths, int symbols, Code* codes) {
    uint32_t code = 0;
    for (int length = 1; length <= kLongestCode; ++length, code <<= 1) {
        for (int symbol = 0; symbol < symbols; ++symbol) {
            if (lengths[symbol] != length) {
                continue;
            }
            uint32_t turned = 0;
            for (int bit = 0; bit < length; ++bit) {
                turned |= (code >> bit & 1) << (length - 1 - bit);
            }
            codes[symbol] = {static_cast<uint16_t>(turned), static_cast<uint16_t>(length)};
            ++code;
        }
    }
}

// A bit for each byte, whether it and the kShortestRun - 1 behind it are the one before it.
void find_baseline(const uint8_t* data, size_t size, uint32_t* found) {
    std::fill_n(found, (size + 31) / 32, 0);
    size_t equal = 0;
    for (size_t i = size + kShortestRun - 1; i-- > 0;) {
        equal = data[i] == *(data + i - 1) ? equal + 1 : 0;
        if (i < size && equal >= kShortestRun) {
            found[i / 32] |= 1U << i % 32;
        }
    }
}

#if defined(__x86_64__)
__attribute__((target("avx2"))) void find_avx2(const uint8_t* data, size_t size, uint32_t* found) {
    const auto load = [](const uint8_t* place) __attribute__((target("avx2"), always_inline)) {
        return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(place));
    };
    for (size_t i = 0; i < size; i += 32) {
        const __m256i before = load(data + i - 1);
        __m256i equal = _mm256_cmpeq_epi8(load(data + i), before);
        for (int k = 1; k < kShortestRun; ++k) {
            equal = _mm256_and_si256(equal, _mm256_cmpeq_epi8(load(data + i + k), before));
        }
        found[i / 32] = static_cast<uint32_t>(_mm256_movemask_epi8(equal));
    }
}

const auto find_runs = IMAGEMILL_HAS("avx2") ? find_avx2 : find_baseline;
#else
constexpr auto find_runs = find_baseline;
#endif

// One block of a stream.
class Block {
  public:
    // The byte before the first belongs to the stream unless the block `is_first`.
    void take(const uint8_t* data, size_t size, bool is_first) {
        data_ = data;
        size_ = size;
        candidates_.resize((size + 31) / 32);
        find_runs(data, size, candidates_.data());
        if (is_first) {
            candidates_[0] &= ~1U;
        }
        collect_runs();
        count();
    }

    void write(bool is_last, BitWriter& bits) const;

  private:
    void collect_runs();
    void count();
    void write_lengths(BitWriter& bits) const;

    const uint8_t* data_ = nullptr;
    size_t size_ = 0;
    std::vector<uint32_t> candidates_;
    std::vector<Run> runs_;
    uint8_t lengths_[kSymbols] = {};
    Code codes_[kSymbols] = {};
};

void Block::collect_runs() {
    runs_.clear();
    size_t next = 0;
    for (size_t word = 0; word < candidates_.size(); ++word) {
        for (uint32_t left = candidates_[word]; left != 0; left &= left - 1) {
            const size_t start = word * 32 + static_cast<size_t>(__builtin_ctz(left));
            if (start < next) {
                continue;
            }
            const size_t most = std::min<size_t>(kLongestRun, size_ - std::min(start, size_));
            size_t length = 0;
            while (length < most && data_[start + length] == data_[start - 1]) {
                ++length;
            }
            if (length >= kShortestRun) {
                runs_.push_back({static_cast<uint32_t>(start), static_cast<uint32_t>(length)});
                next = start + length;
            }
        }
    }
}

void Block::count() {
    uint32_t counts[4][kSymbols] = {};  // neighbours are often equal: the same counter twice in a row is slow
    size_t place = 0;
    const auto literals = [&](size_t end) {
        for (; place + 4 <= end; place += 4) {
            for (size_t i = 0; i < 4; ++i) {
                ++counts[i][data_[place + i]];
            }
        }
        for (; place < end; ++place) {
            ++counts[0][data_[place]];
        }
    };
    for (const Run& run : runs_) {
        literals(run.start);
        ++counts[0][run_code(run.length).symbol];
        place = run.start + run.length;
    }
    literals(size_);
    ++counts[0][kEnd];
    for (int i = 1; i < 4; ++i) {
        for (int symbol = 0; symbol < kEnd; ++symbol) {
            counts[0][symbol] += counts[i][symbol];
        }
    }
    find_lengths(counts[0], kSymbols, kLongestCode, lengths_);
    find_codes(lengths_, kSymbols, codes_);
}

// The code itself (RFC 1951, 3.2.7), with one distance, 1.
void Block::write_lengths(BitWriter& bits) const {
    constexpr uint8_t order[kLengthSymbols] = {16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15};
    int symbols = kSymbols;
    while (symbols > kFirstLength && lengths_[symbols - 1] == 0) {
        --symbols;
    }
    std::vector<uint8_t> all(lengths_, lengths_ + symbols);
    all.push_back(1);
    struct Told {
        uint8_t symbol, extra_bits, extra;
    };
    std::vector<Told> told;
    uint32_t counts[kLengthSymbols] = {};
    for (size_t i = 0; i < all.size();) {
        const auto rest = std::find_if(all.begin() + static_cast<ptrdiff_t>(i), all.end(), [&](uint8_t l) { return l != all[i]; });
        size_t run = static_cast<size_t>(rest - all.begin()) - i;
        Told next{all[i], 0, 0};
        if (all[i] == 0 && run >= 3) {
            run = std::min<size_t>(run, 138);
            next = run < 11 ? Told{17, 3, static_cast<uint8_t>(run - 3)} : Told{18, 7, static_cast<uint8_t>(run - 11)};
        } else if (i > 0 && all[i] == all[i - 1] && run >= 3) {
            run = std::min<size_t>(run, 6);
            next = {16, 2, static_cast<uint8_t>(run - 3)};
        } else {
            run = 1;
        }
        told.push_back(next);
        ++counts[next.symbol];
        i += run;
    }
    uint8_t lengths[kLengthSymbols];
    Code codes[kLengthSymbols];
    find_lengths(counts, kLengthSymbols, kLongestLengthCode, lengths);
    find_codes(lengths, kLengthSymbols, codes);
    int count = kLengthSymbols;
    while (count > 4 && lengths[order[count - 1]] == 0) {
        --count;
    }
    bits.put(static_cast<uint64_t>(symbols - kFirstLength), 5);
    bits.put(0, 5);
    bits.put(static_cast<uint64_t>(count - 4), 4);
    bits.flush();
    for (int i = 0; i < count; ++i) {
        bits.put(lengths[order[i]], 3);
        bits.flush();
    }
    for (const Told& each : told) {
        bits.put(codes[each.symbol]);
        bits.put(each.extra, each.extra_bits);
        bits.flush();
    }
}

void Block::write(bool is_last, BitWriter& out) const {
    BitWriter bits = out;  // in registers
    bits.put(is_last ? 1 : 0, 1);
    bits.put(2, 2);
    write_lengths(bits);
    size_t place = 0;
    const auto literals = [&](size_t end) {
        for (; place + 4 <= end; place += 4) {
            for (size_t i = 0; i < 4; ++i) {
                bits.put(codes_[data_[place + i]]);
            }
            bits.flush();
        }
        for (; place < end; ++place) {
            bits.put(codes_[data_[place]]);
            bits.flush();
        }
    };
    for (const Run& run : runs_) {
        literals(run.start);
        const RunCode code = run_code(run.length);
        bits.put(codes_[code.symbol]);
        bits.put(code.extra, code.extra_bits);
        bits.put(0, 1);  // the distance
        bits.flush();
        place = run.start + run.length;
    }
    literals(size_);
    bits.put(codes_[kEnd]);
    bits.flush();
    out = bits;
}

}  // namespace

void deflate_runs(const uint8_t* data, size_t size, std::vector<uint8_t>& out) {
    constexpr size_t kMostOfCode = 512, kAround = 64;
    const size_t start = out.size(), blocks = size / kBlockBytes + 1;
    out.resize(start + size / 2 * 3 + blocks * kMostOfCode + kAround);
    uint8_t* place = out.data() + start;
    *place++ = 0x78;
    *place++ = 0x01;
    BitWriter bits(place);
    Block block;
    for (size_t at = 0; at == 0 || at < size; at += kBlockBytes) {
        block.take(data + at, std::min(kBlockBytes, size - at), at == 0);
        block.write(at + kBlockBytes >= size, bits);
    }
    place = bits.finish();
    const uint32_t sum = adler32(data, size);
    for (int shift = 24; shift >= 0; shift -= 8) {
        *place++ = static_cast<uint8_t>(sum >> shift);
    }
    out.resize(static_cast<size_t>(place - out.data()));
}

}  // namespace imagemill
