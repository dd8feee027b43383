// The bits of entropy-coded JPEG data: without the zeros stuffed behind bytes of 0xFF, and up to the next marker.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace imagemill {

// Bits to come, from the top on; what lies below the valid ones may be the bits that follow, or none.
struct Bits {
    uint64_t bits;
    uint32_t count;  // of the valid ones, below 64: only its lowest six bits count
    const uint8_t* next;

    unsigned valid() const { return count & 63; }

    // To 56 bits or more.
    void refill() {
        uint64_t more;
        std::memcpy(&more, next, sizeof more);
        bits |= __builtin_bswap64(more) >> (count & 63);
        next += (~count & 63) >> 3;
        count |= 56;
    }

    // As many as the lowest six bits of `length` say.
    void drop(uint64_t length) {
        bits <<= length & 63;
        count -= static_cast<uint32_t>(length);
    }

    // Back to bits that were dropped; not beyond the MCU's own.
    void back(unsigned length) {
        const unsigned left = valid() + length;
        const uint8_t* place = next - (left + 7) / 8;
        const unsigned gone = static_cast<unsigned>(next - place) * 8 - left;
        bits = 0;
        count = 0;
        next = place;
        refill();
        drop(gone);
    }
};

// Bytes are freed of stuffing a window at a time, so that whoever decodes an MCU need not look where bytes end.
class EntropyBits {
  public:
    // What an MCU can take at most: 10 blocks of 64 codes of 16 bits with 15 bits of value each.
    static constexpr int kMcuBytes = 10 * 64 * 31 / 8;

    EntropyBits(const uint8_t* data, size_t size) : data_(data), end_(data + size) { begin(); }
    EntropyBits(const EntropyBits&) = delete;
    EntropyBits& operator=(const EntropyBits&) = delete;

    // Where an MCU may be read; kept by the reader, given back to more() and restart().
    Bits start() const { return {0, 0, window_}; }

    // Whether a whole MCU may be read; else more() makes it available, and is false where bits were taken that are not
    // there.
    bool has_mcu(const uint8_t* next) const { return next <= safe_; }
    bool more(Bits& bits);

    // Whether all bits that were taken were there.
    bool holds(const Bits& bits) const { return taken(bits) <= (filled_ - window_) * 8; }

    // Goes behind the restart marker of this number; false where less than all bits before it were taken, or another
    // marker is there.
    bool restart(Bits& bits, int number);

    // Whether nothing follows but the padding of the last byte and an end marker, which is the last of the data.
    bool ends(Bits& bits);

  private:
    static constexpr int kWindowBytes = 16 << 10;
    static constexpr int kRefillBytes = 8;

    ptrdiff_t taken(const Bits& bits) const { return (bits.next - window_) * 8 - static_cast<ptrdiff_t>(bits.valid()); }
    void begin();
    void fill();

    const uint8_t* data_;
    const uint8_t* end_;
    const uint8_t* filled_;  // behind the last byte of the window that is data
    const uint8_t* safe_;    // up to here an MCU may begin
    int marker_;             // that data end with; 0 while more may follow, -1 where the file ends
    uint8_t window_[kWindowBytes + kMcuBytes + 2 * kRefillBytes];
};

}  // namespace imagemill
