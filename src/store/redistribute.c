/* redistribute.c - moves table rows between ranks with MPI_Alltoallv.
 *
 * MPI counts are ints. Rows therefore travel in steps of at most `step_rows` local rows, so that
 * what all ranks together can send to one rank in one step stays below 2^31; the number of steps
 * is that of the rank with the most rows. The plan (which local row goes where, which place an
 * arriving row takes) is made once a table and used for every column. */
#include "redistribute.h"
#include "fedcell/fc_mem.h"
#include <limits.h>
#include <string.h>

struct fc_redistribution {
  const fc_comm *comm;
  int64_t total, first, count; /* rows in all; this rank's block */
  int64_t chunk_rows;
  int64_t step_rows;
  int64_t steps;        /* the same on all ranks */
  int64_t *block_first; /* (size + 1) */
  int64_t *order;       /* (local rows) sorted by destination within each step */
  int64_t *place;       /* (count) where in the block an arriving row belongs */
  int *send_counts;     /* (steps, size) rows */
  int *receive_counts;  /* (steps, size) */
  int *offsets;         /* (2, size) scratch: send, receive */
  void *outbox, *inbox; /* 8 bytes a row of the largest step */
};

void fc_redistribute_block(int64_t total, int64_t chunk_rows, int size, int rank, int64_t *first,
                           int64_t *count) {
  int64_t chunks = (total + chunk_rows - 1) / chunk_rows, chunk_first, chunk_count;
  fc_comm_share(chunks, size, rank, &chunk_first, &chunk_count);
  int64_t end = (chunk_first + chunk_count) * chunk_rows;
  *first = chunk_first * chunk_rows < total ? chunk_first * chunk_rows : total;
  *count = (end < total ? end : total) - *first;
}

/* The rank whose block holds the row. */
static int owner(const fc_redistribution *r, int64_t row) {
  int low = 0, high = r->comm->size - 1;
  while (low < high) { /* the first rank whose block ends after the row */
    int middle = low + (high - low) / 2;
    if (row < r->block_first[middle + 1])
      high = middle;
    else
      low = middle + 1;
  }
  return low;
}

static int64_t step_begin(const fc_redistribution *r, int64_t step, int64_t rows) {
  int64_t begin = step * r->step_rows;
  return begin < rows ? begin : rows;
}

/* Sorts the local rows of each step by destination (counting sort). */
static fc_err sort_rows(fc_redistribution *r, const fc_table *t, const char *name) {
  const int size = r->comm->size;
  const int64_t rows = (int64_t)fc_table_rows(t);
  for (int64_t i = 0; i < rows; i++) {
    int64_t row = fc_table_row_number(t, (size_t)i);
    FC_CHECK(row >= 0 && row < r->total, DATA, "table %s: row number %lld, there are %lld rows",
             name, (long long)row, (long long)r->total);
    r->send_counts[i / r->step_rows * size + owner(r, row)]++;
  }
  for (int64_t step = 0; step < r->steps; step++) {
    int64_t begin = step_begin(r, step, rows), end = step_begin(r, step + 1, rows);
    int offset = 0;
    for (int p = 0; p < size; p++) {
      r->offsets[p] = offset;
      offset += r->send_counts[step * size + p];
    }
    for (int64_t i = begin; i < end; i++)
      r->order[begin + r->offsets[owner(r, fc_table_row_number(t, (size_t)i))]++] = i;
  }
  return FC_ERR_OK;
}

static fc_err check_mpi(int code) {
  FC_CHECK(code == MPI_SUCCESS, PEER, "rows of a table could not be exchanged between ranks");
  return FC_ERR_OK;
}

/* Sends this step's outbox; `arrived` rows are in the inbox then. */
static fc_err exchange_step(const fc_redistribution *r, int64_t step, MPI_Datatype type,
                            int64_t *arrived) {
  const int size = r->comm->size;
  const int *send = r->send_counts + step * size, *receive = r->receive_counts + step * size;
  int *send_at = r->offsets, *receive_at = r->offsets + size, in = 0, out = 0;
  for (int p = 0; p < size; p++) {
    send_at[p] = out;
    receive_at[p] = in;
    out += send[p];
    in += receive[p];
  }
  *arrived = in;
  return check_mpi(MPI_Alltoallv(r->outbox, send, send_at, type, r->inbox, receive, receive_at,
                                 type, r->comm->world));
}

/* Sends the row numbers and notes where each arriving row belongs. Every rank goes through all
 * steps even if it has seen a wrong row, as the others wait for it. */
static fc_err exchange_rows(fc_redistribution *r, const fc_table *t, const char *name,
                            unsigned char *seen) {
  int64_t rows = (int64_t)fc_table_rows(t), arrived = 0, twice = -1;
  for (int64_t step = 0; step < r->steps; step++) {
    int64_t begin = step_begin(r, step, rows), end = step_begin(r, step + 1, rows);
    for (int64_t i = begin; i < end; i++)
      ((int64_t *)r->outbox)[i - begin] = fc_table_row_number(t, (size_t)r->order[i]);
    int64_t n = 0;
    FC_TRY(exchange_step(r, step, MPI_INT64_T, &n));
    for (int64_t i = 0; i < n; i++) {
      int64_t row = ((const int64_t *)r->inbox)[i], place = row - r->first;
      if (seen[place])
        twice = twice < 0 || row < twice ? row : twice; /* the lowest, on any number of ranks */
      else
        r->place[arrived++] = place;
      seen[place] = 1;
    }
  }
  /* `total` rows, all in range and none twice: then none is missing either */
  FC_CHECK(twice < 0, DATA, "table %s: row %lld was appended twice", name, (long long)twice);
  return FC_ERR_OK;
}

