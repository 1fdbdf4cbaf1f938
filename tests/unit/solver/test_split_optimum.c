/* Split learning: participants and bandwidths against all sets of up to seven clients, and what the
 * queues do over many rounds. */
#include "split_fixture.h"

typedef struct {
  int solved, infeasible, missed; /* missed: above the optimum */
  double mean, worst;             /* share of |optimum| above it */
} gap;

/* deadline_s: 0: as drawn. */
static gap measure(int budget, double deadline_s, int draws) {
  gap g = {0, 0, 0, 0, 0};
  for (int i = 0; i < draws; i++) {
    fc_rng rng = fc_rng_open(9, FC_RNG_TEST, 4, (uint64_t)i);
    fc_split_problem p = problem_of(1 + (int)fc_rng_below(&rng, 7), (uint64_t)i + 1, budget);
    p.latency_queue = pow(10, uniform(&rng, -1, 2));
    p.round_weight *= pow(10, uniform(&rng, -1, 1));
    if (deadline_s > 0) p.deadline_s = deadline_s;
    const double best = best_of_sets(&p);
    const fc_split_solution s = solve_here(&p);
    if (best == INFINITY) {
      assert_int_equal(s.answer.status, FC_INFEASIBLE);
      g.infeasible++;
      continue;
    }
    check_solution(&p, &s);
    const double above = (s.objective - best) / fmax(fabs(best), 1e-3);
    assert_true(above >= -1e-9);
    g.solved++;
    g.missed += above > 1e-9;
    g.mean += above;
    g.worst = fmax(g.worst, above);
  }
  g.mean /= g.solved;
  print_message("%d solved, %d infeasible, %d above the optimum: mean %.2g %%, worst %.2g %%\n",
                g.solved, g.infeasible, g.missed, 100 * g.mean, 100 * g.worst);
  return g;
}

static void latency_is_exact(void **state) {
  (void)state;
  const gap g = measure(FC_SPLIT_LATENCY, 0, 200);
  assert_true(g.solved == 200 && g.missed == 0);
}

static void without_a_deadline_that_binds_all_are_exact(void **state) {
  (void)state;
  const gap energy = measure(FC_SPLIT_ENERGY, 1e6, 200);
  assert_true(energy.solved == 200 && energy.missed == 0);
  const gap participation = measure(FC_SPLIT_PARTICIPATION, 1e6, 200);
  assert_true(participation.solved == 200 && participation.missed == 0);
}

static void with_a_deadline_few_are_missed(void **state) {
  (void)state;
  const gap energy = measure(FC_SPLIT_ENERGY, 6, 300);
  assert_true(energy.infeasible > 0 && energy.missed <= 3 && energy.mean <= 0.02);
  const gap participation = measure(FC_SPLIT_PARTICIPATION, 6, 300);
  assert_true(participation.infeasible > 0 && participation.missed <= 3);
  assert_true(participation.mean <= 0.02);
}

/* No better set is one client in, out, or for another away. */
static void many_clients_cannot_be_improved_by_a_move(void **state) {
  (void)state;
  for (int budget = FC_SPLIT_ENERGY; budget <= FC_SPLIT_PARTICIPATION; budget++) {
    fc_split_problem p = problem_of(60, 8, budget);
    double in[CLIENTS_MAX], band[CLIENTS_MAX];
    const fc_split_solution s = solve_here(&p);
    check_solution(&p, &s);
    for (int a = 0; a < 60; a++)
      for (int b = a; b < 60; b++) {
        memcpy(in, selected, sizeof in);
        in[a] = 1 - in[a];
        if (b != a) in[b] = 1 - in[b];
        if (count(&p, in) == 0 || (b != a && in[a] == in[b])) continue;
        if (!cheapest_bands(&p, in, band)) continue;
        const double objective = objective_of(&p, in, band, 0);
        assert_true(objective >= s.objective - 1e-9 * fabs(s.objective));
      }
  }
}

/* An empty queue costs nothing: all take part, and end as soon as they can. */
static void empty_queues_let_all_take_part(void **state) {
  (void)state;
  for (int budget = FC_SPLIT_LATENCY; budget <= FC_SPLIT_PARTICIPATION; budget++) {
    fc_split_problem p = problem_of(5, 3, budget);
    p.latency_queue = (double)NAN;
    p.energy_queue = p.participation_queue = NULL;
    if (budget != FC_SPLIT_LATENCY) p.deadline_s = 1e6;
    const fc_split_solution s = solve_here(&p);
    p.latency_queue = 0;
    p.energy_queue = p.participation_queue = (const double[CLIENTS_MAX]){0};
    check_solution(&p, &s);
    assert_int_equal(count(&p, selected), 5);
    const double least_s = latency_of(&p, selected);
    assert_true(fabs(s.latency_s - least_s) <= 1e-9 * least_s);
  }
}

/* Over many rounds of other channels the mean latency stays within what the queue allows, and the
 * budget binds. */
static void the_queue_keeps_the_budget(void **state) {
  (void)state;
  enum { ROUNDS = 200 };
  const double rho = 0.99;
  fc_split_problem p = problem_of(12, 1, FC_SPLIT_LATENCY);
  p.latency_queue = 0;
  const double allowed_s = 0.5 * solve_here(&p).latency_s; /* of what all would take */
  double queue = 0, total_s = 0, participants = 0;
  for (int t = 0; t < ROUNDS; t++) {
    p = problem_of(12, 1 + (uint64_t)t, FC_SPLIT_LATENCY);
    p.latency_queue = queue;
    p.round_weight = pow(rho, ROUNDS - 1 - t);
    const fc_split_solution s = solve_here(&p);
    check_solution(&p, &s);
    queue = fc_queue_next(queue, s.latency_s, allowed_s);
    total_s += s.latency_s;
    participants += count(&p, selected);
  }
  assert_true(total_s / ROUNDS <= allowed_s + queue / ROUNDS);
  assert_true(total_s / ROUNDS <= 1.1 * allowed_s && total_s / ROUNDS >= 0.5 * allowed_s);
  assert_true(participants / ROUNDS > 1 && participants / ROUNDS < 12);
}

static void queues_never_fall_below_zero(void **state) {
  (void)state;
  assert_true(fc_queue_next(1, 2, 0.5) == 2.5 && fc_queue_next(1, 2, 5) == 0);
  assert_true(isnan(fc_queue_next(1, (double)NAN, 5)));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(latency_is_exact),
      cmocka_unit_test(without_a_deadline_that_binds_all_are_exact),
      cmocka_unit_test(with_a_deadline_few_are_missed),
      cmocka_unit_test(many_clients_cannot_be_improved_by_a_move),
      cmocka_unit_test(empty_queues_let_all_take_part),
      cmocka_unit_test(the_queue_keeps_the_budget),
      cmocka_unit_test(queues_never_fall_below_zero),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
