/* Attention over ragged sequences: twins, finite differences, masks, groups, sequences that stand
 * alone. */
#include "kernel_test.h"

/* Lengths around the query tile's border (64), and an empty sequence. */
static const int64_t ragged[] = {0, 1, 3, 3, 20, 84, 149, 280};
enum { SEQUENCES = LENGTH_OF(ragged) - 1, LONGEST = 131 };

static const fc_attention_shape shapes[] = {
    {4, 4, 16, false, false}, {4, 4, 16, true, false},  {4, 2, 16, true, false},
    {6, 1, 5, false, false},  {3, 3, 1, true, false},   {1, 1, 64, true, false},
    {2, 1, 63, false, false}, {2, 2, 33, true, false},  {7, 7, 32, true, false},
    {6, 2, 32, true, false},  {80, 1, 4, false, false},
};

static int64_t qkv_width(fc_attention_shape s) {
  return (int64_t)(s.heads + 2 * s.kv_heads) * s.head_width;
}

/* Everything a forward and a backward pass touch. */
typedef struct {
  fc_attention_shape shape;
  const int64_t *start;
  int sequences;
  int64_t N;
  float *qkv, *out, *lse, *dout, *dqkv, *scratch;
} attention;

static attention new_attention(fc_attention_shape s, const int64_t *start, int sequences,
                               int64_t longest) {
  const int64_t N = start[sequences], wide = (int64_t)s.heads * s.head_width;
  return (attention){.shape = s,
                     .start = start,
                     .sequences = sequences,
                     .N = N,
                     .qkv = normals(N * qkv_width(s), 1, 1),
                     .out = zeros(N * wide),
                     .lse = zeros(N * s.heads),
                     .dout = normals(N * wide, 1, 2),
                     .dqkv = normals(N * qkv_width(s), 1, 3), /* must be overwritten */
                     .scratch = zeros((int64_t)fc_k_attention_scratch(s, longest))};
}

static void forward(attention *a) {
  fc_k_attention_fwd(a->out, a->lse, a->qkv, a->start, a->sequences, a->shape, a->scratch);
}

static void backward(attention *a) {
  fc_k_attention_bwd(a->dqkv, a->dout, a->qkv, a->out, a->lse, a->start, a->sequences, a->shape,
                     a->scratch);
}

static void attention_matches_twin(void **state) {
  (void)state;
  for (int i = 0; i < LENGTH_OF(shapes); i++) {
    const fc_attention_shape s = shapes[i];
    attention a = new_attention(s, ragged, SEQUENCES, LONGEST);
    attention r = new_attention(s, ragged, SEQUENCES, LONGEST);
    forward(&a);
    fc_k_attention_fwd_ref(r.out, r.lse, r.qkv, r.start, r.sequences, s, NULL);
    assert_close(a.lse, r.lse, a.N * s.heads, 2e-6, 2e-6);
    assert_close(a.out, r.out, a.N * s.heads * s.head_width, 5e-6, 5e-6);
    backward(&a);
    fc_k_attention_bwd_ref(r.dqkv, r.dout, r.qkv, r.out, r.lse, r.start, r.sequences, s, NULL);
    assert_close(a.dqkv, r.dqkv, a.N * qkv_width(s), 3e-5, 1e-5);
    free_arrays();
  }
}

