/* embed.c - embeddings: token + position + type, the last two where there are any. */
#include "kernel.h"

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
      const float *row = token + (tokens ? tokens[n] : n) * C;
      if (position)
        add_rows(x + n * C, row, position + at * C, C);
      else
        memcpy(x + n * C, row, (size_t)C * sizeof *x);
      if (type) add_row(x + n * C, type + (int64_t)(types ? types[n] : 0) * C, C);
    }
}

void fc_k_embed_fwd_ref(float *x, const int32_t *tokens, const int32_t *types, const int64_t *start,
                        int sequences, const float *token, const float *position, const float *type,
                        int position_offset, int C) {
  for (int b = 0; b < sequences; b++)
    for (int64_t n = start[b]; n < start[b + 1]; n++)
      for (int c = 0; c < C; c++) {
        double sum = token[(tokens ? tokens[n] : n) * C + c];
        if (position) sum += position[(n - start[b] + position_offset) * C + c];
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
