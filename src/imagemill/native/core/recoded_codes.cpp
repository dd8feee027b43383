#include "recoded_codes.hpp"

#include <algorithm>
#include <cstring>

#include "jpeg_frame.hpp"

namespace imagemill::recoded {
namespace {

constexpr int kZeros = 0;       // 1 to 16 zeros: a nibble follows
constexpr int kManyZeros = 13;  // 17 to 272 zeros: two nibbles follow
constexpr int kNoMore = 14;     // only zeros from here on
constexpr size_t kFewZeros = 16;
constexpr size_t kMostZeros = kFewZeros + 256;

// Symbols in the order in which their lengths are stored: alike ones beside each other.
std::vector<int> stored_order() {
    std::vector<int> order{kSkip, kEmpty};
    for (const bool last : {false, true}) {
        for (int size = 1; size <= kMostSize; ++size) {
            for (int run = 0; run < 16; ++run) {
                order.push_back(symbol_of(last, run, size));
            }
        }
    }
    return order;
}

const std::vector<int>& order() {
    static const std::vector<int> made = stored_order();
    return made;
}

// Entries as numbers: of tokens that follow each other they can be added, because their values are in other bytes.
constexpr int kGoOnAt = 8, kRestAt = 16, kSkipAt = 24, kValuesAt = 32;

uint64_t entry_of(int length, int symbol, int value) {
    const auto go_on = static_cast<uint64_t>(symbol == kEmpty ? kBlockSize - 1 : (symbol >> 4 & 15) + 1);
    const uint64_t rest = symbol >= 0x100 ? kBlockSize - 1 : 0;
    return static_cast<uint64_t>(length) | go_on << kGoOnAt | rest << kRestAt | go_on << kSkipAt |
           static_cast<uint64_t>(static_cast<uint8_t>(value)) << kValuesAt;
}

inline void put_entry(uint64_t number, Entry& entry) {
    static_assert(sizeof number == sizeof entry, "an entry is a number");
#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
    number = __builtin_bswap64(number);
#endif
    std::memcpy(&entry, &number, sizeof number);
}

// Fills a table with the single tokens of a code; false where the lengths are none of a complete code.
template <bool kTwoCodes>
bool fill_tokens(const Lengths& lengths, int code, uint64_t* entries) {
    constexpr int whole = 1 << kLookBits;
    int first_of[kLookBits + 2] = {};
    int symbols = 0;
    for (const uint8_t length : lengths) {
        first_of[length + 1] += length > 0 ? 1 << (kLookBits - length) : 0;
        symbols += length > 0;
    }
    int filled = 0;
    for (int length = 1; length <= kLookBits + 1; ++length) {
        filled += first_of[length];
        first_of[length] = filled;
    }
    const bool is_single = symbols == 1 && filled == whole / 2;
    if (!is_single && filled != whole) {
        return false;
    }
    for (size_t symbol = 0; symbol < lengths.size(); ++symbol) {
        const int length = lengths[symbol];
        if (length == 0) {
            continue;
        }
        const auto number = static_cast<int>(symbol);
        const int size = number & 15, left = kLookBits - length;
        const int second = kTwoCodes && code_behind(code, number) == 1 ? kSecond : 0;
        uint64_t* place = entries + first_of[length];
        first_of[length] += 1 << left;
        if (size > kMostInEntry || size > left) {
            std::fill_n(place, 1 << left, entry_of(length | kLong | second, number, size));
            continue;
        }
        const int alike = 1 << (left - size);
        for (uint32_t bits = 0; bits < 1U << size; ++bits, place += alike) {
            std::fill_n(place, alike, entry_of((length + size) | second, number, value_of(bits, size)));
        }
    }
    if (is_single) {
        std::copy_n(entries, whole / 2, entries + whole / 2);
    }
    return true;
}

// What may follow a token of an entry: none, one or two tokens that fit into some bits and into the places for values.
// Those for `width` bits are at 1 << width and the places behind it, by what the bits are; those in the second code
// kBehind further on. Where none follows, they still say which code is next.
constexpr int kMostBehind = kLookBits - 1;
constexpr size_t kBehind = size_t{2} << kMostBehind;
constexpr uint32_t kPlacesBehind = 3;
static_assert(kBehind % kSecond == 0, "the bit of a length says where the other code's are");

// By the length of an entry: the bits behind its token, as ones; none behind a long one.
struct Masks {
    uint16_t of[2 * kLong] = {};

