#include "jpeg_headers.hpp"

#include <algorithm>
#include <cstring>
#include <iterator>

namespace imagemill {
namespace {

bool colours_of(const jpeg_decompress_struct& info, ColourModel& colours) {
    switch (info.jpeg_color_space) {
        case JCS_GRAYSCALE:
            colours = ColourModel::kGrey;
            return info.num_components == 1;
        case JCS_YCbCr:
            colours = ColourModel::kYCbCr;
            return info.num_components == 3;
        case JCS_RGB:
            colours = ColourModel::kRgb;
            return info.num_components == 3;
        default:
            return false;
    }
}

bool copy_code(const JHUFF_TBL* table, HuffmanCode& code) {
    if (table == nullptr) {
        return false;
    }
    static_assert(sizeof code.counts == sizeof table->bits && sizeof code.symbols == sizeof table->huffval, "as T.81");
    std::memcpy(code.counts, table->bits, sizeof code.counts);
    std::memcpy(code.symbols, table->huffval, sizeof code.symbols);
    return true;
}

}  // namespace

bool describe_frame(const jpeg_decompress_struct& info, JpegFrame& frame) {
    frame = {};
    if (info.data_precision != 8 || !colours_of(info, frame.colours)) {
        return false;
    }
    frame.sides = {static_cast<int>(info.image_height), static_cast<int>(info.image_width)};
    frame.component_count = info.num_components;
    for (int i = 0; i < info.num_components; ++i) {
        const jpeg_component_info& from = info.comp_info[i];
        const JQUANT_TBL* table =
            from.quant_tbl_no >= 0 && from.quant_tbl_no < NUM_QUANT_TBLS ? info.quant_tbl_ptrs[from.quant_tbl_no] : nullptr;
        if (table == nullptr) {
            return false;
        }
        JpegComponent& component = frame.components[i];
        component.across = from.h_samp_factor;
        component.down = from.v_samp_factor;
        std::copy(std::begin(table->quantval), std::end(table->quantval), component.steps);
    }
    return frame.settle();
}

bool describe_scan(const jpeg_decompress_struct& info, HuffmanScan& scan) {
    if (info.progressive_mode != 0 || info.arith_code != 0 || info.comps_in_scan != info.num_components ||
        info.num_components > kMostComponents || info.Ss != 0 || info.Se != DCTSIZE2 - 1 || info.Ah != 0 ||
        info.Al != 0) {
        return false;
    }
    for (int i = 0; i < info.num_components; ++i) {
        const jpeg_component_info* component = info.cur_comp_info[i];
        const int dc = component->dc_tbl_no, ac = component->ac_tbl_no;
        if (component != &info.comp_info[i] || std::min(dc, ac) < 0 || std::max(dc, ac) >= HuffmanScan::kMostCodes ||
            !copy_code(info.dc_huff_tbl_ptrs[dc], scan.dc[dc]) || !copy_code(info.ac_huff_tbl_ptrs[ac], scan.ac[ac])) {
            return false;
        }
        scan.dc_of[i] = dc;
        scan.ac_of[i] = ac;
    }
    scan.restart_interval = static_cast<int>(info.restart_interval);
    return true;
}

}  // namespace imagemill
