/* The language model: how long prompts are, answers there and back, folders written and read. */
#include "llm_fixture.h"
#include <sys/stat.h>

static void own_prompts_are_short(void **state) {
  (void)state;
  policy p = make_policy("environment.devices=10\nenvironment.rounds=30\n");
  fc_fl_state *s = NULL;
  fc_tokens observation = {0};
  OK(fc_fl_state_create(p.scenario, &s));
  /* 12 tokens a device: number and ten values, end of line */
  for (int64_t round = 1; round <= 30; round++) {
    observation.n = 0;
    OK(fc_trajectories_state(p.t, p.scenario, 0, round, s));
    OK(fc_llm_observe(p.llm, s, &observation));
    assert_int_equal(observation.n, 10 * 12 + 7);
    assert_true((int)(fc_llm_prefix(p.llm)->n + observation.n) + fc_llm_answer_max(p.llm) <=
                fc_llm_length_max(p.llm));
  }
  /* "Selected devices:", ten numbers with nine commas, the end */
  assert_int_equal(fc_llm_answer_max(p.llm), 3 + 10 + 9 + 1);
  assert_in_range(fc_llm_length_max(p.llm), 200, 256);
  assert_int_equal(fc_llm_end(p.llm), fc_tokenizer_specials(fc_llm_tokenizer(p.llm)).eos);
  fc_tokens_free(&observation);
  fc_fl_state_destroy(&s);
  drop_policy(&p);
}

static void the_prompt_is_its_tokens(void **state) {
  (void)state;
  policy p = make_policy("");
  fc_fl_state *s = NULL;
  fc_tokens tokens = {0};
  char *text = NULL, *again = NULL;
  OK(fc_fl_state_create(p.scenario, &s));
  OK(fc_trajectories_state(p.t, p.scenario, 1, 3, s));
  for (size_t i = 0; i < fc_llm_prefix(p.llm)->n; i++)
    OK(fc_tokens_push(&tokens, fc_llm_prefix(p.llm)->id[i]));
  OK(fc_llm_observe(p.llm, s, &tokens));
  OK(fc_llm_prompt_text(p.llm, s, &text));
  OK(fc_llm_answer_text(p.llm, tokens.id, (int)tokens.n, &again));
  assert_string_equal(text, again);
  assert_non_null(strstr(text, "Round 3, accuracy "));
  fc_free(text);
  fc_free(again);
  fc_tokens_free(&tokens);
  fc_fl_state_destroy(&s);
  drop_policy(&p);
}

static void every_answer_comes_back(void **state) {
  (void)state;
  policy p = make_policy("environment.devices=10\nenvironment.rounds=30\n");
  fc_tokens tokens = {0};
  uint8_t select[10], got[10];
  for (unsigned subset = 1; subset < 1U << 10; subset++) {
    tokens.n = 0;
    for (int n = 0; n < 10; n++) select[n] = subset >> n & 1U;
    OK(fc_llm_answer_tokens(p.llm, select, &tokens));
    assert_true((int)tokens.n <= fc_llm_answer_max(p.llm));
    assert_int_equal(tokens.id[tokens.n - 1], fc_llm_end(p.llm));
    assert_true(fc_llm_read_answer(p.llm, tokens.id, (int)tokens.n - 1, got));
    assert_memory_equal(select, got, sizeof got);
  }
  fc_tokens_free(&tokens);
  drop_policy(&p);
}

static void other_tokens_are_invalid(void **state) {
  (void)state;
  policy p = make_policy("");
  static const uint8_t none[DEVICES];
  const int32_t outside[] = {fc_tokenizer_vocab_size(fc_llm_tokenizer(p.llm))}, below[] = {-1};
  uint8_t got[DEVICES];
  fc_tokens tokens = {0};
  OK(fc_tokenizer_encode(fc_llm_tokenizer(p.llm), "1, 7", 4, &tokens));
  const struct {
    const int32_t *ids;
    int n;
  } bad[] = {{tokens.id, (int)tokens.n}, {tokens.id, 0}, {outside, 1}, {below, 1}};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    memset(got, 1, sizeof got);
    assert_false(fc_llm_read_answer(p.llm, bad[i].ids, bad[i].n, got));
    assert_memory_equal(got, none, sizeof got);
  }
  fc_tokens_free(&tokens);
  drop_policy(&p);
}

