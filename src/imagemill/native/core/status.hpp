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
    kNotJpeg = 1,   // another format: decode it elsewhere
    kProfile = 2,   // carries a colour profile that the caller has not called harmless
    kDoubtful = 3,  // libjpeg complained, or the file is unusual: a stricter decoder must judge it
    kTooLarge = 4,  // more pixels than allowed
    kBadBox = 5,    // the crop box is not inside the image
    kNoMemory = 6,
};

constexpr size_t kTextBytes = 256;

// A message of bounded length that lives in the caller's buffer.
class Text {
  public:
    explicit Text(char* buffer) : buffer_(buffer) { buffer_[0] = '\0'; }

    void print(const char* format, ...) {
        va_list arguments;
        va_start(arguments, format);
        std::vsnprintf(buffer_, kTextBytes, format, arguments);
        va_end(arguments);
    }

    char* buffer() { return buffer_; }

  private:
    char* buffer_;
};

}  // namespace imagemill
