#include "taps.hpp"

#include <algorithm>
#include <cmath>

namespace imagemill {
namespace {

double reach(Filter filter) {
    switch (filter) {
        case Filter::kBox:
        case Filter::kArea:
            return 0.5;
        case Filter::kBilinear:
            return 1.0;
        default:
            return 2.0;
    }
}

double weight_at(Filter filter, double x) {
    if (filter == Filter::kBox) {
        return x > -0.5 && x <= 0.5 ? 1.0 : 0.0;
    }
    x = std::fabs(x);
    if (filter == Filter::kBilinear) {
        return x < 1.0 ? 1.0 - x : 0.0;
    }
    constexpr double a = -0.5;  // Keys' cubic convolution, as in Pillow
    if (x < 1.0) {
        return ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0;
    }
    return x < 2.0 ? (((x - 5.0) * x + 8.0) * x - 4.0) * a : 0.0;
}

// How much of the pixel [x, x + 1) a stretch covers.
double covered(double start, double stop, int x) {
    return std::max(0.0, std::min(stop, x + 1.0) - std::max(start, static_cast<double>(x)));
}

// The whole number at or below a value, between `low` and `high`.
int whole(double value, int low, int high) {
    value = std::min<double>(std::max<double>(value, low), high);
    const int cut = static_cast<int>(value);
    return cut - (value < cut ? 1 : 0);
}

// As std::lround, which is a call.
int rounded(double value) {
    const int cut = static_cast<int>(value);
    return cut + (value - cut >= 0.5 ? 1 : 0) - (value - cut <= -0.5 ? 1 : 0);
}

}  // namespace

Taps::Taps(Filter filter, double start, double stop, int count, int low, int high) : first_(count), size_(count) {
    const double scale = (stop - start) / count;
    const double stretch = std::max(scale, 1.0);
    const double support = reach(filter) * stretch;
    const int most = std::min(static_cast<int>(std::ceil(support)) * 2 + 1, high - low);
    const int stride = (most + 3) / 4 * 4;
    whole_.assign(static_cast<size_t>(count) * stride, 0);
    std::vector<double> line(stride);
    for (int output = 0; output < count; ++output) {
        const double centre = start + (output + 0.5) * scale;
        const double before = filter == Filter::kArea ? 0.0 : 0.5, behind = filter == Filter::kArea ? 1.0 : 0.5;
        int begin = whole(centre - support + before, low, high - 1);
        int end = whole(centre + support + behind, begin + 1, high);
        end = std::min(end, begin + most);
        double total = 0.0;
        for (int x = begin; x < end; ++x) {
            line[x - begin] = filter == Filter::kArea ? covered(centre - support, centre + support, x)
                                                      : weight_at(filter, (x + 0.5 - centre) / stretch);
            total += line[x - begin];
        }
        if (total == 0.0) {  // a sliver at the edge of the box: its nearest pixel
            begin = whole(centre, low, high - 1);
            end = begin + 1;
            line[0] = total = 1.0;
        }
        for (int k = 0; k < end - begin; ++k) {
            line[k] /= total;
        }
        while (end - begin > 1 && static_cast<float>(line[end - begin - 1]) == 0.0F) {
            --end;
        }
        store(&line[0], end - begin, static_cast<size_t>(output) * stride);
        first_[output] = begin;
        size_[output] = end - begin;
    }
    begin_ = *std::min_element(first_.begin(), first_.end());
    length_ = 0;
    for (int output = 0; output < count; ++output) {
        first_[output] -= begin_;
        length_ = std::max(length_, first_[output] + size_[output]);
    }
    longest_ = *std::max_element(size_.begin(), size_.end());
    widest_ = (longest_ + 3) / 4 * 4;
    for (int output = 1; widest_ < stride && output < count; ++output) {
        const auto from = whole_.begin() + static_cast<ptrdiff_t>(output) * stride;
        std::copy(from, from + widest_, whole_.begin() + static_cast<ptrdiff_t>(output) * widest_);
    }
}

void Taps::store(const double* line, int count, size_t place) {
    int rest = kUnit, largest = 0;
    for (int k = 0; k < count; ++k) {
        whole_[place + k] = static_cast<int16_t>(rounded(line[k] * kUnit));
        rest -= whole_[place + k];
        has_negative_ = has_negative_ || whole_[place + k] < 0;
        largest = line[k] > line[largest] ? k : largest;
    }
    whole_[place + largest] = static_cast<int16_t>(whole_[place + largest] + rest);  // an even surface stays as it is
    has_negative_ = has_negative_ || whole_[place + largest] < 0;
}

}  // namespace imagemill
