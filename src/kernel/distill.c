/* distill.c - Kullback-Leibler divergence from a teacher's distribution, alone and fused with both
 * LM heads. With a = z - max z, b = z* - max z* (teacher), S = sum exp a, S* = sum exp b:
 *   KL(softmax z* || softmax z) = log S - log S* + sum exp(b) (b - a)/S*
 *   dKL/dz = exp(a)/S - exp(b)/S*
 * Everything is relative to the maxima, so that near the teacher, where the value is a small
 * difference, its terms are small too, and equal rows give 0 exactly.
 *
 * The fused form walks the vocabulary twice: for the maxima and sums, then for the rest. A single
 * walk would subtract two products of unequal scale, which bf16 rounds before they cancel. */
#include "approx.h"
#include "kernel.h"
#include "lm_table.h"
#include "softmax.h"
#include <math.h>

enum { ROW_BLOCK = 256, VOCABULARY_CHUNK = 2048, SUM_BLOCK = 512 };

/* A row's logits so far. */
typedef struct {
  double sum; /* of exp(logit - largest) */
  float largest;
} side;

/* What the second walk takes of a row. */
typedef struct {
  side student, teacher;
  double distance; /* sum of exp(b) (b - a) */
} row_state;

static float shift_of(const side *s) {
  return s->largest > -INFINITY ? s->largest : 0.0f;
}

static void take(side *s, const float *logits, int64_t n) {
  const float chunk_max = fc_k_row_max(logits, n);
  if (chunk_max > s->largest) {
    s->sum *= fc_exp(s->largest - chunk_max);
    s->largest = chunk_max;
  }
  s->sum += fc_k_row_exp_sum(logits, shift_of(s), n);
}

FC_K_CLONES
static double distance(const float *z, const float *z_teacher, float shift, float shift_teacher,
                       int64_t n) {
  double total = 0.0;
  for (int64_t i0 = 0; i0 < n; i0 += SUM_BLOCK) {
    const int64_t end = fc_k_min(n, i0 + SUM_BLOCK);
    float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = i0; i < end; i++) {
      const float a = z[i] - shift, b = z_teacher[i] - shift_teacher;
      const float e = fc_exp_negative(b), term = e * (b - a);
      sum += e == 0.0f ? 0.0f : term; /* 0 times infinity is 0 here; NaN stays */
    }
    total += sum;
  }
  return total;
}

/* d = factor exp(a) - factor_teacher exp(b); d may be z. */
FC_K_CLONES
static void difference(float *d, const float *z, const float *z_teacher, float shift,
                       float shift_teacher, float factor, float factor_teacher, int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; i++)
    d[i] = factor * fc_exp_negative(z[i] - shift) -
           factor_teacher * fc_exp_negative(z_teacher[i] - shift_teacher);
}

static const row_state fresh_row = {.student.largest = -INFINITY, .teacher.largest = -INFINITY};

static void first_look(row_state *r, const float *z, const float *z_teacher, int64_t n) {
  take(&r->student, z, n);
  take(&r->teacher, z_teacher, n);
}

/* d (n), NULL or z: the gradient. */
static void second_look(row_state *r, float *d, const float *z, const float *z_teacher, float scale,
                        int64_t n) {
  const float shift = shift_of(&r->student), shift_teacher = shift_of(&r->teacher);
  r->distance += distance(z, z_teacher, shift, shift_teacher, n);
  if (d)
    difference(d, z, z_teacher, shift, shift_teacher, (float)(scale / r->student.sum),
               (float)(scale / r->teacher.sum), n);
}

static float row_loss(const row_state *r) {
  return (float)(log(r->student.sum) - log(r->teacher.sum) + r->distance / r->teacher.sum);
}

void fc_k_kl(float *loss, float *dlogits, const float *logits, const float *teacher, float scale,
             int64_t N, int V) {
  for (int64_t n = 0; n < N; n++) {
    const float *z = logits + n * V, *z_teacher = teacher + n * V;
    row_state r = fresh_row;
    first_look(&r, z, z_teacher, V);
    second_look(&r, dlogits ? dlogits + n * V : NULL, z, z_teacher, scale, V);
    loss[n] = row_loss(&r);
  }
}

/* ---- fused with the heads ---------------------------------------------------------------------
 */

typedef struct {
  const fc_lm_table *table, *teacher;
  float *dW, *dbias;
  float scale;
  int C, V, chunk;
  float *logits, *teacher_logits; /* (block of rows, chunk) */
} task;

static int chunk_of(int V) {
  return V < VOCABULARY_CHUNK ? V : VOCABULARY_CHUNK;
}

size_t fc_k_lm_distill_scratch(int64_t N, int V) {
  return 2 * (size_t)fc_k_max(1, fc_k_min(N, ROW_BLOCK)) * (size_t)chunk_of(V);
}

static fc_k_words words_at(const task *t, const fc_lm_table *table, int v0) {
  return (fc_k_words){table, t->C, t->V, v0, (int)fc_k_min(t->chunk, t->V - v0)};
}

static int both_logits(const task *t, const float *x, const float *x_teacher, int v0,
                       int64_t rows) {
  const fc_k_words words = words_at(t, t->table, v0);
  fc_k_words_fwd(t->logits, x, words, rows);
  fc_k_words_fwd(t->teacher_logits, x_teacher, words_at(t, t->teacher, v0), rows);
  return words.n;
}

/* One block of rows. dx (rows,C) or NULL. */
static void block_of_rows(const task *t, float *loss, float *dx, const float *x,
                          const float *x_teacher, int64_t rows) {
  row_state state[ROW_BLOCK];
  for (int64_t i = 0; i < rows; i++) state[i] = fresh_row;
  for (int v0 = 0; v0 < t->V; v0 += t->chunk) {
    const int n = both_logits(t, x, x_teacher, v0, rows);
    for (int64_t i = 0; i < rows; i++)
      first_look(&state[i], t->logits + i * n, t->teacher_logits + i * n, n);
  }
  for (int v0 = 0; v0 < t->V; v0 += t->chunk) {
    const fc_k_words words = words_at(t, t->table, v0);
    const int64_t n = words.n;
    if (t->V > t->chunk) both_logits(t, x, x_teacher, v0, rows);
    for (int64_t i = 0; i < rows; i++) {
      float *z = t->logits + i * n;
      second_look(&state[i], dx ? z : NULL, z, t->teacher_logits + i * n, t->scale, n);
    }
    if (!dx) continue;
    fc_k_words_bwd_input(dx, t->logits, words, rows);
    if (t->dW || t->dbias) fc_k_words_bwd_weight(t->dW, t->dbias, t->logits, x, words, rows);
  }
  for (int64_t i = 0; i < rows; i++) loss[i] = row_loss(&state[i]);
}

void fc_k_lm_distill(float *loss, float *dx, float *dW, float *dbias, const float *x,
                     const float *x_teacher, const fc_lm_table *table, const fc_lm_table *teacher,
                     float scale, int64_t N, int C, int V, float *scratch) {
  const int chunk = chunk_of(V);
  const task t = {.table = table,
                  .teacher = teacher,
                  .dW = dW,
                  .dbias = dbias,
                  .scale = scale,
                  .C = C,
                  .V = V,
                  .chunk = chunk,
                  .logits = scratch,
                  .teacher_logits = scratch + fc_k_min(N, ROW_BLOCK) * chunk};
  for (int64_t n = 0; n < N; n += ROW_BLOCK)
    block_of_rows(&t, loss + n, dx ? dx + n * C : NULL, x + n * C, x_teacher + n * C,
                  fc_k_min(ROW_BLOCK, N - n));
}
