/* A kept generator: shared prefixes give the bits of whole prompts, for any number of threads;
 * memory; what is refused. */
#include "fedcell/fc_generate.h"
#include "fixture.h"
#include <omp.h>

enum { STEPS = 6, PROMPTS = 5, PREFIX = 40, POSITIONS = 700, LENGTH = 460, ALL = PROMPTS * STEPS };
static const char *const linears[] = {"all-linear"};
static const fc_trainable_spec adapters = {
    .targets = linears, .n_targets = 1, .lora_rank = 3, .alpha = 6.0F};
/* All together do not fit into the rows that are read at a time. */
static const int own_length[PROMPTS] = {1, 9, 400, 410, 300};

typedef struct {
  setup s;
  fc_bf16 *panels;
  int32_t text[PROMPTS][LENGTH]; /* the prefix and then the prompt's own */
} decoder;

static fc_generate_settings draws(void) {
  return (fc_generate_settings){
      .steps = STEPS, .temperature = 1.2, .top_p = 0.9, .seed = 1, .stop = {-1, -1}};
}

static decoder open_decoder(const char *family, bool bf16) {
  fc_model_shape shape = small_shape(family);
  shape.positions = POSITIONS;
  decoder d = {.s = open_setup(&shape, &adapters, false)};
  size_t n = 0;
  random_lora_b(d.s.trainable, d.s.theta);
  fc_k_scale(d.s.weights, 0.2F, fc_model_tensors(d.s.model, &n)->rows * shape.width);
  if (bf16) d.panels = new_panels(d.s.model);
  fc_rng rng = fc_rng_open(7, FC_RNG_TEST, 0, 0);
  for (int i = 0; i < PROMPTS; i++)
    for (int k = 0; k < LENGTH; k++)
      d.text[i][k] = i > 0 && k < PREFIX ? d.text[0][k] : (int32_t)fc_rng_below(&rng, VOCAB);
  return d;
}

static void close_decoder(decoder *d) {
  fc_free(d->panels);
  close_setup(&d->s);
}

/* What follows the first `prefix` tokens of each text. */
static void prompts_after(const decoder *d, int prefix, fc_prompt *p) {
  for (int i = 0; i < PROMPTS; i++)
    p[i] = (fc_prompt){d->text[i] + prefix, PREFIX + own_length[i] - prefix, (uint64_t)(3 * i)};
}

static fc_generator *new_generator(const decoder *d, int max_prompts, int max_length) {
  fc_generator *g = NULL;
  OK(fc_generator_create(d->s.model, d->s.trainable, max_prompts, max_length, &g));
  return g;
}

static void run(fc_generator *g, const decoder *d, int prefix, int32_t *out, int *length) {
  const fc_generate_settings s = draws();
  fc_prompt p[PROMPTS];
  prompts_after(d, prefix, p);
  memset(out, -1, ALL * sizeof *out);
  OK(fc_generator_run(g, d->s.theta, p, PROMPTS, &s, out, length));
}

/* The whole prompts one by one, each with all it needs made for it. */
static void each_by_itself(const decoder *d, int32_t *out, int *length) {
  const fc_generate_settings s = draws();
  fc_prompt p[PROMPTS];
  prompts_after(d, 0, p);
  memset(out, -1, ALL * sizeof *out);
  for (int i = 0; i < PROMPTS; i++)
    OK(fc_model_generate(d->s.model, d->s.trainable, d->s.theta, &p[i], 1, &s, out + i * STEPS,
                         &length[i]));
}

