/* Training limited to some blocks: what a limited trainable holds, and which floats of theta a
 * scope trains. */
#include "fixture.h"

enum { LAYERS = 4 };

static fc_model *new_model(const char *family) {
  fc_model *m = NULL;
  fc_model_shape shape = full_shape(family);
  shape.layers = LAYERS;
  OK(fc_model_create(&shape, &m));
  return m;
}

/* Adapters on all linear layers and everything else of the model whole; 0, 0: no limit. */
static fc_trainable *train(const fc_model *m, const char *target, const char *saved, int first,
                           int next) {
  const fc_trainable_spec spec = {.targets = &target,
                                  .n_targets = target != NULL,
                                  .saved = &saved,
                                  .n_saved = saved != NULL,
                                  .first_block = first,
                                  .next_block = next,
                                  .lora_rank = 2,
                                  .alpha = 4.0F};
  fc_trainable *t = NULL;
  OK(fc_trainable_create(m, &spec, &t));
  return t;
}

static bool is_embedding(const fc_tensor *t) {
  return strstr(t->name, "embed") || strstr(t->name, "wte.") || strstr(t->name, "wpe.");
}

/* Does it lie in the blocks [first, next), or behind the last one where that is among them? */
static bool is_within(const fc_tensor *t, int first, int next) {
  if (t->layer >= 0) return t->layer >= first && t->layer < next;
  return next == LAYERS && !is_embedding(t);
}

/* The scope's floats of theta are those of its parts, all of them and no others. */
static void expect_window(const fc_model *m, const fc_trainable *t, int first, int next) {
  size_t n_tensors = 0, n_parts = 0, begin = 0, expected = 0;
  const fc_tensor *tensors = fc_model_tensors(m, &n_tensors);
  const fc_trainable_part *p = fc_trainable_parts(t, &n_parts);
  const fc_scope scope = {.first_block = first, .next_block = next};
  size_t n = fc_trainable_window(t, &scope, &begin);
  for (size_t i = 0; i < n_parts; i++) {
    size_t size = (size_t)(p[i].rows * p[i].cols);
    bool inside = p[i].offset >= begin && p[i].offset + size <= begin + n;
    if (inside != is_within(&tensors[p[i].tensor], first, next))
      fail_msg("%s is %sin the window of [%d, %d)", p[i].name, inside ? "" : "not ", first, next);
    if (inside) expected += size;
  }
  assert_int_equal(n, expected);
}

static void a_window_is_what_lies_in_its_blocks(void **state) {
  (void)state;
  static const char *const ways[][2] = {
      {"all-linear", NULL}, {NULL, "all"}, {"all-linear", "head"}};
  for (size_t f = 0; f < N_FAMILIES; f++) {
    fc_model *m = new_model(all_families[f]);
    for (size_t w = 0; w < sizeof ways / sizeof ways[0]; w++) {
      fc_trainable *t = train(m, ways[w][0], ways[w][1], 0, 0);
      for (int first = 0; first < LAYERS; first++)
        for (int next = first + 1; next <= LAYERS; next++) expect_window(m, t, first, next);
      size_t begin = 1;
      assert_int_equal(fc_trainable_window(t, &(fc_scope){0}, &begin), fc_trainable_count(t));
      assert_int_equal(begin, 0);
      fc_trainable_destroy(&t);
    }
    fc_model_destroy(&m);
  }
}

/* The last window reaches the end of theta, over final norm and head; embeddings are in none. */
static void windows_leave_out_embeddings_alone(void **state) {
  (void)state;
  static const struct {
    const char *family, *last;
  } cases[] = {{"gpt2", "transformer.ln_f.bias"},
               {"llama", "model.norm.weight"},
               {"llama", "lm_head.weight"},
               {"bert", "classifier.bias"},
               {"roberta", "classifier.out_proj.weight"}};
  for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
    fc_model *m = new_model(cases[c].family);
    fc_trainable *t = train(m, NULL, "all", 0, 0);
    size_t n_tensors = 0, n_parts = 0, begin = 0, embeddings = 0, total = 0;
    const fc_tensor *tensors = fc_model_tensors(m, &n_tensors);
    const fc_trainable_part *p = fc_trainable_parts(t, &n_parts);
    for (int b = 0; b < LAYERS; b++) {
      const fc_scope one = {.first_block = b, .next_block = b + 1};
      total += fc_trainable_window(t, &one, &begin);
    }
    const fc_tensor *last = fc_model_find_tensor(m, cases[c].last);
    assert_non_null(last);
    for (size_t i = 0; i < n_parts; i++) {
      const fc_tensor *of = &tensors[p[i].tensor];
      if (is_embedding(of)) embeddings += (size_t)(p[i].rows * p[i].cols);
      if (of == last) assert_true(p[i].offset >= begin);
    }
    assert_true(embeddings > 0);
    assert_int_equal(total + embeddings, fc_trainable_count(t));
    fc_trainable_destroy(&t);
    fc_model_destroy(&m);
  }
}

static void a_limit_leaves_parts_of_its_blocks(void **state) {
  (void)state;
  for (size_t f = 0; f < N_FAMILIES; f++) {
    fc_model *m = new_model(all_families[f]);
    size_t n_tensors = 0, n_all = 0, n = 0, found = 0;
    const fc_tensor *tensors = fc_model_tensors(m, &n_tensors);
    fc_trainable *all = train(m, "all-linear", "head", 0, 0);
    fc_trainable *last = train(m, "all-linear", "head", 3, LAYERS);
    const fc_trainable_part *of_all = fc_trainable_parts(all, &n_all);
    const fc_trainable_part *p = fc_trainable_parts(last, &n);
    for (size_t i = 0; i < n_all; i++) {
      if (!is_within(&tensors[of_all[i].tensor], 3, LAYERS)) continue;
      assert_true(found < n);
      assert_string_equal(p[found].name, of_all[i].name);
      found++;
    }
    assert_int_equal(found, n);
    assert_true(n < n_all);
    fc_trainable_destroy(&all);
    fc_trainable_destroy(&last);
    fc_model_destroy(&m);
  }
}

/* A name that means nothing within the limit is refused, as one that means nothing at all. */
static void names_outside_the_limit_are_refused(void **state) {
  (void)state;
  static const char *const saved[] = {"embeddings"}, *const targets[] = {"layer.0.output.dense"};
  fc_model *m = new_model("bert");
  fc_trainable *t = NULL;
  fc_trainable_spec spec = {.saved = saved, .n_saved = 1, .first_block = 3, .next_block = LAYERS};
  assert_int_equal(fc_trainable_create(m, &spec, &t), FC_ERR_USAGE);
  assert_non_null(strstr(fc_err_message(), "saved module \"embeddings\" matches nothing"));
  spec = (fc_trainable_spec){.targets = targets,
                             .n_targets = 1,
                             .lora_rank = 2,
                             .alpha = 4.0F,
                             .first_block = 3,
                             .next_block = LAYERS};
  assert_int_equal(fc_trainable_create(m, &spec, &t), FC_ERR_USAGE);
  assert_non_null(strstr(fc_err_message(), "adapter target \"layer.0.output.dense\" matches no"));
  assert_null(t);
  fc_model_destroy(&m);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_window_is_what_lies_in_its_blocks),
      cmocka_unit_test(windows_leave_out_embeddings_alone),
      cmocka_unit_test(a_limit_leaves_parts_of_its_blocks),
      cmocka_unit_test(names_outside_the_limit_are_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
