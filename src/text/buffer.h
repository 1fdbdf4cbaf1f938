/* buffer.h - bytes that grow. Zero-initialise; the owner frees. All Local. */
#ifndef FC_TEXT_BUFFER_H
#define FC_TEXT_BUFFER_H

#include "fedcell/fc_err.h"
#include <stddef.h>

typedef struct {
  char *data; /* size bytes, not terminated */
  size_t size, capacity;
} fc_buffer;

fc_err fc_buffer_add(fc_buffer *b, const void *data, size_t n);
/* Puts a zero behind the data without counting it, so that data is a C string. */
fc_err fc_buffer_terminate(fc_buffer *b);
void fc_buffer_free(fc_buffer *b);

/* Room for `needed` elements in an array that doubles as it grows (fc_realloc). */
fc_err fc_grow(size_t needed, size_t element_size, size_t *capacity, void *inout_pointer);

#endif
