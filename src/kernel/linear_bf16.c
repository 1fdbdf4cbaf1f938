/* linear_bf16.c - y = bf16(x) W^T by panels: blocking, threads and what is added to the sums.
 *
 * Up to ROW_BLOCK rows of x and DEPTH_BLOCK inputs at a time are rounded into tiles on the stack,
 * which stay in the second cache; the panels pass by once for them. Sums longer than DEPTH_BLOCK
 * wait in y, which costs no digits: a sum is one chain over ascending inputs that starts from what
 * is to be added (y, bias, adapters), wherever blocks and threads begin and end. */
#include "bf16.h"
#include <omp.h>

enum {
  ROWS = BF16_PANEL, /* of one call of a path's run */
  ROW_BLOCK = 192,
  DEPTH_BLOCK = 1024, /* with ROW_BLOCK rows 384 KiB */
  STRIP = 256,        /* outputs that are prepared and activated at a time */
  TERM_CHUNK = 16,    /* of an adapter's rank at a time */
  ROWS_A_THREAD = 128 /* fewer: threads share the outputs instead */
};
static const double parallel_from_flop = 2e7; /* below, threads cost more than they bring */

typedef struct {
  const fc_bf16_path *path;
  float *y;
  const float *x;
  const fc_bf16 *panels;
  int64_t ldy, ldx, panel_I;
  int I;
  fc_bf16_epilogue e;
} product;

/* Rows and outputs [row, row + rows) x [column, column + columns) of y. */
typedef struct {
  int64_t row, rows, column, columns;
} area;

/* ---- what is added and applied --------------------------------------------------------------- */

typedef float lanes __attribute__((vector_size(64), may_alias));
enum { LANES = 16, VECTORS = BF16_COLUMNS / LANES };

/* y (rows, columns) += s h B^T for R <= TERM_CHUNK; B is transposed, (R,STRIP). */
FC_K_CLONES
static void add_outer(float *y, int64_t ldy, const float *h, int64_t ldh, const lanes *B, int R,
                      float s, int64_t rows, int columns) {
  for (int64_t n = 0; n < rows; n++, y += ldy, h += ldh)
    for (int o = 0; o < columns; o += BF16_COLUMNS) {
      lanes sum[VECTORS] = {0};
      const lanes *b = B + o / LANES;
      for (int r = 0; r < R; r++, b += STRIP / LANES)
#pragma GCC unroll 4
        for (int v = 0; v < VECTORS; v++) sum[v] += h[r] * b[v];
      const float *sums = (const float *)sum;
      const int width = columns - o < BF16_COLUMNS ? columns - o : BF16_COLUMNS;
#pragma omp simd
      for (int i = 0; i < width; i++) y[o + i] = FC_K_FMA(s, sums[i], y[o + i]);
    }
}

/* The part of an adapter's term that falls into `a`, at most STRIP columns. */
static void add_term(const product *p, area a, const fc_lora_term *t) {
  const int64_t row = fc_k_max(a.row, t->row), column = fc_k_max(a.column, t->column);
  const int64_t rows = fc_k_min(a.row + a.rows, t->row + t->rows) - row;
  const int columns = (int)(fc_k_min(a.column + a.columns, t->column + t->columns) - column);
  if (rows <= 0 || columns <= 0) return;
  const float *B = t->B + (column - t->column) * t->B_o, *h = t->h + (row - t->row) * t->R;
  float *y = p->y + row * p->ldy + column;
  for (int r0 = 0; r0 < t->R; r0 += TERM_CHUNK) {
    const int R = (int)fc_k_min(TERM_CHUNK, t->R - r0);
    lanes transposed[TERM_CHUNK * STRIP / LANES] = {0};
    for (int r = 0; r < R; r++) {
      float *to = (float *)(transposed + r * (STRIP / LANES));
      for (int o = 0; o < columns; o++) to[o] = B[(int64_t)o * t->B_o + (int64_t)(r0 + r) * t->B_r];
    }
    add_outer(y, p->ldy, h + r0, t->R, transposed, R, t->s, rows, columns);
  }
}

