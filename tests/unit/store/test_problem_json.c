/* Optimisation problems from JSON: every field arrives; whatever is wrong is told with file, line
 * and field; generated problems depend on their seed alone; solutions are written with 17 digits.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include "fedcell/fc_mem.h"
#include "fedcell/fc_problem.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define OK(call)                                                                                   \
  do {                                                                                             \
    if ((call) != FC_ERR_OK) fail_msg("%s: %s", #call, fc_err_message());                          \
  } while (0)

static const fc_solver *jcpba;

static fc_err parse(const char *text, void **problem) {
  return fc_problem_parse(jcpba, "p.json", text, strlen(text), problem);
}

/* `text` is refused with this message, and nothing is left in memory. */
static void refused(const char *text, const char *message) {
  size_t before = fc_mem_current_bytes();
  void *problem = &before;
  assert_int_equal(parse(text, &problem), FC_ERR_DATA);
  assert_string_equal(fc_err_message(), message);
  assert_null(problem);
  assert_int_equal(fc_mem_current_bytes(), before);
}

#define CLIENT(f)                                                                                  \
  "{\"memory_bytes\":5,\"compute_flops\":" f                                                       \
  ",\"downlink_gain\":2,\"uplink_gain\":3,\"tx_power_w\":4}"
#define REST                                                                                       \
  "\"server\":{\"tx_power_w\":10,\"bandwidth_hz\":1e8,\"noise_power_w\":4e-13},\n"                 \
  "\"work\":{\"iterations\":1,\"adapter_flop\":2,\"emulator_flop\":3,\"adapter_bits\":4,"          \
  "\"emulator_bits\":5,\"update_bits\":6,\"adapter_bytes\":7,\"emulator_bytes\":8,"                \
  "\"fixed_bytes\":9},\n\"pruning\":{\"min\":0.1,\"max\":0.9,\"mean_max\":0.5}"
#define GENERATE "\"generate\":{\"seed\":7,\"count\":3}"

static void every_field_arrives(void **state) {
  (void)state;
  void *problem = NULL;
  OK(parse("{\"clients\":[" CLIENT("1e12") ",\n" CLIENT("0.1") "]," REST ",\"method\":\"bcd\"}",
           &problem));
  const fc_jcpba_problem *p = problem;
  assert_int_equal(p->rows.n, 2);
  assert_int_equal(p->rows.first, 0);
  assert_true(p->compute_flops[0] == 1e12 && p->compute_flops[1] == 0.1);
  assert_true(p->downlink_gain[1] == 2 && p->uplink_gain[1] == 3 && p->tx_power_w[1] == 4 &&
              p->memory_bytes[1] == 5);
  assert_true(p->server_power_w == 10 && p->bandwidth_hz == 1e8 && p->noise_power_w == 4e-13);
  assert_true(p->iterations == 1 && p->adapter_flop == 2 && p->emulator_flop == 3);
  assert_true(p->adapter_bits == 4 && p->emulator_bits == 5 && p->update_bits == 6);
  assert_true(p->adapter_bytes == 7 && p->emulator_bytes == 8 && p->fixed_bytes == 9);
  assert_true(p->pruning_min == 0.1 && p->pruning_max == 0.9 && p->pruning_mean_max == 0.5);
  assert_int_equal(p->method, FC_JCPBA_BCD);
  fc_problem_destroy(jcpba, &problem);
  assert_null(problem);
}

