// JPEG to recoded JPEG and back.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace imagemill {

enum class Coding { kFast, kCompact };  // one code for tokens, or two: fewer bytes, and a little slower

// Recodes a JPEG, or a recoded one whatever its coding is. `why` is null where that was done, else a short code of why
// this file cannot be: "not-jpeg", "truncated", "damaged", "cmyk", "12-bit", "arithmetic", "hierarchical",
// "scans-missing", "unusual-...", "too-large". Throws std::bad_alloc.
std::vector<uint8_t> recode(const uint8_t* data, size_t size, int64_t max_pixels, Coding coding, const char*& why);

// The JPEG of a recoded one, its digest checked; false where it is damaged or has more pixels than allowed.
// Throws std::bad_alloc.
bool restore(const uint8_t* data, size_t size, int64_t max_pixels, std::vector<uint8_t>& jpeg);

// Reads every coefficient of a JPEG (by libjpeg) or a recoded one, row by row. Throws std::bad_alloc.
bool run_over(const uint8_t* data, size_t size);

}  // namespace imagemill
