#include "inflate.hpp"

#include <algorithm>
#include <cstring>

#include "checksums.hpp"
#include "inflate_steps.hpp"
#include "inflate_table.hpp"

namespace imagemill {
namespace {

using namespace inflating;

// Bits of the stream, the first lowest. Small enough to be copied: a loop that stores bytes keeps its own copy in
// registers, as such a store might change anything else.
struct Bits {
    const uint8_t* in;
    uint64_t buffer = 0;
    int count = 0;

    // At least 56 bits from here on.
    void refill() {
        uint64_t word;
        std::memcpy(&word, in, sizeof word);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
        word = __builtin_bswap64(word);
#endif
        buffer |= word << count;
        in += (63 - count) >> 3;
        count |= 56;
    }

    uint32_t take(int bits) {
        const auto value = static_cast<uint32_t>(buffer & ((uint64_t{1} << bits) - 1));
        drop(bits);
        return value;
    }

    void drop(int bits) {
        buffer >>= bits;
        count -= bits;
    }

    template <typename AnyTable>
    Entry first_of(const AnyTable& table) const {
        return table.entries[buffer & ((1U << AnyTable::kBits) - 1)];
    }

    // The entry of a code whose first part is this entry's, which is dropped.
    template <typename AnyTable>
    Entry finish(const AnyTable& table, Entry entry) {
        if (entry.op >= kSubtable) {
            drop(AnyTable::kBits);
            entry = table.entries[entry.value + (buffer & ((1U << (entry.op - kSubtable)) - 1))];
        }
        drop(entry.bits);
        return entry;
    }

    // The first byte that is not used.
    const uint8_t* position() const { return in - count / 8; }
};

// Bytes of input for which it pays to make steps.
constexpr ptrdiff_t kWorthSteps = 4096;

class Inflater {
  public:
    // Reads up to 24 bytes behind `end`.
    Inflater(const uint8_t* data, const uint8_t* end, uint8_t* out, size_t size)
        : bits_{data}, in_end_(end), begin_(out), out_(out), out_end_(out + size) {}

    // All blocks; the output must be full with the last.
    bool run() {
        for (;;) {
            bits_.refill();
            const bool is_last = bits_.take(1) != 0;
            const uint32_t kind = bits_.take(2);
            bool is_right = false;
            if (kind == 0) {
                is_right = stored();
            } else if (kind == 1) {
                is_right = fixed_tables() && block();
            } else if (kind == 2) {
                is_right = read_tables() && block();
            }
            if (!is_right) {
                return false;
            }
            if (is_last) {
                return out_ == out_end_ && position() <= in_end_;
            }
        }
    }

    // The first byte that is not used.
    const uint8_t* position() const { return bits_.position(); }

  private:
    bool has_run_out(const Bits& bits) const { return bits.in > in_end_ + 8; }

    bool stored() {
        bits_.drop(bits_.count % 8);
        const uint8_t* in = position();
        if (in_end_ - in < 4) {
            return false;
        }
        const size_t length = in[0] | in[1] << 8, complement = in[2] | in[3] << 8;
        in += 4;
        if ((length ^ complement) != 0xFFFF || length > static_cast<size_t>(in_end_ - in) ||
            length > static_cast<size_t>(out_end_ - out_)) {
            return false;
        }
        std::memcpy(out_, in, length);
        bits_ = {in + length};
        out_ += length;
        return true;
    }

    bool fixed_tables() {
        uint8_t lengths[kSymbols];
        for (int symbol = 0; symbol < kSymbols; ++symbol) {
            lengths[symbol] = symbol < 144 ? 8 : symbol < 256 ? 9 : symbol < 280 ? 7 : 8;
        }
        uint8_t distances[kDistances];
        std::fill(distances, distances + kDistances, uint8_t{5});
        make_table(literals_, lengths, kSymbols, false, literal_or_length);
        join_literals(literals_);
        return make_table(distances_, distances, kDistances, false, distance);
    }

