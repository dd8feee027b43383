// Random choices, drawn for one sample: the same streams and formulas as imagemill/transforms/rng.py, crops.py, colour.py
// and erase.py, which are the definition. A test holds the two equal.
#pragma once

#include <cstdint>
#include <vector>

#include "changes.hpp"
#include "view.hpp"

namespace imagemill {

// The numbers are part of the interface: native/samples.py has the same list.
enum class Step : int32_t {
    kRandomResizedCrop = 0,  // reals: scale low, high; log of ratio low, high; ratio low, high
    kResize = 1,
    kResizeShort = 2,  // numbers[0]: shorter side; numbers[1]: bound of the longer one, 0 for none
    kFit = 3,          // numbers[0]: 0 exact, 1 contain, 2 cover, 3 short, 4 long
    kCenterCrop = 4,
    kRandomCrop = 5,  // numbers[0]: padding; numbers[1]: whether smaller pictures are padded
    kFlipColumns = 6,  // reals[0]: probability
    kFlipRows = 7,     // reals[0]: probability
    kRotate90 = 8,     // reals[0]: probability
    kColorJitter = 9,  // numbers[0]: bit i where change i (of Change) is drawn; reals[2 * i], [2 * i + 1]: between these
    kGrayscale = 10,   // numbers[0]: whether it is drawn, with probability reals[0]; else always
    kRandomErasing = 11,  // reals: scale low, high; log of ratio low, high; probability. numbers[0]: whether with noise
    kCutout = 12,         // numbers[0]: side; reals[0]: probability
};

// One transform; laid out as STEP in native/samples.py.
struct Operation {
    Step step;
    Filter filter;
    Sides size;
    int32_t numbers[4];
    double reals[8];
    Fill fill;
};
static_assert(sizeof(Operation) == 104, "native/samples.py lays it out like this");

// The stream of imagemill.transforms.rng.SampleRng.
class SampleRng {
  public:
    // `prefix` is the state after all parts of the key but the last.
    SampleRng(uint64_t prefix, uint64_t last) : state_(mix(prefix ^ last)) {}

    uint64_t bits();
    double random();                              // in [0, 1)
    double uniform(double low, double high);      // between them
    int64_t integer(int64_t low, int64_t high);   // in [low, high)
    uint64_t state() const { return state_; }

  private:
    static uint64_t mix(uint64_t value);

    uint64_t state_;
};

// All steps of geometry drawn for a picture of these sides; false where one cannot be (a picture smaller than its crop).
bool draw(const Operation* steps, int count, const Sides& sides, SampleRng& rng, View& view);

// All other steps, for pictures that have these sides by then.
void draw_changes(const Operation* steps, int count, const Sides& sides, SampleRng& rng, std::vector<Change>& changes);

}  // namespace imagemill
