#include "jpeg_parts.hpp"

#include <algorithm>
#include <cstring>
#include <map>
#include <utility>

#include "jpeg_outline.hpp"

namespace imagemill {
namespace jpeg {
namespace {

constexpr size_t kHeaderBytes = 640;  // 623 of a picture in colour

class HeaderWriter {
  public:
    explicit HeaderWriter(uint8_t* place) : start_(place), place_(place) {}

    void put(std::initializer_list<int> bytes) {
        for (const int byte : bytes) {
            *place_++ = static_cast<uint8_t>(byte);
        }
    }

    // A marker with so many bytes to follow.
    void put_marker(int marker, int bytes) { put({0xFF, marker, (bytes + 2) >> 8, (bytes + 2) & 0xFF}); }

    void put_steps(int table, const std::array<uint8_t, kBlockSize>& steps) {
        put_marker(0xDB, 1 + kBlockSize);
        put({table});
        for (const uint8_t place : kZigzag) {
            *place_++ = steps[place];
        }
    }

    void put_codes(int table, const CodeSpec& spec) {
        const std::vector<uint8_t> segment = table_segment(table, spec);
        place_ = std::copy(segment.begin(), segment.end(), place_);
    }

    size_t size() const { return static_cast<size_t>(place_ - start_); }

  private:
    uint8_t* start_;
    uint8_t* place_;
};

int64_t pixels_of(const Box& box) { return static_cast<int64_t>(box.height) * box.width; }

Box around(const Box& a, const Box& b) {
    const int top = std::min(a.top, b.top), left = std::min(a.left, b.left);
    return {top, left, std::max(a.top + a.height, b.top + b.height) - top,
            std::max(a.left + a.width, b.left + b.width) - left};
}

}  // namespace

Parts::Parts(const PartsRequest& request)
    : settings_(request.channels, request.quality, request.across, request.down), pixels_(request.pixels),
      row_bytes_(request.row_bytes) {
    for (int64_t i = 0; i < request.count; ++i) {
        const int32_t* box = request.boxes + 4 * i;
        boxes_.push_back({box[0], box[1], box[2], box[3]});
    }
    put_in_groups();
}

bool Parts::fits_grid(const Box& box) const {
    return box.height % settings_.mcu.height == 0 && box.width % settings_.mcu.width == 0;
}

// By where their corners lie between the MCUs of a grid; apart where a group would have more to code than its parts.
void Parts::put_in_groups() {
    std::map<std::pair<int, int>, Group> found;
    std::map<std::pair<int, int>, int64_t> needed;
    const auto phase_of = [this](const Box& box) {
        return std::make_pair(box.top % settings_.mcu.height, box.left % settings_.mcu.width);
    };
    for (const Box& box : boxes_) {
        if (fits_grid(box)) {
            Group& group = found.try_emplace(phase_of(box), Group{box, 0, nullptr}).first->second;
            group.box = around(group.box, box);
            ++group.members;
            needed[phase_of(box)] += pixels_of(box);
        }
    }
    std::map<std::pair<int, int>, size_t> places;
    for (auto& [phase, group] : found) {
        if (pixels_of(group.box) <= needed[phase]) {
            places[phase] = groups_.size();
            groups_.push_back(std::move(group));
        }
    }
    for (const Box& box : boxes_) {
        const auto place = places.find(phase_of(box));
        if (fits_grid(box) && place != places.end()) {
            group_of_.push_back(place->second);
        } else {
            group_of_.push_back(groups_.size());
            groups_.push_back({box, 1, nullptr});
        }
    }
}

const uint8_t* Parts::write(int64_t part, size_t& size) {
    const Box& box = boxes_[static_cast<size_t>(part)];
    Group& group = groups_[group_of_[static_cast<size_t>(part)]];
    if (group.area == nullptr) {
        group.area = std::make_unique<CodedArea>(settings_, pixels_ + group.box.top * row_bytes_ + group.box.left * settings_.components,
                                                 row_bytes_, Sides{group.box.height, group.box.width});
    }
    const int top = (box.top - group.box.top) / settings_.mcu.height, left = (box.left - group.box.left) / settings_.mcu.width;
    const Window window{top, left, top + (box.height + settings_.mcu.height - 1) / settings_.mcu.height,
                        left + (box.width + settings_.mcu.width - 1) / settings_.mcu.width};
    group.area->code(window.top, window.bottom);
    const size_t needed = kHeaderBytes + group.area->most_bytes(window);
    if (needed > capacity_) {
        file_.reset(new uint8_t[needed]);
        capacity_ = needed;
    }
    uint8_t* end = group.area->write(window, file_.get() + put_header({box.height, box.width}));
    *end++ = 0xFF;
    *end++ = 0xD9;
    size = static_cast<size_t>(end - file_.get());
    if (group.members == 1) {
        group.area.reset();
    }
    return file_.get();
}

// Writes what lies before the scan; its length.
size_t Parts::put_header(Sides sides) {
    const bool is_grey = settings_.components == 1;
    HeaderWriter header(file_.get());
    header.put({0xFF, 0xD8});
    header.put_marker(0xE0, 14);
    header.put({'J', 'F', 'I', 'F', 0, 1, 1, 0, 0, 1, 0, 1, 0, 0});
    header.put_steps(0, luma_steps(settings_.quality));
    if (!is_grey) {
        header.put_steps(1, chroma_steps(settings_.quality));
    }
    header.put_marker(0xC0, 6 + 3 * settings_.components);
    header.put({8, sides.height >> 8, sides.height & 0xFF, sides.width >> 8, sides.width & 0xFF, settings_.components});
    header.put({1, settings_.across << 4 | settings_.down, 0});
    if (!is_grey) {
        header.put({2, 0x11, 1, 3, 0x11, 1});
    }
    header.put_codes(0x00, kLumaSpecs.dc);
    header.put_codes(0x10, kLumaSpecs.ac);
    if (!is_grey) {
        header.put_codes(0x01, kChromaSpecs.dc);
        header.put_codes(0x11, kChromaSpecs.ac);
    }
    header.put_marker(0xDA, 4 + 2 * settings_.components);
    header.put({settings_.components, 1, 0x00});
    if (!is_grey) {
        header.put({2, 0x11, 3, 0x11});
    }
    header.put({0, 63, 0});
    return header.size();
}

}  // namespace jpeg
}  // namespace imagemill