    constexpr Masks() {
        for (int length = 0; length <= kLookBits; ++length) {
            of[length] = of[length | kSecond] = static_cast<uint16_t>((1 << (kLookBits - length)) - 1);
        }
    }
};
constexpr Masks kMasks;

// Of some bits that a token and others fit into, those of the others; none where nothing can follow.
inline uint32_t mask_behind(uint64_t token, int width) {
    const uint32_t rest = token >> kRestAt & 0xFF;
    return static_cast<uint32_t>(kMasks.of[token & (2 * kLong - 1)]) >> (kLookBits - width) >> (rest >> 1);
}

// No branches: they would be as often wrong as right.
template <bool kTwoCodes>
void fill_behind(const uint64_t* tokens, uint64_t* behind) {
    constexpr uint64_t values = ~uint64_t{0} << kValuesAt, second = kTwoCodes ? kSecond : 0;
    constexpr uint64_t numbers = ((uint64_t{1} << kSkipAt) - 1) & ~second;
    constexpr size_t codes = kTwoCodes ? 2 : 1;
    for (size_t code = 0; code < codes; ++code) {
        behind[code * kBehind + 1] = code * kSecond;
    }
    for (int width = 1; width <= kMostBehind; ++width) {
        for (size_t code = 0; code < codes; ++code) {
            const uint64_t* firsts = tokens + (code << kLookBits);
            uint64_t* entries = behind + code * kBehind + (size_t{1} << width);
            for (uint32_t bits = 0; bits < 1U << width; ++bits) {
                const uint64_t token = firsts[bits << (kLookBits - width)];
                const uint32_t mask = mask_behind(token, width);
                const uint64_t next_code = token & second;
                const uint64_t next = behind[next_code * (kBehind / kSecond) + (bits & mask) + mask + 1];
                const uint32_t go_on = token >> kGoOnAt & 0xFF, both = go_on + (next >> kGoOnAt & 0xFF);
                const uint32_t shift = 8 * (go_on & kPlacesBehind);
                const uint64_t one = (token & numbers) | (token & values) << shift;
                const uint64_t other = (next & (numbers | second)) | (next & values) << shift;
                const auto fits = static_cast<uint64_t>((token & 0xFF & ~second) <= static_cast<uint64_t>(width)) &
                                  static_cast<uint64_t>(go_on <= kPlacesBehind);
                const auto fits_too = static_cast<uint64_t>(both <= kPlacesBehind);
                const uint64_t others = (other & (0 - fits_too)) | (next_code & (fits_too - 1));
                entries[bits] = ((one + others) & (0 - fits)) | (code * kSecond & (fits - 1));
            }
        }
    }
}

// All entries of one code or two.
template <bool kTwoCodes>
bool fill_entries(const std::vector<Lengths>& codes, Entry* entries) {
    constexpr uint64_t second = kTwoCodes ? kSecond : 0;
    uint64_t tokens[(kTwoCodes ? 2 : 1) << kLookBits];
    uint64_t behind[(kTwoCodes ? 2 : 1) * kBehind];
    for (size_t code = 0; code < codes.size(); ++code) {
        if (!fill_tokens<kTwoCodes>(codes[code], static_cast<int>(code), tokens + (code << kLookBits))) {
            return false;
        }
    }
    fill_behind<kTwoCodes>(tokens, behind);
    for (size_t i = 0; i < codes.size() << kLookBits; ++i) {
        const uint64_t token = tokens[i];
        const uint32_t mask = mask_behind(token, kLookBits);
        const uint64_t* others = behind + (token & second) * (kBehind / kSecond);
        put_entry((token & ~second) + others[(i & mask) + mask + 1], entries[i]);
    }
    return true;
}

// Package-merge (Larmore and Hirschberg, 1990): lists of leaves and pairs, a list a bit of length; what the
// 2n - 2 cheapest of the last list are made of says how long each code is. Leaves are weights and symbols; none is
// longer than its symbol's limit, and is in no more lists.
Lengths limited_lengths(const std::vector<std::pair<uint64_t, int>>& leaves, const Lengths& limits) {
    std::vector<std::vector<int>> symbols(kLookBits);  // of the places in each list; -1 for a pair
    std::vector<uint64_t> weights, pairs;
    for (int level = 0; level < kLookBits; ++level) {
        pairs.clear();
        for (size_t i = 0; i + 1 < weights.size(); i += 2) {
            pairs.push_back(weights[i] + weights[i + 1]);
        }
        weights.clear();
        size_t pair = 0;
        const auto put = [&](uint64_t weight, int symbol) {
            weights.push_back(weight);
            symbols[static_cast<size_t>(level)].push_back(symbol);
        };
        for (const auto& [weight, symbol] : leaves) {
            if (limits[static_cast<size_t>(symbol)] < kLookBits - level) {
                continue;
            }
            for (; pair < pairs.size() && pairs[pair] < weight; ++pair) {
                put(pairs[pair], -1);
            }
            put(weight, symbol);
        }
        for (; pair < pairs.size(); ++pair) {
            put(pairs[pair], -1);
        }
    }
    Lengths lengths(kSymbols, 0);
    size_t taken = 2 * leaves.size() - 2;
    for (size_t level = kLookBits; level-- > 0;) {
        size_t taken_pairs = 0;
        for (size_t i = 0; i < std::min(taken, symbols[level].size()); ++i) {
            const int symbol = symbols[level][i];
            if (symbol < 0) {
                ++taken_pairs;
            } else {
                ++lengths[static_cast<size_t>(symbol)];
            }
        }
        taken = 2 * taken_pairs;
    }
    return lengths;
}

}  // namespace

Lengths best_lengths(const std::vector<uint32_t>& counts, int most_shortened) {
    std::vector<std::pair<uint64_t, int>> leaves;
    for (size_t symbol = 0; symbol < counts.size(); ++symbol) {
        if (counts[symbol] > 0) {
            leaves.emplace_back(counts[symbol], static_cast<int>(symbol));
        }
    }
    if (leaves.size() < 2) {
        Lengths lengths(kSymbols, 0);
        for (const auto& leaf : leaves) {
            lengths[static_cast<size_t>(leaf.second)] = 1;
        }
        return lengths;
    }
    std::sort(leaves.begin(), leaves.end());
    Lengths limits(kSymbols, kLookBits);
    const Lengths lengths = limited_lengths(leaves, limits);
    int room = 1 << kLookBits;  // codes of kLookBits; what they take is the sum of 2 ** -length
    for (const auto& leaf : leaves) {
        const auto symbol = static_cast<size_t>(leaf.second);
        const int size = leaf.second & 15, most = kLookBits - size;
        if (size <= kMostInEntry && lengths[symbol] > most && lengths[symbol] <= most + most_shortened) {
            limits[symbol] = static_cast<uint8_t>(most);
        }
        room -= 1 << (kLookBits - limits[symbol]);
    }
    return room < 0 ? lengths : limited_lengths(leaves, limits);
}

std::vector<uint16_t> codes_of(const Lengths& lengths) {
    std::vector<uint16_t> codes(lengths.size(), 0);
    uint16_t code = 0;
    for (int length = 1; length <= kLookBits; ++length) {
        code = static_cast<uint16_t>(code << 1);
        for (size_t symbol = 0; symbol < lengths.size(); ++symbol) {
            if (lengths[symbol] == length) {
                codes[symbol] = code++;
            }
        }
    }
    return codes;
}

bool Table::fill(const std::vector<Lengths>& codes) {
    has_two_codes = codes.size() == 2;
    return has_two_codes ? fill_entries<true>(codes, entries) : fill_entries<false>(codes, entries);
}

namespace {

// Numbers of four bits, the higher half of a byte first.
class Nibbles {
  public:
    void put(int nibble) {
        if (is_half_) {
            bytes.back() = static_cast<uint8_t>(bytes.back() | nibble);
        } else {
            bytes.push_back(static_cast<uint8_t>(nibble << 4));
        }
        is_half_ = !is_half_;
    }

