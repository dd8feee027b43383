// One raw picture, (H, W, C) bytes: what is seen of it, in its place in the batch.
#pragma once

#include <cstdint>

#include "placement.hpp"
#include "status.hpp"
#include "view.hpp"

namespace imagemill {

// Copies where nothing is resampled, else resizes; the latter for 1 and 3 channels only (else kElsewhere). The view
// lies in the picture. `streams` writes past the caches: faster for batches that do not fit into them anyway. Throws
// std::bad_alloc.
Status show_pixels(const uint8_t* pixels, const View& view, const Layout& layout, bool streams, uint8_t* out);

}  // namespace imagemill
