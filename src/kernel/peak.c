/* peak.c - what the machine can do at most, for a benchmark to be held against: multiply-adds that
 * never leave the registers, and reading memory. */
#include "fedcell/fc_peak.h"
#include "kernel.h"
#if defined(__x86_64__)
#include <immintrin.h>
#endif

/* Chains enough to hide the latency of a multiply-add on two units, few enough for 16 registers. */
enum { CHAINS = 12, LANES_MAX = 16 };

/* Each chain runs towards 1: no overflow, no denormals, and the compiler cannot know the end. */
#define FMA_BURST(name, target, vector, set1, fma)                                                 \
  target static double name(float *out, int64_t n) {                                               \
    vector sum[CHAINS];                                                                            \
    const vector half = set1(0.5f);                                                                \
    for (int c = 0; c < CHAINS; c++) sum[c] = set1((float)c);                                      \
    for (int64_t i = 0; i < n; i++)                                                                \
      _Pragma("GCC unroll 12") for (int c = 0; c < CHAINS; c++) sum[c] = fma(sum[c], half, half);  \
    for (int c = 1; c < CHAINS; c++) sum[0] += sum[c];                                             \
    memcpy(out, &sum[0], sizeof sum[0]);                                                           \
    return 2.0 * CHAINS * (double)n * (sizeof(vector) / sizeof(float));                            \
  }

typedef float vector4 __attribute__((vector_size(16)));
#define SET1_4(x)      ((vector4){(x), (x), (x), (x)})
#define FMA_4(a, b, c) ((a) * (b) + (c))
FMA_BURST(burst_baseline, , vector4, SET1_4, FMA_4)
#if defined(__x86_64__)
FMA_BURST(burst_avx2, __attribute__((target("avx2,fma"))), __m256, _mm256_set1_ps, _mm256_fmadd_ps)
FMA_BURST(burst_avx512, __attribute__((target("avx512f"))), __m512, _mm512_set1_ps, _mm512_fmadd_ps)
#endif

typedef struct {
  const char *name;
  double (*burst)(float *out, int64_t n);
} path;

static path pick_path(void) {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f")) return (path){"avx512", burst_avx512};
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
    return (path){"avx2", burst_avx2};
#endif
  return (path){"baseline", burst_baseline};
}

const char *fc_k_path(void) {
  return pick_path().name;
}

double fc_k_peak_fma(int64_t n) {
  float kept[LANES_MAX];
  return pick_path().burst(kept, n);
}

FC_K_CLONES
uint64_t fc_k_peak_read(const uint64_t *x, int64_t n) {
  uint64_t sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < n; i++) sum += x[i];
  return sum;
}
