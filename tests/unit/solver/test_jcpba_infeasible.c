/* What JCPBA cannot serve is told with the constraint that binds, naming the first client. */
#include "jcpba_fixture.h"

static void refused(const fc_jcpba_problem *p, const char *reason) {
  for (int method = FC_JCPBA_EXACT; method <= FC_JCPBA_BCD; method++) {
    fc_jcpba_problem with = *p;
    with.method = method;
    fc_jcpba_solution s = solve_here(&with);
    assert_int_equal(s.answer.status, FC_INFEASIBLE);
    assert_string_equal(s.answer.reason, reason);
  }
}

static void a_zero_of_a_client(void **state) {
  (void)state;
  double *const column[] = {compute_flops, downlink_gain, uplink_gain, tx_power_w};
  const char *const name[] = {"compute_flops", "downlink_gain", "uplink_gain", "tx_power_w"};
  for (int c = 0; c < 4; c++) {
    fc_jcpba_problem p = problem_of(5, 1, 0.5, 2);
    char reason[FC_REASON_SIZE];
    column[c][2] = column[c][4] = 0;
    p.rows.first = 100;
    snprintf(reason, sizeof reason, "clients[102].%s is 0: no finite latency at any bandwidth",
             name[c]);
    refused(&p, reason);
  }
}

static void too_small_for_a_number(void **state) {
  (void)state;
  fc_jcpba_problem p = problem_of(3, 1, 0.5, 2);
  compute_flops[1] = 1e-310;
  refused(&p, "clients[1].compute_flops is 1e-310: no finite latency at any bandwidth");
  p = problem_of(3, 1, 0.5, 2);
  downlink_gain[1] = 1e-320;
  refused(&p, "clients[1].downlink_gain is 9.99989e-321: no finite latency at any bandwidth");
}

static void the_server(void **state) {
  (void)state;
  fc_jcpba_problem p = problem_of(3, 1, 0.5, 2);
  p.server_power_w = 0;
  refused(&p, "server.tx_power_w is 0: no finite latency at any bandwidth");
  p = problem_of(3, 1, 0.5, 2);
  p.bandwidth_hz = 0;
  refused(&p, "C1 (bandwidth): server.bandwidth_hz is 0 and there are bits to send");
}

static void memory(void **state) {
  (void)state;
  fc_jcpba_problem p = problem_of(3, 1, 0.5, 2);
  memory_bytes[1] = 3.9e9;
  refused(&p, "C3 (memory): clients[1] needs 3.9058e+09 bytes even at pruning.max 0.9 and has "
              "3.9e+09");
  p.emulator_bytes = 0;
  memory_bytes[1] = 1e9;
  refused(&p, "C3 (memory): clients[1] needs 3.8504e+09 bytes even at pruning.max 0.9 and has "
              "1e+09");
  memory_bytes[1] = 3.8504e9; /* just enough */
  fc_jcpba_solution s = solve_here(&p);
  check_solution(&p, &s);
}

static void pruning_range_and_mean(void **state) {
  (void)state;
  fc_jcpba_problem p = problem_of(3, 1, 0.5, 2);
  p.pruning_min = 0.91;
  refused(&p, "C4 (pruning range): pruning.min 0.91 is above pruning.max 0.9");
  p = problem_of(3, 1, 0.5, 2);
  p.pruning_mean_max = 0.05;
  memory_bytes[0] = memory_bytes[1] = memory_bytes[2] = 8e9;
  refused(&p, "C5 (convergence): pruning.min and the clients' memory ask for a mean pruning of at "
              "least 0.1, pruning.mean_max is 0.05");
  p.pruning_mean_max = 0.1;
  fc_jcpba_solution s = solve_here(&p);
  check_solution(&p, &s);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_zero_of_a_client),
      cmocka_unit_test(too_small_for_a_number),
      cmocka_unit_test(the_server),
      cmocka_unit_test(memory),
      cmocka_unit_test(pruning_range_and_mean),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
