#include "look.hpp"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <vector>

#include "jpeg_reader.hpp"
#include "luma.hpp"

namespace imagemill {
namespace {

struct Plane {
    uint8_t* samples;
    Sides sides;

    uint8_t* row(int y) const { return samples + static_cast<ptrdiff_t>(y) * sides.width; }
};

int spread_of(const uint8_t* pixel) {
    const auto [least, most] = std::minmax({pixel[0], pixel[1], pixel[2]});
    return most - least;
}

// As OpenCV's nearest neighbours on a grid: the pixel below the place's beginning.
int sparse_spread(const Look& look) {
    const int rows = std::min(look.height, look.grid), columns = std::min(look.width, look.grid);
    const double down = 1 / (static_cast<double>(rows) / look.height), across = 1 / (static_cast<double>(columns) / look.width);
    int spread = 0;
    for (int i = 0; i < rows; ++i) {
        const int y = std::min(static_cast<int>(std::floor(i * down)), look.height - 1);
        const uint8_t* row = look.pixels + static_cast<ptrdiff_t>(y) * look.width * 3;
        for (int k = 0; k < columns; ++k) {
            const int x = std::min(static_cast<int>(std::floor(k * across)), look.width - 1);
            spread = std::max(spread, spread_of(row + static_cast<ptrdiff_t>(x) * 3));
        }
    }
    return spread;
}

int whole_spread(const Look& look) {
    int spread = 0;
    const uint8_t* end = look.pixels + static_cast<ptrdiff_t>(look.height) * look.width * 3;
    for (const uint8_t* pixel = look.pixels; pixel != end; pixel += 3) {
        spread = std::max(spread, spread_of(pixel));
    }
    return spread;
}

// Halved in place: a row is written where rows were read before.
void halve(Plane& luma) {
    const Sides half{luma.sides.height / 2, luma.sides.width / 2};
    for (int y = 0; y < half.height; ++y) {
        halve_rows(luma.row(2 * y), luma.row(2 * y + 1), luma.samples + static_cast<ptrdiff_t>(y) * half.width, half.width);
    }
    luma.sides = half;
}

// Four tables: increments of the same place would wait for each other.
class Histogram {
  public:
    void add(const uint8_t* values, int count) {
        int i = 0;
        for (; i + 4 <= count; i += 4) {
            for (int k = 0; k < 4; ++k) {
                ++counts_[k][values[i + k]];
            }
        }
        for (; i < count; ++i) {
            ++counts_[0][values[i]];
        }
    }

    void write(int64_t* out) const {
        for (int i = 0; i < 256; ++i) {
            out[i] = static_cast<int64_t>(counts_[0][i]) + counts_[1][i] + counts_[2][i] + counts_[3][i];
        }
    }

  private:
    uint32_t counts_[4][256] = {};
};

// Beyond an edge lies what lies before it.
int mirrored(int place, int length) {
    if (length == 1) {
        return 0;
    }
    return place < 0 ? -place : place >= length ? 2 * length - 2 - place : place;
}

void count_levels(const Plane& luma, const Look& look) {
    Histogram levels, edges;
    const auto [height, width] = luma.sides;
    std::vector<uint8_t> line(static_cast<size_t>(width));
    for (int y = 0; y < height; ++y) {
        const uint8_t* here = luma.row(y);
        const uint8_t* above = luma.row(mirrored(y - 1, height));
        const uint8_t* below = luma.row(mirrored(y + 1, height));
        const auto edge = [&](int x) {
            const int sum = above[x] + below[x] + here[mirrored(x - 1, width)] + here[mirrored(x + 1, width)];
            return static_cast<uint8_t>(std::min(std::abs(sum - 4 * here[x]), 255));
        };
        find_edges(here, above, below, line.data(), width);
        line[0] = edge(0);
        line[static_cast<size_t>(width) - 1] = edge(width - 1);
        levels.add(here, width);
        edges.add(line.data(), width);
    }
    levels.write(look.levels);
    edges.write(look.edges);
}

// Where equal parts of a side begin, in samples of the halved side: whole ones, and how much of the next.
struct Borders {
    int whole[kThumbnailSide + 1];
    double share[kThumbnailSide + 1];
    double lengths[kThumbnailSide];

