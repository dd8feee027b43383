#include "jpeg_planes.hpp"

#include <algorithm>
#include <csetjmp>
#include <cstdio>  // jpeglib.h wants FILE
#include <cstdlib>

#include <jpeglib.h>

#include <jerror.h>

namespace imagemill {
namespace {

struct Errors {
    jpeg_error_mgr manager;  // first: libjpeg hands back a pointer to it
    std::jmp_buf jump;
};

void on_error(j_common_ptr info) { std::longjmp(reinterpret_cast<Errors*>(info->err)->jump, 1); }

// A warning says that coefficients may be wrong: all but the harmless one end the reading.
void on_message(j_common_ptr info, int level) {
    const jpeg_error_mgr* manager = info->err;
    const bool padding_before_end =
        manager->msg_code == JWRN_EXTRANEOUS_DATA && manager->msg_parm.i[1] == JPEG_EOI;
    if (level < 0 && !padding_before_end) {
        on_error(info);
    }
}

// What libjpeg holds, let go at the end of the scope. libjpeg reports errors by a jump into the function that called
// it, so those hold nothing else that needs a destructor.
struct Reading {
    jpeg_decompress_struct info{};
    Errors errors{};

    Reading() {
        info.err = jpeg_std_error(&errors.manager);
        errors.manager.error_exit = on_error;
        errors.manager.emit_message = on_message;
    }
    ~Reading() { jpeg_destroy_decompress(&info); }
    Reading(const Reading&) = delete;
    Reading& operator=(const Reading&) = delete;
};

struct Writing {
    jpeg_compress_struct info{};
    Errors errors{};
    unsigned char* bytes = nullptr;
    unsigned long size = 0;

    Writing() {
        info.err = jpeg_std_error(&errors.manager);
        errors.manager.error_exit = on_error;
        errors.manager.emit_message = on_message;
    }
    ~Writing() {
        jpeg_destroy_compress(&info);
        std::free(bytes);
    }
    Writing(const Writing&) = delete;
    Writing& operator=(const Writing&) = delete;
};

jvirt_barray_ptr* coefficients_of(Reading& reading, const uint8_t* data, size_t size, bool keeps_markers) {
    jpeg_decompress_struct& info = reading.info;
    jpeg_create_decompress(&info);
    jpeg_mem_src(&info, data, static_cast<unsigned long>(size));
    for (int marker = JPEG_APP0; keeps_markers && marker < JPEG_APP0 + 16; ++marker) {
        jpeg_save_markers(&info, marker, 0xFFFF);
    }
    if (keeps_markers) {
        jpeg_save_markers(&info, JPEG_COM, 0xFFFF);
    }
    jpeg_read_header(&info, TRUE);
    return jpeg_read_coefficients(&info);
}

bool fill(Reading& reading, const uint8_t* data, size_t size, const OutlineFrame& frame, Planes& planes) {
    if (setjmp(reading.errors.jump) != 0) {
        return false;
    }
    jvirt_barray_ptr* arrays = coefficients_of(reading, data, size, false);
    jpeg_decompress_struct& info = reading.info;
    if (info.num_components != static_cast<int>(frame.components.size())) {
        return false;
    }
    for (int i = 0; i < info.num_components; ++i) {
        const OutlineComponent& one = frame.components[static_cast<size_t>(i)];
        const auto wide = static_cast<size_t>(one.blocks_wide) * kBlockSize;
        int16_t* row = planes.blocks[i].data();
        for (int y = 0; y < one.blocks_high; ++y, row += wide) {
            const JBLOCKARRAY blocks = (*info.mem->access_virt_barray)(
                reinterpret_cast<j_common_ptr>(&info), arrays[i], static_cast<JDIMENSION>(y), 1, FALSE);
            std::copy_n(&blocks[0][0][0], wide, row);
        }
    }
    jpeg_finish_decompress(&info);
    return true;
}

bool is_written_anyway(const jpeg_compress_struct& info, jpeg_saved_marker_ptr marker) {
    const bool is_jfif = marker->marker == JPEG_APP0 && marker->data_length >= 5 && marker->data[0] == 'J' &&
                         marker->data[1] == 'F' && marker->data[2] == 'I' && marker->data[3] == 'F';
    const bool is_adobe = marker->marker == JPEG_APP0 + 14 && marker->data_length >= 5 && marker->data[0] == 'A' &&
                          marker->data[1] == 'd' && marker->data[2] == 'o' && marker->data[3] == 'b';
    return (is_jfif && info.write_JFIF_header != 0) || (is_adobe && info.write_Adobe_marker != 0);
}

bool copy_normalised(Reading& reading, Writing& writing, const uint8_t* data, size_t size) {
    if (setjmp(reading.errors.jump) != 0 || setjmp(writing.errors.jump) != 0) {
        return false;
    }
    jvirt_barray_ptr* arrays = coefficients_of(reading, data, size, true);
    jpeg_create_compress(&writing.info);
    jpeg_mem_dest(&writing.info, &writing.bytes, &writing.size);
    jpeg_copy_critical_parameters(&reading.info, &writing.info);
    writing.info.optimize_coding = TRUE;
    jpeg_write_coefficients(&writing.info, arrays);
    for (jpeg_saved_marker_ptr marker = reading.info.marker_list; marker != nullptr; marker = marker->next) {
        if (!is_written_anyway(writing.info, marker)) {
            jpeg_write_marker(&writing.info, marker->marker, marker->data, marker->data_length);
        }
    }
    jpeg_finish_compress(&writing.info);
    jpeg_finish_decompress(&reading.info);
    return true;
}

}  // namespace

bool read_planes(const uint8_t* data, size_t size, const OutlineFrame& frame, Planes& planes) {
    planes.allot(frame);
    Reading reading;
    return fill(reading, data, size, frame, planes);
}

bool run_over_jpeg(const uint8_t* data, size_t size) {
    Reading reading;
    if (setjmp(reading.errors.jump) != 0) {
        return false;
    }
    coefficients_of(reading, data, size, false);
    return true;
}

std::vector<uint8_t> normalised(const uint8_t* data, size_t size) {
    Reading reading;
    Writing writing;
    if (!copy_normalised(reading, writing, data, size)) {
        return {};
    }
    return {writing.bytes, writing.bytes + writing.size};
}

}  // namespace imagemill
