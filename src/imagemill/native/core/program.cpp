#include "program.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

namespace imagemill {
namespace {

constexpr uint64_t kIncrement = 0x9E3779B97F4A7C15ULL;
constexpr uint64_t kMultiply1 = 0xFF51AFD7ED558CCDULL;
constexpr uint64_t kMultiply2 = 0xC4CEB9FE1A85EC53ULL;

// Python's round(): halves go to the even neighbour.
int rounded(double value) { return static_cast<int>(std::nearbyint(value)); }

bool random_box(const Operation& step, const Sides& sides, SampleRng& rng, Box& box) {
    constexpr int kTries = 10;
    for (int i = 0; i < kTries; ++i) {
        const double area = static_cast<double>(static_cast<int64_t>(sides.height) * sides.width) *
                            rng.uniform(step.reals[0], step.reals[1]);
        const double aspect = std::exp(rng.uniform(step.reals[2], step.reals[3]));
        const double width = std::nearbyint(std::sqrt(area * aspect));
        const double height = std::nearbyint(std::sqrt(area / aspect));
        if (width > 0 && width <= sides.width && height > 0 && height <= sides.height) {
            box.height = static_cast<int>(height);
            box.width = static_cast<int>(width);
            box.top = static_cast<int>(rng.integer(0, sides.height - box.height + 1));
            box.left = static_cast<int>(rng.integer(0, sides.width - box.width + 1));
            return true;
        }
    }
    return false;
}

Box central_box(const Operation& step, const Sides& sides) {
    Box box{0, 0, sides.height, sides.width};
    const double aspect = static_cast<double>(sides.width) / sides.height;
    if (aspect < step.reals[4]) {
        box.height = rounded(sides.width / step.reals[4]);
    } else if (aspect > step.reals[5]) {
        box.width = rounded(sides.height * step.reals[5]);
    }
    box.top = (sides.height - box.height) / 2;
    box.left = (sides.width - box.width) / 2;
    return box;
}

View resized_crop(const Operation& step, const View& view, SampleRng& rng) {
    Box box;
    if (!random_box(step, view.size(), rng, box)) {
        box = central_box(step, view.size());
    }
    return view.cropped(box.top, box.left, box.height, box.width, step.fill).resized(step.size, step.filter);
}

View resized_short(const Operation& step, const View& view) {
    const Sides sides = view.size();
    const auto [low, high] = std::minmax(sides.height, sides.width);
    int64_t short_side = step.numbers[0];
    int64_t long_side = std::max<int64_t>(1, static_cast<int64_t>(static_cast<double>(short_side * high) / low));
    const int64_t bound = step.numbers[1];
    if (bound > 0 && long_side > bound) {
        short_side = std::max<int64_t>(1, static_cast<int64_t>(static_cast<double>(bound * short_side) / long_side));
        long_side = bound;
    }
    const int small = static_cast<int>(short_side), large = static_cast<int>(long_side);
    return view.resized(sides.height <= sides.width ? Sides{small, large} : Sides{large, small}, step.filter);
}

Sides scaled_to(const Sides& sides, int side, bool by_height) {
    const int64_t height = sides.height, width = sides.width;
    if (by_height) {
        return {side, static_cast<int>(std::max<int64_t>(1, (2 * width * side + height) / (2 * height)))};
    }
    return {static_cast<int>(std::max<int64_t>(1, (2 * height * side + width) / (2 * width))), side};
}

// Smaller half first, for a gap as for a cut.
int offset(int out, int scaled) { return out >= scaled ? (out - scaled) / 2 : -((scaled - out) / 2); }

// imagemill.transforms.geometry.fit_size, then the cut or padding that follows.
View fitted(const Operation& step, const View& view) {
    enum { kExact, kContain, kCover, kShort, kLong };
    const Sides sides = view.size(), size = step.size;
    const int fit = step.numbers[0];
    Sides scaled = size, out = size;
    if (fit == kShort || fit == kLong) {
        const int side = fit == kShort ? std::min(size.height, size.width) : std::max(size.height, size.width);
        scaled = out = scaled_to(sides, side, (sides.height <= sides.width) == (fit == kShort));
    } else if (fit != kExact) {
        const bool is_wider = static_cast<int64_t>(sides.width) * size.height >
                              static_cast<int64_t>(size.width) * sides.height;
        const bool by_height = is_wider == (fit == kCover);
        scaled = scaled_to(sides, by_height ? size.height : size.width, by_height);
        scaled = fit == kCover ? Sides{std::max(scaled.height, size.height), std::max(scaled.width, size.width)}
                               : Sides{std::min(scaled.height, size.height), std::min(scaled.width, size.width)};
    }
    return view.resized(scaled, step.filter)
        .cropped(-offset(out.height, scaled.height), -offset(out.width, scaled.width), out.height, out.width,
                 step.fill);
}

int centred(int old_side, int new_side) {
    return new_side > old_side ? -((new_side - old_side) / 2) : rounded((old_side - new_side) / 2.0);
}

// The first row or column of a random crop; false where the picture is too small.
bool start_of(const Operation& step, int old_side, int new_side, SampleRng& rng, int& start) {
    int padding = step.numbers[0];
    const bool is_padded = step.numbers[1] != 0;
    if (is_padded && old_side + 2 * padding < new_side) {
        padding += new_side - old_side - 2 * padding;
    }
    if (old_side + 2 * padding < new_side) {
        return false;
    }
    start = static_cast<int>(rng.integer(0, static_cast<int64_t>(old_side) + 2 * padding - new_side + 1)) - padding;
    return true;
}

bool apply(const Operation& step, SampleRng& rng, View& view) {
    const Sides sides = view.size();
    switch (step.step) {
        case Step::kRandomResizedCrop:
            view = resized_crop(step, view, rng);
            return true;
        case Step::kResize:
            view = view.resized(step.size, step.filter);
            return true;
        case Step::kResizeShort:
            view = resized_short(step, view);
            return true;
        case Step::kFit:
            view = fitted(step, view);
            return true;
        case Step::kCenterCrop:
            view = view.cropped(centred(sides.height, step.size.height), centred(sides.width, step.size.width),
                                step.size.height, step.size.width, step.fill);
            return true;
        case Step::kRandomCrop: {
            int top = 0, left = 0;
            if (!start_of(step, sides.height, step.size.height, rng, top) ||
                !start_of(step, sides.width, step.size.width, rng, left)) {
                return false;
            }
            view = view.cropped(top, left, step.size.height, step.size.width, step.fill);
            return true;
        }
        case Step::kFlipColumns:
            view = rng.random() < step.reals[0] ? view.turned(false, false, true) : view;
            return true;
        case Step::kFlipRows:
            view = rng.random() < step.reals[0] ? view.turned(false, true, false) : view;
            return true;
        case Step::kRotate90: {
            const int64_t turns = rng.random() < step.reals[0] ? rng.integer(0, 4) : 0;
            view = view.turned(turns % 2 == 1, turns == 1 || turns == 2, turns == 2 || turns == 3);
            return true;
        }
        default:
            return false;  // no geometry
    }
}

// Whether something is done that has this probability.
bool happens(double probability, SampleRng& rng) { return rng.random() < probability; }

void jitter(const Operation& step, SampleRng& rng, std::vector<Change>& changes) {
    constexpr int kKinds = 4;
    int order[kKinds] = {0, 1, 2, 3};
    for (int last = kKinds - 1; last > 0; --last) {
        std::swap(order[last], order[rng.integer(0, last + 1)]);
    }
    for (const int kind : order) {
        if ((step.numbers[0] >> kind & 1) != 0) {
            Change change{static_cast<Change::Kind>(kind)};
            change.amount = rng.uniform(step.reals[2 * kind], step.reals[2 * kind + 1]);
            changes.push_back(change);
        }
    }
}

void erase(const Operation& step, const Sides& sides, SampleRng& rng, std::vector<Change>& changes) {
    Change change{step.numbers[0] != 0 ? Change::Kind::kNoise : Change::Kind::kFill};
    if (!happens(step.reals[4], rng) || !random_box(step, sides, rng, change.box)) {
        return;
    }
    change.seed = rng.bits();
    change.colour = step.fill.colour;
    changes.push_back(change);
}

void cut_out(const Operation& step, const Sides& sides, SampleRng& rng, std::vector<Change>& changes) {
    if (!happens(step.reals[0], rng)) {
        return;
    }
    const int side = step.numbers[0];
    const int first_row = static_cast<int>(rng.integer(0, sides.height)) - side / 2;
    const int first_column = static_cast<int>(rng.integer(0, sides.width)) - side / 2;
    Change change{Change::Kind::kFill};
    change.box.top = std::max(first_row, 0);
    change.box.left = std::max(first_column, 0);
    change.box.height = std::min(first_row + side, sides.height) - change.box.top;
    change.box.width = std::min(first_column + side, sides.width) - change.box.left;
    change.colour = step.fill.colour;
    changes.push_back(change);
}

}  // namespace

uint64_t SampleRng::mix(uint64_t value) {
    value += kIncrement;
    value = (value ^ value >> 33) * kMultiply1;
    value = (value ^ value >> 33) * kMultiply2;
    return value ^ value >> 33;
}

uint64_t SampleRng::bits() {
    state_ += kIncrement;
    return mix(state_);
}

double SampleRng::random() { return static_cast<double>(bits() >> 11) * 0x1p-53; }

double SampleRng::uniform(double low, double high) { return low + (high - low) * random(); }

int64_t SampleRng::integer(int64_t low, int64_t high) {
    // The upper half of a product of 64 bits by less than 32.
    const uint64_t range = static_cast<uint64_t>(high - low), number = bits();
    const uint64_t upper = (number >> 32) * range, lower = (number & 0xFFFFFFFFU) * range;
    return low + static_cast<int64_t>((upper + (lower >> 32)) >> 32);
}

bool draw(const Operation* steps, int count, const Sides& sides, SampleRng& rng, View& view) {
    view = View::whole(sides);
    for (int i = 0; i < count; ++i) {
        if (!apply(steps[i], rng, view)) {
            return false;
        }
    }
    return true;
}

void draw_changes(const Operation* steps, int count, const Sides& sides, SampleRng& rng, std::vector<Change>& changes) {
    for (int i = 0; i < count; ++i) {
        const Operation& step = steps[i];
        if (step.step == Step::kColorJitter) {
            jitter(step, rng, changes);
        } else if (step.step == Step::kRandomErasing) {
            erase(step, sides, rng, changes);
        } else if (step.step == Step::kCutout) {
            cut_out(step, sides, rng, changes);
        } else if (step.numbers[0] == 0 || happens(step.reals[0], rng)) {
            changes.push_back(Change{Change::Kind::kGrey});
        }
    }
}

}  // namespace imagemill
