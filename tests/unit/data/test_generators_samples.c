/* Embedded data: deterministic, balanced, of the stated form, and not too easy. */
#include "data_test.h"
#include "generate.h"
#include <math.h>

static fc_dataset *open_generated(const char *name, uint64_t seed, int64_t samples,
                                  int64_t test_samples) {
  fc_dataset *ds;
  fc_data_settings s = settings_of(name, "");
  s.samples = samples;
  s.test_samples = test_samples;
  assert_ok(fc_dataset_open(&s, seed, &ds));
  return ds;
}

static bool same_text(fc_text a, fc_text b) {
  return a.length == b.length && memcmp(a.text, b.text, a.length) == 0;
}

static void more_samples_keep_the_first_ones(void **state) {
  (void)state;
  const char *name;
  int generators = 0;
  for (size_t g = 0; (name = fc_dataset_name(g)) != NULL; g++) {
    if (strncmp(name, "generated-", 10) != 0) continue;
    generators++;
    fc_dataset *few = open_generated(name, 7, 50, 10), *many = open_generated(name, 7, 80, 20);
    fc_dataset *other = open_generated(name, 8, 50, 10);
    assert_int_equal(fc_dataset_train_count(few), 50);
    assert_int_equal(fc_dataset_test_count(many), 20);
    int differ = 0, test_is_train = 0;
    for (size_t i = 0; i < 60; i++) {
      fc_sample a = fc_dataset_sample(few, i), c = fc_dataset_sample(other, i);
      fc_sample b = fc_dataset_sample(many, i < 50 ? i : i + 30);
      assert_int_equal(a.label, b.label);
      if (a.pixels != NULL) {
        assert_memory_equal(a.pixels, b.pixels, 784);
        differ += memcmp(a.pixels, c.pixels, 784) != 0;
        continue;
      }
      assert_true(same_text(a.a, b.a) && same_text(a.b, b.b));
      differ += !same_text(a.a, c.a);
      if (i >= 50) test_is_train += same_text(a.a, fc_dataset_sample(few, i - 50).a);
    }
    assert_true(differ > 50);
    assert_true(test_is_train < 3);
    fc_dataset_destroy(&few);
    fc_dataset_destroy(&many);
    fc_dataset_destroy(&other);
  }
  assert_int_equal(generators, 5);
}

/* Binomial spread: 5 standard deviations. */
static void classes_are_balanced(void **state) {
  (void)state;
  const char *const names[] = {"generated-sentiment", "generated-topics", "generated-entailment",
                               "generated-digits"};
  enum { N = 4000 };
  for (int g = 0; g < 4; g++) {
    fc_dataset *ds = open_generated(names[g], 1, N, 1);
    int classes = fc_dataset_classes(ds), count[16] = {0};
    for (size_t i = 0; i < N; i++) count[fc_dataset_sample(ds, i).label]++;
    for (int c = 0; c < classes; c++) {
      double p = 1.0 / classes, spread = sqrt(N * p * (1.0 - p));
      assert_true(fabs(count[c] - N * p) <= 5.0 * spread);
    }
    fc_dataset_destroy(&ds);
  }
}

static void samples_are_many_different_ones(void **state) {
  (void)state;
  const char *const names[] = {"generated-sentiment", "generated-topics", "generated-entailment",
                               "generated-problems"};
  for (int g = 0; g < 4; g++) {
    fc_dataset *ds = open_generated(names[g], 1, 1000, 1);
    int twins = 0;
    for (size_t i = 0; i < 1000; i++)
      for (size_t j = 0; j < i; j++) {
        fc_sample a = fc_dataset_sample(ds, i), b = fc_dataset_sample(ds, j);
        if (same_text(a.a, b.a) && same_text(a.b, b.b)) twins++;
      }
    assert_true(twins < 50); /* short sentences repeat now and then */
    fc_dataset_destroy(&ds);
  }
}

/* ---- how far word counts go: naive Bayes with add-one smoothing ------------------------------ */

enum { BUCKETS = 1 << 14, CLASSES = 10 };

static uint32_t next_word(const char **at, const char *end) {
  uint32_t hash = 2166136261u; /* FNV-1a */
  while (*at < end && **at == ' ') ++*at;
  if (*at == end) return 0;
  for (; *at < end && **at != ' '; ++*at) hash = (hash ^ (unsigned char)**at) * 16777619u;
  return hash % (BUCKETS - 1) + 1;
}

