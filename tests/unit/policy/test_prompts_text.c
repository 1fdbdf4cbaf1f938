/* Templates: what a state becomes word for word, every placeholder, what is refused. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "prompts.h"
#include "fedcell/fc_hash.h"
#include "fedcell/fc_llm.h"
#include "fedcell/fc_mem.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define OK(call)                                                                                   \
  do {                                                                                             \
    fc_err e_ = (call);                                                                            \
    if (e_ != FC_ERR_OK) fail_msg("%s: %s", #call, fc_err_message());                              \
  } while (0)

enum { N = 3, TEMPLATES = 5 };
static const char *const files[TEMPLATES] = {"system.txt", "task.txt", "observation.txt",
                                             "device.txt", "answer.txt"};

static const fc_environment_settings settings = {.devices = N,
                                                 .rounds = 30,
                                                 .deadline_s = 15,
                                                 .bandwidth_hz = 2e6,
                                                 .model_bits = 53.21e6,
                                                 .select_min = 2,
                                                 .sigma = 0.8,
                                                 .energy_offset_j = 1};

/* Device 1 took part, device 2 did not, device 3 cannot meet the deadline. */
static double f_max[N] = {0.5e9, 2.26e9, 4e9}, p_max[N] = {0.001, 0.1, 1},
              gain[N] = {1e-7, 3e-7, 1e-6}, com[N] = {0.001, 0.25, INFINITY}, cmp[N] = {1, 0, 100},
              samples[N] = {64, 600, 30000}, loss[N] = {2.303, 0.1, 0.0005},
              local_loss[N] = {2, NAN, NAN}, alignment[N] = {-0.5, NAN, NAN},
              same_sign[N] = {0.975, NAN, NAN};

static fc_fl_state some_state(void) {
  return (fc_fl_state){.devices = N,
                       .round = 7,
                       .accuracy = 0.4375,
                       .f_max_hz = f_max,
                       .p_max_w = p_max,
                       .gain = gain,
                       .com_j = com,
                       .cmp_j = cmp,
                       .samples = samples,
                       .loss = loss,
                       .local_loss = local_loss,
                       .alignment = alignment,
                       .same_sign = same_sign};
}

/* ---- a folder of templates ------------------------------------------------------------------- */

static char folder[64];

static void write_text(const char *file, const char *text) {
  char path[128];
  snprintf(path, sizeof path, "%s/%s", folder, file);
  FILE *f = fopen(path, "w");
  assert_non_null(f);
  assert_true(fputs(text, f) >= 0);
  assert_int_equal(fclose(f), 0);
}

static int make_folder(void **state) {
  (void)state;
  strcpy(folder, "/tmp/fedcell-prompts-XXXXXX");
  if (!mkdtemp(folder)) return 1;
  for (int i = 0; i < TEMPLATES; i++) write_text(files[i], "text\n");
  return 0;
}

static int drop_folder(void **state) {
  char path[128];
  (void)state;
  for (int i = 0; i < TEMPLATES; i++) {
    snprintf(path, sizeof path, "%s/%s", folder, files[i]);
    unlink(path);
  }
  return rmdir(folder);
}

static fc_prompts *read_folder(const char *where) {
  fc_prompts *p = NULL;
  OK(fc_prompts_read(where, &p));
  return p;
}

static void refused(fc_err code, const char *message) {
  fc_prompts *p = NULL;
  char want[256];
  assert_int_equal(fc_prompts_read(folder, &p), code);
  assert_null(p);
  snprintf(want, sizeof want, "%s/%s", folder, message);
  assert_string_equal(fc_err_message(), want);
}

/* ---- the project's own ------------------------------------------------------------------------
 */