static void what_is_wrong_is_named(void **state) {
  (void)state;
  refused("", "p.json:1: the problem: parse error: premature EOF");
  refused("[1]", "p.json:1: the problem: must be an object");
  refused("{}", "p.json: clients: is missing or empty");
  refused("{\"clients\":[]," REST "}", "p.json: clients: is missing or empty");
  refused("{\"clients\":[" CLIENT("1") "]}", "p.json: server.tx_power_w: is missing");
  refused("{\"clients\":[" CLIENT("1") ",\n" CLIENT("-2") "]}",
          "p.json:2: clients[1].compute_flops: is -2, must not be negative");
  refused("{\"clients\":[\n" CLIENT("1e999") "]}",
          "p.json:2: clients[0].compute_flops: is 1e999, must be finite");
  refused("{\"clients\":[\n\n" CLIENT("NaN") "]}",
          "p.json:3: clients[0].compute_flops: lexical error: invalid char in json text.");
  refused("{\"clients\":[" CLIENT("\"1\"") "]}",
          "p.json:1: clients[0].compute_flops: must be a number, not a string");
  refused("{\"clients\":[" CLIENT("null") "]}",
          "p.json:1: clients[0].compute_flops: must be a number, not null");
  refused("{\"clients\":[" CLIENT("1,\"compute_flops\":1") "]}",
          "p.json:1: clients[0].compute_flops: is given twice");
  refused("{\"clients\":[" CLIENT("1") ",{\"compute_flops\":1}]}",
          "p.json:1: clients[1].downlink_gain: is missing");
  refused("{\"clients\":[" CLIENT("1,\"compute\":2") "]}",
          "p.json:1: clients[0].compute: unknown field; did you mean clients[].compute_flops?");
  refused("{\"clients\":[" CLIENT("1") "],\n\"clients\":[]}", "p.json:2: clients: is given twice");
  refused("{\"clients\":{}}", "p.json:1: clients: must be a list of objects, not an object");
  refused("{\"clients\":[1]}", "p.json:1: clients[0]: must be an object, not a number");
  refused("{\"server\":[]}", "p.json:1: server: must be an object, not a list");
  refused("{\"server\":{\"bandwith_hz\":1}}",
          "p.json:1: server.bandwith_hz: unknown field; did you mean server.bandwidth_hz?");
  refused("{\"server\":{\"tx_power_w\":1,\"tx_power_w\":1}}",
          "p.json:1: server.tx_power_w: is given twice");
  refused("{\"server\":{\"noise_power_w\":0}}",
          "p.json:1: server.noise_power_w: is 0, must be greater than 0");
  refused("{\"pruning\":{\"max\":1.5}}", "p.json:1: pruning.max: is 1.5, must be at most 1");
  refused("{\"method\":\"best\"}", "p.json:1: method: is best, allowed are: exact bcd");
  refused("{\"method\":1}", "p.json:1: method: must be a string, not a number");
  refused("{\"method\":\"bcd\",\"method\":\"bcd\"}", "p.json:1: method: is given twice");
  refused("{\"server.bandwidth_hz\":1}", "p.json:1: server.bandwidth_hz: unknown field");
  refused("{\"a\\u0000b\":1}", "p.json:1: a: unknown field");
  refused("{" GENERATE "} x", "p.json:1: the problem: parse error: trailing garbage");
}

static void long_texts_are_refused_in_order(void **state) {
  (void)state;
  static char text[20000];
  void *problem = NULL;
  snprintf(text, sizeof text, "{\"%0*d\":1}", 5000, 1);
  assert_int_equal(parse(text, &problem), FC_ERR_DATA);
  assert_string_equal(fc_err_message(), "p.json:1: the problem: holds a key of 5000 characters");
  snprintf(text, sizeof text, "{\"pruning\":{\"min\":%0*d}}", 5000, 1);
  text[19] = '1';
  assert_int_equal(parse(text, &problem), FC_ERR_DATA);
  memset(text, '[', sizeof text - 1);
  assert_int_equal(parse(text, &problem), FC_ERR_DATA);
  assert_string_equal(fc_err_message(), "p.json:1: the problem: must be an object");
}

/* Columns that a solver can do without: in all rows or in none, made up only if asked for. */
static void optional_columns(void **state) {
  (void)state;
  static const char rows[] =
      "{\"clients\":[{\"compute_flops\":1,\"uplink_spectral_efficiency\":2,"
      "\"downlink_spectral_efficiency\":3%s},{\"compute_flops\":4,\"uplink_spectral_efficiency\":5,"
      "\"downlink_spectral_efficiency\":6%s}],\"server\":{\"bandwidth_hz\":1,\"compute_flops\":1},"
      "\"work\":{\"iterations\":1,\"device_flop\":1,\"server_flop\":1,\"uplink_bits\":1,"
      "\"downlink_bits\":1},\"penalty_weight\":1,\"round_weight\":1}";
  static const struct {
    const char *first, *second;
    double queue; /* of the second row; NAN: refused, 0: not there */
  } cases[] = {
      {"", "", 0},
      {",\"energy_queue\":7", ",\"energy_queue\":8", 8},
      {",\"energy_queue\":7", "", (double)NAN},
      {"", ",\"energy_queue\":8", (double)NAN},
  };
  const fc_solver *split = fc_solver_find("split");
  for (int i = 0; i < 4; i++) {
    char text[2000];
    void *problem = NULL;
    snprintf(text, sizeof text, rows, cases[i].first, cases[i].second);
    fc_err err = fc_problem_parse(split, "p.json", text, strlen(text), &problem);
    assert_int_equal(err, isnan(cases[i].queue) ? FC_ERR_DATA : FC_ERR_OK);
    if (i == 2)
      assert_string_equal(fc_err_message(), "p.json:1: clients[1].energy_queue: is missing");
    if (i == 3)
      assert_string_equal(fc_err_message(),
                          "p.json:1: clients[1].energy_queue: is missing in rows before");
    const fc_split_problem *p = problem;
    if (err == FC_ERR_OK)
      assert_true(cases[i].queue == 0 ? !p->energy_queue : p->energy_queue[1] == 8);
    fc_problem_destroy(split, &problem);
  }
  static const char wish[] = "{\"generate\":{\"seed\":1,\"count\":2,\"energy_queue\":3}}";
  void *problem = NULL;
  OK(fc_problem_parse(split, "p.json", wish, strlen(wish), &problem));
  const fc_split_problem *p = problem;
  assert_true(p->energy_queue[1] == 3 && !p->participation_queue && isnan(p->deadline_s));
  fc_problem_destroy(split, &problem);
}

