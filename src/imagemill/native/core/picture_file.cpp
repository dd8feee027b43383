#include "picture_file.hpp"

#include "picture.hpp"
#include "pixels.hpp"

namespace imagemill {

Status PictureFile::open(const uint8_t* data, size_t size, uint64_t* profile) {
    *profile = 0;
    if (looks_like_png(data, size)) {
        png_.reset(new PngFile);
        const Status status = png_->open(data, size, rules_.max_pixels, false);
        sides_ = png_->sides();
        return status;
    }
    const Status status = open_picture(reader_, data, size, rules_, text_, orientation_, *profile);
    if (status == Status::kDone) {
        sides_ = stored_sides(reader_->sides(), orientation_);
    }
    return status;
}

void PictureFile::open_raw(const uint8_t* pixels, const Sides& sides) {
    raw_ = pixels;
    sides_ = sides;
}

Status PictureFile::show(const View& view, const Layout& layout, uint8_t* out) {
    if (reader_ != nullptr) {
        return show_picture(*reader_, view, orientation_, rules_, layout, out);
    }
    if (png_ == nullptr) {
        return show_pixels(raw_, view, layout, false, out);
    }
    const Bytes pixels = png_->image(layout.channels);
    return pixels == nullptr ? Status::kDoubtful : show_pixels(pixels.get(), view, layout, false, out);
}

}  // namespace imagemill
