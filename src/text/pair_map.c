/* pair_map.c - open addressing with linear probing, keyed by two ids. */
#include "pair_map.h"
#include "fedcell/fc_mem.h"

typedef struct fc_pair_slot slot;

static slot *slot_of(const fc_pair_map *m, int32_t left, int32_t right) {
  uint64_t key = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
  key ^= key >> 29;
  key *= UINT64_C(0x9e3779b97f4a7c15);
  for (size_t i = (size_t)(key >> 24);; i++) {
    slot *here = &m->slots[i & (m->slot_count - 1)];
    if (here->value < 0 || (here->left == left && here->right == right)) return here;
  }
}

static fc_err rehash(fc_pair_map *m, size_t slot_count) {
  fc_pair_map fresh = {.n = m->n, .slot_count = slot_count};
  FC_TRY(fc_alloc(slot_count, sizeof *fresh.slots, &fresh.slots));
  for (size_t i = 0; i < slot_count; i++) fresh.slots[i].value = -1;
  for (size_t i = 0; i < m->slot_count; i++)
    if (m->slots[i].value >= 0) *slot_of(&fresh, m->slots[i].left, m->slots[i].right) = m->slots[i];
  fc_free(m->slots);
  *m = fresh;
  return FC_ERR_OK;
}

int32_t fc_pair_map_find(const fc_pair_map *m, int32_t left, int32_t right) {
  return m->n ? slot_of(m, left, right)->value : -1;
}

fc_err fc_pair_map_add(fc_pair_map *m, int32_t left, int32_t right, int32_t value, int32_t *there) {
  if (2 * (m->n + 1) > m->slot_count) FC_TRY(rehash(m, m->slot_count ? 2 * m->slot_count : 64));
  slot *here = slot_of(m, left, right);
  if (here->value < 0) {
    *here = (slot){left, right, value};
    m->n++;
  }
  *there = here->value;
  return FC_ERR_OK;
}

void fc_pair_map_free(fc_pair_map *m) {
  fc_free(m->slots);
  *m = (fc_pair_map){0};
}
