// What libjpeg has read of a file's headers, in our own terms.
#pragma once

#include <cstdio>  // jpeglib.h wants FILE

#include <jpeglib.h>

#include "jpeg_frame.hpp"
#include "jpeg_huffman.hpp"

namespace imagemill {

// The frame, settled; after jpeg_read_header(). False for what JpegFrame does not hold: samples of more than 8 bits,
// inks, two or more than three components, a quantisation table that is not there (yet).
bool describe_frame(const jpeg_decompress_struct& info, JpegFrame& frame);

// The scan that follows; false where it is not the only one, sequential and Huffman-coded, with all tables there.
bool describe_scan(const jpeg_decompress_struct& info, HuffmanScan& scan);

}  // namespace imagemill
