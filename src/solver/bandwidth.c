/* bandwidth.c - the least common delay of links that share a band [SW (16), Algorithm 1].
 *
 * At a trial delay E a link needs the share at which its rate is bits/E, or more if it is promised
 * more; the rate is increasing and concave in the share, so that share is found by Newton's steps.
 * The shares' sum falls in E, and at the least E it is 1 ([SW, Theorem 2]). The paper's Lambert-W
 * form [SW (20)] also has the root 0 and holds for fixed interference only up to its branch: the
 * rate is inverted directly. */
#include "solver.h"
#include <math.h>

typedef struct {
  const fc_bandwidth_problem *p;
  double *share; /* of the trial before: where the search for the next one starts */
  double links;  /* that have something to send, of all ranks */
  double spare;  /* of the band, beside what is promised */
  double delay_s;
  int64_t steps;
} trial;

typedef struct {
  double rate, slope; /* bit/s, and per Hz */
} rate_at;

/* log1p(x) - x/(1+x), which for small x would cancel. */
static double log_excess(double x) {
  return x > 1e-4 ? log1p(x) - x / (1 + x) : x * x * (0.5 - x * (2.0 / 3 - 0.75 * x));
}

static rate_at rate(const fc_bandwidth_problem *p, int64_t l, double width_hz) {
  const double noise_w = p->noise_psd_w_per_hz * width_hz, other_w = p->interference_w[l];
  const double sinr = p->signal_w[l] / (other_w + noise_w);
  const double slope = log_excess(sinr) + sinr / (1 + sinr) * (other_w / (other_w + noise_w));
  return (rate_at){width_hz * log1p(sinr) / M_LN2, slope / M_LN2};
}

/* Without noise and interference any band, however narrow, is enough. */
static bool needs_band(const fc_bandwidth_problem *p, int64_t l) {
  return p->bits[l] > 0 && (p->interference_w[l] > 0 || p->noise_psd_w_per_hz > 0);
}

/* The share that link l gets at the least. */
static double promised(const fc_bandwidth_problem *p, int64_t l) {
  return p->least_share && needs_band(p, l) ? p->least_share[l] : 0.0;
}

/* Hz at which link l sends `wanted` bit/s, found near `guess`; *slope: of the rate there. */
static double width_of(const fc_bandwidth_problem *p, int64_t l, double wanted, double guess,
                       double *slope) {
  fc_root r = fc_root_begin(0, p->bandwidth_hz, guess, 1e-14);
  while (!r.done) {
    const rate_at at = rate(p, l, r.x);
    *slope = at.slope;
    fc_root_tell(&r, at.rate - wanted, at.slope);
  }
  return r.hi;
}

static void trial_terms(const void *arg, int64_t l, double *term) {
  const trial *t = arg;
  const double W = t->p->bandwidth_hz, wanted = t->p->bits[l] / t->delay_s;
  double slope = 1;
  term[0] = term[1] = 0;
  if (!needs_band(t->p, l)) return;
  const double width_hz = width_of(t->p, l, wanted, t->share[l] * W, &slope);
  const double needed = width_hz / W, least = promised(t->p, l);
  term[0] = t->share[l] = fmax(needed, least);
  term[1] = needed < least ? 0 : wanted / (t->delay_s * slope * W); /* -d share / dE */
}

/* Alone in the band; and at what is promised, or an equal share of what is not. */
static void bound_terms(const void *arg, int64_t l, double *term) {
  const trial *t = arg;
  const double W = t->p->bandwidth_hz, bits = t->p->bits[l];
  const double width_hz = W * fmax(promised(t->p, l), t->spare / t->links);
  const bool needed = needs_band(t->p, l);
  term[0] = needed ? bits / rate(t->p, l, W).rate : 0.0;
  term[1] = needed ? bits / rate(t->p, l, width_hz).rate : 0.0;
}

static void link_terms(const void *arg, int64_t l, double *term) {
  const trial *t = arg;
  term[0] = needs_band(t->p, l);
  term[1] = promised(t->p, l);
}

/* The lowest link that nothing serves. */
static fc_err find_fault(const fc_bandwidth_problem *p, const fc_reduction *over,
                         fc_answer *answer) {
  int64_t row = -1;
  double signal = 0;
  for (int64_t l = 0; l < p->rows.n && row < 0; l++) {
    const double shortest_s = p->bits[l] / rate(p, l, p->bandwidth_hz).rate;
    const bool endless = p->bandwidth_hz > 0 && needs_band(p, l) && !isfinite(shortest_s);
    if (p->signal_w[l] > 0 && !endless) continue;
    row = p->rows.first + l;
    signal = p->signal_w[l];
  }
  FC_TRY(fc_rows_lowest(over, &row, &signal, 1));
  if (row >= 0)
    fc_infeasible(answer, "links[%lld].signal_w is %g: no finite delay at any share",
                  (long long)row, signal);
  return FC_ERR_OK;
}

