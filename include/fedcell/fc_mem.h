/* fc_mem.h - memory that is counted, and slabs.
 *
 * fc_alloc gives zeroed memory aligned to 64 bytes and counts it, so that `fedcell check` and the
 * result file can tell the peak. A slab is one allocation that hands out pieces in order; a tensor
 * group lives in one slab and nothing is allocated in a training step:
 *
 *   FC_TRY(fc_slab_create(bytes, &slab));
 *   float *x = fc_slab_take(slab, rows * width * sizeof(float));   // NULL only if sized wrongly
 *   fc_slab_reset(slab);                                          // pieces may be handed out anew
 *
 * All Local and thread-safe except a single slab, which belongs to one thread. */
#ifndef FC_MEM_H
#define FC_MEM_H

#include "fedcell/fc_err.h"
#include <stddef.h>

enum { FC_MEM_ALIGNMENT = 64 };

/* count * size bytes, zeroed, aligned. count 0 gives a valid one-byte block. NOMEM when the product
 * overflows, the memory limit is passed or the system has none; *out is NULL then. */
fc_err fc_alloc(size_t count, size_t size, void *out_pointer);
/* Accepts NULL. Only for memory from fc_alloc / fc_realloc. */
void fc_free(void *p);
/* Grows or shrinks *pointer (which may be NULL) to count * size bytes, keeping its content; new
 * bytes are zero. On failure *pointer stays valid. */
fc_err fc_realloc(size_t count, size_t size, void *inout_pointer);

/* printf into memory of its own; the caller frees *out with fc_free. */
fc_err fc_format(char **out, const char *format, ...) __attribute__((format(printf, 2, 3)));

size_t fc_mem_current_bytes(void);
size_t fc_mem_peak_bytes(void);
/* 0 removes the limit. Further allocations beyond it fail with NOMEM. */
void fc_mem_set_limit_bytes(size_t bytes);

/* Lets the n-th allocation from now (from 1) fail with NOMEM and all others pass; 0: none. For
 * tests of what happens after a failure. */
void fc_mem_fail_at(size_t n);

typedef struct fc_slab fc_slab;
fc_err fc_slab_create(size_t bytes, fc_slab **out);
void fc_slab_destroy(fc_slab **slab); /* accepts NULL; leaves *slab == NULL */
/* bytes rounded up to FC_MEM_ALIGNMENT; asserts that they are there, else NULL. */
void *fc_slab_take(fc_slab *slab, size_t bytes);
void fc_slab_reset(fc_slab *slab);
/* What `bytes` occupy in a slab: for sizing. */
size_t fc_slab_round(size_t bytes);

#endif