static void own_templates_say_this(void **state) {
  (void)state;
  const fc_fl_state s = some_state();
  const uint8_t select[N] = {1, 0, 1};
  fc_prompts *p = read_folder("jobs/prompts");
  char *prefix = NULL, *observation = NULL, *answer = NULL;
  OK(fc_prompts_prefix(p, &settings, &prefix));
  OK(fc_prompts_observation(p, &settings, &s, NULL, &observation));
  OK(fc_prompts_answer(p, &settings, select, &answer));
  assert_string_equal(
      prefix,
      "You schedule the devices of a wireless federated learning system.\n"
      "Each round, choose at least 2 of 3 devices to train; they share 2 MHz and have 15 s. "
      "Maximise the sum of 0.2 X/(E + 1) + 0.8 X over 30 rounds, with test accuracy X and energy E "
      "in J.\n"
      "Columns (* logarithmic): device, samples*, clock, power, gain*, upload energy*, computing "
      "energy*, loss*, local loss*, alignment, equal signs.\n"
      "Answer: Selected devices: numbers\n");
  assert_string_equal(observation, "Round 7, accuracy 44 %\n"
                                   " 1 36 5 0 60 0 60 67 66 23 98\n"
                                   " 2 56 23 20 70 48 0 40 - - -\n"
                                   " 3 90 40 30 80 inf 99 0 - - -\n");
  assert_string_equal(answer, "Selected devices: 1, 3");
  fc_free(prefix);
  fc_free(observation);
  fc_free(answer);
  fc_prompts_destroy(&p);
}

static void every_answer_is_read_back(void **state) {
  (void)state;
  enum { MANY = 10 };
  fc_environment_settings set = settings;
  fc_prompts *p = read_folder("jobs/prompts");
  set.devices = MANY;
  for (unsigned subset = 1; subset < 1U << MANY; subset++) {
    uint8_t select[MANY], got[MANY];
    char *answer = NULL;
    for (int n = 0; n < MANY; n++) select[n] = subset >> n & 1U;
    OK(fc_prompts_answer(p, &set, select, &answer));
    assert_true(fc_answer_read(answer, MANY, got));
    assert_memory_equal(select, got, MANY);
    fc_free(answer);
  }
  fc_prompts_destroy(&p);
}

/* ---- others -----------------------------------------------------------------------------------
 */

/* Each placeholder alone in the template that may speak of it. */
static void every_placeholder_has_a_value(void **state) {
  (void)state;
  const fc_fl_state s = some_state();
  const uint8_t select[N] = {0, 1, 1};
  static const char *const want[] = {"3",     "30", "15", "2",       "2",  "0.8", "0.2", "1",
                                     "53.21", "7",  "44", "1\n2\n3", "1",  "36",  "5",   "0",
                                     "60",    "0",  "60", "67",      "66", "23",  "98",  "2, 3"};
  size_t i = 0;
  for (; fc_placeholder_name(i); i++) {
    bool is_device = i > 11 && i < 23, is_answer = i == 23;
    char text[64], *got = NULL;
    assert_true(i < sizeof want / sizeof want[0]);
    assert_true(strlen(fc_placeholder_meaning(i)) > 5);
    snprintf(text, sizeof text, "{%s}", fc_placeholder_name(i));
    write_text("observation.txt", is_device ? "{device_lines}" : is_answer ? "text" : text);
    write_text("device.txt", is_device ? text : "{device}");
    write_text("answer.txt", is_answer ? text : "{select_min}{selected}");
    fc_prompts *p = read_folder(folder);
    if (is_answer) {
      OK(fc_prompts_answer(p, &settings, select, &got));
    } else {
      OK(fc_prompts_observation(p, &settings, &s, NULL, &got));
      got[is_device ? strcspn(got, "\n") : strlen(got) - 1] = '\0';
    }
    assert_string_equal(got, want[i]);
    fc_free(got);
    fc_prompts_destroy(&p);
  }
  assert_int_equal(i, sizeof want / sizeof want[0]);
  assert_null(fc_placeholder_meaning(i));
}

static void what_stands_instead_is_told_of_all(void **state) {
  (void)state;
  const fc_fl_state s = some_state();
  char *got = NULL;
  write_text("observation.txt", "{round} {devices}\n{device_lines}");
  write_text("device.txt", "{device}:{loss},{com}");
  fc_prompts *p = read_folder(folder);
  OK(fc_prompts_observation(p, &settings, &s, "99", &got));
  assert_string_equal(got, "99 3\n1:99,99\n2:99,99\n3:99,99\n");
  fc_free(got);
  fc_prompts_destroy(&p);
}

