#include "recoded_source.hpp"

#include <algorithm>
#include <cstring>

#include "processor.hpp"
#include "recoded_lanes.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace imagemill::recoded {
namespace {

// What reads runs of blocks, in a build for an instruction set.
struct Kernels {
    void (*dc)(Lanes&, const Entry*, int16_t*, int, int);
    void (*ac)(Lanes&, const Entry*, int16_t*, int);
    // Moves blocks from zigzag order to rows, finds their extents, and leaves zeros behind. The DC of `blocks` stay.
    void (*turn)(int16_t* zigzag, int16_t* blocks, uint8_t* extents, int);
};

void dc_baseline(Lanes& lanes, const Entry* table, int16_t* blocks, int count, int before) {
    read_dc_run(lanes, table, blocks, count, before);
}

void ac_baseline(Lanes& lanes, const Entry* table, int16_t* zigzag, int count) {
    read_ac_run(lanes, table, zigzag, count);
}

void turn_baseline(int16_t* zigzag, int16_t* blocks, uint8_t* extents, int count) {
    for (int i = 0; i < count; ++i, zigzag += kBlockSize, blocks += kBlockSize) {
        int extent = kBlockSize;
        while (extent > 1 && zigzag[extent - 1] == 0) {
            --extent;
        }
        std::memset(blocks + 1, 0, (kBlockSize - 1) * sizeof *blocks);
        for (int k = 1; k < extent; ++k) {
            blocks[kZigzag[k]] = zigzag[k];
        }
        std::memset(zigzag, 0, static_cast<size_t>(extent) * sizeof *zigzag);
        extents[i] = static_cast<uint8_t>(extent);
    }
}

#if defined(__x86_64__)
// Shifts by a register without the detour over the flags.
#define IMAGEMILL_BMI __attribute__((target("bmi,bmi2")))
#define IMAGEMILL_AVX512 __attribute__((target("bmi,bmi2,lzcnt,avx512f,avx512bw")))

IMAGEMILL_BMI void dc_bmi2(Lanes& lanes, const Entry* table, int16_t* blocks, int count, int before) {
    read_dc_run(lanes, table, blocks, count, before);
}

IMAGEMILL_BMI void ac_bmi2(Lanes& lanes, const Entry* table, int16_t* zigzag, int count) {
    read_ac_run(lanes, table, zigzag, count);
}

// Row by row, where each coefficient stands in zigzag order.
struct Places {
    alignas(64) uint16_t of[kBlockSize];

    Places() {
        for (int k = 0; k < kBlockSize; ++k) {
            of[kZigzag[k]] = static_cast<uint16_t>(k);
        }
    }
};

IMAGEMILL_AVX512 void turn_avx512(int16_t* zigzag, int16_t* blocks, uint8_t* extents, int count) {
    static const Places places;
    const __m512i low = _mm512_load_si512(places.of), high = _mm512_load_si512(places.of + 32);
    for (int i = 0; i < count; ++i, zigzag += kBlockSize, blocks += kBlockSize) {
        const __m512i first = _mm512_loadu_si512(zigzag), second = _mm512_loadu_si512(zigzag + 32);
        const uint64_t used = _mm512_test_epi16_mask(first, first) |
                              static_cast<uint64_t>(_mm512_test_epi16_mask(second, second)) << 32 | 1;
        extents[i] = static_cast<uint8_t>(64 - __builtin_clzll(used));
        const int16_t dc = blocks[0];
        _mm512_storeu_si512(blocks, _mm512_permutex2var_epi16(first, low, second));
        _mm512_storeu_si512(blocks + 32, _mm512_permutex2var_epi16(first, high, second));
        blocks[0] = dc;
        _mm512_storeu_si512(zigzag, _mm512_setzero_si512());
        _mm512_storeu_si512(zigzag + 32, _mm512_setzero_si512());
    }
}
#endif

Kernels choose_kernels() {
#if defined(__x86_64__)
    if (IMAGEMILL_HAS("bmi") && IMAGEMILL_HAS("bmi2")) {
        return {dc_bmi2, ac_bmi2, IMAGEMILL_HAS("avx512bw") ? turn_avx512 : turn_baseline};
    }
#endif
    return {dc_baseline, ac_baseline, turn_baseline};
}

const Kernels kKernels = choose_kernels();

bool ends_right(const Lane& lane, const uint8_t* end) {
    const uint8_t* reached = lane.next + (__builtin_ctzll(lane.bits) + 7) / 8;
    return reached == end;
}

}  // namespace

