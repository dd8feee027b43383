// One JPEG, read row by row: only the rows and columns asked for, at full, half, quarter or eighth size.
#pragma once

#include <csetjmp>
#include <cstddef>
#include <cstdint>
#include <cstdio>  // jpeglib.h wants FILE

#include <jpeglib.h>

#include "colour.hpp"
#include "placement.hpp"
#include "status.hpp"

namespace imagemill {

// libjpeg reports errors by a function that must not return. It jumps back into the method that called libjpeg;
// these methods therefore hold nothing that would need a destructor while libjpeg runs.
class JpegReader {
  public:
    explicit JpegReader(Text& text);
    ~JpegReader();
    JpegReader(const JpegReader&) = delete;
    JpegReader& operator=(const JpegReader&) = delete;

    // Reads the header. `data` must live as long as the reader.
    bool open(const uint8_t* data, size_t size);

    Sides sides() const { return {static_cast<int>(info_.image_height), static_cast<int>(info_.image_width)}; }
    int orientation() const { return orientation_; }       // of the EXIF block; 1 where it has none
    uint64_t profile_hash() const { return profile_hash_; }  // of the ICC profile; 0 where there is none

    // Three channels that are no inks: what a profile of RGB can be for.
    bool is_colour() const { return info_.num_components == 3; }

    // Colours that read() gives go through this; it must live as long as the reader.
    void convert(const ColourMap* colours) { colours_ = colours; }

    // Prepares for the rows and columns of `region`, which is in pixels of the picture shrunk by `shrink`
    // (1, 2, 4 or 8). Rows of pixels then come from the region's top on.
    bool start(const Box& region, int shrink);

    int row_bytes() const { return static_cast<int>(info_.output_width) * 4; }  // of a row that read() fills
    int column_offset() const { return column_offset_; }  // pixels before the region's left column in such a row

    // The next `count` rows as R, G, B and an unused byte.
    bool read(uint8_t* const* rows, int count);

    // Instead of start() and read(): decodes every code of every scan and no pixels to speak of. True only where nothing
    // at all is to be remarked of the file, padding and bytes behind its end included.
    bool prove();

    Status status() const { return status_; }

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

    bool refuse(const char* why);
    void look_at_markers();
    bool has_end() const;
    bool has_all_scans() const;

    Text& text_;
    Errors errors_{};
    jpeg_progress_mgr progress_{};
    jpeg_decompress_struct info_{};
    Status status_ = Status::kDone;
    int orientation_ = 1;
    uint64_t profile_hash_ = 0;
    int column_offset_ = 0;
    int region_width_ = 0;
    const ColourMap* colours_ = nullptr;
    bool inks_ = false;  // four channels that must become RGB
};

}  // namespace imagemill
