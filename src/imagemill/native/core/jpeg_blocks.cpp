#include "jpeg_blocks.hpp"

#include <array>

#include "jpeg_blocks_avx512.hpp"
#include "jpeg_outline.hpp"
#include "processor.hpp"

namespace imagemill {
namespace jpeg {
namespace {

// By row of a block and which of its eight values are there: the same in zigzag order.
using Orders = std::array<std::array<uint64_t, 256>, kBlockSide>;

Orders make_orders() {
    Orders orders{};
    for (int k = 0; k < kBlockSize; ++k) {
        const int row = kZigzag[k] / kBlockSide, column = kZigzag[k] % kBlockSide;
        for (size_t values = 0; values < 256; ++values) {
            orders[row][values] |= static_cast<uint64_t>(values >> column & 1) << k;
        }
    }
    return orders;
}

const Orders kOrders = make_orders();

// The next value that is there, and the zeros before it.
IMAGEMILL_INLINE void code_value(uint64_t& present, int& before, const Block& block, const ValueCodes& codes,
                                 PlainBits& bits) {
    const int k = __builtin_ctzll(present);
    int run = k - before - 1;
    before = k;
    present &= present - 1;
    for (; __builtin_expect(run > 15, 0); run -= 16) {
        bits.flush();
        bits.put(codes.sixteen_zeros());
    }
    bits.put(codes.ac(run, block.values[kZigzag[k]]));
}

// All but the first coefficient of a block.
IMAGEMILL_INLINE void code_block(const Block& block, const ValueCodes& codes, PlainBits& bits) {
    uint64_t present = 0;
    for (int row = 0; row < kBlockSide; ++row) {
        present |= kOrders[static_cast<size_t>(row)][block.present >> (kBlockSide * row) & 0xFF];
    }
    present &= ~uint64_t{1};
    int before = 0;
    while (present != 0) {
        code_value(present, before, block, codes, bits);
        if (present != 0) {
            code_value(present, before, block, codes, bits);
        }
        bits.flush();
    }
    if (before != kBlockSize - 1) {
        bits.put(codes.end_of_block());
        bits.flush();
    }
}

// A component's blocks of one MCU, by number from 0 on.
struct McuBlocks {
    const ComponentRow& row;
    int first;  // column

    IMAGEMILL_INLINE int count() const { return row.across * row.down; }

    // Writes the first coefficient of a block, and the whole block where it is none of the picture; null in that case.
    IMAGEMILL_INLINE const Block* begin(int number, int& last, PlainBits& bits) const {
        const bool is_lower = number >= row.across;
        const int x = first + (is_lower ? number - row.across : number), y = is_lower ? 1 : 0;
        if (x >= row.wide || y >= row.high) {
            bits.put_two(row.codes->dc(0), row.codes->end_of_block());
            bits.flush();
            return nullptr;
        }
        const Block& block = row.blocks[y * row.stride + x];
        bits.put(row.codes->dc(block.values[0] - last));
        last = block.values[0];
        bits.flush();
        return &block;
    }
};

IMAGEMILL_INLINE void code_component(const ComponentRow& row, int mcu, int16_t& last, PlainBits& out) {
    PlainBits bits = out;  // in registers
    const McuBlocks blocks{row, mcu * row.across};
    int before = last;
    for (int i = 0; i < blocks.count(); ++i) {
        if (const Block* block = blocks.begin(i, before, bits)) {
            code_block(*block, *row.codes, bits);
        }
    }
    last = static_cast<int16_t>(before);
    out = bits;
}

void code_baseline(const ComponentRow& row, int mcu, int16_t& last, PlainBits& bits) {
    code_component(row, mcu, last, bits);
}

#if defined(__x86_64__)
__attribute__((target("bmi,bmi2,lzcnt"))) void code_bmi2(const ComponentRow& row, int mcu, int16_t& last,
                                                         PlainBits& bits) {
    code_component(row, mcu, last, bits);
}

// Given bits and giving them back, so that they stay in registers elsewhere.
__attribute__((noinline, cold)) PlainBits code_far(const Block& block, const ValueCodes& codes, PlainBits bits) {
    code_block(block, codes, bits);
    return bits;
}

IMAGEMILL_AVX512 void code_avx512(const ComponentRow& row, int mcu, int16_t& last, PlainBits& out) {
    PlainBits bits = out;
    const McuBlocks blocks{row, mcu * row.across};
    int before = last;
    for (int i = 0; i < blocks.count(); ++i) {
        const Block* block = blocks.begin(i, before, bits);
        if (block != nullptr && !code_near(*block, *row.codes, bits)) {
            bits = code_far(*block, *row.codes, bits);
        }
    }
    last = static_cast<int16_t>(before);
    out = bits;
}

decltype(&code_baseline) choose_code() {
    __builtin_cpu_init();
    if (!IMAGEMILL_HAS("bmi") || !IMAGEMILL_HAS("bmi2") || !IMAGEMILL_HAS("lzcnt")) {
        return code_baseline;
    }
    return IMAGEMILL_HAS("avx512bw") && IMAGEMILL_HAS("avx512vbmi2") && IMAGEMILL_HAS("popcnt") ? code_avx512 : code_bmi2;
}

const auto code = choose_code();
#else
constexpr auto code = code_baseline;
#endif

}  // namespace

void code_blocks(const ComponentRow& row, int mcu, int16_t& last, PlainBits& bits) { code(row, mcu, last, bits); }

}  // namespace jpeg
}  // namespace imagemill
