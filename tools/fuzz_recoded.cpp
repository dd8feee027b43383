// Damaged recoded JPEGs, and damaged JPEGs to be recoded, in one process: tools/fuzz_recoded.py builds and runs it.
//
//     fuzz_recoded COUNT SEED FILE...
//
// FILES are JPEGs. Whatever the sanitizers find ends the process. What is decoded or restored is not looked at, but for
// undamaged files, which must come back.

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <new>
#include <random>
#include <string>
#include <vector>

#include "digest.hpp"
#include "recode.hpp"
#include "recoded_file.hpp"
#include "recoded_reader.hpp"

using namespace imagemill;
using Bytes = std::vector<uint8_t>;
using Random = std::mt19937_64;

namespace {

constexpr int64_t kMostPixels = 1 << 20;

int below(Random& random, size_t count) { return static_cast<int>(random() % count); }

// One of the bytes that parsers look at most, or any.
uint8_t interesting(Random& random) {
    constexpr uint8_t kBytes[] = {0, 1, 0x7F, 0x80, 0xFF, 0xFE, 0xD8, 0xDA, 0xC0, 0xC2, 0xC4, 0xDB, 0xDD, 0x11, 0x22};
    return below(random, 3) == 0 ? kBytes[below(random, sizeof kBytes)] : static_cast<uint8_t>(random());
}

void damage(Bytes& data, Random& random) {
    for (int changes = 1 + below(random, 6); changes > 0 && !data.empty(); --changes) {
        // Half of the changes hit the parts in front, which say how the rest is to be read.
        const size_t reach = random() % 2 == 0 ? std::min<size_t>(data.size(), 48 + random() % 400) : data.size();
        const size_t at = random() % reach;
        switch (below(random, 7)) {
            case 0:
                data[at] = static_cast<uint8_t>(data[at] ^ 1U << below(random, 8));
                break;
            case 1:
            case 2:
                data[at] = interesting(random);
                break;
            case 3:
                data.insert(data.begin() + static_cast<std::ptrdiff_t>(at), interesting(random));
                break;
            case 4:
                data.erase(data.begin() + static_cast<std::ptrdiff_t>(at));
                break;
            case 5: {
                const size_t from = random() % data.size(), length = random() % (data.size() - std::max(at, from) + 1);
                std::copy_n(Bytes(data).begin() + static_cast<std::ptrdiff_t>(from), std::min<size_t>(length, 64),
                            data.begin() + static_cast<std::ptrdiff_t>(at));
                break;
            }
            default:
                if (below(random, 4) == 0) {
                    data.resize(random() % (data.size() + 1));
                }
        }
    }
}

// The trailer is no obstacle for whoever means harm.
void seal(Bytes& data) {
    if (data.size() >= recoded::kTrailerBytes) {
        const uint64_t digest = xxh3_64(data.data(), data.size() - recoded::kTrailerBytes);
        for (size_t i = 0; i < recoded::kTrailerBytes; ++i) {
            data[data.size() - recoded::kTrailerBytes + i] = static_cast<uint8_t>(digest >> (8 * i));
        }
    }
}

// A part of the picture, at some reduction; in memory of exactly its size, so that a byte beyond it is found.
const char* show(const Bytes& data, Random& random) {
    const std::unique_ptr<uint8_t[]> copy(new uint8_t[data.size()]);
    std::copy(data.begin(), data.end(), copy.get());
    Text text(nullptr);
    RecodedReader reader(text);
    if (!reader.open(copy.get(), data.size(), kMostPixels)) {
        return "show: refused";
    }
    const Sides sides = reader.sides();
    if (static_cast<int64_t>(sides.height) * sides.width > kMostPixels) {
        return "show: too large";
    }
    const int shrink = 1 << below(random, 4);
    const Sides shrunk{(sides.height + shrink - 1) / shrink, (sides.width + shrink - 1) / shrink};
    Box region{0, 0, shrunk.height, shrunk.width};
    if (random() % 3 != 0) {
        region.height = 1 + below(random, static_cast<size_t>(shrunk.height));
        region.width = 1 + below(random, static_cast<size_t>(shrunk.width));
        region.top = below(random, static_cast<size_t>(shrunk.height - region.height + 1));
        region.left = below(random, static_cast<size_t>(shrunk.width - region.width + 1));
    }
    if (!reader.start(region, shrink)) {
        return "show: not started";
    }
    Bytes row(static_cast<size_t>(reader.row_bytes()));
    for (int y = 0; y < region.height; ++y) {
        uint8_t* rows[] = {row.data()};
        if (!reader.read(rows, 1)) {
            return "show: damaged";
        }
    }
    return "show: done";
}

const char* give_back(const Bytes& data) {
    Bytes jpeg;
    return restore(data.data(), data.size(), kMostPixels, jpeg) ? "restore: done" : "restore: damaged";
}

Coding any_coding(Random& random) { return below(random, 2) == 0 ? Coding::kFast : Coding::kCompact; }

// Of a JPEG or a recoded one.
std::string recode_damaged(const Bytes& data, Coding coding) {
    const char* why = nullptr;
    const Bytes made = recode(data.data(), data.size(), kMostPixels, coding, why);
    if (why != nullptr) {
        return std::string("recode: ") + why;
    }
    if (recoded::is_recoded(data.data(), data.size())) {
        Bytes jpeg;
        const bool came_back = restore(data.data(), data.size(), kMostPixels, jpeg);
        Bytes again;
        if (came_back && !(restore(made.data(), made.size(), kMostPixels, again) && again == jpeg)) {
            std::fprintf(stderr, "what was recoded otherwise gives another JPEG\n");
            std::exit(1);
        }
        return came_back ? "recode otherwise: done" : "recode otherwise: of another JPEG";
    }
    Bytes back;
    if (!restore(made.data(), made.size(), kMostPixels, back)) {
        std::fprintf(stderr, "what was just recoded does not come back\n");
        std::exit(1);
    }
    return back == data ? "recode: exact" : "recode: normalised";
}

}  // namespace

