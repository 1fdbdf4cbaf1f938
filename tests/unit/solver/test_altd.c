/* Least energy by a deadline: both methods against dense search over the time on the air, bands
 * against dense search and against exchanges between devices, limits that bind, devices that miss.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include "fedcell/fc_rng.h"
#include "fedcell/fc_solver.h"
#include <math.h>
#include <stdlib.h>

enum { N_MAX = 3000 };
static double samples[N_MAX], gain[N_MAX], f_max[N_MAX], p_max[N_MAX];
static double missed[N_MAX], f[N_MAX], p_w[N_MAX], band[N_MAX], time_s[N_MAX], energy[N_MAX];

/* [TELLM, Table II] with 200 kHz a device; `tight` lowers the limits so that they bind. */
static fc_altd_problem problem_of(int n, uint64_t seed, double tight) {
  for (int i = 0; i < n; i++) {
    fc_rng rng = fc_rng_open(seed, FC_RNG_TEST, 0, (uint64_t)i);
    samples[i] = 64 + 1000 * fc_rng_uniform(&rng);
    gain[i] = 1e-6 * (0.1 + 0.9 * fc_rng_uniform(&rng));
    f_max[i] = 1e9 * (0.7 + 3 * fc_rng_uniform(&rng)) / tight;
    p_max[i] = (0.2 + fc_rng_uniform(&rng)) / (tight * tight * tight);
  }
  return (fc_altd_problem){{n, 0}, samples, gain,          f_max,        p_max,
                           15,     53.21e6, 2e5 * n,       3.98e-21,     5,
                           7e5,    1e-28,   FC_ALTD_EQUAL, FC_ALTD_EXACT};
}

static fc_altd_solution solve_here(const fc_altd_problem *p) {
  fc_altd_solution s = {.infeasible_devices = missed,
                        .frequency_hz = f,
                        .power_w = p_w,
                        .bandwidth_hz = band,
                        .time_s = time_s,
                        .energy_j = energy};
  if (fc_altd_solve(p, NULL, &s) != FC_ERR_OK) fail_msg("%s", fc_err_message());
  return s;
}

static double cycles(const fc_altd_problem *p, int i) {
  return p->cycles_per_sample * p->samples[i] * p->local_iterations;
}

/* Energy of device i in band B with t on the air, straight from [TELLM (5)-(10)]; infinite where a
 * limit is broken. */
static double energy_at(const fc_altd_problem *p, int i, double B, double t) {
  double w = cycles(p, i), noise = p->noise_psd_w_per_hz * B / p->gain[i];
  double power = noise * expm1(p->model_bits / (B * t) * M_LN2);
  double frequency = w / (p->deadline_s - t);
  if (power > p->p_max_w[i] * (1 + 1e-9) || frequency > p->f_max_hz[i] * (1 + 1e-9))
    return INFINITY;
  return p->switched_capacitance * w * frequency * frequency + power * t;
}

/* The least energy in band B: grids over t, each finer around the best of the one before. */
static double least_energy(const fc_altd_problem *p, int i, double B) {
  double noise = p->noise_psd_w_per_hz * B / p->gain[i];
  double lo = p->model_bits * M_LN2 / (B * log1p(p->p_max_w[i] / noise));
  double hi = p->deadline_s - cycles(p, i) / p->f_max_hz[i], best = INFINITY, at = lo;
  for (int level = 0; level < 10 && lo <= hi; level++) {
    double width = (hi - lo) / 40;
    for (int k = 0; k <= 40; k++) {
      double E = energy_at(p, i, B, lo + k * width);
      if (E >= best) continue;
      best = E;
      at = lo + k * width;
    }
    lo = fmax(lo, at - width);
    hi = fmin(hi, at + width);
  }
  return best;
}

static void check_solution(const fc_altd_problem *p, const fc_altd_solution *s) {
  double total_band = 0, total = 0;
  assert_int_equal(s->answer.status, FC_OPTIMAL);
  for (int i = 0; i < p->rows.n; i++) {
    double rate = band[i] * log1p(p_w[i] * p->gain[i] / (p->noise_psd_w_per_hz * band[i])) / M_LN2;
    double t = p->model_bits / rate, compute = cycles(p, i) / f[i];
    assert_true(missed[i] == 0 && f[i] <= f_max[i] && p_w[i] <= p_max[i]);
    assert_true(compute + t <= p->deadline_s * (1 + 1e-9));
    assert_true(fabs(compute + t - time_s[i]) <= 1e-9 * time_s[i]);
    double E = p->switched_capacitance * cycles(p, i) * f[i] * f[i] + p_w[i] * t;
    assert_true(fabs(E - energy[i]) <= 1e-9 * E);
    total_band += band[i];
    total += E;
  }
  assert_true(total_band <= p->bandwidth_hz * (1 + 1e-9));
  assert_true(fabs(total - s->total_energy_j) <= 1e-9 * total);
}