/* Any prefix, none included and the whole of a prompt but its last token, and calls again. */
static void a_shared_prefix_changes_nothing(void **state) {
  (void)state;
  static const char *const families[] = {"gpt2", "llama"};
  static const int prefixes[] = {0, 1, PREFIX / 2, PREFIX, 3};
  int threads = omp_get_max_threads();
  for (int f = 0; f < 2; f++)
    for (int bf16 = 0; bf16 < 2; bf16++) {
      decoder d = open_decoder(families[f], bf16);
      int32_t want[ALL], got[ALL];
      int want_length[PROMPTS], length[PROMPTS];
      each_by_itself(&d, want, want_length);
      for (int t = 1; t <= 3; t++) {
        omp_set_num_threads(t);
        fc_generator *g = new_generator(&d, PROMPTS + 2, PREFIX + 410 + STEPS - 1);
        run(g, &d, 0, got, length);
        assert_memory_equal(got, want, sizeof got);
        for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++) {
          OK(fc_generator_set_prefix(g, d.s.theta, d.text[0], prefixes[i]));
          for (int twice = 0; twice < 2; twice++) {
            run(g, &d, prefixes[i], got, length);
            assert_memory_equal(got, want, sizeof got);
            assert_memory_equal(length, want_length, sizeof length);
          }
        }
        fc_generator_destroy(&g);
      }
      omp_set_num_threads(threads);
      close_decoder(&d);
    }
}

/* Fewer prompts than lanes, and from inside a parallel region. */
static void any_number_of_prompts(void **state) {
  (void)state;
  decoder d = open_decoder("llama", false);
  const fc_generate_settings s = draws();
  int32_t want[ALL], got[ALL];
  int length[PROMPTS], threads = omp_get_max_threads();
  fc_prompt p[PROMPTS];
  each_by_itself(&d, want, length);
  omp_set_num_threads(4);
  fc_generator *g = new_generator(&d, 8, LENGTH);
  OK(fc_generator_set_prefix(g, d.s.theta, d.text[0], PREFIX));
  prompts_after(&d, PREFIX, p);
  for (int n = 0; n <= PROMPTS; n++) {
    memset(got, -1, sizeof got);
    OK(fc_generator_run(g, d.s.theta, p, n, &s, got, length));
    assert_memory_equal(got, want, (size_t)(n * STEPS) * sizeof *got);
  }
  fc_err err = FC_ERR_OK;
  memset(got, -1, sizeof got);
#pragma omp parallel num_threads(2)
#pragma omp single
  err = fc_generator_run(g, d.s.theta, p, PROMPTS, &s, got, length);
  assert_int_equal(err, FC_ERR_OK);
  assert_memory_equal(got, want, sizeof got);
  omp_set_num_threads(threads);
  fc_generator_destroy(&g);
  close_decoder(&d);
}

/* After an update the prefix is computed anew, and then is the new model's. */
static void another_theta_needs_the_prefix_again(void **state) {
  (void)state;
  decoder d = open_decoder("gpt2", false);
  int32_t before[ALL], want[ALL], got[ALL];
  int length[PROMPTS];
  fc_generator *g = new_generator(&d, PROMPTS, LENGTH);
  OK(fc_generator_set_prefix(g, d.s.theta, d.text[0], PREFIX));
  run(g, &d, PREFIX, before, length);
  fc_k_scale(d.s.theta, -1.7F, (int64_t)fc_trainable_count(d.s.trainable));
  each_by_itself(&d, want, length);
  assert_memory_not_equal(before, want, sizeof want);
  OK(fc_generator_set_prefix(g, d.s.theta, d.text[0], PREFIX));
  run(g, &d, PREFIX, got, length);
  assert_memory_equal(got, want, sizeof got);
  fc_generator_destroy(&g);
  close_decoder(&d);
}

static void takes_what_it_says(void **state) {
  (void)state;
  decoder d = open_decoder("llama", false);
  int threads = omp_get_max_threads();
  for (int t = 1; t <= 3; t++) {
    omp_set_num_threads(t);
    for (int prompts = 1; prompts < 50; prompts += 24) {
      size_t want = fc_generator_bytes(d.s.model, d.s.trainable, prompts, 90);
      size_t before = fc_mem_current_bytes();
      fc_generator *g = new_generator(&d, prompts, 90);
      assert_int_equal(fc_mem_current_bytes() - before, want);
      fc_generator_destroy(&g);
      assert_int_equal(fc_mem_current_bytes(), before);
    }
  }
  omp_set_num_threads(threads);
  for (size_t n = 1; n <= 5; n++) { /* wherever the memory ends */
    fc_generator *g = NULL;
    size_t before = fc_mem_current_bytes();
    omp_set_num_threads(2);
    fc_mem_fail_at(n);
    fc_err err = fc_generator_create(d.s.model, d.s.trainable, 4, 90, &g);
    fc_mem_fail_at(0);
    assert_int_equal(err, n <= 4 ? FC_ERR_NOMEM : FC_ERR_OK);
    fc_generator_destroy(&g);
    assert_null(g);
    assert_int_equal(fc_mem_current_bytes(), before);
  }
  omp_set_num_threads(threads);
  close_decoder(&d);
}