static fc_err search_delay(trial *t, const fc_reduction *over) {
  const int64_t n = t->p->rows.n;
  double bound[2], sum[2];
  FC_TRY(fc_rows_reduce(over, n, bound_terms, t, 0, 2, bound));
  FC_CHECK(isfinite(bound[1]), NUMERIC, "bandwidth: delays beyond the range of numbers");
  for (int64_t l = 0; l < n; l++) t->share[l] = needs_band(t->p, l) ? 1.0 / t->links : 0.0;
  /* 1/sum - 1 is close to linear in the delay */
  fc_root r = fc_root_begin(fmin(bound[0], bound[1]), bound[1], bound[1], 0x1p-52);
  for (; !r.done; fc_root_tell(&r, 1 / sum[0] - 1, sum[1] / (sum[0] * sum[0]))) {
    t->delay_s = r.x;
    t->steps++;
    FC_TRY(fc_rows_reduce(over, n, trial_terms, t, 2, 0, sum));
  }
  t->delay_s = r.hi;
  return fc_rows_reduce(over, n, trial_terms, t, 2, 0, sum);
}

fc_err fc_bandwidth_solve(const fc_bandwidth_problem *p, const fc_reduction *over,
                          fc_bandwidth_solution *out) {
  trial t = {.p = p, .share = out->share};
  double sum[2];
  out->answer = (fc_answer){FC_OPTIMAL, ""};
  out->delay_s = 0;
  out->steps = 0;
  FC_TRY(find_fault(p, over, &out->answer));
  FC_TRY(fc_rows_reduce(over, p->rows.n, link_terms, &t, 2, 0, sum));
  t.links = sum[0];
  t.spare = 1 - sum[1];
  if (out->answer.status == FC_OPTIMAL && t.links > 0 && !(p->bandwidth_hz > 0))
    fc_infeasible(&out->answer, "bandwidth_hz is 0 and there are bits to send");
  if (out->answer.status == FC_OPTIMAL && t.spare < 0)
    fc_infeasible(&out->answer, "links[].least_share sum to %.17g, more than the band", sum[1]);
  for (int64_t l = 0; l < p->rows.n; l++) out->share[l] = 0;
  if (out->answer.status == FC_INFEASIBLE || t.links == 0) return FC_ERR_OK;
  FC_TRY(search_delay(&t, over));
  out->delay_s = t.delay_s;
  out->steps = t.steps;
  return FC_ERR_OK;
}

/* ---- the descriptor -------------------------------------------------------------------------- */

static fc_err solve(const void *problem, const fc_reduction *over, void *solution) {
  return fc_bandwidth_solve(problem, over, solution);
}

/* Made up: the powers that 0.2 W leaves after 100 m to 1 km at exponent 3.8. */
#define NUMBER(member, ...) FC_NUMBER(fc_bandwidth_problem, #member, member, __VA_ARGS__)
#define COLUMN(member, ...) FC_COLUMN(fc_bandwidth_problem, "links[]." #member, member, __VA_ARGS__)
static const fc_solver_field input[] = {
    COLUMN(signal_w, FC_DRAW_LOG_UNIFORM, 1e-12, 5e-9),
    COLUMN(interference_w, FC_DRAW_LOG_UNIFORM, 1e-14, 1e-11),
    COLUMN(bits, FC_DRAW_CONSTANT, 1e7, 0),
    {"links[].least_share",
     FC_FIELD_OPTIONAL_COLUMN,
     offsetof(fc_bandwidth_problem, least_share),
     0,
     1,
     {FC_DRAW_NONE, 0, 0},
     NULL},
    NUMBER(bandwidth_hz, FC_DRAW_PER_ROW, 1e7, 0),
    NUMBER(noise_psd_w_per_hz, FC_DRAW_CONSTANT, 6.3e-20, 0),
    FC_LAST_FIELD,
};
static const fc_solver_field output[] = {
    FC_OUTPUT(fc_bandwidth_solution, "delay_s", FC_FIELD_NUMBER, delay_s),
    FC_OUTPUT(fc_bandwidth_solution, "share[]", FC_FIELD_COLUMN, share),
    FC_LAST_FIELD,
};

const fc_solver fc_solver_bandwidth = {
    "bandwidth",
    "shares of the band at which all links end soonest together",
    sizeof(fc_bandwidth_problem),
    sizeof(fc_bandwidth_solution),
    input,
    output,
    false,
    solve,
};
