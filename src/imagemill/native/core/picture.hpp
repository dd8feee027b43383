// One picture of a batch: encoded bytes to its place in the batch.
#pragma once

#include <cstdint>

#include "batch.hpp"

namespace imagemill {

// Throws std::bad_alloc; all else is a status.
Status decode_picture(const Batch& batch, int64_t index, Text& text);

}  // namespace imagemill
