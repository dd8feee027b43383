// One JPEG file, read row by row: by our own decoder where it is sequential and Huffman-coded in one scan, else by libjpeg.
#pragma once

#include <csetjmp>
#include <cstddef>
#include <cstdint>
#include <cstdio>  // jpeglib.h wants FILE
#include <memory>

#include <jpeglib.h>

#include "jpeg_frame.hpp"
#include "jpeg_huffman.hpp"
#include "jpeg_pixels.hpp"
#include "picture_reader.hpp"

namespace imagemill {

// libjpeg reads every header, so that there is one judgement of them. It reports errors by a function that must not
// return, and jumps back into the method that called it; methods that call it therefore hold nothing that would need a
// destructor meanwhile.
class JpegReader : public PictureReader {
  public:
    // For tests and benchmarks. The numbers are part of the interface: native/__init__.py has the same list.
    enum class Decoder : int32_t { kAny = 0, kLibjpeg = 1, kOwn = 2 };

    explicit JpegReader(Text& text, Decoder decoder = Decoder::kAny);
    ~JpegReader() override;

    // Reads the header. `data` must live as long as the reader.
    bool open(const uint8_t* data, size_t size);

    Sides sides() const override { return {static_cast<int>(info_.image_height), static_cast<int>(info_.image_width)}; }
    int channels() const override { return info_.num_components; }
    bool start(const Box& region, int shrink) override;
    int row_bytes() const override;
    int column_offset() const override { return column_offset_; }
    bool read(uint8_t* const* rows, int count) override;

    // After all rows of the whole picture: whether nothing at all is to be remarked of the file, padding and bytes behind
    // its end included.
    bool ends_well();

    // Instead of start() and read(): decodes every code of every scan and makes no pixels of them. As ends_well().
    bool prove();

  private:
    struct Errors {
        jpeg_error_mgr manager;  // first: libjpeg hands back a pointer to it
        std::jmp_buf jump;
        char* text;
        bool padded;  // there were stray bytes before the end marker
    };

    static void on_error(j_common_ptr info);
    static void on_message(j_common_ptr info, int level);
    static void on_progress(j_common_ptr info);

    void look_at_markers();
    bool has_end() const;
    bool has_all_scans() const;
    bool prepare_own();
    bool start_own(const Box& region, int shrink);
    bool prove_libjpeg();
    bool finish_libjpeg();
    bool start_libjpeg(const Box& region, int shrink);
    bool read_libjpeg(uint8_t* const* rows, int count);

    Errors errors_{};
    jpeg_progress_mgr progress_{};
    jpeg_decompress_struct info_{};
    Decoder decoder_;
    int column_offset_ = 0;
    int region_width_ = 0;
    bool inks_ = false;  // four channels that must become RGB
    JpegFrame frame_{};
    std::unique_ptr<HuffmanSource> source_;  // null where libjpeg decodes
    std::unique_ptr<JpegPixels> pixels_;
};

}  // namespace imagemill