    bool read_tables() {
        static constexpr uint8_t kOrder[] = {16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15};
        bits_.refill();
        const int literal_count = static_cast<int>(bits_.take(5)) + 257, distance_count = static_cast<int>(bits_.take(5)) + 1;
        const int code_count = static_cast<int>(bits_.take(4)) + 4;
        if (literal_count > 286 || distance_count > 30) {
            return false;
        }
        uint8_t code_lengths[19] = {};
        for (int i = 0; i < code_count; ++i) {
            bits_.refill();
            code_lengths[kOrder[i]] = static_cast<uint8_t>(bits_.take(3));
        }
        Table<7, 128> codes;
        const auto as_it_is = [](int symbol) { return Entry{static_cast<uint16_t>(symbol), 0, kLiteral}; };
        if (!make_table(codes, code_lengths, 19, false, as_it_is)) {
            return false;
        }
        uint8_t lengths[kSymbols + kDistances] = {};
        const int total = literal_count + distance_count;
        for (int i = 0; i < total;) {
            bits_.refill();
            const Entry entry = bits_.finish(codes, bits_.first_of(codes));
            if (entry.op != kLiteral || has_run_out(bits_)) {
                return false;
            }
            if (entry.value < 16) {
                lengths[i++] = static_cast<uint8_t>(entry.value);
                continue;
            }
            const int repeats = entry.value == 16   ? static_cast<int>(bits_.take(2)) + 3
                                : entry.value == 17 ? static_cast<int>(bits_.take(3)) + 3
                                                    : static_cast<int>(bits_.take(7)) + 11;
            if (i + repeats > total || (entry.value == 16 && i == 0)) {
                return false;
            }
            std::fill(lengths + i, lengths + i + repeats, entry.value == 16 ? lengths[i - 1] : uint8_t{0});
            i += repeats;
        }
        if (lengths[256] == 0 || !make_table(literals_, lengths, literal_count, true, literal_or_length)) {
            return false;
        }
        return make_table(distances_, lengths + literal_count, distance_count, true, distance);
    }

    // Codes up to the end of a block. A round writes at most ten literals, or eight and a match, which the slack holds.
    bool block() {
        Bits bits = bits_;
        uint8_t* out = out_;
        const uint8_t *begin = begin_, *out_end = out_end_;
        const bool has_steps = in_end_ - bits.in >= kWorthSteps;
        join_literals(literals_);
        if (has_steps) {
            make_steps(steps_, literals_, distances_);
        }
        while (out <= out_end && !has_run_out(bits)) {
            if (has_steps && !run_steps(bits, out)) {
                return false;
            }
            bits.refill();
            Entry entry = bits.first_of(literals_);
            for (int i = 0; i < 4 && (entry.op & kLiterals) != 0; ++i) {  // 40 bits
                out = store(entry, out);
                bits.drop(entry.bits);
                entry = bits.first_of(literals_);
            }
            if ((entry.op & kLiterals) != 0) {
                continue;
            }
            bits.refill();
            entry = bits.finish(literals_, entry);
            if (entry.op == kLiteral) {  // of a long code
                *out++ = static_cast<uint8_t>(entry.value);
                continue;
            }
            if (entry.op >= kEnd) {
                bits_ = bits;
                out_ = out;
                return entry.op == kEnd;
            }
            const auto length = static_cast<size_t>(entry.value + bits.take(entry.op));
            entry = bits.finish(distances_, bits.first_of(distances_));
            if (entry.op >= kLiterals) {
                return false;
            }
            const auto back = static_cast<size_t>(entry.value + bits.take(entry.op));
            if (back > static_cast<size_t>(out - begin)) {
                return false;
            }
            out = copy(back, length, out);
        }
        return false;
    }