/* A text cut anywhere: its later part sees keys and values that lie apart from the queries. */
enum { PANEL = FC_K_KEY_PANEL };
static void after_at(fc_attention_shape s, int64_t past, int64_t n) {
  const int64_t T = past + n, start[2] = {0, T}, ld = qkv_width(s);
  const int64_t Q = (int64_t)s.heads * s.head_width, KV = (int64_t)s.kv_heads * s.head_width;
  attention a = new_attention(s, start, 1, T);
  const int64_t width = s.head_width, capacity = T + 5, panels = (T + PANEL - 1) / PANEL;
  float *k = zeros(panels * KV * PANEL), *v = zeros(KV * capacity);
  float *out = zeros(n * Q), *ref = zeros(n * Q);
  for (int64_t i = 0; i < panels * KV * PANEL; i++) k[i] = NAN; /* none of it may be seen */
  forward(&a);
  for (int64_t i = 0; i < T; i++) {
    for (int64_t c = 0; c < KV; c++) {
      k[(i / PANEL * KV + c) * PANEL + i % PANEL] = a.qkv[i * ld + Q + c];
      v[(c / width * capacity + i) * width + c % width] = a.qkv[i * ld + Q + KV + c];
    }
  }
  const float *q = a.qkv + past * ld;
  fc_k_attention_after(out, q, (int)ld, k, v, capacity, past, n, s, a.scratch);
  assert_same_bits(out, a.out + past * Q, n * Q);
  fc_k_attention_after_ref(ref, q, (int)ld, k, v, capacity, past, n, s, a.scratch);
  assert_close(out, ref, n * Q, 5e-6, 5e-6);
  /* the last key's first element is of the first group of heads alone */
  k[(T - 1) / PANEL * KV * PANEL + (T - 1) % PANEL] = NAN;
  fc_k_attention_after(out, q, (int)ld, k, v, capacity, past, n, s, a.scratch);
  for (int64_t c = 0; c < Q; c++)
    assert_int_equal(isnan(out[(n - 1) * Q + c]) != 0, c < Q / s.kv_heads);
}

static void attention_after_goes_on(void **state) {
  (void)state;
  static const int64_t cuts[][2] = {{0, 1},  {0, 70}, {1, 1},    {5, 3},     {63, 2},
                                    {64, 1}, {90, 7}, {90, 140}, {300, 100}, {800, 1}};
  for (int i = 0; i < LENGTH_OF(shapes); i++)
    for (int c = 0; c < LENGTH_OF(cuts); c++) {
      fc_attention_shape s = shapes[i];
      s.causal = true;
      after_at(s, cuts[c][0], cuts[c][1]);
      free_arrays();
    }
}

/* Scores in the hundreds: only the subtracted maximum keeps the exponentials finite. */
static void attention_survives_large_scores(void **state) {
  (void)state;
  const fc_attention_shape s = {2, 2, 16, true, false};
  attention a = new_attention(s, ragged, SEQUENCES, LONGEST);
  for (int64_t i = 0; i < a.N * qkv_width(s); i++) a.qkv[i] *= 20.0f;
  float *out = zeros(a.N * 32), *lse = zeros(a.N * 2);
  forward(&a);
  fc_k_attention_fwd_ref(out, lse, a.qkv, a.start, a.sequences, s, NULL);
  assert_close(a.lse, lse, a.N * 2, 1e-3, 1e-6);
  assert_close(a.out, out, a.N * 32, 2e-2, 1e-3);
}

/* A shared beginning of 70 tokens, texts of 0, 1, 64 and 131 more; none at all; a single token. */
static const int64_t shared_starts[][6] = {
    {0, 70, 70, 71, 135, 266}, {0, 0, 3, 8, 73, 74}, {5, 6, 9, 10, 12, 100}};
enum { SHARED_SEQUENCES = 5, SHARED_LONGEST = 201 };

static void a_shared_beginning_matches_twin(void **state) {
  (void)state;
  for (int c = 0; c < LENGTH_OF(shared_starts); c++)
    for (int i = 0; i < LENGTH_OF(shapes); i++) {
      fc_attention_shape s = shapes[i];
      s.causal = s.shares_first = true;
      attention a = new_attention(s, shared_starts[c], SHARED_SEQUENCES, SHARED_LONGEST);
      attention r = new_attention(s, shared_starts[c], SHARED_SEQUENCES, SHARED_LONGEST);
      forward(&a);
      fc_k_attention_fwd_ref(r.out, r.lse, r.qkv, r.start, r.sequences, s, NULL);
      assert_close(a.lse, r.lse, a.N * s.heads, 2e-6, 2e-6);
      assert_close(a.out, r.out, a.N * s.heads * s.head_width, 5e-6, 5e-6);
      const int64_t first = a.start[0] * qkv_width(s), n = a.N * qkv_width(s) - first;
      backward(&a);
      fc_k_attention_bwd_ref(r.dqkv, r.dout, r.qkv, r.out, r.lse, r.start, r.sequences, s, NULL);
      assert_close(a.dqkv + first, r.dqkv + first, n, 5e-5, 1e-5);
      free_arrays();
    }
}