/* Can the sums not start from zero, the bias or y as they are? */
static bool needs_preparation(const fc_bf16_epilogue *e) {
  return e->terms > 0 || (e->bias && e->accumulate);
}

/* y = y or 0, plus bias and adapters, for the sums to start from. */
static void prepare(const product *p, area a) {
  const fc_bf16_epilogue *e = &p->e;
  for (int64_t n = a.row; n < a.row + a.rows; n++) {
    float *y = p->y + n * p->ldy + a.column;
    for (int64_t o = 0; o < a.columns; o++)
      y[o] = (e->accumulate ? y[o] : 0.0f) + (e->bias ? e->bias[a.column + o] : 0.0f);
  }
  for (int t = 0; t < e->terms; t++) add_term(p, a, &e->term[t]);
}

static void activate(const product *p, area a) {
  for (int64_t n = a.row; n < a.row + a.rows; n++) {
    const int64_t at = n * p->ldy + a.column;
    fc_k_act_fwd(p->e.act_out + at, p->y + at, p->e.act, a.columns);
  }
}

/* ---- loops ----------------------------------------------------------------------------------- */

/* A part of y that is no whole tiles goes through a buffer of whole ones, so that its elements take
 * the same path as all others. */
static void edge_tiles(const fc_bf16_path *path, fc_bf16_tiles t, int rows, int columns) {
  _Alignas(64) float buffer[ROWS * BF16_COLUMNS] = {0};
  float *c = t.c;
  const int64_t ldc = t.ldc;
  t.c = buffer;
  t.ldc = BF16_COLUMNS;
  for (int n = 0; t.start && n < rows; n++)
    memcpy(buffer + n * BF16_COLUMNS, t.start + n * t.ld_start, (size_t)columns * sizeof *c);
  if (t.start) {
    t.start = buffer;
    t.ld_start = BF16_COLUMNS;
  }
  path->run(&t, rows, (columns + BF16_PANEL - 1) / BF16_PANEL);
  for (int n = 0; n < rows; n++)
    memcpy(c + n * ldc, buffer + n * BF16_COLUMNS, (size_t)columns * sizeof *c);
}

/* The rows of one block, whose inputs [i0, i0 + 32 blocks) are the tiles at A, times the panels of
 * at most BF16_COLUMNS outputs. The tiles of rows share the work of fetching the next panels. */
static void some_panels(const product *p, const fc_bf16 *A, int64_t blocks, int64_t i0, area a) {
  const bool from_y = i0 > 0 || p->e.accumulate || needs_preparation(&p->e);
  const int64_t row_tiles = (a.rows + ROWS - 1) / ROWS;
  fc_bf16_tiles t = {.a = A,
                     .b = p->panels + fc_bf16_index(p->panel_I, a.column, i0),
                     .b_next = fc_bf16_blocks(p->panel_I) * BF16_TILE,
                     .blocks = blocks,
                     .ld_start = from_y ? p->ldy : 0,
                     .ldc = p->ldy,
                     .soon_lines = (int)((BF16_PANEL + row_tiles - 1) / row_tiles)};
  t.soon = t.b + (a.columns + BF16_PANEL - 1) / BF16_PANEL * t.b_next;
  for (int64_t m = 0; m < a.rows; m += ROWS) {
    area part = a;
    part.row += m;
    part.rows = fc_k_min(ROWS, a.rows - m);
    t.c = p->y + part.row * p->ldy + a.column;
    t.start = from_y ? t.c : p->e.bias ? p->e.bias + a.column : NULL;
    if (part.rows % BF16_PANEL || a.columns % BF16_PANEL)
      edge_tiles(p->path, t, (int)part.rows, (int)a.columns);
    else
      p->path->run(&t, (int)part.rows, (int)a.columns / BF16_PANEL);
    t.a += blocks * BF16_TILE;
    t.soon += blocks * t.soon_lines * (BF16_TILE / BF16_PANEL);
  }
}

