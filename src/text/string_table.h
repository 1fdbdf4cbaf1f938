/* string_table.h - different byte strings, numbered 0, 1, ... in the order they were added.
 *
 * Serves as a vocabulary (number = token id) and as the learner's set of words. A caller that looks
 * up many prefixes of one text computes their hashes in one pass with fc_hash_step.
 * Reading is thread-safe once nothing is added any more. All Local. */
#ifndef FC_TEXT_STRING_TABLE_H
#define FC_TEXT_STRING_TABLE_H

#include "fedcell/fc_hash.h"
#include "fedcell/fc_tokenizer.h"
#include <stdint.h>

typedef struct { /* zero-initialise */
  char *bytes;   /* all strings, one behind the other */
  size_t bytes_size, bytes_capacity;
  size_t *end; /* (n) where each string ends in bytes */
  size_t end_capacity;
  int32_t n;
  size_t longest; /* length of the longest string */
  struct fc_string_slot {
    uint32_t hash_tag; /* high half of the hash: most misses need no look at the bytes */
    int32_t number;    /* -1: free */
  } * slots;
  size_t slot_count; /* a power of two, at most half full */
} fc_string_table;

/* Appends a string that is not in the table; *number is that of the equal one if there is one. */
fc_err fc_string_table_add(fc_string_table *t, fc_text s, int32_t *number);
/* -1 where it is not in the table. */
int32_t fc_string_table_find(const fc_string_table *t, fc_text s);
fc_text fc_string_table_get(const fc_string_table *t, int32_t number);
void fc_string_table_free(fc_string_table *t);

/* The same where the hash of s (fc_hash.h) is known already. */
int32_t fc_string_table_find_hashed(const fc_string_table *t, fc_text s, uint64_t hash);

#endif
