// Pairs of hashes that differ in few bits, among those that one band brings together (curate/near.py says how).
#pragma once

#include <cstdint>

namespace imagemill {

struct NearSearch {
    // Of the pictures that are looked up, sorted by the value of their band.
    int64_t query_count;
    const int32_t* queries;       // which pictures they are
    const int32_t* values;        // of their bands
    const uint64_t* query_first;  // the two halves of their hashes
    const uint64_t* query_second;
    // Of those that are found: in order of the value of their band.
    int64_t count;
    const int32_t* pictures;
    const int32_t* starts;  // where each value begins, and one more
    const uint64_t* first;
    const uint64_t* second;
    // Values are looked up with these bits changed.
    int32_t mask_count;
    int32_t radius;  // bits in which hashes may differ
    const int32_t* masks;
    // Written: query * count + picture, for pictures behind the query; a pair may come several times.
    int64_t capacity;
    int64_t* found;
};

// How many were found; only as many as there is room for were written.
int64_t find_near(const NearSearch& search);

}  // namespace imagemill