/* The rows [from, from + n) of b become those of a, whose rows are `width` floats. */
static void copy_rows(float *b, int64_t to, const float *a, int64_t from, int64_t n,
                      int64_t width) {
  memcpy(b + to * width, a + from * width, (size_t)(n * width) * sizeof *b);
}

/* Each text as a sequence of its own, beginning included, gives the same. */
static void a_shared_beginning_is_that_of_whole_texts(void **state) {
  (void)state;
  const fc_attention_shape shared = {4, 2, 16, true, true}, alone = {4, 2, 16, true, false};
  const int64_t *start = shared_starts[0], before = start[1], ld = qkv_width(alone), Q = 64;
  attention a = new_attention(shared, start, SHARED_SEQUENCES, SHARED_LONGEST);
  float *sum = zeros(before * ld); /* gradient of the beginning over all texts */
  for (int64_t i = 0; i < before * Q; i++) a.dout[i] = 0;
  forward(&a);
  backward(&a);
  for (int b = 1; b < SHARED_SEQUENCES; b++) {
    const int64_t n = start[b + 1] - start[b], text[2] = {0, before + n};
    attention one = new_attention(alone, text, 1, before + n);
    copy_rows(one.qkv, 0, a.qkv, 0, before, ld);
    copy_rows(one.qkv, before, a.qkv, start[b], n, ld);
    copy_rows(one.dout, 0, a.dout, 0, before, Q);
    copy_rows(one.dout, before, a.dout, start[b], n, Q);
    forward(&one);
    backward(&one);
    assert_close(a.out, one.out, before * Q, 5e-6, 5e-6);
    assert_close(a.out + start[b] * Q, one.out + before * Q, n * Q, 5e-6, 5e-6);
    assert_close(a.dqkv + start[b] * ld, one.dqkv + before * ld, n * ld, 3e-5, 1e-5);
    for (int64_t i = 0; i < before * ld; i++) sum[i] += one.dqkv[i];
  }
  assert_close(a.dqkv, sum, before * ld, 3e-5, 1e-5);
}

static const int64_t few[] = {0, 5, 6, 10};

static double attention_value(void *context) {
  attention *a = context;
  fc_k_attention_fwd_ref(a->out, a->lse, a->qkv, a->start, a->sequences, a->shape, NULL);
  return project(a->out, a->dout, a->N * a->shape.heads * a->shape.head_width);
}

static void attention_backward_is_the_derivative(void **state) {
  (void)state;
  const fc_attention_shape cases[] = {{2, 2, 3, false, false},
                                      {2, 2, 3, true, false},
                                      {4, 2, 3, true, false},
                                      {3, 1, 4, false, false},
                                      {4, 2, 3, true, true}};
  for (int i = 0; i < LENGTH_OF(cases); i++) {
    attention a = new_attention(cases[i], few, 3, 9);
    forward(&a);
    backward(&a);
    assert_gradient(attention_value, &a, a.qkv, a.dqkv, a.N * qkv_width(a.shape), 0.02f, 1e-3);
    free_arrays();
  }
}