bool Source::open(const File& file, const OutlineFrame& frame) {
    frame_ = &frame;
    tile_columns_ = file.header.tile_columns;
    segments_ = file.segments.data;
    // Behind the segments there is the trailer: eight bytes from here can always be read.
    limit_ = file.segments.data + file.segments.size;
    const auto segments = static_cast<size_t>(frame.mcu_rows) * static_cast<size_t>(tiles_of(frame, tile_columns_));
    if (!lanes_.read(file.lanes, segments, file.segments.size)) {
        return false;
    }
    LengthsReader reader(file.lengths.data, file.lengths.size);
    const size_t sets = frame.components.size() == 1 ? 1 : 2;
    Lengths lengths;
    for (size_t set = 0; set < sets; ++set) {
        for (const Kind kind : {Kind::kDc, Kind::kAc}) {
            std::vector<Entry>& table = kind == Kind::kDc ? dc_tables_[set] : ac_tables_[set];
            table.resize(size_t{1} << look_bits(kind));
            if (!reader.get(kind, lengths) || !fill_table(kind, lengths, table.data())) {
                return false;
            }
        }
    }
    return reader.is_at_end();
}

bool Source::start(const Demand& demand) {
    demand_ = demand;
    row_ = demand.first_row;
    return true;
}

// Where a tile's part of a row of MCUs goes, of one component: rows of blocks, `stride` blocks apart.
struct Source::Tile {
    int16_t* blocks;
    uint8_t* ends;
    int wide;
    int high;
    ptrdiff_t stride;

    int16_t* row(int y) const { return blocks + y * stride * kBlockSize; }
    uint8_t* row_ends(int y) const { return ends + y * stride; }
};

bool Source::read(const BlockRows& rows) {
    const int tiles_a_row = tiles_of(*frame_, tile_columns_);
    for (int tile = demand_.first_column / tile_columns_; tile * tile_columns_ < demand_.end_column; ++tile) {
        const int first = tile * tile_columns_, end = std::min(first + tile_columns_, frame_->mcu_columns);
        const auto number = static_cast<size_t>(row_) * static_cast<size_t>(tiles_a_row) + static_cast<size_t>(tile);
        const bool is_part = first < demand_.first_column || end > demand_.end_column;
        Tile tiles[kMostComponents];
        lay_out(rows, first, end, tiles);
        if (!read_tile(lanes_.segment(number), tiles)) {
            return false;
        }
        if (is_part) {
            keep_part(rows, first, end, tiles);
        }
    }
    ++row_;
    return true;
}

// Tiles that are wanted whole are read into place, others into memory of the source's own.
void Source::lay_out(const BlockRows& rows, int first_column, int end_column, Tile* tiles) {
    const bool is_part = first_column < demand_.first_column || end_column > demand_.end_column;
    size_t blocks = 0;
    for (size_t i = 0; i < frame_->components.size(); ++i) {
        const OutlineComponent& one = frame_->components[i];
        Tile& tile = tiles[i];
        tile.wide = (end_column - first_column) * one.across;
        tile.high = one.down;
        tile.stride = tile.wide;
        if (is_part) {
            blocks += static_cast<size_t>(tile.wide) * static_cast<size_t>(tile.high);
            continue;
        }
        tile.stride = static_cast<ptrdiff_t>(demand_.end_column - demand_.first_column) * one.across;
        const ptrdiff_t column = static_cast<ptrdiff_t>(first_column - demand_.first_column) * one.across;
        tile.blocks = rows.blocks[i] + column * kBlockSize;
        tile.ends = rows.extents[i] + column;
    }
    if (!is_part) {
        return;
    }
    scratch_blocks_.resize(std::max(scratch_blocks_.size(), blocks * kBlockSize));
    scratch_ends_.resize(std::max(scratch_ends_.size(), blocks));
    size_t place = 0;
    for (size_t i = 0; i < frame_->components.size(); ++i) {
        tiles[i].blocks = scratch_blocks_.data() + place * kBlockSize;
        tiles[i].ends = scratch_ends_.data() + place;
        place += static_cast<size_t>(tiles[i].wide) * static_cast<size_t>(tiles[i].high);
    }
}