static void too_few_positions_are_refused(void **state) {
  (void)state;
  policy p = make_policy("");
  fc_config *cfg = llm_config("policy.positions=100\n");
  fc_llm *llm = NULL;
  char message[128];
  snprintf(message, sizeof message,
           "a prompt with its answer may take %d tokens, the model has 100 positions "
           "(policy.positions)",
           fc_llm_length_max(p.llm));
  assert_fails(fc_llm_create(cfg, p.scenario, p.t, &llm), FC_ERR_USAGE, message);
  assert_null(llm);
  fc_config_destroy(&cfg);
  drop_policy(&p);
}

/* ---- folders --------------------------------------------------------------------------------- */

static void same_texts(const policy *p, const fc_llm *other) {
  const fc_tokens *a = fc_llm_prefix(p->llm), *b = fc_llm_prefix(other);
  assert_int_equal(a->n, b->n);
  assert_memory_equal(a->id, b->id, a->n * sizeof *a->id);
  assert_int_equal(fc_llm_length_max(p->llm), fc_llm_length_max(other));
  assert_int_equal(fc_llm_answer_max(p->llm), fc_llm_answer_max(other));
  assert_int_equal(fc_llm_end(p->llm), fc_llm_end(other));
}

static void same_weights(const fc_model *a, const float *b) {
  assert_memory_equal(fc_model_weights(a), b, fc_model_weight_count(a) * sizeof *b);
}

static void a_saved_model_is_loaded(void **state) {
  (void)state;
  policy p = make_policy("");
  char folder[64], set[96];
  fc_llm *loaded = NULL, *created = NULL;
  make_scratch(folder);
  OK(fc_llm_save(p.llm, NULL, NULL, folder));
  OK(fc_llm_load(p.cfg, folder, p.scenario, &loaded));
  same_texts(&p, loaded);
  same_weights(fc_llm_model(p.llm), fc_model_weights(fc_llm_model(loaded)));
  /* as somebody else's model, which brings no templates: the project's own */
  snprintf(set, sizeof set, "policy.model=%s\n", folder);
  fc_config *cfg = llm_config(set);
  OK(fc_llm_create(cfg, p.scenario, NULL, &created));
  same_texts(&p, created);
  same_weights(fc_llm_model(p.llm), fc_model_weights(fc_llm_model(created)));
  fc_llm_destroy(&loaded);
  fc_llm_destroy(&created);
  fc_config_destroy(&cfg);
  drop_scratch(folder);
  drop_policy(&p);
}

/* What is trained comes into the model, and into a folder, the same way. */
static void merged_weights_are_saved(void **state) {
  (void)state;
  for (int rank = 0; rank <= 4; rank += 4) {
    char set[64], folder[64];
    snprintf(set, sizeof set, "policy.lora_rank=%d\n", rank);
    policy p = make_policy(set);
    fc_trainable *t = NULL;
    fc_llm *loaded = NULL;
    float *theta = NULL;
    OK(fc_llm_trainable(p.llm, p.cfg, &t));
    assert_int_equal(fc_trainable_lora(t).rank, rank);
    size_t n = fc_trainable_count(t), all = fc_model_weight_count(fc_llm_model(p.llm));
    assert_true(rank ? n < all : n == all);
    OK(fc_alloc(n, sizeof *theta, &theta));
    for (size_t i = 0; i < n; i++) theta[i] = 0.01f * (float)(i % 7) - 0.03f;
    make_scratch(folder);
    OK(fc_llm_save(p.llm, t, theta, folder));
    OK(fc_llm_load(p.cfg, folder, p.scenario, &loaded));
    assert_memory_not_equal(fc_model_weights(fc_llm_model(p.llm)),
                            fc_model_weights(fc_llm_model(loaded)), all * sizeof(float));
    OK(fc_llm_merge(p.llm, t, theta));
    same_weights(fc_llm_model(p.llm), fc_model_weights(fc_llm_model(loaded)));
    theta[n / 2] = NAN;
    assert_int_equal(fc_llm_merge(p.llm, t, theta), FC_ERR_NUMERIC);
    fc_free(theta);
    fc_trainable_destroy(&t);
    fc_llm_destroy(&loaded);
    drop_scratch(folder);
    drop_policy(&p);
  }
}

