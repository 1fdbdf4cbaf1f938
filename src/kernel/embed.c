/* embed.c - embeddings (token + position + type), and dropout. */
#include "kernel.h"
#include <assert.h>
#include <math.h>

FC_K_CLONES
static void add_rows(float *restrict x, const float *restrict a, const float *restrict b, int n) {
#pragma omp simd
  for (int i = 0; i < n; i++) x[i] = a[i] + b[i];
}

FC_K_CLONES
static void add_row(float *restrict x, const float *restrict a, int n) {
#pragma omp simd
  for (int i = 0; i < n; i++) x[i] += a[i];
}

void fc_k_embed_fwd(float *x, const int32_t *tokens, const int32_t *types, const int64_t *start,
                    int sequences, const float *token, const float *position, const float *type,
                    int position_offset, int C) {
  for (int b = 0; b < sequences; b++)
    for (int64_t n = start[b]; n < start[b + 1]; n++) {
      int64_t at = n - start[b] + position_offset;
      add_rows(x + n * C, token + (int64_t)tokens[n] * C, position + at * C, C);
      if (type) add_row(x + n * C, type + (int64_t)(types ? types[n] : 0) * C, C);
    }
}

void fc_k_embed_fwd_ref(float *x, const int32_t *tokens, const int32_t *types, const int64_t *start,
                        int sequences, const float *token, const float *position, const float *type,
                        int position_offset, int C) {
  for (int b = 0; b < sequences; b++)
    for (int64_t n = start[b]; n < start[b + 1]; n++)
      for (int c = 0; c < C; c++) {
        double sum = token[(int64_t)tokens[n] * C + c];
        sum += position[(n - start[b] + position_offset) * C + c];
        if (type) sum += type[(int64_t)(types ? types[n] : 0) * C + c];
        x[n * C + c] = (float)sum;
      }
}

void fc_k_embed_bwd(float *dtoken, float *dposition, float *dtype, const float *dx,
                    const int32_t *tokens, const int32_t *types, const int64_t *start,
                    int sequences, int position_offset, int C) {
  for (int b = 0; b < sequences; b++)
    for (int64_t n = start[b]; n < start[b + 1]; n++) {
      const float *row = dx + n * C;
      int64_t at = n - start[b] + position_offset;
      if (dtoken) add_row(dtoken + (int64_t)tokens[n] * C, row, C);
      if (dposition) add_row(dposition + at * C, row, C);
      if (dtype) add_row(dtype + (int64_t)(types ? types[n] : 0) * C, row, C);
    }
}

void fc_k_embed_bwd_ref(float *dtoken, float *dposition, float *dtype, const float *dx,
                        const int32_t *tokens, const int32_t *types, const int64_t *start,
                        int sequences, int position_offset, int C) {
  for (int b = 0; b < sequences; b++)
    for (int64_t n = start[b]; n < start[b + 1]; n++)
      for (int c = 0; c < C; c++) {
        float d = dx[n * C + c];
        if (dtoken) dtoken[(int64_t)tokens[n] * C + c] += d;
        if (dposition) dposition[(n - start[b] + position_offset) * C + c] += d;
        if (dtype) dtype[(int64_t)(types ? types[n] : 0) * C + c] += d;
      }
}

/* ---- dropout: element i takes bits 16 (i mod 4) of the stream's word i/4, dropped when below
 * p 2^16. Multiplying, also by 0, keeps NaN visible. ------------------------------------------ */

static uint32_t threshold_of(float p) {
  assert(p >= 0.0f && p <= 1.0f);
  return (uint32_t)lrint((double)p * 65536.0);
}

void fc_k_dropout(float *y, const float *x, float p, fc_rng rng, int64_t n) {
  const uint32_t threshold = threshold_of(p);
  const float keep = p < 1.0f ? 1.0f / (1.0f - p) : 0.0f;
  int64_t i = 0;
  for (; i + 4 <= n; i += 4) {
    uint64_t word = fc_rng_u64(&rng);
    for (int j = 0; j < 4; j++)
      y[i + j] = x[i + j] * ((uint32_t)(word >> (16 * j)) % 65536 < threshold ? 0.0f : keep);
  }
  if (i == n) return;
  uint64_t word = fc_rng_u64(&rng);
  for (; i < n; i++, word >>= 16) y[i] = x[i] * ((uint32_t)word % 65536 < threshold ? 0.0f : keep);
}

void fc_k_dropout_ref(float *y, const float *x, float p, fc_rng rng, int64_t n) {
  uint64_t word = 0;
  for (int64_t i = 0; i < n; i++) {
    if (i % 4 == 0) word = fc_rng_u64(&rng);
    uint32_t draw = (uint32_t)(word >> (16 * (i % 4))) & 0xffff;
    double factor = draw < threshold_of(p) ? 0.0 : 1.0 / (1.0 - p);
    y[i] = (float)(x[i] * factor);
  }
}
