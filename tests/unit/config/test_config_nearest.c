/* The hint for a mistyped name. */
#include "config_test.h"

static const char *option_name(size_t i) {
  static const char *const names[] = {"experiment",
                                      "seed",
                                      "model.family",
                                      "data.alpha",
                                      "adapter.alpha",
                                      "federation.rounds",
                                      "federation.method",
                                      "cell.fading",
                                      "cell.bandwidth_hz",
                                      "cell.noise_dbm_per_hz",
                                      "population.tx_power_w",
                                      "federation.local.learning_rate",
                                      "federation.local.batch"};
  return i < TABLE_LENGTH(names) ? names[i] : NULL;
}

static void the_name_that_was_meant(void **state) {
  (void)state;
  static const struct {
    const char *word, *name;
  } cases[] = {
      {"federation.round", "federation.rounds"},
      {"federation.ruonds", "federation.rounds"}, /* neighbours swapped */
      {"federation.Rounds", "federation.rounds"},
      {"fedaration.rounds", "federation.rounds"},
      {"rounds", "federation.rounds"},
      {"cell.rounds", "federation.rounds"},
      {"cell.bandwith_hz", "cell.bandwidth_hz"},
      {"cell.bandwidth", "cell.bandwidth_hz"},
      {"bandwidth", "cell.bandwidth_hz"},
      {"power", "population.tx_power_w"},
      {"federation.learning_rate", "federation.local.learning_rate"},
      {"local.learning_rate", "federation.local.learning_rate"},
      {"adaptr.alpha", "adapter.alpha"}, /* the nearer group of two */
      {"dat.alpha", "data.alpha"},
      {"an_adapter_group.alpha", "adapter.alpha"},
      {"sed", "seed"},
      {"seed", "seed"},
      {"federation.colour", NULL},
      {"xyzzy", NULL},
      {"x", NULL},
      {"", NULL},
      {".", NULL},
      {"cell.", NULL},
  };
  for (size_t i = 0; i < TABLE_LENGTH(cases); i++) {
    const char *name = fc_nearest_name(cases[i].word, option_name);
    if (name != cases[i].name && (!name || !cases[i].name || strcmp(name, cases[i].name) != 0)) {
      fail_msg("%s gave %s", cases[i].word, name ? name : "nothing");
    }
  }
}

static void long_words_have_no_hint(void **state) {
  (void)state;
  char word[5000];
  memset(word, 'a', sizeof word);
  word[sizeof word - 1] = '\0';
  assert_null(fc_nearest_name(word, option_name));
  word[2000] = '.';
  assert_null(fc_nearest_name(word, option_name));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_name_that_was_meant),
      cmocka_unit_test(long_words_have_no_hint),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
