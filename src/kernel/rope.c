/* rope.c - rotary positions [Su+ 2021, (34)]: each pair of a head's elements is turned by an angle
 * that grows with the token's position. Pairs are element j and j + width/2, as in Hugging Face's
 * files. A rotation's gradient is the rotation back. */
#include "kernel.h"

/* sign 1: forward, -1: back. */
FC_K_CLONES
static void turn(float *restrict head, const float *restrict angle, float sign, int half) {
#pragma omp simd
  for (int j = 0; j < half; j++) {
    const float a = head[j], b = head[j + half], c = angle[j], s = sign * angle[j + half];
    head[j] = a * c - b * s;
    head[j + half] = b * c + a * s;
  }
}

static void turn_all(float *x, int ld, const float *table, float sign, const int64_t *start,
                     int sequences, int heads, int width) {
  for (int b = 0; b < sequences; b++)
    for (int64_t n = start[b]; n < start[b + 1]; n++)
      for (int h = 0; h < heads; h++)
        turn(x + n * ld + (int64_t)h * width, table + (n - start[b]) * width, sign, width / 2);
}

void fc_k_rope_fwd(float *x, int ld, const float *table, const int64_t *start, int sequences,
                   int heads, int width) {
  turn_all(x, ld, table, 1.0f, start, sequences, heads, width);
}

void fc_k_rope_bwd(float *dx, int ld, const float *table, const int64_t *start, int sequences,
                   int heads, int width) {
  turn_all(dx, ld, table, -1.0f, start, sequences, heads, width);
}

static void turn_all_ref(float *x, int ld, const float *table, double sign, const int64_t *start,
                         int sequences, int heads, int width) {
  for (int b = 0; b < sequences; b++)
    for (int64_t n = start[b]; n < start[b + 1]; n++)
      for (int i = 0; i < heads * width; i++) {
        int j = i % width, half = width / 2;
        if (j >= half) continue;
        const float *angle = table + (n - start[b]) * width;
        float *a = x + n * ld + i, *c = a + half, first = *a;
        *a = (float)((double)first * angle[j] - sign * *c * angle[j + half]);
        *c = (float)((double)*c * angle[j] + sign * first * angle[j + half]);
      }
}

void fc_k_rope_fwd_ref(float *x, int ld, const float *table, const int64_t *start, int sequences,
                       int heads, int width) {
  turn_all_ref(x, ld, table, 1.0, start, sequences, heads, width);
}

void fc_k_rope_bwd_ref(float *dx, int ld, const float *table, const int64_t *start, int sequences,
                       int heads, int width) {
  turn_all_ref(dx, ld, table, -1.0, start, sequences, heads, width);
}