int main(int count, char** arguments) {
    if (count < 4) {
        return 2;
    }
    const long inputs = std::atol(arguments[1]);
    Random random(static_cast<uint64_t>(std::atoll(arguments[2])));
    std::vector<Bytes> jpegs, files;
    for (int i = 3; i < count; ++i) {
        std::ifstream file(arguments[i], std::ios::binary);
        jpegs.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
        for (const Coding coding : {Coding::kFast, Coding::kCompact}) {
            const char* why = nullptr;
            files.push_back(recode(jpegs.back().data(), jpegs.back().size(), kMostPixels, coding, why));
            if (why != nullptr) {
                files.pop_back();
            } else if (show(files.back(), random) != std::string("show: done") ||
                       give_back(files.back()) != std::string("restore: done")) {
                std::fprintf(stderr, "%s does not come back\n", arguments[i]);
                return 1;
            }
        }
    }
    std::map<std::string, long> seen;
    for (long input = 0; input < inputs; ++input) {
        try {
            const int kind = below(random, 8);
            if (kind == 0) {
                Bytes data = jpegs[random() % jpegs.size()];
                damage(data, random);
                ++seen[recode_damaged(data, any_coding(random))];
                continue;
            }
            Bytes data = files[random() % files.size()];
            damage(data, random);
            if (kind < 6) {
                ++seen[show(data, random)];
            } else {
                seal(data);
                ++seen[kind == 6 ? give_back(data) : recode_damaged(data, any_coding(random))];
            }
        } catch (const std::bad_alloc&) {
            ++seen["no memory"];
        }
    }
    for (const auto& [what, times] : seen) {
        std::printf("%9ld  %s\n", times, what.c_str());
    }
    return 0;
}
