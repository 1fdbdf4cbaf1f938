/* Split learning at its edges: one client, nothing to send, clients that cannot work, what cannot
 * be served and what is missing. */
#include "split_fixture.h"

static void refused(const fc_split_problem *p, const char *reason) {
  const fc_split_solution s = solve_here(p);
  assert_int_equal(s.answer.status, FC_INFEASIBLE);
  assert_string_equal(s.answer.reason, reason);
}

static void one_client(void **state) {
  (void)state;
  for (int budget = FC_SPLIT_LATENCY; budget <= FC_SPLIT_PARTICIPATION; budget++) {
    fc_split_problem p = problem_of(1, 2, budget);
    if (budget != FC_SPLIT_LATENCY) p.deadline_s = 20;
    const fc_split_solution s = solve_here(&p);
    check_solution(&p, &s);
    const double expected = compute_s(&p, 0) + air(&p, 0) / p.bandwidth_hz + server_s(&p, 1);
    assert_true(selected[0] == 1 && fabs(s.latency_s - expected) <= 1e-9 * expected);
  }
}

static void who_cannot_work_takes_no_part(void **state) {
  (void)state;
  double *const column[] = {compute_flops, downlink, uplink};
  const double dead[] = {0, 1e-320, 0};
  for (int c = 0; c < 3; c++)
    for (int budget = FC_SPLIT_LATENCY; budget <= FC_SPLIT_PARTICIPATION; budget++) {
      fc_split_problem p = problem_of(6, 2, budget);
      p.latency_queue = 0;
      energy_queue[1] = 0;
      participation_queue[4] = 1e6; /* however much it is missed */
      column[c][1] = column[c][4] = dead[c];
      if (budget != FC_SPLIT_LATENCY) p.deadline_s = 100;
      const fc_split_solution s = solve_here(&p);
      check_solution(&p, &s);
      assert_true(selected[1] == 0 && selected[4] == 0 && count(&p, selected) >= 1);
    }
}

static void nothing_to_send_needs_no_band(void **state) {
  (void)state;
  for (int budget = FC_SPLIT_LATENCY; budget <= FC_SPLIT_PARTICIPATION; budget++) {
    fc_split_problem p = problem_of(4, 2, budget);
    p.uplink_bits = p.downlink_bits = p.bandwidth_hz = 0;
    const fc_split_solution s = solve_here(&p);
    check_solution(&p, &s);
    for (int k = 0; k < 4; k++) assert_true(bandwidth[k] == 0);
  }
}

/* Two clients just fit their deadline: the band is shared as it asks, to the last hertz. */
static void a_deadline_that_just_suffices(void **state) {
  (void)state;
  for (int budget = FC_SPLIT_ENERGY; budget <= FC_SPLIT_PARTICIPATION; budget++) {
    fc_split_problem p = problem_of(2, 2, budget);
    const double both[] = {1, 1};
    energy_queue[0] = energy_queue[1] = 1e-3;
    p.deadline_s = latency_of(&p, both) * (1 + 1e-13);
    fc_split_solution s = solve_here(&p);
    check_solution(&p, &s);
    assert_int_equal(count(&p, selected), 2);
    p.deadline_s *= 1 - 1e-9;
    s = solve_here(&p);
    check_solution(&p, &s);
    assert_int_equal(count(&p, selected), 1);
  }
}

static void what_cannot_be_served(void **state) {
  (void)state;
  fc_split_problem p = problem_of(3, 2, FC_SPLIT_LATENCY);
  p.server_flops = 0;
  refused(&p, "server.compute_flops is 0: no finite latency");
  p.server_flop = 0;
  check_solution(&p, (fc_split_solution[]){solve_here(&p)});
  p.bandwidth_hz = 0;
  refused(&p, "server.bandwidth_hz is 0 and there are bits to send");
  p = problem_of(3, 2, FC_SPLIT_LATENCY);
  for (int k = 0; k < 3; k++) uplink[k] = 0;
  refused(&p, "clients: compute_flops, downlink_spectral_efficiency and uplink_spectral_efficiency "
              "let none of them ever end");
  for (int budget = FC_SPLIT_ENERGY; budget <= FC_SPLIT_PARTICIPATION; budget++) {
    p = problem_of(3, 2, budget);
    p.deadline_s = 0.25;
    refused(&p, "deadline_s: no client ends within 0.25 s, even alone in the whole band");
  }
}

static void malformed(const fc_split_problem *p, fc_err id, const char *message) {
  fc_split_solution s = {.selected = selected, .bandwidth_hz = bandwidth};
  assert_int_equal(fc_split_solve(p, NULL, &s), id);
  assert_string_equal(fc_err_message(), message);
}

static void what_is_missing(void **state) {
  (void)state;
  fc_split_problem p = problem_of(3, 2, FC_SPLIT_PARTICIPATION);
  p.deadline_s = (double)NAN;
  malformed(&p, FC_ERR_DATA, "deadline_s: is missing; energy and participation budgets need it");
  p = problem_of(3, 2, FC_SPLIT_ENERGY);
  p.tx_power_w = NULL;
  malformed(&p, FC_ERR_DATA, "clients[].tx_power_w: is missing; an energy budget needs it");
  p = problem_of(3, 2, FC_SPLIT_ENERGY);
  p.compute_energy_j = NULL;
  malformed(&p, FC_ERR_DATA, "clients[].compute_energy_j: is missing; an energy budget needs it");
}

static void beyond_the_range_of_numbers(void **state) {
  (void)state;
  fc_split_problem p = problem_of(3, 2, FC_SPLIT_LATENCY);
  p.bandwidth_hz = 1e-305;
  malformed(&p, FC_ERR_NUMERIC, "split: latencies beyond the range of numbers");
  p = problem_of(3, 2, FC_SPLIT_LATENCY);
  p.penalty_weight = p.round_weight = 1e200;
  malformed(&p, FC_ERR_NUMERIC, "split: objectives beyond the range of numbers");
  p = problem_of(3, 2, FC_SPLIT_ENERGY);
  energy_queue[1] = 1e308;
  malformed(&p, FC_ERR_NUMERIC, "split: queues and energies beyond the range of numbers");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(one_client),
      cmocka_unit_test(who_cannot_work_takes_no_part),
      cmocka_unit_test(nothing_to_send_needs_no_band),
      cmocka_unit_test(a_deadline_that_just_suffices),
      cmocka_unit_test(what_cannot_be_served),
      cmocka_unit_test(what_is_missing),
      cmocka_unit_test(beyond_the_range_of_numbers),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
