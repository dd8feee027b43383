#include "recoded_codes.hpp"

#include <algorithm>

#include "jpeg_frame.hpp"

namespace imagemill::recoded {
namespace {

constexpr int kZeros = 0;       // 1 to 16 zeros: a nibble follows
constexpr int kManyZeros = 13;  // 17 to 272 zeros: two nibbles follow
constexpr int kNoMore = 14;     // only zeros from here on
constexpr size_t kFewZeros = 16;
constexpr size_t kMostZeros = kFewZeros + 256;

// Symbols in the order in which their lengths are stored: alike ones beside each other.
std::vector<int> stored_order(Kind kind) {
    std::vector<int> order;
    if (kind == Kind::kDc) {
        for (int size = 0; size < kDcSymbols; ++size) {
            order.push_back(size);
        }
        return order;
    }
    order = {kSkip, kEmpty};
    for (const bool last : {false, true}) {
        for (int size = 1; size <= kMostSize; ++size) {
            for (int run = 0; run < 16; ++run) {
                order.push_back(symbol_of(last, run, size));
            }
        }
    }
    return order;
}

const std::vector<int>& order_of(Kind kind) {
    static const std::vector<int> dc = stored_order(Kind::kDc);
    static const std::vector<int> ac = stored_order(Kind::kAc);
    return kind == Kind::kDc ? dc : ac;
}

Entry entry_of(Kind kind, int symbol) {
    Entry entry{};
    if (kind == Kind::kAc) {
        entry.go_on = static_cast<uint8_t>(symbol == kEmpty ? kBlockSize - 1 : (symbol >> 4 & 15) + 1);
        entry.rest = symbol >= 0x100 ? 63 : 0;
    }
    return entry;
}

}  // namespace

// Package-merge (Larmore and Hirschberg, 1990): lists of leaves and pairs, a list a bit of length; what the
// 2n - 2 cheapest of the last list are made of says how long each code is.
Lengths best_lengths(Kind kind, const std::vector<uint32_t>& counts) {
    Lengths lengths(counts.size(), 0);
    std::vector<std::pair<uint64_t, int>> leaves;
    for (size_t symbol = 0; symbol < counts.size(); ++symbol) {
        if (counts[symbol] > 0) {
            leaves.emplace_back(counts[symbol], static_cast<int>(symbol));
        }
    }
    if (leaves.size() < 2) {
        for (const auto& leaf : leaves) {
            lengths[static_cast<size_t>(leaf.second)] = 1;
        }
        return lengths;
    }
    std::sort(leaves.begin(), leaves.end());
    const int longest = look_bits(kind);
    std::vector<std::vector<bool>> is_leaf(static_cast<size_t>(longest));
    std::vector<uint64_t> weights, pairs;
    for (int level = 0; level < longest; ++level) {
        pairs.clear();
        for (size_t i = 0; i + 1 < weights.size(); i += 2) {
            pairs.push_back(weights[i] + weights[i + 1]);
        }
        weights.clear();
        size_t leaf = 0, pair = 0;
        while (leaf < leaves.size() || pair < pairs.size()) {
            const bool takes_leaf =
                pair == pairs.size() || (leaf < leaves.size() && leaves[leaf].first <= pairs[pair]);
            weights.push_back(takes_leaf ? leaves[leaf++].first : pairs[pair++]);
            is_leaf[static_cast<size_t>(level)].push_back(takes_leaf);
        }
    }
    size_t taken = 2 * leaves.size() - 2;
    for (int level = longest - 1; level >= 0; --level) {
        const auto& list = is_leaf[static_cast<size_t>(level)];
        const auto end = list.begin() + static_cast<std::ptrdiff_t>(std::min(taken, list.size()));
        const auto of_leaves = static_cast<size_t>(std::count(list.begin(), end, true));
        for (size_t i = 0; i < of_leaves; ++i) {
            ++lengths[static_cast<size_t>(leaves[i].second)];
        }
        taken = 2 * (static_cast<size_t>(end - list.begin()) - of_leaves);
    }
    return lengths;
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

bool fill_table(Kind kind, const Lengths& lengths, Entry* table) {
    const int look = look_bits(kind), whole = 1 << look;
    int first_of[kLookBits + 2] = {};
    int symbols = 0;
    for (const uint8_t length : lengths) {
        if (length > look) {
            return false;
        }
        first_of[length + 1] += length > 0 ? 1 << (look - length) : 0;
        symbols += length > 0;
    }
    int filled = 0;
    for (int length = 1; length <= look + 1; ++length) {
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
        const int size = number & 15, left = look - length;
        Entry entry = entry_of(kind, number);
        Entry* place = table + first_of[length];
        first_of[length] += 1 << left;
        if (!is_with_code(kind, length, size)) {
            entry.length = static_cast<uint8_t>(length | kElsewhere);
            entry.value = static_cast<int8_t>(size);
            std::fill_n(place, 1 << left, entry);
            continue;
        }
        const int alike = 1 << (left - size);
        entry.length = static_cast<uint8_t>(length + size);
        for (uint32_t bits = 0; bits < 1U << size; ++bits, place += alike) {
            entry.value = static_cast<int8_t>(value_of(bits, size));
            std::fill_n(place, alike, entry);
        }
    }
    if (is_single) {
        std::copy_n(table, whole / 2, table + whole / 2);
    }
    return true;
}

void LengthsWriter::put_nibble(int nibble) {
    if (is_half_) {
        bytes_.back() = static_cast<uint8_t>(bytes_.back() | nibble);
    } else {
        bytes_.push_back(static_cast<uint8_t>(nibble << 4));
    }
    is_half_ = !is_half_;
}

void LengthsWriter::put(Kind kind, const Lengths& lengths) {
    const std::vector<int>& order = order_of(kind);
    for (size_t i = 0; i < order.size();) {
        size_t zeros = 0;
        while (i + zeros < order.size() && lengths[static_cast<size_t>(order[i + zeros])] == 0) {
            ++zeros;
        }
        if (i + zeros == order.size() && zeros > 0) {
            put_nibble(kNoMore);
            return;
        }
        zeros = std::min(zeros, kMostZeros);
        if (zeros > kFewZeros) {
            const auto more = static_cast<int>(zeros - kFewZeros - 1);
            put_nibble(kManyZeros);
            put_nibble(more >> 4);
            put_nibble(more & 15);
        } else if (zeros > 0) {
            put_nibble(kZeros);
            put_nibble(static_cast<int>(zeros - 1));
        } else {
            put_nibble(lengths[static_cast<size_t>(order[i])]);
        }
        i += std::max<size_t>(zeros, 1);
    }
}

std::vector<uint8_t> LengthsWriter::finish() { return std::move(bytes_); }

int LengthsReader::get_nibble() {
    if (next_ >= nibbles_) {
        return -1;
    }
    const int byte = data_[next_ / 2];
    return next_++ % 2 == 0 ? byte >> 4 : byte & 15;
}

bool LengthsReader::get(Kind kind, Lengths& lengths) {
    const std::vector<int>& order = order_of(kind);
    lengths.assign(kind == Kind::kDc ? kDcSymbols : kSymbols, 0);
    for (size_t i = 0; i < order.size();) {
        const int nibble = get_nibble();
        if (nibble == kNoMore) {
            return true;
        }
        if (nibble >= 1 && nibble <= kLookBits) {
            lengths[static_cast<size_t>(order[i++])] = static_cast<uint8_t>(nibble);
            continue;
        }
        if (nibble != kZeros && nibble != kManyZeros) {
            return false;
        }
        const int high = nibble == kManyZeros ? get_nibble() : 0, low = get_nibble();
        if (high < 0 || low < 0) {
            return false;
        }
        i += static_cast<size_t>(high * 16 + low) + 1 + (nibble == kManyZeros ? kFewZeros : 0);
        if (i > order.size()) {
            return false;
        }
    }
    return true;
}

}  // namespace imagemill::recoded
