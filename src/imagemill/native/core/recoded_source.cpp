#include "recoded_source.hpp"

#include <algorithm>
#include <cstring>

#include "recoded_kernels.hpp"

namespace imagemill::recoded {
namespace {

// Coefficients of rows that are read at once: they stay in the nearer caches.
constexpr int kBytesAtOnce = 32 << 10;
constexpr int kMostRowsAtOnce = 8;
constexpr int kIdleBlocks = 32;
constexpr ptrdiff_t kAlignment = 64;
constexpr int kWidthBits = 4;
constexpr size_t kGarbageBytes = 16;  // what is read behind a segment's end at most

const uint8_t kZeros[8] = {};

// A number of `width` bits, 1 to 32, from a place in the bits of `data` on.
uint32_t number_at(const uint8_t* data, size_t position, int width) {
    return static_cast<uint32_t>(eight_bytes(data + (position >> 3)) << (position & 7) >> 32) >> (32 - width);
}

// DC of a component's blocks in a segment: the first, then differences from the block to the left, of the first of a
// row from that above. Goes on in the bits of `data`; false where `end` comes first.
bool read_dc(const uint8_t* data, size_t& position, size_t end, int first_bits, int wide, int high, int16_t* dc) {
    const int count = wide * high, header = first_bits + kWidthBits;
    if (end - position < static_cast<size_t>(header)) {
        return false;
    }
    int before = unfolded(number_at(data, position, first_bits));
    const uint32_t stored = number_at(data, position + static_cast<size_t>(first_bits), kWidthBits);
    const int width = stored == 15 ? 16 : static_cast<int>(stored);
    position += static_cast<size_t>(header);
    if (end - position < static_cast<size_t>((count - 1) * width)) {
        return false;
    }
    dc[0] = static_cast<int16_t>(before);
    if (width == 0) {
        std::fill_n(dc + 1, count - 1, dc[0]);
        return true;
    }
    run_numbers(data, position, width, dc + 1, count - 1);
    position += static_cast<size_t>((count - 1) * width);
    for (int y = 0; y < high; ++y, dc += wide) {
        before = dc[0] += y > 0 ? dc[-wide] : 0;
        for (int x = 1; x < wide; ++x) {
            before += dc[x];
            dc[x] = static_cast<int16_t>(before);
        }
    }
    return true;
}

}  // namespace

bool Source::open(const File& file, const OutlineFrame& frame) {
    frame_ = &frame;
    tile_columns_ = file.header.tile_columns;
    segments_ = file.segments.data;
    // Behind the segments there is the trailer: eight bytes from here can always be read.
    limit_ = file.segments.data + file.segments.size;
    const auto count = static_cast<size_t>(frame.mcu_rows) * static_cast<size_t>(tiles_of(frame, tile_columns_));
    std::vector<Lengths> codes((file.header.flags & kCompact) != 0 ? 2 : 1);
    return read_starts(file, count, starts_) &&
           unpack_lengths(file.lengths.data, file.lengths.size, dc_bits_, codes) && dc_bits_ > 0 && table_.fill(codes);
}

bool Source::start(const Demand& demand) {
    demand_ = demand;
    row_ = first_row_ = end_row_ = demand.first_row;
    by_dc_alone_ = 0;
    while (by_dc_alone_ < static_cast<int>(frame_->components.size()) && demand.sizes[by_dc_alone_] == 1) {
        ++by_dc_alone_;
    }
    allocate();
    return true;
}

// Room for the blocks of segments, each with slack behind it, for those of lanes that have nothing to do, and for the
// higher parts of them all.
void Source::allocate() {
    segment_blocks_ = 0;
    for (const OutlineComponent& one : frame_->components) {
        segment_blocks_ += blocks_of(one, std::min(tile_columns_, frame_->mcu_columns));
    }
    const int tiles = end_tile() - first_tile();
    const int row_bytes = tiles * (segment_blocks_ + kSlack) * kBlockSize;
    rows_at_once_ = std::clamp(kBytesAtOnce / row_bytes, 1, std::min(kMostRowsAtOnce, demand_.end_row - demand_.first_row));
    const auto segments = static_cast<size_t>(tiles) * static_cast<size_t>(rows_at_once_);
    const size_t blocks = segments * static_cast<size_t>(segment_blocks_ + kSlack) + kIdleBlocks + kSlack;
    const size_t bytes = blocks * kBlockSize;
    memory_.reset(new uint8_t[2 * bytes + blocks + 2 * kAlignment]);
    uint8_t* first = memory_.get() + kAlignment;  // a lane's place begins before its first block
    first += kAlignment - static_cast<ptrdiff_t>(reinterpret_cast<uintptr_t>(first) % kAlignment);
    long_values_ = {first, static_cast<ptrdiff_t>(bytes), first + 2 * bytes};
    lanes_.resize(segments);
    dc_.resize(segments * static_cast<size_t>(segment_blocks_));
}

bool Source::read(const BlockRows& rows) {
    if (row_ == end_row_ && !read_segments()) {
        return false;
    }
    const int tiles = end_tile() - first_tile();
    for (int i = 0; i < tiles; ++i) {
        turn_segment((row_ - first_row_) * tiles + i, first_tile() + i, rows);
    }
    ++row_;
    return true;
}

// The next rows of segments.
bool Source::read_segments() {
    first_row_ = end_row_;
    end_row_ = std::min(first_row_ + rows_at_once_, demand_.end_row);
    int count = 0;
    for (int row = first_row_; row < end_row_; ++row) {
        for (int tile = first_tile(); tile < end_tile(); ++tile, ++count) {
            const int columns = std::min(tile_columns_, frame_->mcu_columns - tile * tile_columns_);
            const ptrdiff_t blocks = static_cast<ptrdiff_t>(count) * (segment_blocks_ + kSlack);
            int16_t* dc = dc_.data() + static_cast<ptrdiff_t>(count) * segment_blocks_;
            std::memset(long_values_.marks + blocks, 0, static_cast<size_t>(segment_blocks_));
            if (!begin_segment(segment_at(row, tile), columns, long_values_.blocks + blocks * kBlockSize, dc,
                               lanes_[static_cast<size_t>(count)])) {
                return false;
            }
        }
    }
    if (by_dc_alone_ == static_cast<int>(frame_->components.size())) {
        return true;
    }
    const auto in_segments = static_cast<ptrdiff_t>(lanes_.size()) * (segment_blocks_ + kSlack);
    uint8_t* const idle = long_values_.blocks + in_segments * kBlockSize;
    const Lane nothing{1, kZeros, kZeros, idle - 1, idle + kIdleBlocks * kBlockSize - 1};
    run_lanes(table_, lanes_.data(), count, &nothing, long_values_);
    if (by_dc_alone_ > 0) {
        return true;
    }
    count = 0;
    for (int row = first_row_; row < end_row_; ++row) {
        for (int tile = first_tile(); tile < end_tile(); ++tile) {
            const Lane& lane = lanes_[static_cast<size_t>(count++)];
            const uint8_t* end = segments_ + starts_[segment_at(row, tile) + 1];
            const uint8_t* reached = lane.next + (__builtin_ctzll(lane.bits) + 7) / 8;
            if (reached < end || reached > end + kGarbageBytes) {
                return false;
            }
        }
    }
    return true;
}

// Reads a segment's DC, clears its blocks, and makes its tokens ready to be read.
bool Source::begin_segment(size_t number, int columns, uint8_t* blocks, int16_t* dc, Lane& lane) const {
    const uint8_t* data = segments_ + starts_[number];
    const size_t end = size_t{8} * (starts_[number + 1] - starts_[number]);
    size_t position = 0;
    int count = 0, wanted = 0;
    for (size_t i = 0; i < frame_->components.size(); ++i) {
        const OutlineComponent& one = frame_->components[i];
        if (!read_dc(data, position, end, dc_bits_, columns * one.across, one.down, dc + count)) {
            return false;
        }
        count += blocks_of(one, columns);
        wanted += static_cast<int>(i) < by_dc_alone_ ? 0 : blocks_of(one, columns);
    }
    std::memset(blocks, 0, static_cast<size_t>(count) * kBlockSize);
    const uint8_t* next = data + (position >> 3);
    lane = {(eight_bytes(next) | 1) << (position & 7), next, limit_, blocks - 1, blocks + wanted * kBlockSize - 1};
    return true;
}

// Of a segment that was read what is wanted, into its place.
void Source::turn_segment(int number, int tile, const BlockRows& rows) const {
    const int first = tile * tile_columns_, end = std::min(first + tile_columns_, frame_->mcu_columns);
    const int from = std::max(first, demand_.first_column), to = std::min(end, demand_.end_column);
    const ptrdiff_t start = static_cast<ptrdiff_t>(number) * (segment_blocks_ + kSlack);
    const int16_t* dc = dc_.data() + static_cast<ptrdiff_t>(number) * segment_blocks_;
    int behind = 0;  // AC: blocks of this component and those after it; they come in reverse order
    for (const OutlineComponent& one : frame_->components) {
        behind += blocks_of(one, end - first);
    }
    for (size_t i = 0; i < frame_->components.size(); ++i) {
        const OutlineComponent& one = frame_->components[i];
        const int wide = (end - first) * one.across, skipped = (from - first) * one.across, count = (to - from) * one.across;
        behind -= wide * one.down;
        for (int y = 0; y < one.down; ++y, dc += wide) {
            const ptrdiff_t place = (static_cast<ptrdiff_t>(y) * (demand_.end_column - demand_.first_column) +
                                     (from - demand_.first_column)) * one.across;
            const ptrdiff_t block = start + behind + y * wide + skipped;
            turn_blocks(long_values_.blocks + block * kBlockSize, long_values_, dc + skipped,
                        rows.blocks[i] + place * kBlockSize, rows.extents[i] + place, count);
        }
    }
}

}  // namespace imagemill::recoded
