#include "jpeg_area.hpp"

#include <algorithm>
#include <cstring>

#include "jpeg_stuffed_bits.hpp"

namespace imagemill {
namespace jpeg {
namespace {

constexpr size_t kMostBlockBytes = 216;  // 64 values of up to 26 bits and the end
constexpr size_t kSlack = StuffedBits::kBeyond;

int blocks_for(int pixels, int samples, int most) {
    return (pixels * samples + most * kBlockSide - 1) / (most * kBlockSide);
}

void pad(int16_t* row, int from, int to) { std::fill(row + from, row + std::max(from, to), row[from - 1]); }

}  // namespace

Settings::Settings(int channels, int quality, int across, int down)
    : components(channels), across(channels == 1 ? 1 : across), down(channels == 1 ? 1 : down), quality(quality),
      mcu{kBlockSide * this->down, kBlockSide * this->across}, luma(luma_steps(quality)), chroma(chroma_steps(quality)) {}

CodedArea::CodedArea(const Settings& settings, const uint8_t* pixels, int64_t row_bytes, Sides sides)
    : settings_(settings), pixels_(pixels), row_bytes_(row_bytes), sides_(sides),
      mcu_rows_((sides.height + settings.mcu.height - 1) / settings.mcu.height),
      mcu_columns_((sides.width + settings.mcu.width - 1) / settings.mcu.width) {
    for (int i = 0; i < settings.components; ++i) {
        ComponentRow& row = rows_[i];
        row.across = i == 0 ? settings.across : 1;
        row.down = i == 0 ? settings.down : 1;
        row.stride = mcu_columns_ * row.across;
        row.wide = blocks_for(sides.width, row.across, settings.across);
        row.codes = i == 0 ? &kLumaCodes : &kChromaCodes;
        const auto blocks = static_cast<size_t>(row.stride) * static_cast<size_t>(row.down);
        planes_[i].resize(blocks * kBlockSize);
        blocks_[i].resize(blocks);
        row.blocks = blocks_[i].data();
    }
    if (settings.components == 3) {
        scratch_.resize(static_cast<size_t>(mcu_columns_) * static_cast<size_t>(settings.mcu.width) * 4);
    }
}

void CodedArea::code(int first, int last) {
    if (mcus_.empty() || first < first_row_) {
        mcus_.clear();
        bits_ = 0;
        first_row_ = next_row_ = first;
    }
    for (; next_row_ < last; ++next_row_) {
        convert(next_row_);
        transform(next_row_);
        make_room();
        code_row();
    }
}

// Rows of samples of all components; what lies beyond the picture repeats its border.
void CodedArea::convert(int row) {
    const int width = sides_.width, luma_stride = rows_[0].stride * kBlockSide, chroma_stride = mcu_columns_ * kBlockSide;
    const int top = row * settings_.mcu.height, there = std::min(settings_.mcu.height, sides_.height - top);
    const auto whole = static_cast<ptrdiff_t>(mcu_columns_) * settings_.mcu.width;
    int chroma_row = 0;
    for (int y = 0; y < there; ++y) {
        const uint8_t* pixels = pixels_ + (top + y) * row_bytes_;
        int16_t* luma = planes_[0].data() + static_cast<ptrdiff_t>(y) * luma_stride;
        if (settings_.components == 1) {
            std::transform(pixels, pixels + width, luma, [](uint8_t level) { return static_cast<int16_t>(level - 128); });
            pad(luma, width, rows_[0].wide * kBlockSide);
            continue;
        }
        const bool is_second = settings_.down == 2 && y % 2 == 1;
        int16_t* colours = scratch_.data() + (is_second ? 2 * whole : 0);
        convert_row(pixels, width, luma, colours, colours + whole);
        pad(luma, width, rows_[0].wide * kBlockSide);
        pad(colours, width, rows_[1].wide * kBlockSide * settings_.across);
        pad(colours + whole, width, rows_[1].wide * kBlockSide * settings_.across);
        if (settings_.down == 2 && !is_second && y + 1 < there) {
            continue;  // the second row is still to come
        }
        for (int i = 1; i < 3; ++i) {
            const int16_t* upper = scratch_.data() + (i - 1) * whole;
            int16_t* out = planes_[i].data() + static_cast<ptrdiff_t>(chroma_row) * chroma_stride;
            const int count = rows_[i].wide * kBlockSide;
            if (settings_.across == 1) {
                std::transform(upper, upper + count, out, [](int16_t level) { return static_cast<int16_t>(level - 128); });
            } else {
                halve_rows(upper, is_second ? upper + 2 * whole : upper, settings_.down == 2, count, out);
            }
        }
        ++chroma_row;
    }
    for (int i = 0; i < settings_.components; ++i) {
        const int stride = rows_[i].stride * kBlockSide, rows = rows_[i].down * kBlockSide;
        int16_t* plane = planes_[i].data();
        for (int y = i == 0 ? there : chroma_row; y < rows; ++y) {
            std::copy_n(plane + static_cast<ptrdiff_t>(y - 1) * stride, stride, plane + static_cast<ptrdiff_t>(y) * stride);
        }
    }
}

void CodedArea::transform(int row) {
    for (int i = 0; i < settings_.components; ++i) {
        ComponentRow& component = rows_[i];
        const int high = blocks_for(sides_.height, component.down, settings_.down);
        component.high = std::min(component.down, high - row * component.down);
        const int stride = component.stride * kBlockSide;
        for (int y = 0; y < component.high; ++y) {
            transform_blocks(planes_[i].data() + static_cast<ptrdiff_t>(y) * kBlockSide * stride, stride, component.wide,
                             i == 0 ? settings_.luma : settings_.chroma,
                             blocks_[i].data() + static_cast<ptrdiff_t>(y) * component.stride);
        }
    }
}

void CodedArea::make_room() {
    size_t blocks = 0;
    for (int i = 0; i < settings_.components; ++i) {
        blocks += blocks_[i].size();
    }
    const size_t used = static_cast<size_t>(bits_ / 8) + 1, needed = used + blocks * kMostBlockBytes + kSlack;
    if (needed <= capacity_) {
        return;
    }
    const size_t capacity = std::max(needed, 2 * capacity_);
    std::unique_ptr<uint8_t[]> larger(new uint8_t[capacity]);
    if (data_ != nullptr) {
        std::memcpy(larger.get(), data_.get(), used);
    }
    data_ = std::move(larger);
    capacity_ = capacity;
}

void CodedArea::code_row() {
    const int count = static_cast<int>(bits_ % 8);
    uint8_t* place = data_.get() + bits_ / 8;
    PlainBits bits{place, count == 0 ? 0 : static_cast<uint64_t>(*place) << 56, count};
    const auto so_far = [this, &bits] {
        return static_cast<uint64_t>(bits.place - data_.get()) * 8 + static_cast<uint64_t>(bits.count);
    };
    int16_t last[3] = {};
    if (!mcus_.empty()) {
        std::copy_n(mcus_.back().last, 3, last);
    }
    for (int column = 0; column < mcu_columns_; ++column) {
        Mcu mcu{};
        for (int i = 0; i < settings_.components; ++i) {
            mcu.starts[i] = so_far();
            mcu.first[i] = rows_[i].blocks[column * rows_[i].across].values[0];
            code_blocks(rows_[i], column, last[i], bits);
            mcu.last[i] = last[i];
        }
        mcus_.push_back(mcu);
    }
    bits_ = so_far();
}

size_t CodedArea::index_of(int row, int column) const {
    return static_cast<size_t>(row - first_row_) * static_cast<size_t>(mcu_columns_) + static_cast<size_t>(column);
}

// Twice, should every byte be stuffed; of codes that change at the start of each row, and of the last bytes.
size_t CodedArea::most_bytes(const Window& window) const {
    uint64_t bits = 0;
    for (int row = window.top; row < window.bottom; ++row) {
        bits += start_of(index_of(row, window.right)) - start_of(index_of(row, window.left)) + 3 * 32;
    }
    return static_cast<size_t>(bits / 4) + kSlack;
}

// Whatever is coded stays as it is, but for the first coefficients of the first MCU of a row, which are told by their
// difference to the last ones of the row before.
uint8_t* CodedArea::write(const Window& window, uint8_t* out) const {
    StuffedBits bits(out);
    int before[3] = {};
    for (int row = window.top; row < window.bottom; ++row) {
        const size_t first = index_of(row, window.left), end = index_of(row, window.right);
        uint64_t from = mcus_[first].starts[0];
        for (int i = 0; i < settings_.components; ++i) {
            const Mcu& mcu = mcus_[first];
            const int coded_after = first == 0 ? 0 : mcus_[first - 1].last[i];
            if (coded_after != before[i]) {
                const ValueCodes& codes = *rows_[i].codes;
                bits.copy(data_.get(), from, mcu.starts[i]);
                bits.put(codes.dc(mcu.first[i] - before[i]));
                from = mcu.starts[i] + (codes.dc(mcu.first[i] - coded_after) & 31);
            }
            before[i] = mcus_[end - 1].last[i];
        }
        bits.copy(data_.get(), from, start_of(end));
    }
    return bits.finish();
}

}  // namespace jpeg
}  // namespace imagemill