static void generated_problems_follow_their_seed(void **state) {
  (void)state;
  void *a = NULL, *b = NULL, *c = NULL;
  OK(parse("{" GENERATE "}", &a));
  OK(parse("{\"generate\":{\"seed\":7,\"count\":5000,\"tx_power_w\":{\"uniform\":[0.1,0.3]},"
           "\"uplink_gain\":{\"log_uniform\":[1e-9,1e-6]},\"memory_bytes\":5e9,"
           "\"compute_flops\":{\"exponential\":1e12}},\"server\":{\"tx_power_w\":3}}",
           &b));
  OK(parse("{\"generate\":{\"seed\":8,\"count\":3}}", &c));
  const fc_jcpba_problem *p = a, *q = b, *r = c;
  assert_int_equal(p->rows.n, 3);
  assert_true(p->server_power_w == 10 && p->bandwidth_hz == 3 * 12.5e6 && p->method == 0);
  assert_true(q->server_power_w == 3);
  for (int k = 0; k < 3; k++) { /* neither the count nor other columns change a draw */
    assert_true(p->downlink_gain[k] == q->downlink_gain[k]);
    assert_true(p->downlink_gain[k] != r->downlink_gain[k]);
  }
  double mean[3] = {0};
  for (int k = 0; k < 5000; k++) {
    assert_true(q->tx_power_w[k] > 0.1 && q->tx_power_w[k] < 0.3 && q->memory_bytes[k] == 5e9);
    assert_true(q->uplink_gain[k] > 1e-9 && q->uplink_gain[k] < 1e-6);
    mean[0] += q->tx_power_w[k] / 5000;
    mean[1] += log10(q->uplink_gain[k]) / 5000;
    mean[2] += q->compute_flops[k] / 5000;
  }
  assert_true(fabs(mean[0] - 0.2) < 0.01 && fabs(mean[1] + 7.5) < 0.1 &&
              fabs(mean[2] / 1e12 - 1) < 0.1);
  fc_problem_destroy(jcpba, &a);
  fc_problem_destroy(jcpba, &b);
  fc_problem_destroy(jcpba, &c);
}

static void wishes_that_cannot_be_met(void **state) {
  (void)state;
  refused("{\"generate\":{\"count\":3}}", "p.json: generate.seed: is missing");
  refused("{\"generate\":{\"seed\":1}}", "p.json: generate.count: must be given, from 1 to 1e+09");
  refused("{\"generate\":{\"seed\":1,\"count\":2.5}}",
          "p.json:1: generate.count: is 2.5, must be a whole number");
  refused("{\"generate\":{\"seed\":1,\"seed\":1}}", "p.json:1: generate.seed: is given twice");
  refused("{" GENERATE "," GENERATE "}", "p.json:1: generate: is given twice");
  refused("{\"generate\":3}", "p.json:1: generate: must be an object, not a number");
  refused("{\"generate\":{\"power\":3}}", "p.json:1: generate.power: unknown field");
  refused("{\"generate\":{\"tx_power_w\":-3}}",
          "p.json:1: generate.tx_power_w: is -3, must be in the range of the column");
  refused("{\"generate\":{\"tx_power_w\":{\"uniform\":[1,2,3]}}}",
          "p.json:1: generate.tx_power_w.uniform[0]: has too many numbers");
  refused("{\"generate\":{\"seed\":1,\"count\":1,\"tx_power_w\":{\"uniform\":[1]}}}",
          "p.json: generate.tx_power_w: needs two numbers");
  refused("{\"generate\":{\"seed\":1,\"count\":1,\"tx_power_w\":{\"uniform\":[2,1]}}}",
          "p.json: generate.tx_power_w: 2 is above 1");
  refused("{\"generate\":{\"seed\":1,\"count\":1,\"tx_power_w\":{\"log_uniform\":[0,1]}}}",
          "p.json: generate.tx_power_w: log_uniform needs numbers above 0");
  refused("{\"clients\":[" CLIENT("1") "]," GENERATE "}",
          "p.json: clients: is given beside generate");
}

