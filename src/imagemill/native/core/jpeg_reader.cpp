#include "jpeg_reader.hpp"

#include <algorithm>
#include <cstring>

#include <jerror.h>

#include "exif.hpp"
#include "jpeg_headers.hpp"

#ifndef LIBJPEG_TURBO_VERSION_NUMBER
#error "libjpeg-turbo is needed: other libjpegs cannot skip rows and columns"
#endif

namespace imagemill {
namespace {

// A progressive file may repeat its scans without end; honest ones have a dozen.
constexpr int kMostScans = 500;

constexpr char kExifPrefix[] = "Exif\0";  // with the literal's own zero: six bytes

bool begins_with(jpeg_saved_marker_ptr marker, const char* prefix, size_t size) {
    return marker->data_length >= size && std::memcmp(marker->data, prefix, size) == 0;
}

}  // namespace

JpegReader::JpegReader(Text& text, Decoder decoder) : PictureReader(text), decoder_(decoder) {
    info_.err = jpeg_std_error(&errors_.manager);
    errors_.manager.error_exit = on_error;
    errors_.manager.emit_message = on_message;
    errors_.text = text.buffer();
    progress_.progress_monitor = on_progress;
}

JpegReader::~JpegReader() { jpeg_destroy_decompress(&info_); }

void JpegReader::on_error(j_common_ptr info) {
    auto* errors = reinterpret_cast<Errors*>(info->err);
    static_assert(JMSG_LENGTH_MAX <= kTextBytes, "libjpeg's messages must fit");
    errors->manager.format_message(info, errors->text);
    std::longjmp(errors->jump, 1);
}

// A warning says that pixels may be wrong, and which ones no one knows: all but the harmless one end the decode.
void JpegReader::on_message(j_common_ptr info, int level) {
    const jpeg_error_mgr* manager = info->err;
    const bool padding_before_end =
        manager->msg_code == JWRN_EXTRANEOUS_DATA && manager->msg_parm.i[1] == JPEG_EOI;
    if (level < 0 && !padding_before_end) {
        on_error(info);
    }
    if (padding_before_end) {
        reinterpret_cast<Errors*>(info->err)->padded = true;
    }
}

void JpegReader::on_progress(j_common_ptr info) {
    if (reinterpret_cast<j_decompress_ptr>(info)->input_scan_number > kMostScans) {
        auto* errors = reinterpret_cast<Errors*>(info->err);
        std::snprintf(errors->text, kTextBytes, "more than %d scans", kMostScans);
        std::longjmp(errors->jump, 1);
    }
}

bool JpegReader::open(const uint8_t* data, size_t size) {
    if (setjmp(errors_.jump) != 0) {
        status_ = Status::kDoubtful;
        return false;
    }
    jpeg_create_decompress(&info_);
    info_.progress = &progress_;
    jpeg_mem_src(&info_, data, static_cast<unsigned long>(size));
    jpeg_save_markers(&info_, JPEG_APP0 + 1, 0xFFFF);
    jpeg_save_markers(&info_, JPEG_APP0 + 2, 0xFFFF);
    jpeg_read_header(&info_, TRUE);
    look_at_markers();
    if (info_.jpeg_color_space == JCS_UNKNOWN) {
        return refuse("unusual channels");
    }
    // What is cut off below the region would not be noticed: the rows there are never read.
    return has_end() || refuse("no end marker");
}

void JpegReader::look_at_markers() {
    for (jpeg_saved_marker_ptr marker = info_.marker_list; marker != nullptr; marker = marker->next) {
        if (marker->marker == JPEG_APP0 + 1 && begins_with(marker, kExifPrefix, sizeof kExifPrefix)) {
            if (orientation_ == 1) {
                orientation_ = exif_orientation(marker->data + sizeof kExifPrefix,
                                                marker->data_length - sizeof kExifPrefix);
            }
        } else if (marker->marker == JPEG_APP0 + 2) {
            profile_hash_ = profile_hash_with(profile_hash_, marker->data, marker->data_length);
        }
    }
}

// Whether an end marker follows the header; mostly the last two bytes are it.
bool JpegReader::has_end() const {
    const uint8_t* bytes = info_.src->next_input_byte;
    for (size_t i = info_.src->bytes_in_buffer; i >= 2; --i) {
        if (bytes[i - 1] == JPEG_EOI && bytes[i - 2] == 0xFF) {
            return true;
        }
    }
    return false;
}

// Whether the scans of a progressive picture brought every coefficient to its last bit; some are left out on purpose.
bool JpegReader::has_all_scans() const {
    for (int component = 0; info_.coef_bits != nullptr && component < info_.num_components; ++component) {
        const int* bits = info_.coef_bits[component];
        if (!std::all_of(bits, bits + DCTSIZE2, [](int left) { return left == 0; })) {
            return false;
        }
    }
    return true;
}

bool JpegReader::start(const Box& region, int shrink) {
    region_width_ = region.width;
    if (start_own(region, shrink)) {
        return true;
    }
    if (pixels_ == nullptr && decoder_ == Decoder::kOwn) {
        status_ = Status::kElsewhere;
    }
    return pixels_ == nullptr && decoder_ != Decoder::kOwn && start_libjpeg(region, shrink);
}

// False where this is for libjpeg.
bool JpegReader::prepare_own() {
    HuffmanScan scan;
    if (decoder_ == Decoder::kLibjpeg || !describe_frame(info_, frame_) || !describe_scan(info_, scan)) {
        return false;
    }
    source_.reset(new HuffmanSource(frame_, info_.src->next_input_byte, info_.src->bytes_in_buffer));
    if (!source_->prepare(scan)) {
        source_.reset();
    }
    return source_ != nullptr;
}

// False with no pixels_ where this is for libjpeg.
bool JpegReader::start_own(const Box& region, int shrink) {
    if (!prepare_own()) {
        return false;
    }
    const Sides shrunk{(frame_.sides.height + shrink - 1) / shrink, (frame_.sides.width + shrink - 1) / shrink};
    if (!is_inside(region, shrunk)) {
        return false;
    }
    pixels_.reset(new JpegPixels(frame_, *source_));
    return pixels_->start(region, shrink) || refuse("damaged data");
}

int JpegReader::row_bytes() const {
    return pixels_ != nullptr ? pixels_->row_bytes() : static_cast<int>(info_.output_width) * 4;
}

bool JpegReader::read(uint8_t* const* rows, int count) {
    if (pixels_ == nullptr ? !read_libjpeg(rows, count) : !pixels_->read(rows, count) && !refuse("damaged data")) {
        return false;
    }
    for (int i = 0; colours_ != nullptr && i < count; ++i) {
        colours_->to_srgb(rows[i] + static_cast<ptrdiff_t>(column_offset_) * 4, region_width_);
    }
    return true;
}

bool JpegReader::start_libjpeg(const Box& region, int shrink) {
    if (setjmp(errors_.jump) != 0) {
        status_ = Status::kDoubtful;
        return false;
    }
    inks_ = info_.jpeg_color_space == JCS_CMYK || info_.jpeg_color_space == JCS_YCCK;
    info_.out_color_space = inks_ ? JCS_CMYK : JCS_EXT_RGBX;
    info_.scale_num = 1;
    info_.scale_denom = static_cast<unsigned>(shrink);
    info_.do_block_smoothing = FALSE;
    jpeg_start_decompress(&info_);
    if (!has_all_scans()) {
        // libjpeg then guesses coefficients, which depends on the columns read.
        return refuse("scans are missing");
    }
    const Box whole{0, 0, static_cast<int>(info_.output_height), static_cast<int>(info_.output_width)};
    if (!is_inside(region, {whole.height, whole.width})) {
        return refuse("the shrunk picture is smaller than expected");
    }
    // libjpeg takes the first and last column it decodes for edges of the picture, where chroma is not
    // interpolated: one more chroma sample on either side keeps that out of the region.
    const int margin = info_.max_h_samp_factor;
    const int left = std::max(region.left - margin, 0);
    const int right = std::min(region.left + region.width + margin, whole.width);
    if (left > 0 || right < whole.width) {
        JDIMENSION offset = static_cast<JDIMENSION>(left);
        JDIMENSION width = static_cast<JDIMENSION>(right - left);
        jpeg_crop_scanline(&info_, &offset, &width);
        column_offset_ = region.left - static_cast<int>(offset);
    } else {
        column_offset_ = region.left;
    }
    if (region.top > 0 && jpeg_skip_scanlines(&info_, static_cast<JDIMENSION>(region.top)) == 0) {
        return refuse("rows cannot be skipped");
    }
    return true;
}

bool JpegReader::read_libjpeg(uint8_t* const* rows, int count) {
    if (setjmp(errors_.jump) != 0) {
        status_ = Status::kDoubtful;
        return false;
    }
    for (int done = 0; done < count;) {
        auto** wanted = const_cast<JSAMPARRAY>(rows + done);
        const int given = static_cast<int>(jpeg_read_scanlines(&info_, wanted, static_cast<JDIMENSION>(count - done)));
        if (given == 0) {
            return refuse("the picture has fewer rows than its header says");
        }
        for (int i = 0; inks_ && i < given; ++i) {
            inks_to_colours(rows[done + i], info_.output_width);
        }
        done += given;
    }
    return true;
}

bool JpegReader::prove() {
    if (prepare_own()) {
        return ends_well();
    }
    return decoder_ != Decoder::kOwn && prove_libjpeg() && ends_well();
}

bool JpegReader::ends_well() {
    return (source_ != nullptr ? source_->ends_well() : finish_libjpeg()) || refuse("damaged data or stray bytes");
}

// At an eighth in grey: libjpeg then transforms nothing but the means of the blocks, and reads the codes all the same.
bool JpegReader::prove_libjpeg() {
    if (setjmp(errors_.jump) != 0) {
        status_ = Status::kDoubtful;
        return false;
    }
    const bool inks = info_.jpeg_color_space == JCS_CMYK || info_.jpeg_color_space == JCS_YCCK;
    info_.out_color_space = inks ? JCS_CMYK : JCS_GRAYSCALE;
    info_.scale_num = 1;
    info_.scale_denom = DCTSIZE;
    info_.do_block_smoothing = FALSE;
    jpeg_start_decompress(&info_);
    if (!has_all_scans()) {
        return refuse("scans are missing");
    }
    const JDIMENSION row_bytes = info_.output_width * static_cast<JDIMENSION>(info_.output_components);
    auto* pool = reinterpret_cast<j_common_ptr>(&info_);
    JSAMPARRAY row = info_.mem->alloc_sarray(pool, JPOOL_IMAGE, row_bytes, 1);
    while (info_.output_scanline < info_.output_height) {
        jpeg_read_scanlines(&info_, row, 1);
    }
    return true;
}

bool JpegReader::finish_libjpeg() {
    if (setjmp(errors_.jump) != 0) {
        return false;
    }
    jpeg_finish_decompress(&info_);
    return !errors_.padded && info_.src->bytes_in_buffer == 0;
}

}  // namespace imagemill