/* What a sequence gives must not depend on its neighbours. */
static void sequences_stand_alone(void **state) {
  (void)state;
  for (int i = 0; i < LENGTH_OF(shapes); i++) {
    const fc_attention_shape s = shapes[i];
    const int64_t wide = (int64_t)s.heads * s.head_width;
    attention all = new_attention(s, ragged, SEQUENCES, LONGEST);
    forward(&all);
    backward(&all);
    for (int b = 0; b < SEQUENCES; b++) {
      const int64_t n = ragged[b + 1] - ragged[b], start[2] = {0, n};
      attention one = new_attention(s, start, 1, n);
      memcpy(one.qkv, all.qkv + ragged[b] * qkv_width(s), (size_t)(n * qkv_width(s)) * 4);
      memcpy(one.dout, all.dout + ragged[b] * wide, (size_t)(n * wide) * 4);
      forward(&one);
      backward(&one);
      assert_same_bits(one.out, all.out + ragged[b] * wide, n * wide);
      assert_same_bits(one.lse, all.lse + ragged[b] * s.heads, n * s.heads);
      assert_same_bits(one.dqkv, all.dqkv + ragged[b] * qkv_width(s), n * qkv_width(s));
      /* a batch need not start at row 0 of its arrays */
    }
    free_arrays();
  }
}

/* A causal row must not see what follows it: the same bits when the tail of the sequence changes.
 */
static void causal_rows_ignore_the_future(void **state) {
  (void)state;
  const fc_attention_shape s = {2, 2, 16, true, false};
  const int64_t start[2] = {0, 100};
  attention a = new_attention(s, start, 1, 100), b = new_attention(s, start, 1, 100);
  for (int64_t i = 37 * qkv_width(s); i < 100 * qkv_width(s); i++) b.qkv[i] = 3.0f;
  forward(&a);
  forward(&b);
  assert_same_bits(b.out, a.out, 37 * 32);
  assert_same_bits(b.lse, a.lse, 37 * 2);
  assert_true(b.out[37 * 32] != a.out[37 * 32]);
}

static void rows_outside_the_batch_stay_untouched(void **state) {
  (void)state;
  const fc_attention_shape s = {2, 1, 8, true, false};
  const int64_t start[] = {4, 9, 12};
  const int64_t all[] = {0, 16}; /* arrays of 16 rows */
  attention a = new_attention(s, all, 1, 16);
  a.start = start;
  a.sequences = 2;
  const float *before = copy_of(a.dqkv, 16 * qkv_width(s));
  forward(&a);
  backward(&a);
  assert_same_bits(a.dqkv, before, 4 * qkv_width(s));
  assert_same_bits(a.dqkv + 12 * qkv_width(s), before + 12 * qkv_width(s), 4 * qkv_width(s));
  for (int i = 0; i < 4 * 16; i++) assert_true(a.out[i] == 0 && a.out[12 * 16 + i] == 0);
}

static void nan_stays_in_its_sequence(void **state) {
  (void)state;
  const fc_attention_shape s = {2, 2, 16, false, false};
  attention a = new_attention(s, ragged, SEQUENCES, LONGEST);
  a.qkv[30 * qkv_width(s) + 3] = NAN; /* query of row 30, head 0 */
  forward(&a);
  for (int64_t n = 0; n < a.N; n++) {
    for (int c = 0; c < 16; c++) assert_int_equal(isnan(a.out[n * 32 + c]) != 0, n == 30);
    assert_int_equal(isnan(a.lse[n * 2]) != 0, n == 30);
  }
  backward(&a); /* dK, dV of the sequence [20, 84) take it in */
  for (int64_t n = 0; n < a.N; n++)
    assert_int_equal(isnan(a.dqkv[n * qkv_width(s) + 32]) != 0, n >= 20 && n < 84);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      KERNEL_TEST(attention_matches_twin),
      KERNEL_TEST(attention_after_goes_on),
      KERNEL_TEST(a_shared_beginning_matches_twin),
      KERNEL_TEST(a_shared_beginning_is_that_of_whole_texts),
      KERNEL_TEST(attention_survives_large_scores),
      KERNEL_TEST(attention_backward_is_the_derivative),
      KERNEL_TEST(sequences_stand_alone),
      KERNEL_TEST(causal_rows_ignore_the_future),
      KERNEL_TEST(rows_outside_the_batch_stay_untouched),
      KERNEL_TEST(nan_stays_in_its_sequence),
  };
  return cmocka_run_group_tests_name("attention_tiles", tests, NULL, NULL);
}