/* A file in which a token and a line lie across the pieces that are read. */
static void files_of_many_pieces(void **state) {
  (void)state;
  enum { N = 3000 };
  char path[] = "/tmp/fedcell-problem-XXXXXX", message[256];
  int fd = mkstemp(path);
  FILE *f = fdopen(fd, "w");
  fputs("{\"clients\":[", f);
  for (int i = 0; i < N; i++) fprintf(f, "%s\n  " CLIENT("%d.5"), i ? "," : "", i);
  fputs("]," REST "}", f);
  fclose(f);
  void *problem = NULL;
  OK(fc_problem_read(jcpba, path, &problem));
  const fc_jcpba_problem *p = problem;
  assert_int_equal(p->rows.n, N);
  for (int i = 0; i < N; i++) assert_true(p->compute_flops[i] == i + 0.5);
  fc_problem_destroy(jcpba, &problem);
  f = fopen(path, "a");
  fputs("\n]", f);
  fclose(f);
  assert_int_equal(fc_problem_read(jcpba, path, &problem), FC_ERR_DATA);
  snprintf(message, sizeof message, "%s:%d: the problem: parse error: trailing garbage", path,
           N + 1 + 2 + 1);
  assert_string_equal(fc_err_message(), message);
  unlink(path);
  assert_int_equal(fc_problem_read(jcpba, "/no/such.json", &problem), FC_ERR_IO);
  assert_string_equal(fc_err_message(), "/no/such.json: No such file or directory");
  assert_int_equal(fc_problem_read(jcpba, "/tmp", &problem), FC_ERR_IO);
  assert_string_equal(fc_err_message(), "/tmp: Is a directory");
}

/* Starved at each of its allocations in turn, reading fails in order and leaves nothing behind. */
static void a_lack_of_memory(void **state) {
  (void)state;
  size_t before = fc_mem_current_bytes();
  fc_err err = FC_ERR_NOMEM;
  int n = 1;
  for (; err == FC_ERR_NOMEM && n < 100; n++) {
    void *problem = NULL;
    fc_mem_fail_at((size_t)n);
    err = parse("{\"clients\":[" CLIENT("1") "]," REST "}", &problem);
    fc_problem_destroy(jcpba, &problem);
    assert_int_equal(fc_mem_current_bytes(), before);
  }
  fc_mem_fail_at(0);
  assert_int_equal(err, FC_ERR_OK);
  assert_true(n > 5);
}

static fc_err append(void *arg, const char *text, size_t n) {
  strncat(arg, text, n);
  return FC_ERR_OK;
}

static fc_err full(void *arg, const char *text, size_t n) {
  (void)arg, (void)text;
  return fc_fail(FC_ERR_IO, "no room for %zu", n);
}

static void solutions_are_written_whole(void **state) {
  (void)state;
  void *solution = NULL;
  char text[1000] = "";
  OK(fc_solution_create(jcpba, 2, &solution));
  fc_jcpba_solution *s = solution;
  s->latency_s = 0.1;
  s->pruning[1] = 1.0 / 3;
  s->bandwidth_hz[0] = 1e8;
  s->iterations = 5;
  OK(fc_solution_write(jcpba, 2, s, append, text));
  assert_string_equal(text, "{\"status\":\"optimal\",\"latency_s\":0.10000000000000001,"
                            "\"pruning\":[0,0.33333333333333331],\"bandwidth_hz\":[100000000,0],"
                            "\"lower_bound_s\":0,\"iterations\":5}\n");
  s->answer = (fc_answer){FC_INFEASIBLE, "C3 (memory): no"};
  text[0] = '\0';
  OK(fc_solution_write(jcpba, 2, s, append, text));
  assert_string_equal(text, "{\"status\":\"infeasible\",\"reason\":\"C3 (memory): no\"}\n");
  assert_int_equal(fc_solution_write(jcpba, 2, s, full, NULL), FC_ERR_IO);
  assert_string_equal(fc_err_message(), "no room for 51");
  fc_solution_destroy(jcpba, &solution);
  assert_null(solution);
}

static int find_solver(void **state) {
  (void)state;
  jcpba = fc_solver_find("jcpba");
  return jcpba ? 0 : -1;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_field_arrives),
      cmocka_unit_test(what_is_wrong_is_named),
      cmocka_unit_test(long_texts_are_refused_in_order),
      cmocka_unit_test(optional_columns),
      cmocka_unit_test(generated_problems_follow_their_seed),
      cmocka_unit_test(wishes_that_cannot_be_met),
      cmocka_unit_test(files_of_many_pieces),
      cmocka_unit_test(a_lack_of_memory),
      cmocka_unit_test(solutions_are_written_whole),
  };
  return cmocka_run_group_tests(tests, find_solver, NULL);
}
