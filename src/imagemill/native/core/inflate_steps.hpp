// What the next bits of a deflate block do to the output, in one look: a match whole, or up to three literals.
//
// Photographs in PNG are short matches and literals in turn, which no processor guesses: so both are the same few
// instructions, a copy of up to 16 bytes, of literals from the table itself.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

#include "inflate_table.hpp"

namespace imagemill {
namespace inflating {

constexpr int kStepBytes = 16;  // that are written, whatever the length

struct Step {
    uint8_t literals[3];
    uint8_t length;
    uint8_t bits;        // of all; 0 where it takes more than a look
    uint8_t code_bits;   // of that before the distance's extra bits, which are the last
    uint16_t distance;   // without what its extra bits add; 0 of literals
};

struct StepTable {
    static constexpr int kBits = LiteralTable::kBits;
    std::array<Step, (1 << kBits) + kStepBytes / sizeof(Step)> steps;  // and room for a copy from the last
};

inline Step literal_step(const LiteralTable& literals, uint32_t index, Entry entry) {
    Step step{{static_cast<uint8_t>(entry.value), static_cast<uint8_t>(entry.value >> 8), 0},
              static_cast<uint8_t>(entry.op - kLiterals), entry.bits, entry.bits, 0};
    const Entry next = literals.entries[index >> entry.bits];
    if (step.length == 2 && next.op == kLiteral && entry.bits + next.bits <= StepTable::kBits) {
        step.literals[2] = static_cast<uint8_t>(next.value);
        step.length = 3;
        step.bits = step.code_bits = static_cast<uint8_t>(entry.bits + next.bits);
    }
    return step;
}

inline Step match_step(const DistanceTable& distances, uint32_t index, Entry entry) {
    const int used = entry.bits + entry.op;
    if (used >= StepTable::kBits) {
        return {};
    }
    const uint32_t length = entry.value + (index >> entry.bits & ((1U << entry.op) - 1));
    const Entry distance = distances.entries[index >> used & ((1U << DistanceTable::kBits) - 1)];
    // Those of less than 8 repeat what a word of them writes.
    const bool is_plain = distance.op < kLiterals && distance.value >= 8 && used + distance.bits <= StepTable::kBits;
    if (!is_plain || length > kStepBytes) {
        return {};
    }
    return {{0, 0, 0},
            static_cast<uint8_t>(length),
            static_cast<uint8_t>(used + distance.bits + distance.op),
            static_cast<uint8_t>(used + distance.bits),
            distance.value};
}

inline void make_steps(StepTable& table, const LiteralTable& literals, const DistanceTable& distances) {
    for (uint32_t index = 0; index < 1U << StepTable::kBits; ++index) {
        const Entry entry = literals.entries[index];
        table.steps[index] = (entry.op & kLiterals) != 0 ? literal_step(literals, index, entry)
                             : entry.op < kLiterals      ? match_step(distances, index, entry)
                                                         : Step{};
    }
}

}  // namespace inflating
}  // namespace imagemill
