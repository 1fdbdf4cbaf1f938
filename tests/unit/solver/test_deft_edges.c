/* DEFT at its edges: one client, no blocks, clients that cannot work, and what cannot be served. */
#include "deft_fixture.h"

static const int methods[] = {FC_DEFT_JBBA, FC_DEFT_CRUNCH, FC_DEFT_EXACT};

static void refused(const fc_deft_problem *p, const char *reason) {
  for (int m = 0; m < 3; m++) {
    fc_deft_problem with = *p;
    with.method = methods[m];
    const fc_deft_solution s = solve_here(&with);
    assert_int_equal(s.answer.status, FC_INFEASIBLE);
    assert_string_equal(s.answer.reason, reason);
  }
}

/* The latency, the same whatever the method. */
static double agreed(const fc_deft_problem *p) {
  double latency_s = 0;
  for (int m = 0; m < 3; m++) {
    fc_deft_problem with = *p;
    with.method = methods[m];
    const fc_deft_solution s = solve_here(&with);
    check_solution(&with, &s);
    if (m > 0) assert_true(fabs(s.latency_s - latency_s) <= 2e-9 * latency_s);
    latency_s = s.latency_s;
  }
  return latency_s;
}

static void one_client_does_it_all(void **state) {
  (void)state;
  for (int L = 1; L <= 8; L++) {
    fc_deft_problem p = problem_of(1, L, 4);
    memory_bytes[0] = 6e9;
    const double expected = compute_s(&p, 0, L, L) + air(&p, 0, L) / p.bandwidth_hz;
    assert_true(fabs(agreed(&p) - expected) <= 1e-9 * expected);
    assert_true(first_block[0] == 0 && blocks[0] == L);
  }
}

static void equal_clients_take_the_deepest_first(void **state) {
  (void)state;
  fc_deft_problem p = problem_of(3, 3, 1);
  for (int k = 0; k < 3; k++) {
    compute_flops[k] = 1e12;
    downlink[k] = uplink[k] = 10;
    memory_bytes[k] = 6e9;
  }
  p.download_bits = 0;
  agreed(&p);
  for (int k = 0; k < 3; k++) assert_true(blocks[k] == 1);
}

static void no_blocks_take_no_time(void **state) {
  (void)state;
  fc_deft_problem p = problem_of(3, 0, 1);
  assert_true(agreed(&p) == 0);
}

static void nothing_to_send_needs_no_band(void **state) {
  (void)state;
  fc_deft_problem p = problem_of(4, 6, 1);
  p.download_bits = p.upload_bits_per_block = 0;
  p.bandwidth_hz = 0;
  const double best = best_of_runs(&p);
  p.method = FC_DEFT_EXACT;
  const fc_deft_solution s = solve_here(&p);
  check_solution(&p, &s);
  assert_true(fabs(s.latency_s - best) <= 2e-9 * best);
}

static void who_cannot_work_owns_nothing(void **state) {
  (void)state;
  double *const column[] = {compute_flops, downlink, uplink, memory_bytes};
  const double dead[] = {0, 1e-310, 0, 2.2e9};
  for (int c = 0; c < 4; c++)
    for (int m = 0; m < 3; m++) {
      fc_deft_problem p = problem_of(4, 6, 9);
      for (int k = 0; k < 4; k++) memory_bytes[k] = 6e9;
      column[c][1] = column[c][3] = dead[c];
      p.method = methods[m];
      const fc_deft_solution s = solve_here(&p);
      check_solution(&p, &s);
      assert_true(blocks[1] == 0 && blocks[3] == 0 && blocks[0] + blocks[2] == 6);
    }
}

static void what_cannot_be_served(void **state) {
  (void)state;
  fc_deft_problem p = problem_of(3, 6, 1);
  for (int k = 0; k < 3; k++) compute_flops[k] = 0;
  refused(&p, "clients: compute_flops, downlink_spectral_efficiency and uplink_spectral_efficiency "
              "let none of them ever end");
  p = problem_of(3, 6, 1);
  for (int k = 0; k < 3; k++) memory_bytes[k] = 2.6e9 + 1e7 * k;
  refused(&p,
          "memory: the deepest block needs 2.65e+09 bytes, and no client that can work has more "
          "than 2.62e+09");
  memory_bytes[2] = 2.65e9; /* exactly what one block needs, but none is left for the others */
  refused(&p, "memory: no way was found for the 3 clients that can work to hold 6 blocks");
  for (int k = 0; k < 3; k++) memory_bytes[k] = 6e9;
  p.bandwidth_hz = 0;
  refused(&p, "server.bandwidth_hz is 0 and there are bits to send");
}

static void memory_that_just_suffices(void **state) {
  (void)state;
  fc_deft_problem p = problem_of(3, 3, 1);
  for (int k = 0; k < 3; k++) /* one block each, down from depth 3 */
    memory_bytes[k] = needed_bytes(&p, 3 - k, 1);
  agreed(&p);
  for (int k = 0; k < 3; k++) assert_true(first_block[k] == k && blocks[k] == 1);
}

static void malformed(const fc_deft_problem *p, fc_err id, const char *message) {
  fc_deft_solution s = {.first_block = first_block, .blocks = blocks, .bandwidth_hz = bandwidth};
  assert_int_equal(fc_deft_solve(p, NULL, &s), id);
  assert_string_equal(fc_err_message(), message);
}

static void beyond_the_limits(void **state) {
  (void)state;
  fc_deft_problem p = problem_of(13, 4, 1);
  p.method = FC_DEFT_EXACT;
  malformed(&p, FC_ERR_DATA, "method: exact takes up to 12 clients, not 13");
  p = problem_of(2, 4, 1);
  p.blocks = 3.5;
  malformed(&p, FC_ERR_DATA, "work.blocks: is 3.5, must be a whole number up to 96");
  p.blocks = 97;
  malformed(&p, FC_ERR_DATA, "work.blocks: is 97, must be a whole number up to 96");
  p = problem_of(2, 4, 1);
  memory_bytes[0] = 6e9;
  p.bandwidth_hz = 1e-305;
  malformed(&p, FC_ERR_NUMERIC, "deft: latencies beyond the range of numbers");
}

/* Twelve clients and more blocks than clients. */
static void exact_at_its_limit(void **state) {
  (void)state;
  fc_deft_problem p = problem_of(12, 24, 2);
  p.method = FC_DEFT_EXACT;
  const fc_deft_solution exact = solve_here(&p);
  check_solution(&p, &exact);
  p.method = FC_DEFT_JBBA;
  const fc_deft_solution jbba = solve_here(&p);
  check_solution(&p, &jbba);
  assert_true(exact.latency_s <= jbba.latency_s * (1 + 2e-9));
  assert_true(jbba.lower_bound_s <= exact.latency_s);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(one_client_does_it_all),
      cmocka_unit_test(equal_clients_take_the_deepest_first),
      cmocka_unit_test(no_blocks_take_no_time),
      cmocka_unit_test(nothing_to_send_needs_no_band),
      cmocka_unit_test(who_cannot_work_owns_nothing),
      cmocka_unit_test(what_cannot_be_served),
      cmocka_unit_test(memory_that_just_suffices),
      cmocka_unit_test(beyond_the_limits),
      cmocka_unit_test(exact_at_its_limit),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