static void files_are_written_as_they_were_read(void **state) {
  (void)state;
  const char *own = "jobs/prompts";
  fc_prompts *p = read_folder(own), *q = NULL;
  uint64_t of_text = FC_HASH_START;
  fc_prompts *text = read_folder(folder);
  of_text = fc_prompts_hash(text, of_text);
  fc_prompts_destroy(&text);
  OK(fc_prompts_write(p, folder));
  q = read_folder(folder);
  assert_true(fc_prompts_hash(p, FC_HASH_START) == fc_prompts_hash(q, FC_HASH_START));
  assert_true(fc_prompts_hash(p, FC_HASH_START) != of_text);
  assert_int_equal(fc_prompts_write(p, "/nonexistent"), FC_ERR_IO);
  assert_string_equal(fc_err_message(), "/nonexistent/system.txt: No such file or directory");
  fc_prompts_destroy(&p);
  fc_prompts_destroy(&q);
}

static void malformed_templates_are_refused(void **state) {
  (void)state;
  write_text("task.txt", "one\ntwo {deadline_s} {dead_line} three\n");
  refused(FC_ERR_USAGE, "task.txt:2: {dead_line} is no placeholder");
  write_text("task.txt", "one\n\n{gain}\n");
  refused(FC_ERR_USAGE, "task.txt:3: {gain} has no value in this template");
  write_text("task.txt", "{round}");
  refused(FC_ERR_USAGE, "task.txt:1: {round} has no value in this template");
  write_text("task.txt", "one {deadline_s\n}");
  refused(FC_ERR_USAGE, "task.txt:1: a { without its }");
  write_text("task.txt", "one {");
  refused(FC_ERR_USAGE, "task.txt:1: a { without its }");
  write_text("task.txt", "\n\n");
  refused(FC_ERR_USAGE, "task.txt: empty, or no text");
  write_text("task.txt", "text {}");
  refused(FC_ERR_USAGE, "task.txt:1: {} is no placeholder");
  write_text("task.txt", "text");
  write_text("device.txt", "{device_lines}");
  refused(FC_ERR_USAGE, "device.txt:1: {device_lines} has no value in this template");
  write_text("device.txt", "text");
  write_text("answer.txt", "{loss}");
  refused(FC_ERR_USAGE, "answer.txt:1: {loss} has no value in this template");
  write_text("answer.txt", "{selected}");
  char path[128];
  snprintf(path, sizeof path, "%s/observation.txt", folder);
  unlink(path);
  refused(FC_ERR_IO, "observation.txt: No such file or directory");
  write_text("observation.txt", "text");
}

static void nothing_is_left_after_failed_allocations(void **state) {
  (void)state;
  const fc_fl_state s = some_state();
  const uint8_t select[N] = {1, 1, 1};
  size_t before = fc_mem_current_bytes(), failed = 0;
  for (size_t n = 1; n < 400; n++) {
    fc_prompts *p = NULL;
    char *text[3] = {NULL, NULL, NULL};
    fc_mem_fail_at(n);
    fc_err err = fc_prompts_read("jobs/prompts", &p);
    if (err == FC_ERR_OK) err = fc_prompts_prefix(p, &settings, &text[0]);
    if (err == FC_ERR_OK) err = fc_prompts_observation(p, &settings, &s, NULL, &text[1]);
    if (err == FC_ERR_OK) err = fc_prompts_answer(p, &settings, select, &text[2]);
    fc_mem_fail_at(0);
    assert_true(err == FC_ERR_OK || err == FC_ERR_NOMEM);
    failed += err == FC_ERR_NOMEM;
    for (int i = 0; i < 3; i++) fc_free(text[i]);
    fc_prompts_destroy(&p);
    assert_int_equal(fc_mem_current_bytes(), before);
    if (err == FC_ERR_OK) break;
  }
  assert_true(failed > 10 && failed < 399);
}

int main(void) {
#define IN_A_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, drop_folder)
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(own_templates_say_this),
      cmocka_unit_test(every_answer_is_read_back),
      IN_A_FOLDER(every_placeholder_has_a_value),
      IN_A_FOLDER(what_stands_instead_is_told_of_all),
      IN_A_FOLDER(files_are_written_as_they_were_read),
      IN_A_FOLDER(malformed_templates_are_refused),
      cmocka_unit_test(nothing_is_left_after_failed_allocations),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