/* A product of few rows waits for memory, which gives two panels at a time faster than four. */
static void strip_panels(const product *p, const fc_bf16 *A, int64_t blocks, int64_t i0, area a) {
  const int columns = a.rows > ROWS ? BF16_COLUMNS : BF16_COLUMNS / 2;
  for (int64_t o = 0; o < a.columns; o += columns) {
    area some = a;
    some.column += o;
    some.columns = fc_k_min(columns, a.columns - o);
    some_panels(p, A, blocks, i0, some);
  }
}

/* Part i of n of [0, total) in whole units, as even as they go. */
static int64_t part(int64_t total, int64_t unit, int64_t i, int64_t n, int64_t *first) {
  const int64_t units = (total + unit - 1) / unit;
  *first = fc_k_min(total, units * i / n * unit);
  return fc_k_min(total, units * (i + 1) / n * unit) - *first;
}

/* Up to ROW_BLOCK rows. Without inputs, y still takes what is added. */
static void row_block(const product *p, area a) {
  _Alignas(64) fc_bf16 A[ROW_BLOCK * DEPTH_BLOCK];
  const int parts = p->I > DEPTH_BLOCK ? (p->I + DEPTH_BLOCK - 1) / DEPTH_BLOCK : 1;
  for (int i = 0; i < parts; i++) {
    int64_t i0;
    const int depth = (int)part(p->I, BF16_DEPTH, i, parts, &i0);
    p->path->convert(A, p->x + a.row * p->ldx + i0, p->ldx, (int)a.rows, depth);
    for (int64_t o = 0; o < a.columns; o += STRIP) {
      area strip = a;
      strip.column += o;
      strip.columns = fc_k_min(STRIP, a.columns - o);
      if (i == 0 && needs_preparation(&p->e)) prepare(p, strip);
      strip_panels(p, A, fc_bf16_blocks(depth), i0, strip);
      if (i == parts - 1 && p->e.act_out) activate(p, strip);
    }
  }
}

static void serial_product(const product *p, area a) {
  if (p->path->begin) p->path->begin();
  const int64_t blocks = (a.rows + ROW_BLOCK - 1) / ROW_BLOCK;
  for (int64_t i = 0; i < blocks; i++) {
    area block = a;
    block.rows = part(a.rows, ROWS, i, blocks, &block.row);
    block.row += a.row;
    row_block(p, block);
  }
  if (p->path->end) p->path->end();
}

/* Threads form a grid over y, of as many rows as leave each ROWS_A_THREAD: threads that share rows
 * all round them, threads that share panels all read them. */
static void thread_share(const product *p, area whole, int thread, int threads) {
  int down = (int)fc_k_max(1, fc_k_min(threads, whole.rows / ROWS_A_THREAD));
  while (threads % down) down--;
  const int across = threads / down;
  area a;
  a.rows = part(whole.rows, ROWS, thread / across, down, &a.row);
  a.columns = part(whole.columns, BF16_COLUMNS, thread % across, across, &a.column);
  if (a.rows && a.columns) serial_product(p, a);
}

void fc_k_linear_bf16(float *y, int ldy, const float *x, int ldx, const fc_bf16 *panels,
                      int panel_I, int64_t N, int I, int O, const fc_bf16_epilogue *e) {
  product p = {.path = fc_bf16_current_path(),
               .y = y,
               .x = x,
               .panels = panels,
               .ldy = ldy,
               .ldx = ldx,
               .panel_I = panel_I,
               .I = I};
  if (e) p.e = *e;
  const area whole = {.rows = N, .columns = O};
  const double flop = 2.0 * (double)N * I * O;
  if (flop < parallel_from_flop || omp_in_parallel() || omp_get_max_threads() == 1) {
    serial_product(&p, whole);
    return;
  }
#pragma omp parallel
  thread_share(&p, whole, omp_get_thread_num(), omp_get_num_threads());
}
