/* buffer.c - growing arrays and byte buffers. */
#include "buffer.h"
#include "fedcell/fc_mem.h"
#include <stdint.h>
#include <string.h>

fc_err fc_grow(size_t needed, size_t element_size, size_t *capacity, void *inout_pointer) {
  if (needed <= *capacity) return FC_ERR_OK;
  size_t wanted = *capacity < SIZE_MAX / 2 ? 2 * *capacity : SIZE_MAX;
  if (wanted < needed) wanted = needed;
  if (wanted < 16) wanted = 16;
  FC_TRY(fc_realloc(wanted, element_size, inout_pointer));
  *capacity = wanted;
  return FC_ERR_OK;
}

fc_err fc_buffer_add(fc_buffer *b, const void *data, size_t n) {
  if (n == 0) return FC_ERR_OK;
  FC_CHECK(n <= SIZE_MAX - b->size, NOMEM, "a text of more than %zu bytes", b->size);
  FC_TRY(fc_grow(b->size + n, 1, &b->capacity, &b->data));
  memcpy(b->data + b->size, data, n);
  b->size += n;
  return FC_ERR_OK;
}

fc_err fc_buffer_terminate(fc_buffer *b) {
  FC_TRY(fc_buffer_add(b, "", 1));
  b->size--;
  return FC_ERR_OK;
}

void fc_buffer_free(fc_buffer *b) {
  fc_free(b->data);
  *b = (fc_buffer){0};
}
