/* The published files themselves, where they are: ../shared/data seen from the project's root.
 * Counts are those of the publications. Without the folder the program says so and exits 77. */
#include "data_test.h"

#define ROOT "../shared/data/"

typedef struct {
  const char *dataset, *file;
  size_t train, test;
  int classes;
  int first_label;
  const char *first_text; /* its beginning */
} published;

static void has_its_counts(void **state) {
  const published *p = *state;
  char dir[64], file[128];
  snprintf(dir, sizeof dir, ROOT "%s", p->dataset);
  snprintf(file, sizeof file, "%s/%s", dir, p->file);
  if (access(file, R_OK) != 0) {
    print_message("skipped: %s is not there\n", file);
    skip();
  }
  fc_dataset *ds;
  fc_data_settings s = settings_of(p->dataset, dir);
  assert_ok(fc_dataset_open(&s, 1, &ds));
  assert_int_equal(fc_dataset_train_count(ds), p->train);
  assert_int_equal(fc_dataset_test_count(ds), p->test);
  assert_int_equal(fc_dataset_classes(ds), p->classes);
  fc_sample first = fc_dataset_sample(ds, 0);
  if (p->first_text != NULL) {
    assert_int_equal(first.label, p->first_label);
    assert_memory_equal(first.a.text, p->first_text, strlen(p->first_text));
  }
  fc_dataset_destroy(&ds);
}

static void mnist_pixels_add_up(void **state) {
  (void)state;
  if (access(ROOT "mnist/train-images-idx3-ubyte.gz", R_OK) != 0) {
    print_message("skipped: " ROOT "mnist is not there\n");
    skip();
  }
  fc_dataset *ds;
  fc_data_settings s = settings_of("mnist", ROOT "mnist");
  assert_ok(fc_dataset_open(&s, 1, &ds));
  uint64_t sum = 0;
  int digits[10] = {0};
  for (size_t i = 0; i < 60000; i++) {
    fc_sample sample = fc_dataset_sample(ds, i);
    for (int k = 0; k < 784; k++) sum += sample.pixels[k];
    digits[sample.label]++;
  }
  assert_true(sum == 1567298545); /* mean 33.3184 */
  assert_int_equal(digits[0], 5923);
  assert_int_equal(digits[9], 5949);
  fc_dataset_destroy(&ds);
}

int main(void) {
  if (access(ROOT, R_OK) != 0) {
    printf("skipped: no " ROOT " here\n");
    return 77;
  }
  static published sst2 = {"sst2", "train.tsv", 67349, 872, 2, 0, "hide new secretions"};
  static published gsm8k = {"gsm8k", "train.jsonl", 7473, 1319, 0, 0, "Natalia sold clips"};
  static published mnist = {"mnist", "train-images-idx3-ubyte.gz", 60000, 10000, 10, 5, NULL};
  /* No test part of their own: a tenth of 5463 and of 4865, rounded, is divided off. */
  static published qnli = {"qnli", "dev.tsv", 4917, 546, 2, 0, NULL};
  static published yahoo = {"yahoo", "yahoo10.csv", 4378, 487, 10, 0, NULL};
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_prestate(has_its_counts, &sst2),
      cmocka_unit_test_prestate(has_its_counts, &gsm8k),
      cmocka_unit_test_prestate(has_its_counts, &mnist),
      cmocka_unit_test_prestate(has_its_counts, &qnli),
      cmocka_unit_test_prestate(has_its_counts, &yahoo),
      cmocka_unit_test(mnist_pixels_add_up),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
