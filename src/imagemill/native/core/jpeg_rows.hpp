// Rows of samples to rows of pixels: chroma brought to full size, colours converted, as libjpeg-turbo does it.
#pragma once

#include <cstddef>
#include <cstdint>

namespace imagemill {

// The functions below work on this many samples at a time: so much more may be read and written behind a row.
constexpr int kRowStep = 16;

// "Fancy" upsampling by 2: three quarters of the nearer sample, one of the further one; `count` samples in. Those beside
// the row, in[-1] and in[count], are read, too.
void widen_row(const uint8_t* in, uint8_t* out, int count);

// The same between two rows; `is_below` says that the further one is below the nearer: it rounds the other way.
void blend_rows(const uint8_t* nearer, const uint8_t* further, bool is_below, uint8_t* out, int count);

// Both at once; nearer and further rows with the samples beside them.
void widen_rows(const uint8_t* nearer, const uint8_t* further, uint8_t* out, int count);

// Every sample `times` times.
void repeat_samples(const uint8_t* in, int times, uint8_t* out, int count);

// To R, G, B and an unused byte: by JFIF's formula; of three planes; of one.
void convert_ycc(const uint8_t* y, const uint8_t* cb, const uint8_t* cr, uint8_t* out, int count);
void interleave(const uint8_t* red, const uint8_t* green, const uint8_t* blue, uint8_t* out, int count);

}  // namespace imagemill