static fc_err allocate(fc_redistribution *r, int64_t rows) {
  size_t size = (size_t)r->comm->size, counts = (size_t)r->steps * size;
  int64_t outgoing = rows < r->step_rows ? rows : r->step_rows;
  FC_TRY(fc_alloc(size + 1, sizeof *r->block_first, &r->block_first));
  FC_TRY(fc_alloc((size_t)rows, sizeof *r->order, &r->order));
  FC_TRY(fc_alloc((size_t)r->count, sizeof *r->place, &r->place));
  FC_TRY(fc_alloc(counts, sizeof *r->send_counts, &r->send_counts));
  FC_TRY(fc_alloc(counts, sizeof *r->receive_counts, &r->receive_counts));
  FC_TRY(fc_alloc(2 * size, sizeof *r->offsets, &r->offsets));
  return fc_alloc((size_t)outgoing, sizeof(double), &r->outbox);
}

/* The inbox must hold the step in which most rows arrive; duplicates may make that more than the
 * block has. */
static fc_err allocate_inbox(fc_redistribution *r) {
  int64_t most = 0;
  for (int64_t step = 0; step < r->steps; step++) {
    int64_t n = 0;
    for (int p = 0; p < r->comm->size; p++) n += r->receive_counts[step * r->comm->size + p];
    if (n > most) most = n;
  }
  return fc_alloc((size_t)most, sizeof(double), &r->inbox);
}

static fc_err prepare(fc_redistribution *r, const fc_table *t, const char *name) {
  FC_TRY(allocate(r, (int64_t)fc_table_rows(t)));
  for (int p = 0; p < r->comm->size; p++) {
    int64_t count;
    fc_redistribute_block(r->total, r->chunk_rows, r->comm->size, p, &r->block_first[p], &count);
  }
  r->block_first[r->comm->size] = r->total;
  return sort_rows(r, t, name);
}

static fc_err plan(fc_redistribution *r, const fc_table *t, const char *name) {
  const fc_comm *comm = r->comm;
  unsigned char *seen = NULL;
  FC_TRY(fc_agree(comm, prepare(r, t, name)));
  for (int64_t step = 0; step < r->steps; step++)
    FC_TRY(check_mpi(MPI_Alltoall(r->send_counts + step * comm->size, 1, MPI_INT,
                                  r->receive_counts + step * comm->size, 1, MPI_INT, comm->world)));
  fc_err err = allocate_inbox(r);
  if (err == FC_ERR_OK) err = fc_alloc((size_t)r->count, 1, &seen);
  err = fc_agree(comm, err);
  if (err == FC_ERR_OK) err = fc_agree(comm, exchange_rows(r, t, name, seen));
  fc_free(seen);
  return err;
}

fc_err fc_redistribute_create(const fc_comm *comm, const fc_table *t, const char *name,
                              int64_t total, int64_t chunk_rows, int64_t step_rows,
                              fc_redistribution **out) {
  *out = NULL;
  fc_redistribution *r = NULL;
  fc_err err = fc_agree(comm, fc_alloc(1, sizeof *r, &r));
  if (err != FC_ERR_OK) {
    fc_free(r); /* another rank has none */
    return err;
  }
  const int64_t limit = INT_MAX / comm->size;
  r->comm = comm;
  r->total = total;
  r->chunk_rows = chunk_rows;
  r->step_rows = step_rows < limit ? step_rows : limit;
  fc_redistribute_block(total, chunk_rows, comm->size, comm->rank, &r->first, &r->count);
  int64_t steps = ((int64_t)fc_table_rows(t) + r->step_rows - 1) / r->step_rows;
  err = check_mpi(MPI_Allreduce(&steps, &r->steps, 1, MPI_INT64_T, MPI_MAX, comm->world));
  if (err == FC_ERR_OK) err = plan(r, t, name);
  if (err == FC_ERR_OK)
    *out = r;
  else
    fc_redistribute_destroy(&r);
  return err;
}

void fc_redistribute_destroy(fc_redistribution **r) {
  if (!*r) return;
  void *parts[] = {(*r)->block_first,    (*r)->order,   (*r)->place,  (*r)->send_counts,
                   (*r)->receive_counts, (*r)->offsets, (*r)->outbox, (*r)->inbox};
  for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) fc_free(parts[i]);
  fc_free(*r);
  *r = NULL;
}

fc_err fc_redistribute_column(const fc_redistribution *r, const fc_table *t, size_t column,
                              double *block) {
  int64_t rows = (int64_t)fc_table_rows(t), arrived = 0;
  for (int64_t step = 0; step < r->steps; step++) {
    int64_t begin = step_begin(r, step, rows), end = step_begin(r, step + 1, rows);
    for (int64_t i = begin; i < end; i++)
      ((double *)r->outbox)[i - begin] = fc_table_get(t, (size_t)r->order[i], column);
    int64_t n = 0;
    FC_TRY(exchange_step(r, step, MPI_DOUBLE, &n));
    for (int64_t i = 0; i < n; i++) block[r->place[arrived++]] = ((const double *)r->inbox)[i];
  }
  return FC_ERR_OK;
}