static void refuses_what_cannot_be(void **state) {
  (void)state;
  decoder d = open_decoder("llama", false);
  fc_model_shape shape = small_shape("bert");
  fc_model *encoder = NULL;
  OK(fc_model_create(&shape, &encoder));
  fc_generate_settings s = draws();
  int32_t out[2 * STEPS];
  int length[3], threads = omp_get_max_threads();
  fc_generator *g = NULL;
  FAILS(fc_generator_create(encoder, NULL, 2, 9, &g), USAGE,
        "generation needs a decoder; bert is an encoder");
  FAILS(fc_generator_create(d.s.model, NULL, 0, 9, &g), SHAPE,
        "a generator for 0 prompts: allowed is 1 or more");
  FAILS(fc_generator_create(d.s.model, NULL, 2, 701, &g), SHAPE,
        "a generator for texts of 701 tokens: allowed is 1 to the model's 700 positions");
  omp_set_num_threads(2);
  g = new_generator(&d, 2, 20);
  int32_t outside[] = {3, VOCAB};
  FAILS(fc_generator_set_prefix(g, d.s.theta, outside, 2), DATA,
        "token 17 at position 1 of the prefix, allowed is 0 to 16");
  FAILS(fc_generator_set_prefix(g, d.s.theta, d.text[0], 21), SHAPE,
        "a prefix of 21 tokens: the generator's texts have at most 20");
  OK(fc_generator_set_prefix(g, d.s.theta, d.text[0], 10));
  fc_prompt p[2] = {{d.text[0] + 10, 5, 0}, {d.text[0] + 10, 5, 1}};
#define REFUSES(id, message, n)                                                                    \
  FAILS(fc_generator_run(g, d.s.theta, p, n, &s, out, length), id, message)
  OK(fc_generator_run(g, d.s.theta, p, 2, &s, out, length)); /* 10 + 5 + 6 - 1 */
  p[1].n = 6;
  REFUSES(SHAPE, "a text of 21 tokens with its new ones: the generator takes at most 20", 2);
  REFUSES(SHAPE, "3 prompts: the generator takes at most 2", 3);
  p[1].n = 0;
  REFUSES(USAGE, "prompt 1 is empty: it needs a token to begin with", 2);
  p[1] = (fc_prompt){outside, 2, 1};
  REFUSES(DATA, "token 17 at position 1 of prompt 1, allowed is 0 to 16", 2);
  p[1] = p[0];
  s.top_p = 0.0;
  REFUSES(USAGE, "top_p is 0, allowed is above 0 to 1", 2);
  s = draws();
  d.s.weights[fc_model_find_tensor(d.s.model, "norm.weight")->offset] = NAN;
  REFUSES(NUMERIC, "the logits of sequence 0 after 15 tokens are not finite", 2);
  REFUSES(NUMERIC, "the logits of sequence 0 after 15 tokens are not finite", 1);
#undef REFUSES
  omp_set_num_threads(threads);
  fc_generator_destroy(&g);
  fc_generator_destroy(&g); /* of nothing */
  fc_model_destroy(&encoder);
  close_decoder(&d);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_shared_prefix_changes_nothing),
      cmocka_unit_test(any_number_of_prompts),
      cmocka_unit_test(another_theta_needs_the_prefix_again),
      cmocka_unit_test(takes_what_it_says),
      cmocka_unit_test(refuses_what_cannot_be),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