/* Both methods; the total energy of the exact one. */
static double solve_both(fc_altd_problem p) {
  p.method = FC_ALTD_EXACT;
  fc_altd_solution exact = solve_here(&p);
  check_solution(&p, &exact);
  p.method = FC_ALTD_ALTERNATING;
  fc_altd_solution altd = solve_here(&p);
  check_solution(&p, &altd);
  assert_true(fabs(altd.total_energy_j - exact.total_energy_j) <= 1e-8 * exact.total_energy_j);
  return exact.total_energy_j;
}

static void equal_bands_agree_with_dense_search(void **state) {
  (void)state;
  const double tight[] = {1, 1.3, 1.6, 2, 3};
  int solved = 0;
  for (int c = 0; c < 5; c++)
    for (uint64_t seed = 1; seed <= 10; seed++) {
      fc_altd_problem p = problem_of(4, seed, tight[c]);
      double expected = 0;
      for (int i = 0; i < 4; i++) expected += least_energy(&p, i, p.bandwidth_hz / 4);
      if (!isfinite(expected)) {
        fc_altd_solution s = solve_here(&p);
        assert_int_equal(s.answer.status, FC_INFEASIBLE);
        continue;
      }
      solved++;
      const double found = solve_both(p);
      if (!(fabs(found - expected) <= 1e-7 * expected))
        fail_msg("%.12g, dense search %.12g", found, expected);
    }
  assert_true(solved >= 20 && solved < 50); /* both kinds were met */
}

/* Two devices: every split of the band on a fine grid, finer around the best. */
static double best_split(const fc_altd_problem *p) {
  double lo = 0, hi = p->bandwidth_hz, best = INFINITY, at = lo;
  for (int level = 0; level < 6; level++) {
    double width = (hi - lo) / 50;
    for (int k = 1; k < 50; k++) {
      double B = lo + k * width;
      double E = least_energy(p, 0, B) + least_energy(p, 1, p->bandwidth_hz - B);
      if (E >= best) continue;
      best = E;
      at = B;
    }
    if (!isfinite(best)) return best;
    lo = fmax(lo, at - width);
    hi = fmin(hi, at + width);
  }
  return best;
}

static void optimal_bands_agree_with_dense_search(void **state) {
  (void)state;
  const double tight[] = {1, 1.5, 2};
  for (int c = 0; c < 3; c++)
    for (uint64_t seed = 1; seed <= 4; seed++) {
      fc_altd_problem p = problem_of(2, seed, tight[c]);
      p.bandwidth = FC_ALTD_OPTIMAL;
      double expected = best_split(&p);
      if (!isfinite(expected)) continue;
      const double found = solve_both(p);
      if (!(fabs(found - expected) <= 1e-6 * expected))
        fail_msg("%.12g, dense search %.12g", found, expected);
    }
}

/* At the optimum no band that one device hands to another lowers the energy. */
static void no_exchange_of_band_helps(void **state) {
  (void)state;
  fc_altd_problem p = problem_of(N_MAX, 3, 1.4);
  p.bandwidth = FC_ALTD_OPTIMAL;
  fc_altd_solution s = solve_here(&p);
  check_solution(&p, &s);
  for (int i = 0; i + 1 < 40; i++) {
    double now = least_energy(&p, i, band[i]) + least_energy(&p, i + 1, band[i + 1]);
    for (int sign = -1; sign <= 1; sign += 2) {
      double moved = sign * 1e-3 * fmin(band[i], band[i + 1]);
      double then =
          least_energy(&p, i, band[i] + moved) + least_energy(&p, i + 1, band[i + 1] - moved);
      assert_true(then >= now * (1 - 1e-9));
    }
  }
  p.bandwidth = FC_ALTD_EQUAL;
  double optimal = s.total_energy_j;
  fc_altd_solution equal = solve_here(&p);
  assert_true(equal.answer.status == FC_INFEASIBLE || equal.total_energy_j > optimal);
}