    std::vector<uint8_t> bytes;

  private:
    bool is_half_ = false;
};

void put_lengths(const Lengths& lengths, Nibbles& out) {
    for (size_t i = 0; i < order().size();) {
        size_t zeros = 0;
        while (i + zeros < order().size() && lengths[static_cast<size_t>(order()[i + zeros])] == 0) {
            ++zeros;
        }
        if (i + zeros == order().size()) {
            out.put(kNoMore);
            return;
        }
        zeros = std::min(zeros, kMostZeros);
        if (zeros > kFewZeros) {
            const auto more = static_cast<int>(zeros - kFewZeros - 1);
            out.put(kManyZeros);
            out.put(more >> 4);
            out.put(more & 15);
        } else if (zeros > 0) {
            out.put(kZeros);
            out.put(static_cast<int>(zeros - 1));
        } else {
            out.put(lengths[static_cast<size_t>(order()[i])]);
        }
        i += std::max<size_t>(zeros, 1);
    }
}

// `get` gives the next four bits, or -1 beyond the end.
template <typename Get>
bool get_lengths(const Get& get, Lengths& lengths) {
    lengths.assign(kSymbols, 0);
    for (size_t i = 0; i < order().size();) {
        const int nibble = get();
        if (nibble == kNoMore) {
            break;
        }
        if (nibble >= 1 && nibble <= kLookBits) {
            lengths[static_cast<size_t>(order()[i++])] = static_cast<uint8_t>(nibble);
            continue;
        }
        if (nibble != kZeros && nibble != kManyZeros) {
            return false;
        }
        const int high = nibble == kManyZeros ? get() : 0, low = get();
        if (high < 0 || low < 0) {
            return false;
        }
        i += static_cast<size_t>(high * 16 + low) + 1 + (nibble == kManyZeros ? kFewZeros : 0);
        if (i > order().size()) {
            return false;
        }
    }
    return true;
}

}  // namespace

std::vector<uint8_t> pack_lengths(int first, const std::vector<Lengths>& codes) {
    Nibbles out;
    out.put(first);
    for (const Lengths& lengths : codes) {
        put_lengths(lengths, out);
    }
    return std::move(out.bytes);
}

bool unpack_lengths(const uint8_t* data, size_t size, int& first, std::vector<Lengths>& codes) {
    size_t next = 0;
    const auto get = [&] {
        const int byte = next < size * 2 ? data[next / 2] : -1;
        return byte < 0 ? -1 : next++ % 2 == 0 ? byte >> 4 : byte & 15;
    };
    first = get();
    for (Lengths& lengths : codes) {
        if (!get_lengths(get, lengths)) {
            return false;
        }
    }
    return (next + 1) / 2 == size;
}

}  // namespace imagemill::recoded