static double bayes_accuracy(const fc_dataset *ds) {
  static double count[CLASSES][BUCKETS];
  double total[CLASSES] = {0};
  int classes = fc_dataset_classes(ds);
  size_t train = fc_dataset_train_count(ds), test = fc_dataset_test_count(ds), right = 0;
  memset(count, 0, sizeof count);
  for (size_t i = 0; i < train + test; i++) {
    fc_sample s = fc_dataset_sample(ds, i);
    double score[CLASSES] = {0};
    const fc_text parts[2] = {s.a, s.b};
    for (int part = 0; part < 2; part++) {
      const char *at = parts[part].text, *end = at + parts[part].length;
      for (uint32_t w; (w = next_word(&at, end)) != 0;) {
        if (i < train) {
          count[s.label][w]++;
          total[s.label]++;
        } else {
          for (int c = 0; c < classes; c++)
            score[c] += log((count[c][w] + 1.0) / (total[c] + BUCKETS));
        }
      }
    }
    if (i < train) continue;
    int best = 0;
    for (int c = 1; c < classes; c++)
      if (score[c] > score[best]) best = c;
    right += best == s.label;
  }
  return (double)right / (double)test;
}

static void word_counts_do_not_suffice(void **state) {
  (void)state;
  static const struct {
    const char *name;
    double low, high; /* accuracy of word counts: above chance, well below 1 */
  } cases[] = {{"generated-sentiment", 0.62, 0.85},
               {"generated-topics", 0.60, 0.92},
               {"generated-entailment", 0.45, 0.70}};
  for (int i = 0; i < 3; i++) {
    fc_dataset *ds = open_generated(cases[i].name, 1, 8000, 2000);
    double accuracy = bayes_accuracy(ds);
    print_message("%s: word counts reach %.3f\n", cases[i].name, accuracy);
    assert_true(accuracy >= cases[i].low && accuracy <= cases[i].high);
    fc_dataset_destroy(&ds);
  }
}

/* ---- the other two --------------------------------------------------------------------------- */

/* Every <<a op b=c>> must be right, follow on from the line before, and end in the answer. */
static void check_answer(fc_text text) {
  char answer[2048];
  assert_true(text.length < sizeof answer);
  memcpy(answer, text.text, text.length);
  answer[text.length] = '\0';
  int steps = 0, last = 0;
  for (const char *at = answer; (at = strstr(at, "<<")) != NULL; at += 2, steps++) {
    int a, b, c;
    char op;
    assert_int_equal(sscanf(at, "<<%d%c%d=%d>>", &a, &op, &b, &c), 4);
    int result = op == '+' ? a + b : op == '-' ? a - b : op == '*' ? a * b : a / b;
    assert_int_equal(c, result);
    if (op == '/') assert_int_equal(a % b, 0);
    if (steps > 0) assert_int_equal(a, last);
    assert_true(c >= 1 && c < 2000);
    last = c;
  }
  assert_true(steps >= 1 && steps <= 4);
  const char *end = strstr(answer, "\n#### ");
  assert_non_null(end);
  assert_int_equal(atoi(end + 6), last);
}

static void worked_answers_are_right(void **state) {
  (void)state;
  fc_dataset *ds = open_generated("generated-problems", 1, 2000, 1);
  assert_int_equal(fc_dataset_task(ds), FC_TASK_LM);
  assert_int_equal(fc_dataset_classes(ds), 0);
  for (size_t i = 0; i < 2000; i++) {
    fc_sample s = fc_dataset_sample(ds, i);
    assert_int_equal(s.a.text[s.a.length - 1], '?');
    check_answer(s.b);
  }
  fc_dataset_destroy(&ds);
}

/* Nearest class mean: digits look like their class, but not all alike. */
static void digits_resemble_their_class(void **state) {
  (void)state;
  static double mean[10][784];
  enum { TRAIN = 2000, TEST = 500 };
  int n[10] = {0}, right = 0;
  fc_dataset *ds = open_generated("generated-digits", 1, TRAIN, TEST);
  memset(mean, 0, sizeof mean);
  for (size_t i = 0; i < TRAIN; i++) {
    fc_sample s = fc_dataset_sample(ds, i);
    n[s.label]++;
    for (int k = 0; k < 784; k++) mean[s.label][k] += s.pixels[k];
  }
  for (int c = 0; c < 10; c++)
    for (int k = 0; k < 784; k++) mean[c][k] /= n[c];
  for (size_t i = TRAIN; i < TRAIN + TEST; i++) {
    fc_sample s = fc_dataset_sample(ds, i);
    double best = INFINITY;
    int guess = -1;
    for (int c = 0; c < 10; c++) {
      double away = 0.0;
      for (int k = 0; k < 784; k++) away += (mean[c][k] - s.pixels[k]) * (mean[c][k] - s.pixels[k]);
      if (away < best) {
        best = away;
        guess = c;
      }
    }
    right += guess == s.label;
  }
  print_message("generated-digits: class means reach %.3f\n", (double)right / TEST);
  assert_true(right > TEST * 0.35 && right < TEST * 0.90);
  fc_dataset_destroy(&ds);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(more_samples_keep_the_first_ones),
      cmocka_unit_test(classes_are_balanced),
      cmocka_unit_test(samples_are_many_different_ones),
      cmocka_unit_test(word_counts_do_not_suffice),
      cmocka_unit_test(worked_answers_are_right),
      cmocka_unit_test(digits_resemble_their_class),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