/* Panels follow the weights. */
static void panels_are_packed_again(void **state) {
  (void)state;
  policy p = make_policy("policy.precision=bf16\npolicy.lora_rank=4\n");
  fc_model *m = fc_llm_model(p.llm);
  fc_trainable *t = NULL;
  float *theta = NULL;
  fc_bf16 *panels = NULL;
  OK(fc_llm_trainable(p.llm, p.cfg, &t));
  OK(fc_alloc(fc_trainable_count(t), sizeof *theta, &theta));
  OK(fc_alloc(fc_model_panel_count(m), sizeof *panels, &panels));
  for (size_t i = 0; i < fc_trainable_count(t); i++) theta[i] = 0.1f;
  assert_non_null(fc_model_get_panels(m));
  size_t bytes = fc_model_panel_count(m) * sizeof *panels;
  fc_model_pack(m, panels);
  assert_memory_equal(panels, fc_model_get_panels(m), bytes);
  OK(fc_llm_merge(p.llm, t, theta));
  assert_memory_not_equal(panels, fc_model_get_panels(m), bytes);
  fc_model_pack(m, panels);
  assert_memory_equal(panels, fc_model_get_panels(m), bytes);
  fc_free(panels);
  fc_free(theta);
  fc_trainable_destroy(&t);
  drop_policy(&p);
}

static void missing_folders_are_told(void **state) {
  (void)state;
  policy p = make_policy("");
  fc_llm *llm = NULL;
  assert_fails(fc_llm_load(p.cfg, "/nonexistent", p.scenario, &llm), FC_ERR_IO,
               "/nonexistent/system.txt: No such file or directory");
  assert_null(llm);
  fc_config *cfg = llm_config("policy.model=/nonexistent\n");
  assert_fails(fc_llm_create(cfg, p.scenario, NULL, &llm), FC_ERR_IO,
               "policy.model = /nonexistent is neither embedded nor a folder or file that can be "
               "read: No such file or directory");
  assert_null(llm);
  assert_int_equal(fc_llm_save(p.llm, NULL, NULL, "/nonexistent"), FC_ERR_IO);
  fc_config_destroy(&cfg);
  drop_policy(&p);
}

static void nothing_is_left(void **state) {
  (void)state;
  size_t before = fc_mem_current_bytes();
  policy p = make_policy("policy.precision=bf16\npolicy.lora_rank=4\n");
  drop_policy(&p);
  assert_int_equal(fc_mem_current_bytes(), before);
}

static int run_all(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(own_prompts_are_short),         cmocka_unit_test(the_prompt_is_its_tokens),
      cmocka_unit_test(every_answer_comes_back),       cmocka_unit_test(other_tokens_are_invalid),
      cmocka_unit_test(too_few_positions_are_refused), cmocka_unit_test(a_saved_model_is_loaded),
      cmocka_unit_test(merged_weights_are_saved),      cmocka_unit_test(panels_are_packed_again),
      cmocka_unit_test(missing_folders_are_told),      cmocka_unit_test(nothing_is_left),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(int argc, char **argv) {
  return one_rank_main(argc, argv, run_all);
}