static void ratios_of_any_size(void **state) {
  (void)state;
  for (uint64_t seed = 1; seed <= 30; seed++) {
    fc_altd_problem p = problem_of(3, seed, 1);
    fc_rng rng = fc_rng_open(seed, FC_RNG_TEST, 1, 0);
    for (int i = 0; i < 3; i++) {
      samples[i] = pow(10, -6 + 8 * fc_rng_uniform(&rng));
      gain[i] = pow(10, -8 + 8 * fc_rng_uniform(&rng));
      p_max[i] = 100;
      f_max[i] = pow(10, 10 + 4 * fc_rng_uniform(&rng));
    }
    for (int b = FC_ALTD_EQUAL; b <= FC_ALTD_OPTIMAL; b++) {
      p.bandwidth = b;
      solve_both(p);
    }
  }
}

static void nothing_to_compute_or_to_send(void **state) {
  (void)state;
  for (int b = FC_ALTD_EQUAL; b <= FC_ALTD_OPTIMAL; b++)
    for (int m = FC_ALTD_EXACT; m <= FC_ALTD_ALTERNATING; m++) {
      fc_altd_problem p = problem_of(3, 1, 1);
      p.bandwidth = b;
      p.method = m;
      samples[1] = 0;
      fc_altd_solution s = solve_here(&p);
      check_solution(&p, &s);
      assert_true(f[1] == f_max[1]);
      p.model_bits = 0;
      s = solve_here(&p);
      assert_int_equal(s.answer.status, FC_OPTIMAL);
      double w = cycles(&p, 0), expected = 1e-28 * w * (w / 15) * (w / 15);
      assert_true(fabs(energy[0] - expected) <= 1e-9 * expected && fabs(time_s[0] - 15) <= 1e-9);
      p.switched_capacitance = 0;
      s = solve_here(&p);
      assert_true(s.answer.status == FC_OPTIMAL && s.total_energy_j == 0);
    }
}

static void devices_that_miss_are_named(void **state) {
  (void)state;
  fc_altd_problem p = problem_of(4, 1, 1);
  p.rows.first = 10;
  f_max[1] = 1e6;
  gain[3] = 0;
  fc_altd_solution s = solve_here(&p);
  assert_int_equal(s.answer.status, FC_INFEASIBLE);
  assert_string_equal(s.answer.reason, "deadline_s: 2 of 4 devices miss 15 s at f_max_hz and "
                                       "p_max_w with an equal share of the band; the first is "
                                       "devices[11]");
  assert_true(missed[0] == 0 && missed[1] == 1 && missed[2] == 0 && missed[3] == 1);
  p = problem_of(4, 1, 1);
  p.bandwidth = FC_ALTD_OPTIMAL;
  p_max[2] = 1e-9;
  s = solve_here(&p);
  assert_string_equal(s.answer.reason, "deadline_s: 1 of 4 devices miss 15 s at f_max_hz and "
                                       "p_max_w with the whole band; the first is devices[2]");
  assert_true(missed[1] == 0 && missed[2] == 1);
  p = problem_of(4, 1, 1);
  p.bandwidth = FC_ALTD_OPTIMAL;
  p.bandwidth_hz = 4e5;
  s = solve_here(&p);
  assert_int_equal(s.answer.status, FC_INFEASIBLE);
  static const char begin[] = "bandwidth_hz: to serve all by the deadline takes at least ";
  assert_memory_equal(s.answer.reason, begin, sizeof begin - 1);
  double least = atof(s.answer.reason + sizeof begin - 1); /* a little more is enough */
  for (int i = 0; i < 4; i++) assert_true(missed[i] == 0);
  p.bandwidth_hz = least * 1.00001;
  s = solve_here(&p);
  check_solution(&p, &s);
  p.bandwidth_hz = least * 0.99999;
  s = solve_here(&p);
  assert_int_equal(s.answer.status, FC_INFEASIBLE);
  double *const zero[] = {f_max, p_max, gain};
  for (int c = 0; c < 3; c++) {
    p = problem_of(2, 1, 1);
    zero[c][0] = 0;
    s = solve_here(&p);
    assert_true(s.answer.status == FC_INFEASIBLE && missed[0] == 1 && missed[1] == 0);
  }
  p = problem_of(2, 1, 1);
  p.deadline_s = 0;
  s = solve_here(&p);
  assert_true(s.answer.status == FC_INFEASIBLE && missed[0] == 1 && missed[1] == 1);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(equal_bands_agree_with_dense_search),
      cmocka_unit_test(optimal_bands_agree_with_dense_search),
      cmocka_unit_test(no_exchange_of_band_helps),
      cmocka_unit_test(ratios_of_any_size),
      cmocka_unit_test(nothing_to_compute_or_to_send),
      cmocka_unit_test(devices_that_miss_are_named),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
