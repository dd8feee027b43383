// What became of one image of a batch, and words for it.
#pragma once

#include <cstdarg>
#include <cstddef>
#include <cstdint>
#include <cstdio>

namespace imagemill {

// The numbers are part of the interface: native/__init__.py has the same list.
enum class Status : int32_t {
    kDone = 0,
    kNotJpeg = 1,    // another format: decode it elsewhere
    kProfile = 2,    // carries a colour profile that the caller has not told us about
    kDoubtful = 3,   // libjpeg complained, or the file is unusual: a stricter decoder must judge it
    kTooLarge = 4,   // more pixels than allowed
    kBadBox = 5,     // the crop box is not inside the image
    kNoMemory = 6,
    kDamaged = 7,    // the stored bytes are not those that were written
    kElsewhere = 8,  // sound as it may be, it does not fit this way of reading
};

constexpr size_t kTextBytes = 256;

// A message of bounded length that lives in the caller's buffer; without a buffer nobody wants to know.
class Text {
  public:
    explicit Text(char* buffer) : buffer_(buffer != nullptr ? buffer : own_) { buffer_[0] = '\0'; }
    Text(const Text&) = delete;
    Text& operator=(const Text&) = delete;

    void print(const char* format, ...) {
        va_list arguments;
        va_start(arguments, format);
        std::vsnprintf(buffer_, kTextBytes, format, arguments);
        va_end(arguments);
    }

    char* buffer() { return buffer_; }

  private:
    char own_[kTextBytes];
    char* buffer_;
};

}  // namespace imagemill
