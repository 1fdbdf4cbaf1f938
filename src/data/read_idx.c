/* read_idx.c - pairs of idx files as MNIST is published in (see readers.h).
 *
 * [MNIST] big-endian 32-bit words: magic 0x0000TTDD (type TT = 08: unsigned byte, DD dimensions),
 * then the DD sizes, then the bytes. */
#include "readers.h"
#include <inttypes.h>

enum { MAGIC_IMAGES = 0x0803, MAGIC_LABELS = 0x0801, LARGEST_SIDE = 4096 };

static uint32_t word_at(const fc_source *src, size_t offset) {
  const unsigned char *p = (const unsigned char *)src->bytes + offset;
  return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* Magic and sizes; `size` (1 or 3) are checked against the length of the file. */
static fc_err read_header(const fc_source *src, uint32_t magic, int dims, uint32_t *size) {
  size_t header = 4 + 4 * (size_t)dims;
  FC_CHECK(src->size >= 4, DATA, "%s: byte %zu: the file ends within its header", src->name,
           src->size);
  FC_CHECK(word_at(src, 0) == magic, DATA,
           "%s: byte 0: magic number 0x%08" PRIx32 ", expected 0x%08" PRIx32 " (%s)", src->name,
           word_at(src, 0), magic, dims == 3 ? "idx images" : "idx labels");
  FC_CHECK(src->size >= header, DATA, "%s: byte %zu: the file ends within its header", src->name,
           src->size);
  for (int d = 0; d < dims; d++) size[d] = word_at(src, 4 + 4 * (size_t)d);
  FC_CHECK(size[0] > 0, DATA, "%s: no samples", src->name);
  uint64_t item = 1;
  for (int d = 1; d < dims; d++) {
    FC_CHECK(size[d] >= 1 && size[d] <= LARGEST_SIDE, DATA,
             "%s: byte %d: side of %" PRIu32 " pixels, allowed is 1 to %d", src->name, 4 + 4 * d,
             size[d], LARGEST_SIDE);
    item *= size[d];
  }
  uint64_t need = header + size[0] * item; /* < 2^57 */
  FC_CHECK(src->size >= need, DATA,
           "%s: byte %zu: the file ends here, its header promises %" PRIu64 " bytes", src->name,
           src->size, need);
  FC_CHECK(src->size == need, DATA, "%s: byte %" PRIu64 ": %" PRIu64 " bytes after the last sample",
           src->name, need, (uint64_t)src->size - need);
  return FC_ERR_OK;
}

fc_err fc_read_idx(const fc_source *images, const fc_source *labels, int classes, fc_rows *rows,
                   int *height, int *width) {
  uint32_t image[3] = {0}, label[1] = {0};
  FC_TRY(read_header(images, MAGIC_IMAGES, 3, image));
  FC_TRY(read_header(labels, MAGIC_LABELS, 1, label));
  FC_CHECK(image[0] == label[0], DATA,
           "%s: byte 4: %" PRIu32 " labels, but %s has %" PRIu32 " images", labels->name, label[0],
           images->name, image[0]);
  size_t pixels = (size_t)image[1] * image[2];
  for (uint32_t i = 0; i < image[0]; i++) {
    unsigned char value = (unsigned char)labels->bytes[8 + (size_t)i];
    FC_CHECK(value < classes, DATA, "%s: byte %zu: label %d, allowed is 0 to %d", labels->name,
             8 + (size_t)i, value, classes - 1);
    fc_text picture = {images->bytes + 16 + (size_t)i * pixels, pixels};
    FC_TRY(fc_rows_add(rows, picture, (fc_text){"", 0}, value));
  }
  *height = (int)image[1];
  *width = (int)image[2];
  return FC_ERR_OK;
}
