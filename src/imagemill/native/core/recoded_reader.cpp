#include "recoded_reader.hpp"

#include <algorithm>
#include <utility>

#include "recode.hpp"

namespace imagemill {
namespace {

JpegFrame described(const OutlineFrame& outline, ColourModel colours) {
    JpegFrame frame{};
    frame.sides = {outline.height, outline.width};
    frame.colours = colours;
    frame.component_count = static_cast<int>(outline.components.size());
    for (size_t i = 0; i < outline.components.size(); ++i) {
        const OutlineComponent& from = outline.components[i];
        frame.components[i].across = from.across;
        frame.components[i].down = from.down;
        std::copy_n(from.steps, kBlockSize, frame.components[i].steps);
    }
    return frame;
}

}  // namespace

bool RecodedReader::open(const uint8_t* data, size_t size, int64_t max_pixels) {
    std::vector<uint8_t> outline;
    if (!recoded::open_file(data, size, file_) || !recoded::read_outline(file_, outline)) {
        return refuse("a damaged recoded JPEG");
    }
    OutlineWalker walker(outline.data(), outline.size());
    OutlineScan scan;
    while (walker.next(scan)) {
    }
    if (!walker.is_sound()) {
        return refuse("a damaged recoded JPEG");
    }
    frame_ = walker.frame();
    orientation_ = walker.orientation();
    profile_hash_ = walker.profile_hash();
    settled_ = described(frame_, walker.colours());
    if (settled_.settle()) {
        return true;
    }
    if (!restore(data, size, max_pixels, jpeg_)) {
        return refuse("a damaged recoded JPEG");
    }
    restored_.reset(new JpegReader(text_));
    return restored_->open(jpeg_.data(), jpeg_.size()) || refuse("an unusual JPEG");
}

bool RecodedReader::start(const Box& region, int shrink) {
    if (restored_ != nullptr) {
        restored_->convert(std::move(colours_));
        return restored_->start(region, shrink) || refuse("an unusual JPEG");
    }
    const Sides shrunk{(frame_.height + shrink - 1) / shrink, (frame_.width + shrink - 1) / shrink};
    if (!is_inside(region, shrunk) || !source_.open(file_, frame_)) {
        return refuse("a damaged recoded JPEG");
    }
    region_width_ = region.width;
    pixels_.reset(new JpegPixels(settled_, source_));
    return pixels_->start(region, shrink) || refuse("a damaged recoded JPEG");
}

bool RecodedReader::read(uint8_t* const* rows, int count) {
    if (restored_ != nullptr) {
        return restored_->read(rows, count) || refuse("an unusual JPEG");
    }
    if (!pixels_->read(rows, count)) {
        return refuse("a damaged recoded JPEG");
    }
    for (int i = 0; colours_ != nullptr && i < count; ++i) {
        colours_->to_srgb(rows[i], region_width_);
    }
    return true;
}

}  // namespace imagemill
