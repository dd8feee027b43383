#include "entropy_bits.hpp"

#include <algorithm>

namespace imagemill {
namespace {

constexpr int kFirstRestart = 0xD0;
constexpr int kEnd = 0xD9;

}  // namespace

void EntropyBits::begin() {
    filled_ = window_;
    marker_ = 0;
    fill();
}

// Appends data to the window until it is full or they end.
void EntropyBits::fill() {
    auto* out = const_cast<uint8_t*>(filled_);
    uint8_t* const full = window_ + kWindowBytes;
    while (marker_ == 0 && out < full) {
        const auto most = std::min<size_t>(static_cast<size_t>(full - out), static_cast<size_t>(end_ - data_));
        const auto* found = most == 0 ? nullptr : static_cast<const uint8_t*>(std::memchr(data_, 0xFF, most));
        const size_t plain = found != nullptr ? static_cast<size_t>(found - data_) : most;
        std::memcpy(out, data_, plain);
        out += plain;
        data_ += plain;
        if (data_ == end_) {
            marker_ = -1;
        } else if (found != nullptr) {
            const uint8_t* code = std::find_if(data_, end_, [](uint8_t byte) { return byte != 0xFF; });
            if (code == end_ || (*code == 0 && code != data_ + 1)) {
                // Several bytes of 0xFF before a zero: the two ways libjpeg-turbo decodes disagree about them.
                marker_ = -1;
            } else if (*code == 0) {
                *out++ = 0xFF;
                data_ = code + 1;
            } else {
                marker_ = *code;
                data_ = code + 1;
            }
        }
    }
    filled_ = out;
    if (marker_ != 0) {  // zeros for the MCU that goes beyond the end: it is found out when it is done
        std::memset(out, 0, kMcuBytes + 2 * kRefillBytes);
        safe_ = out;
    } else {
        safe_ = out - kMcuBytes - kRefillBytes;
    }
}

bool EntropyBits::more(Bits& bits) {
    if (marker_ == 0) {
        const ptrdiff_t done = taken(bits) / 8;
        const auto gone = static_cast<unsigned>(taken(bits) % 8);
        std::memmove(window_, window_ + done, static_cast<size_t>(filled_ - window_ - done));
        filled_ -= done;
        fill();
        bits = start();
        bits.refill();
        bits.drop(gone);
        return true;
    }
    return holds(bits);
}

bool EntropyBits::restart(Bits& bits, int number) {
    if (marker_ != kFirstRestart + number) {
        // The marker may lie just behind the window.
        if (marker_ != 0 || !more(bits) || marker_ != kFirstRestart + number) {
            return false;
        }
    }
    const ptrdiff_t left = (filled_ - window_) * 8 - taken(bits);
    if (left < 0 || left >= 8) {
        return false;
    }
    begin();
    bits = start();
    return true;
}

bool EntropyBits::ends(Bits& bits) {
    if (marker_ == 0 && !more(bits)) {
        return false;
    }
    const ptrdiff_t left = (filled_ - window_) * 8 - taken(bits);
    return marker_ == kEnd && data_ == end_ && left >= 0 && left < 8;
}

}  // namespace imagemill
