/* attention_cached.c - attention of one new token against kept keys and values, head by head: the
 * step of generation. Products are plain loops, as each weight is used once. */
#include "approx.h"
#include "kernel.h"
#include <math.h>

FC_K_CLONES
static float scores_of(float *score, const float *q, const float *k, int64_t ld, int64_t length,
                       int width, float scale) {
  float largest = -INFINITY;
  for (int64_t j = 0; j < length; j++, k += ld) {
    float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
    for (int c = 0; c < width; c++) sum += q[c] * k[c];
    score[j] = scale * sum;
    largest = score[j] > largest ? score[j] : largest;
  }
  return largest;
}

FC_K_CLONES
static void mean_of_values(float *restrict out, float *score, float largest, const float *v,
                           int64_t ld, int64_t length, int width) {
  float sum = 0.0f;
  memset(out, 0, (size_t)width * sizeof *out);
  for (int64_t j = 0; j < length; j++, v += ld) {
    const float p = fc_exp_negative(score[j] - largest);
    sum += p;
#pragma omp simd
    for (int c = 0; c < width; c++) out[c] += p * v[c];
  }
  const float factor = 1.0f / sum;
#pragma omp simd
  for (int c = 0; c < width; c++) out[c] *= factor;
}

void fc_k_attention_cached(float *out, const float *q, const float *k, const float *v,
                           int64_t length, fc_attention_shape s, float *scratch) {
  const int64_t ld = (int64_t)s.kv_heads * s.head_width;
  const float scale = 1.0f / sqrtf((float)s.head_width);
  for (int h = 0; h < s.heads; h++, q += s.head_width, out += s.head_width) {
    const int64_t at = (int64_t)(h / (s.heads / s.kv_heads)) * s.head_width;
    const float largest = scores_of(scratch, q, k + at, ld, length, s.head_width, scale);
    mean_of_values(out, scratch, largest, v + at, ld, length, s.head_width);
  }
}

void fc_k_attention_cached_ref(float *out, const float *q, const float *k, const float *v,
                               int64_t length, fc_attention_shape s, float *scratch) {
  const int64_t ld = (int64_t)s.kv_heads * s.head_width;
  for (int h = 0; h < s.heads; h++) {
    const int64_t at = (int64_t)(h / (s.heads / s.kv_heads)) * s.head_width;
    const float *query = q + (int64_t)h * s.head_width;
    double largest = -INFINITY, sum = 0.0;
    for (int64_t j = 0; j < length; j++) {
      double score = 0.0;
      for (int c = 0; c < s.head_width; c++) score += (double)query[c] * k[j * ld + at + c];
      scratch[j] = (float)(score / sqrt((double)s.head_width));
      if (!(scratch[j] <= largest)) largest = scratch[j];
    }
    for (int64_t j = 0; j < length; j++) sum += exp(scratch[j] - largest);
    for (int c = 0; c < s.head_width; c++) {
      double mean = 0.0;
      for (int64_t j = 0; j < length; j++)
        mean += exp(scratch[j] - largest) / sum * v[j * ld + at + c];
      out[(int64_t)h * s.head_width + c] = (float)mean;
    }
  }
}
