/* The real environment learns: accuracy rises, more with all devices than with one class's; MNIST
 * where its files are. */
#include "environment_fixture.h"
#include <unistd.h>

static double accuracy_after(const char *settings, const uint8_t *select) {
  fc_scenario *s = scenario_of(settings);
  fc_environment *e;
  fc_outcome o;
  assert_ok(fc_environment_open_real(s, 1, &e));
  assert_ok(fc_environment_reset(e, &(fc_episode){.seed = 1}));
  do assert_ok(fc_environment_step(e, &(fc_decision){.select = select}, &o));
  while (!fc_environment_is_over(e));
  assert_true(o.served > 0);
  fc_environment_close(&e);
  fc_scenario_destroy(&s);
  return o.accuracy;
}

static const uint8_t everyone[DEVICES] = {1, 1, 1, 1, 1, 1};

static void accuracy_rises(void **unused) {
  (void)unused;
  static const uint8_t one[DEVICES] = {0, 0, 1, 0, 0, 0};
  const char *settings = "environment.rounds=10\nenvironment.iterations=10\ndata.alpha=0.2\n"
                         "environment.learning_rate=0.1\ndata.samples=1500";
  const double all = accuracy_after(settings, everyone), single = accuracy_after(settings, one);
  print_message("accuracy after 10 rounds: %.3f with all devices, %.3f with one\n", all, single);
  assert_true(all > 0.5);
  assert_true(single < all - 0.1);
}

static void mnist_is_learnt(void **unused) {
  (void)unused;
  if (access("../shared/data/mnist", R_OK) != 0) skip();
  const double accuracy = accuracy_after("data.dataset=mnist\ndata.dir=../shared/data/mnist\n"
                                         "data.samples=3000\nenvironment.rounds=6\n"
                                         "environment.iterations=20\nenvironment.learning_rate=0.1",
                                         everyone);
  print_message("accuracy on MNIST after 6 rounds: %.3f\n", accuracy);
  assert_true(accuracy > 0.7);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(accuracy_rises),
      cmocka_unit_test(mnist_is_learnt),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