    Borders(int full, int side) {
        const double halvings = std::ldexp(1.0, std::max(0, static_cast<int>(std::nearbyint(std::log2(
                                                                static_cast<double>(full) / side)))));
        double before = 0;
        for (int i = 0; i <= kThumbnailSide; ++i) {
            const double border = std::min(i * (full / halvings / kThumbnailSide), static_cast<double>(side));
            whole[i] = std::min(static_cast<int>(border), side - 1);
            share[i] = border - whole[i];
            if (i > 0) {
                lengths[i - 1] = border - before;
            }
            before = border;
        }
    }
};

// Means over rectangles whose sides may lie within samples, from sums of all that is above and to the left.
void make_thumbnail(const Plane& luma, const Look& look) {
    const auto [height, width] = luma.sides;
    const Borders down(look.height, height), across(look.width, width);
    std::vector<uint64_t> sums(2 * (static_cast<size_t>(width) + 1), 0);
    uint64_t* above = sums.data();
    uint64_t* below = above + width + 1;
    double strip[kThumbnailSide + 1], last[kThumbnailSide + 1];
    int next = 0;
    const auto add_row = [&] {  // `below` is `above` with one more row
        const uint8_t* row = luma.row(next++);
        uint64_t sum = 0;
        for (int x = 0; x < width; ++x) {
            sum += row[x];
            below[x + 1] = above[x + 1] + sum;
        }
    };
    add_row();
    for (int i = 0; i <= kThumbnailSide; ++i) {
        while (next <= down.whole[i]) {
            std::swap(above, below);
            add_row();
        }
        const double rest = down.share[i];
        const auto at = [&](int x) {
            return static_cast<double>(above[x]) * (1 - rest) + static_cast<double>(below[x]) * rest;
        };
        for (int k = 0; k <= kThumbnailSide; ++k) {
            const int x = across.whole[k];
            strip[k] = at(x) * (1 - across.share[k]) + at(x + 1) * across.share[k];
        }
        for (int k = 0; i > 0 && k < kThumbnailSide; ++k) {
            const double total = (strip[k + 1] - last[k + 1]) - (strip[k] - last[k]);
            const double mean = std::floor(total / (down.lengths[i - 1] * across.lengths[k]) + 0.5 + 1e-6);
            look.thumbnail[(i - 1) * kThumbnailSide + k] = static_cast<uint8_t>(mean);
        }
        std::copy(std::begin(strip), std::end(strip), last);
    }
}

}  // namespace

bool look_at(Look& look) {
    Text text(nullptr);
    JpegReader reader(text);
    if (look.size < 4 || !reader.open(look.data, look.size)) {
        return false;
    }
    const Sides sides = reader.sides();
    if (sides.height != look.height || sides.width != look.width || !reader.start({0, 0, sides.height, sides.width}, 1)) {
        return false;
    }
    std::vector<uint8_t> pixels(static_cast<size_t>(reader.row_bytes()));
    std::vector<uint8_t> samples(static_cast<size_t>(sides.height) * static_cast<size_t>(sides.width));
    Plane luma{samples.data(), sides};
    uint8_t* row = pixels.data();
    for (int y = 0; y < sides.height; ++y) {
        if (!reader.read(&row, 1)) {
            return false;
        }
        find_luma(row, luma.row(y), sides.width);
        pack_pixels(row, look.pixels + static_cast<ptrdiff_t>(y) * sides.width * 3, sides.width);
    }
    if (!reader.ends_well()) {
        return false;
    }
    look.spread = sparse_spread(look);
    if (look.spread < look.no_colour) {
        look.spread = whole_spread(look);
    }
    while (std::min(luma.sides.height, luma.sides.width) >= look.halved_from) {
        halve(luma);
    }
    count_levels(luma, look);
    make_thumbnail(luma, look);
    return true;
}

}  // namespace imagemill
