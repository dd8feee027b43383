// Coefficients of a JPEG by libjpeg, and a plain JPEG of them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "jpeg_outline.hpp"
#include "jpeg_scan.hpp"

namespace imagemill {

// False where libjpeg complains of anything but padding before the end. Throws std::bad_alloc.
bool read_planes(const uint8_t* data, size_t size, const OutlineFrame& frame, Planes& planes);

// Whether libjpeg reads all coefficients without a complaint.
bool run_over_jpeg(const uint8_t* data, size_t size);

// A sequential JPEG with the same coefficients, segments of applications and comments; empty where libjpeg complains.
std::vector<uint8_t> normalised(const uint8_t* data, size_t size);

}  // namespace imagemill
