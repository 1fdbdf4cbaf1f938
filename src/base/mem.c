/* mem.c - counted, aligned, zeroed memory and slabs. A block's header keeps its size, so that
 * freeing it can be counted too; it takes one alignment unit so that the data stays aligned. */
#include "fedcell/fc_mem.h"
#include <assert.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static atomic_size_t current_bytes, peak_bytes, limit_bytes;
static atomic_size_t fail_countdown; /* 0: off */

typedef union {
  size_t bytes;
  char unit[FC_MEM_ALIGNMENT];
} block_header;

static void count_up(size_t bytes) {
  size_t now = atomic_fetch_add(&current_bytes, bytes) + bytes;
  size_t peak = atomic_load(&peak_bytes);
  while (now > peak && !atomic_compare_exchange_weak(&peak_bytes, &peak, now)) {
  }
}

void fc_mem_fail_at(size_t n) {
  atomic_store(&fail_countdown, n);
}

static bool is_to_fail(void) {
  size_t left = atomic_load(&fail_countdown);
  while (left > 0 && !atomic_compare_exchange_weak(&fail_countdown, &left, left - 1)) {
  }
  return left == 1;
}

fc_err fc_alloc(size_t count, size_t size, void *out_pointer) {
  void *none = NULL;
  memcpy(out_pointer, &none, sizeof none);
  size_t bytes = 0, whole = 0;
  FC_CHECK(!__builtin_mul_overflow(count, size, &bytes) &&
               !__builtin_add_overflow(bytes, 2 * sizeof(block_header), &whole),
           NOMEM, "an allocation of %zu x %zu bytes overflows the address space", count, size);
  FC_CHECK(!is_to_fail(), NOMEM, "out of memory: this allocation was to fail");
  size_t limit = atomic_load(&limit_bytes), now = atomic_load(&current_bytes);
  FC_CHECK(limit == 0 || (now <= limit && bytes <= limit - now), NOMEM,
           "out of memory: %zu bytes more would pass the limit of %zu bytes (%zu in use)", bytes,
           limit, now);
  /* aligned_alloc wants a multiple of the alignment. */
  whole = fc_slab_round(bytes ? bytes : 1) + sizeof(block_header);
  block_header *block = aligned_alloc(FC_MEM_ALIGNMENT, whole);
  FC_CHECK(block, NOMEM, "out of memory: the system has no %zu bytes more (%zu in use)", bytes,
           now);
  memset(block, 0, whole);
  block->bytes = bytes;
  count_up(bytes);
  void *data = block + 1;
  memcpy(out_pointer, &data, sizeof data);
  return FC_ERR_OK;
}

void fc_free(void *p) {
  if (!p) return;
  block_header *block = (block_header *)p - 1;
  atomic_fetch_sub(&current_bytes, block->bytes);
  free(block);
}

fc_err fc_realloc(size_t count, size_t size, void *inout_pointer) {
  void *old = NULL, *fresh = NULL;
  memcpy(&old, inout_pointer, sizeof old);
  FC_TRY(fc_alloc(count, size, &fresh));
  if (old) {
    size_t had = ((block_header *)old - 1)->bytes;
    memcpy(fresh, old, had < count * size ? had : count * size);
    fc_free(old);
  }
  memcpy(inout_pointer, &fresh, sizeof fresh);
  return FC_ERR_OK;
}

fc_err fc_format(char **out, const char *format, ...) {
  va_list args;
  va_start(args, format);
  int length = vsnprintf(NULL, 0, format, args);
  va_end(args);
  FC_TRY(fc_alloc((size_t)length + 1, 1, out));
  va_start(args, format);
  vsnprintf(*out, (size_t)length + 1, format, args);
  va_end(args);
  return FC_ERR_OK;
}

size_t fc_mem_current_bytes(void) {
  return atomic_load(&current_bytes);
}

size_t fc_mem_peak_bytes(void) {
  return atomic_load(&peak_bytes);
}

void fc_mem_set_limit_bytes(size_t bytes) {
  atomic_store(&limit_bytes, bytes);
}

struct fc_slab {
  char *data;
  size_t size, used;
};

size_t fc_slab_round(size_t bytes) {
  return (bytes + FC_MEM_ALIGNMENT - 1) / FC_MEM_ALIGNMENT * FC_MEM_ALIGNMENT;
}

fc_err fc_slab_create(size_t bytes, fc_slab **out) {
  *out = NULL;
  fc_slab *slab = NULL;
  FC_TRY(fc_alloc(1, sizeof *slab, &slab));
  bytes = fc_slab_round(bytes); /* pieces are whole units */
  fc_err err = fc_alloc(1, bytes, &slab->data);
  if (err != FC_ERR_OK) {
    fc_free(slab);
    return err;
  }
  slab->size = bytes;
  *out = slab;
  return FC_ERR_OK;
}

void fc_slab_destroy(fc_slab **slab) {
  if (!*slab) return;
  fc_free((*slab)->data);
  fc_free(*slab);
  *slab = NULL;
}

void *fc_slab_take(fc_slab *slab, size_t bytes) {
  size_t rounded = fc_slab_round(bytes);
  assert(rounded <= slab->size - slab->used);
  if (rounded > slab->size - slab->used) return NULL; /* a crash, but no overwritten memory */
  char *piece = slab->data + slab->used;
  slab->used += rounded;
  return piece;
}

void fc_slab_reset(fc_slab *slab) {
  slab->used = 0;
}