    // As many steps as there are, up to one that takes more than a look; false where a match begins before the output. A
    // round of two takes up to 48 bits and writes up to 32 bytes behind those that count.
    bool run_steps(Bits& state, uint8_t*& place) const {
        Bits bits = state;
        uint8_t* out = place;
        bool is_right = true;
        for (bool goes_on = true; goes_on && out <= out_end_ && !has_run_out(bits);) {
            bits.refill();
            for (int i = 0; i < 2; ++i) {
                const Step& step = steps_.steps[bits.buffer & ((1U << StepTable::kBits) - 1)];
                const int taken = step.bits;
                if (taken == 0) {
                    goes_on = false;
                    break;
                }
                const auto more = static_cast<uint32_t>((bits.buffer & ((uint64_t{1} << taken) - 1)) >> step.code_bits);
                const intptr_t is_match = -static_cast<intptr_t>(step.distance != 0);
                const intptr_t back = static_cast<intptr_t>(step.distance + more);
                if (back > out - begin_) {
                    is_right = goes_on = false;
                    break;
                }
                // Chosen without a branch: which it is can not be guessed.
                const auto literals = reinterpret_cast<intptr_t>(step.literals), earlier = reinterpret_cast<intptr_t>(out) - back;
                const auto* from = reinterpret_cast<const uint8_t*>(literals ^ ((literals ^ earlier) & is_match));
                const size_t length = step.length;
                copy_word(from, out);
                copy_word(from + 8, out + 8);
                out += length;
                bits.drop(taken);
            }
        }
        state = bits;
        place = out;
        return is_right;
    }

    // One literal or two; writes two bytes.
    static uint8_t* store(const Entry& entry, uint8_t* out) {
        out[0] = static_cast<uint8_t>(entry.value);
        out[1] = static_cast<uint8_t>(entry.value >> 8);
        return out + (entry.op - kLiterals);
    }

    // Earlier output once more; may write 23 bytes more than `length`. Gives where it ends. Most of it is shorter than 16
    // bytes: these are copied without a look at the length.
    static uint8_t* copy(size_t back, size_t length, uint8_t* to) {
        const uint8_t* from = to - back;
        uint8_t* end = to + length;
        if (back < 8) {
            for (int i = 0; i < 8; ++i) {
                *to++ = *from++;
            }
            from = to - (7 / back + 1) * back;  // the same bytes, at least 8 back
        }
        copy_word(from, to);
        copy_word(from + 8, to + 8);
        for (to += 16, from += 16; to < end; to += 8, from += 8) {
            copy_word(from, to);
        }
        return end;
    }

    static void copy_word(const uint8_t* from, uint8_t* to) {
        uint64_t word;
        std::memcpy(&word, from, sizeof word);
        std::memcpy(to, &word, sizeof word);
    }

    Bits bits_;
    const uint8_t* in_end_;
    const uint8_t* begin_;
    uint8_t* out_;
    const uint8_t* out_end_;
    LiteralTable literals_;
    DistanceTable distances_;
    StepTable steps_;
};

static_assert(kInflateSlack > kMaxLength + 32, "a match may begin at the very end");

}  // namespace

bool inflate_zlib(const uint8_t* data, size_t data_size, uint8_t* out, size_t size) {
    constexpr size_t kEnvelope = 6;
    // Deflate, a window of at most 32 KiB, no dictionary, the header's own check.
    if (data_size < kEnvelope || (data[0] & 0x0F) != 8 || data[0] >> 4 > 7 || (data[1] & 0x20) != 0 ||
        (data[0] * 256 + data[1]) % 31 != 0) {
        return false;
    }
    const uint8_t* end = data + data_size - 4;
    Inflater inflater(data + 2, end, out, size);
    if (!inflater.run() || inflater.position() != end) {
        return false;
    }
    const uint32_t wanted = static_cast<uint32_t>(end[0]) << 24 | end[1] << 16 | end[2] << 8 | end[3];
    return adler32(out, size) == wanted;
}

}  // namespace imagemill