bool Source::read_tile(const Segment& segment, const Tile* tiles) {
    const auto count = static_cast<int>(frame_->components.size());
    Lanes lanes;
    lanes.limit = limit_;
    const uint8_t* start = segments_ + segment.start;
    for (int i = 0; i < kLanes; start += segment.lengths[i++]) {
        (i < 4 ? lanes.codes[i] : lanes.values) = {eight_bytes(start) | 1, start};
    }
    int by_dc_alone = 0;  // that many components; their AC come last
    while (by_dc_alone < count && demand_.sizes[by_dc_alone] == 1) {
        ++by_dc_alone;
    }
    for (int i = 0; i < count; ++i) {
        const Tile& tile = tiles[i];
        for (int y = 0; y < tile.high; ++y) {
            if (i < by_dc_alone) {
                std::memset(tile.row_ends(y), 1, static_cast<size_t>(tile.wide));
            }
            const int before = y > 0 ? tile.row(y - 1)[0] : 0;
            kKernels.dc(lanes, dc_tables_[i == 0 ? 0 : 1].data(), tile.row(y), tile.wide, before);
        }
    }
    for (int i = count - 1; i >= by_dc_alone; --i) {
        const Tile& tile = tiles[i];
        for (int y = 0; y < tile.high; ++y) {
            const auto blocks = static_cast<size_t>(tile.wide);
            zigzag_.resize(std::max(zigzag_.size(), (blocks + kSlack) * kBlockSize));
            kKernels.ac(lanes, ac_tables_[i == 0 ? 0 : 1].data(), zigzag_.data(), tile.wide);
            kKernels.turn(zigzag_.data(), tile.row(y), tile.row_ends(y), tile.wide);
            const auto behind = zigzag_.begin() + static_cast<std::ptrdiff_t>(blocks * kBlockSize);
            std::fill_n(behind, kSlack * kBlockSize, int16_t{0});
        }
    }
    start = segments_ + segment.start;
    for (int i = 0; i < kLanes && by_dc_alone == 0; ++i) {
        start += segment.lengths[i];
        if (!ends_right(i < 4 ? lanes.codes[i] : lanes.values, start)) {
            return false;
        }
    }
    return true;
}

// Copies what is wanted of a tile.
void Source::keep_part(const BlockRows& rows, int first_column, int end_column, const Tile* tiles) const {
    const int first = std::max(first_column, demand_.first_column), end = std::min(end_column, demand_.end_column);
    for (size_t i = 0; i < frame_->components.size(); ++i) {
        const ptrdiff_t across = frame_->components[i].across;
        const ptrdiff_t wide = (end - first) * across, from = (first - first_column) * across;
        const ptrdiff_t stride = (demand_.end_column - demand_.first_column) * across;
        for (int y = 0; y < tiles[i].high; ++y) {
            const ptrdiff_t to = y * stride + (first - demand_.first_column) * across;
            std::copy_n(tiles[i].row(y) + from * kBlockSize, wide * kBlockSize, rows.blocks[i] + to * kBlockSize);
            std::copy_n(tiles[i].row_ends(y) + from, wide, rows.extents[i] + to);
        }
    }
}

}  // namespace imagemill::recoded
