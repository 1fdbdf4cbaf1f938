/* string_table.c - open addressing with linear probing over one block of bytes. */
#include "string_table.h"
#include "buffer.h"
#include "fedcell/fc_mem.h"
#include <string.h>

typedef struct fc_string_slot slot;

/* FNV's low bits depend on few input bits; the multiplication spreads them over the high half. */
static uint64_t spread(uint64_t hash) {
  hash ^= hash >> 32;
  return hash * UINT64_C(0x9e3779b97f4a7c15);
}

static uint64_t hash_of(fc_text s) {
  return fc_hash_bytes(FC_HASH_START, s.text, s.length);
}

fc_text fc_string_table_get(const fc_string_table *t, int32_t number) {
  size_t begin = number ? t->end[number - 1] : 0;
  return (fc_text){t->bytes + begin, t->end[number] - begin};
}

/* The slot of s, or the free one where it belongs. */
static slot *slot_of(const fc_string_table *t, fc_text s, uint64_t hash) {
  uint64_t spread_hash = spread(hash);
  uint32_t tag = (uint32_t)(spread_hash >> 32);
  for (size_t i = (size_t)(spread_hash >> 20);; i++) {
    slot *here = &t->slots[i & (t->slot_count - 1)];
    if (here->number < 0) return here;
    if (here->hash_tag != tag) continue;
    fc_text there = fc_string_table_get(t, here->number);
    if (there.length == s.length && memcmp(there.text, s.text, s.length) == 0) return here;
  }
}

static void fill_slot(slot *s, uint64_t hash, int32_t number) {
  s->hash_tag = (uint32_t)(spread(hash) >> 32);
  s->number = number;
}

static fc_err rehash(fc_string_table *t, size_t slot_count) {
  slot *fresh = NULL;
  FC_TRY(fc_alloc(slot_count, sizeof *fresh, &fresh));
  for (size_t i = 0; i < slot_count; i++) fresh[i].number = -1;
  fc_free(t->slots);
  t->slots = fresh;
  t->slot_count = slot_count;
  for (int32_t k = 0; k < t->n; k++) {
    fc_text s = fc_string_table_get(t, k);
    uint64_t hash = hash_of(s);
    fill_slot(slot_of(t, s, hash), hash, k);
  }
  return FC_ERR_OK;
}

static fc_err append(fc_string_table *t, fc_text s) {
  FC_CHECK(t->n < INT32_MAX, NOMEM, "more than %d different strings", INT32_MAX);
  FC_TRY(fc_grow((size_t)t->n + 1, sizeof *t->end, &t->end_capacity, &t->end));
  FC_TRY(fc_grow(t->bytes_size + s.length + 1, 1, &t->bytes_capacity, &t->bytes));
  if (s.length) memcpy(t->bytes + t->bytes_size, s.text, s.length);
  t->bytes_size += s.length;
  t->end[t->n++] = t->bytes_size;
  if (s.length > t->longest) t->longest = s.length;
  return FC_ERR_OK;
}

fc_err fc_string_table_add(fc_string_table *t, fc_text s, int32_t *number) {
  if (2 * ((size_t)t->n + 1) > t->slot_count)
    FC_TRY(rehash(t, t->slot_count ? 2 * t->slot_count : 64));
  uint64_t hash = hash_of(s);
  slot *here = slot_of(t, s, hash);
  if (here->number < 0) {
    FC_TRY(append(t, s));
    fill_slot(here, hash, t->n - 1);
  }
  *number = here->number;
  return FC_ERR_OK;
}

int32_t fc_string_table_find_hashed(const fc_string_table *t, fc_text s, uint64_t hash) {
  return t->n ? slot_of(t, s, hash)->number : -1;
}

int32_t fc_string_table_find(const fc_string_table *t, fc_text s) {
  return fc_string_table_find_hashed(t, s, hash_of(s));
}

void fc_string_table_free(fc_string_table *t) {
  fc_free(t->bytes);
  fc_free(t->end);
  fc_free(t->slots);
  *t = (fc_string_table){0};
}
