#include "near.hpp"

#include "kernels.hpp"
#include "processor.hpp"

namespace imagemill {
namespace {

// Masks outside, queries by value inside: neighbours look into neighbouring places.
IMAGEMILL_INLINE int64_t find_inline(const NearSearch& search) {
    int64_t found = 0;
    for (int32_t m = 0; m < search.mask_count; ++m) {
        for (int64_t q = 0; q < search.query_count; ++q) {
            const int32_t value = search.values[q] ^ search.masks[m];
            const int64_t query = search.queries[q];
            const uint64_t first = search.query_first[q], second = search.query_second[q];
            for (int32_t k = search.starts[value]; k < search.starts[value + 1]; ++k) {
                const int bits = __builtin_popcountll(first ^ search.first[k]);
                if (bits > search.radius || search.pictures[k] <= query ||
                    bits + __builtin_popcountll(second ^ search.second[k]) > search.radius) {
                    continue;
                }
                if (found < search.capacity) {
                    search.found[found] = query * search.count + search.pictures[k];
                }
                ++found;
            }
        }
    }
    return found;
}

int64_t find_baseline(const NearSearch& search) { return find_inline(search); }

#if defined(__x86_64__)
__attribute__((target("popcnt"))) int64_t find_popcnt(const NearSearch& search) { return find_inline(search); }

const bool kHasPopcnt = IMAGEMILL_HAS("popcnt");
#else
int64_t find_popcnt(const NearSearch& search) { return find_inline(search); }

constexpr bool kHasPopcnt = false;
#endif

}  // namespace

int64_t find_near(const NearSearch& search) { return kHasPopcnt ? find_popcnt(search) : find_baseline(search); }

}  // namespace imagemill
