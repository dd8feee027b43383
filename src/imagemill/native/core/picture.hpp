// One JPEG, as it is or recoded: encoded bytes to what is seen of it, in its place in the batch.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "picture_reader.hpp"
#include "placement.hpp"
#include "rules.hpp"
#include "status.hpp"
#include "view.hpp"

namespace imagemill {

// Reads the header, and makes the reader for it; `orientation` is 1 to 8, or 0 for what the file says, and is what holds afterwards. `profile`
// becomes the hash of the file's colour profile. Throws std::bad_alloc.
Status open_picture(std::unique_ptr<PictureReader>& reader, const uint8_t* data, size_t size, const Rules& rules, Text& text,
                    int& orientation, uint64_t& profile);

// Decodes what is seen of an opened picture. `view` lies in the upright picture. Throws std::bad_alloc.
Status show_picture(PictureReader& reader, const View& view, int orientation, const Rules& rules, const Layout& layout,
                    uint8_t* out);

}  // namespace imagemill
