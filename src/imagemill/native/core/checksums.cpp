#include "checksums.hpp"

#include <algorithm>
#include <array>
#include <cstring>

namespace imagemill {
namespace {

constexpr int kSlices = 16;
using Tables = std::array<std::array<uint32_t, 256>, kSlices>;

// tables[k][b]: what byte b does to the checksum when k more bytes follow it.
Tables make_tables() {
    Tables tables{};
    for (uint32_t value = 0; value < 256; ++value) {
        uint32_t crc = value;
        for (int bit = 0; bit < 8; ++bit) {
            crc = (crc >> 1) ^ ((crc & 1U) != 0 ? 0xEDB88320U : 0U);
        }
        tables[0][value] = crc;
    }
    for (uint32_t value = 0; value < 256; ++value) {
        for (int slice = 1; slice < kSlices; ++slice) {
            const uint32_t before = tables[slice - 1][value];
            tables[slice][value] = (before >> 8) ^ tables[0][before & 0xFFU];
        }
    }
    return tables;
}

const Tables kTables = make_tables();

}  // namespace

uint32_t crc32(const uint8_t* data, size_t size) {
    uint32_t crc = 0xFFFFFFFFU;
    for (; size >= kSlices; size -= kSlices, data += kSlices) {
        uint8_t block[kSlices];
        std::memcpy(block, data, kSlices);
        for (int i = 0; i < 4; ++i) {
            block[i] = static_cast<uint8_t>(block[i] ^ (crc >> (8 * i)));
        }
        crc = 0;
        for (int i = 0; i < kSlices; ++i) {
            crc ^= kTables[kSlices - 1 - i][block[i]];
        }
    }
    for (; size > 0; --size, ++data) {
        crc = (crc >> 8) ^ kTables[0][(crc ^ *data) & 0xFFU];
    }
    return ~crc;
}

uint32_t adler32(const uint8_t* data, size_t size) {
    constexpr uint32_t kModulus = 65521;
    constexpr size_t kChunk = 32, kMost = 5536;  // bytes for which the sums fit into 32 bits, a multiple of kChunk
    uint32_t low = 1, high = 0;
    while (size > 0) {
        size_t part = std::min(size, kMost);
        size -= part;
        for (; part >= kChunk; part -= kChunk, data += kChunk) {
            uint32_t sum = 0, weighed = 0;
            for (size_t i = 0; i < kChunk; ++i) {
                sum += data[i];
                weighed += static_cast<uint32_t>(kChunk - i) * data[i];
            }
            high += static_cast<uint32_t>(kChunk) * low + weighed;
            low += sum;
        }
        for (; part > 0; --part, ++data) {
            low += *data;
            high += low;
        }
        low %= kModulus;
        high %= kModulus;
    }
    return high << 16 | low;
}

}  // namespace imagemill
