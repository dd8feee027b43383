// Several pictures, in files or in memory: opened first, so that their sides are known, and shown then.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "pair.hpp"
#include "picture_file.hpp"
#include "rules.hpp"

namespace imagemill {

// Where a picture is. The layout is part of the interface, as are those of PairFound and Pair: native/pairs.py has the same.
struct PairSource {
    int64_t path;         // where its file's name begins in the names, each with a zero behind it; -1 in memory
    const uint8_t* data;  // in memory: a file's bytes, or raw pixels
    int64_t size;
    int64_t height;       // of raw pixels, (H, W, 3) bytes; else 0
    int64_t width;
};

struct PairFound {
    int64_t height;    // upright; 0 where the core cannot show it
    int64_t width;
    uint64_t profile;  // hash of the file's colour profile, 0 where it has none
};

class PairBatch {
  public:
    explicit PairBatch(const Rules& rules) : rules_(rules) {}

    // What lies in memory must live as long as this. Parts are made smaller by no reduced decode, whose pixels are not quite
    // an area's mean.
    void open(const PairSource* sources, int64_t count, const char* names, PairFound* found);

    // Of each picture that was opened what its pair says, once; `high` is null where nothing is wanted.
    void show(const Pair* pairs, int32_t* statuses);

  private:
    struct Opened {
        std::unique_ptr<uint8_t[]> content;
        std::unique_ptr<PictureFile> file;  // null where it is not for the core
    };

    bool open_one(const PairSource& source, const char* names, Opened& opened, PairFound& found) const;

    Rules rules_;
    std::vector<Opened> opened_;
};

}  // namespace imagemill
