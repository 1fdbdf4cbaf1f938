/* channel_trace.c - measured channels in the place of drawn ones. The table owns the values; an
 * index sorted by round and device finds a row. */
#include "cell.h"
#include "fedcell/fc_mem.h"
#include <math.h>
#include <stdlib.h>

enum { ROUND, DEVICE, GAIN_UP, GAIN_DOWN, INTERFERENCE, COLUMNS };
static const char *const names[COLUMNS] = {"round", "device", "gain_up", "gain_down",
                                           "interference_up_w"};
/* A gain above 1 is no slip by itself: fading may lift a link of little loss. */
static const range limits[COLUMNS] = {
    {1, 9007199254740992.0}, {0, 4294967295.0}, {0, 1e6}, {0, 1e6}, {0, 1e6}};

const char *fc_cell_channel_column(size_t i) {
  return i < COLUMNS ? names[i] : NULL;
}

static double value_at(const channel_trace *t, uint32_t row, int column) {
  return t->table.value[(size_t)row * t->table.columns + (size_t)t->table.column_of[column]];
}

static int compare_keys(const void *a, const void *b) {
  const struct channel_key *x = a, *y = b;
  if (x->round != y->round) return x->round < y->round ? -1 : 1;
  return (x->device > y->device) - (x->device < y->device);
}

static fc_err make_index(const char *path, channel_trace *t) {
  uint32_t n = t->table.rows;
  FC_CHECK(t->table.column_of[ROUND] >= 0 && t->table.column_of[DEVICE] >= 0 &&
               t->table.columns > 2,
           DATA, "%s: needs the columns round and device, and gain_up, gain_down or %s", path,
           names[INTERFERENCE]);
  FC_TRY(fc_alloc(n, sizeof *t->key, &t->key));
  for (uint32_t row = 0; row < n; row++) {
    double round = value_at(t, row, ROUND), device = value_at(t, row, DEVICE);
    FC_CHECK(round == floor(round) && device == floor(device), DATA,
             "%s: round %.10g, device %.10g: must be whole numbers", path, round, device);
    t->key[row] = (struct channel_key){(uint64_t)round, (uint32_t)device, row};
  }
  qsort(t->key, n, sizeof *t->key, compare_keys);
  for (uint32_t i = 1; i < n; i++)
    FC_CHECK(compare_keys(&t->key[i - 1], &t->key[i]) != 0, DATA,
             "%s: round %llu, device %u is there twice", path, (unsigned long long)t->key[i].round,
             t->key[i].device);
  return FC_ERR_OK;
}

fc_err channel_trace_create(const char *path, const fc_trace_table *table, channel_trace *out) {
  const trace_form form = {fc_cell_channel_column, limits};
  *out = (channel_trace){.key = NULL};
  FC_TRY(table ? trace_copy(path, table, &form, &out->table)
               : trace_read(path, &form, &out->table));
  fc_err err = make_index(path, out);
  if (err != FC_ERR_OK) channel_trace_free(out);
  return err;
}

void channel_trace_free(channel_trace *t) {
  trace_free(&t->table);
  fc_free(t->key);
  t->key = NULL;
}

void channel_trace_lay(const channel_trace *t, uint64_t round, uint32_t device, fc_channel *h) {
  double *const to[COLUMNS] = {
      [GAIN_UP] = &h->gain_up, [GAIN_DOWN] = &h->gain_down, [INTERFERENCE] = &h->interference_up_w};
  if (!t->key) return;
  struct channel_key wanted = {round, device, 0};
  const struct channel_key *found =
      bsearch(&wanted, t->key, t->table.rows, sizeof wanted, compare_keys);
  for (int c = GAIN_UP; found && c < COLUMNS; c++)
    if (t->table.column_of[c] >= 0) *to[c] = value_at(t, found->row, c);
}
