/* deft.c - which client fine-tunes which blocks [DEFT]: from the problem to the form of deft.h,
 * what cannot be served, the search over latencies, and back to the solution. */
#include "deft.h"
#include <math.h>

/* ---- runs ------------------------------------------------------------------------------------ */

bool fc_deft_fits(const fc_deft_work *w, fc_deft_run r) {
  const fc_deft_problem *p = w->p;
  const double needed =
      p->base_bytes + r.q * p->activation_bytes_per_block + r.n * p->optimizer_bytes_per_block;
  return needed <= w->client[r.client].memory_bytes * (1 + 1e-12);
}

fc_task fc_deft_task(const fc_deft_work *w, fc_deft_run r) {
  const fc_deft_problem *p = w->p;
  const fc_deft_client *c = &w->client[r.client];
  const double flop = p->head_flop + w->L * p->forward_flop_per_block +
                      r.q * p->activation_flop_per_block + r.n * p->weight_flop_per_block;
  return (fc_task){c->s_per_flop * flop, c->load + r.n * c->block_load};
}

double fc_deft_equal_s(const fc_deft_work *w, fc_deft_run r) {
  const fc_task t = fc_deft_task(w, r);
  return t.compute_s + fc_band_of(t.load, w->p->bandwidth_hz / w->K);
}

static double band_by(const fc_deft_work *w, fc_deft_run r, double T) {
  if (!fc_deft_fits(w, r)) return INFINITY;
  if (w->p->bandwidth == FC_DEFT_EQUAL)
    return fc_deft_equal_s(w, r) <= T ? w->p->bandwidth_hz / w->K : INFINITY;
  const fc_task t = fc_deft_task(w, r);
  if (t.load > 0) return T > t.compute_s ? t.load / (T - t.compute_s) : INFINITY;
  return T >= t.compute_s ? 0 : INFINITY;
}

void fc_deft_price(fc_deft_work *w, double T) {
  for (int q = 1; q <= w->L; q++) {
    bool served = true; /* by some client; more blocks are never easier to serve */
    w->longest[q] = 0;
    for (int n = 1; n <= q && served; n++) {
      double *band = fc_deft_bands(w, q, n);
      served = false;
      for (int k = 0; k < w->K; k++) {
        band[k] = band_by(w, (fc_deft_run){k, q, n}, T);
        served = served || band[k] < INFINITY;
      }
      if (served) w->longest[q] = n;
    }
  }
}

/* ---- plans ----------------------------------------------------------------------------------- */

typedef struct {
  const fc_deft_work *w;
  const fc_deft_plan *plan;
} planned;

static fc_task task_of(const void *arg, int64_t i) {
  const planned *at = arg;
  return fc_deft_task(at->w, at->plan->run[i]);
}

/* The bandwidths and the latency of a plan's runs. */
static fc_err allot(const fc_deft_work *w, fc_deft_plan *plan) {
  const planned at = {w, plan};
  const double B = w->p->bandwidth_hz;
  if (w->p->bandwidth == FC_DEFT_OPTIMAL)
    return fc_tasks_bandwidths(NULL, plan->runs, task_of, &at, B, plan->bandwidth_hz,
                               &plan->latency_s);
  plan->latency_s = 0;
  for (int i = 0; i < plan->runs; i++) {
    plan->bandwidth_hz[i] = B / w->K;
    plan->latency_s = fmax(plan->latency_s, fc_deft_equal_s(w, plan->run[i]));
  }
  return FC_ERR_OK;
}

fc_err fc_deft_search(fc_deft_work *w, fc_deft_try *try, void *arg, fc_deft_verdict wanted,
                      double lo, double hi) {
  fc_deft_plan plan;
  /* With a plan at hand, what it reaches need not be tried. */
  const double guess = isfinite(w->best.latency_s) ? (double)NAN : hi;
  fc_root r = fc_root_begin(fmin(lo, hi), hi, guess, 1e-9);
  fc_deft_verdict verdict;
  for (; !r.done; fc_root_tell(&r, verdict >= wanted ? 1 : -1, 0)) { /* no slope: it halves */
    verdict = try(w, arg, r.x, &plan);
    w->trials++;
    if (verdict == FC_DEFT_PROVED) w->proved_s = fmax(w->proved_s, r.x);
    if (verdict != FC_DEFT_FOUND) continue;
    FC_TRY(allot(w, &plan));
    if (plan.latency_s < w->best.latency_s) w->best = plan;
  }
  return FC_ERR_OK;
}

/* ---- from the problem ------------------------------------------------------------------------ */

enum { FLOPS, DOWN, UP, MEMORY, COLUMNS };

/* all (COLUMNS, K). What never ends counts as no memory: it cannot work. */
static void take_client(fc_deft_work *w, const double *all, int k) {
  const fc_deft_problem *p = w->p;
  double value[COLUMNS];
  for (int c = 0; c < COLUMNS; c++) value[c] = all[(size_t)c * (size_t)w->K + (size_t)k];
  w->client[k] = (fc_deft_client){.s_per_flop = p->iterations / value[FLOPS],
                                  .load = p->download_bits / value[DOWN],
                                  .block_load = p->download_bits_per_block / value[DOWN] +
                                                p->upload_bits_per_block / value[UP],
                                  .memory_bytes = value[MEMORY]};
  const fc_task most = fc_deft_task(w, (fc_deft_run){k, w->L, w->L});
  if (!isfinite(most.compute_s + most.load)) w->client[k].memory_bytes = -1;
}

/* Every client, on every rank. */
static fc_err gather_clients(fc_deft_work *w, const fc_reduction *over) {
  const fc_deft_problem *p = w->p;
  const double *const column[COLUMNS] = {
      [FLOPS] = p->compute_flops,
      [DOWN] = p->downlink_spectral_efficiency,
      [UP] = p->uplink_spectral_efficiency,
      [MEMORY] = p->memory_bytes,
  };
  double *all = NULL;
  fc_err err = fc_rows_gather(over, &p->rows, column, COLUMNS, w->K, &all);
  for (int k = 0; k < w->K && err == FC_ERR_OK; k++) take_client(w, all, k);
  fc_free(all);
  return err;
}

/* A latency that is surely too short, and one that any plan meets with either kind of bandwidths.
 * false: no client can train the deepest block. */
static bool bracket(const fc_deft_work *w, double *lo, double *hi) {
  const double B = w->p->bandwidth_hz;
  double compute_s = 0, load = 0;
  bool served = false;
  *lo = INFINITY;
  for (int k = 0; k < w->K; k++) {
    const fc_deft_run deepest = {k, w->L, 1};
    const fc_task least = fc_deft_task(w, deepest);
    if (!fc_deft_fits(w, deepest)) continue;
    served = true;
    *lo = fmin(*lo, least.compute_s + fc_band_of(least.load, B));
  }
  for (int k = 0; k < w->K; k++) {
    if (w->client[k].memory_bytes < 0) continue;
    const fc_task most = fc_deft_task(w, (fc_deft_run){k, w->L, w->L});
    compute_s = fmax(compute_s, most.compute_s);
    load = fmax(load, most.load);
  }
  *hi = (compute_s + fc_band_of(load, B / w->K)) * (1 + 1e-10); /* safe from rounding */
  return served;
}

/* ---- what cannot be served ------------------------------------------------------------------- */

static void tell_memory(const fc_deft_work *w, fc_answer *answer) {
  const fc_deft_problem *p = w->p;
  int64_t workers = 0;
  double largest = 0;
  for (int k = 0; k < w->K; k++) {
    workers += w->client[k].memory_bytes >= 0;
    largest = fmax(largest, w->client[k].memory_bytes);
  }
  const double needed =
      p->base_bytes + w->L * p->activation_bytes_per_block + p->optimizer_bytes_per_block;
  if (workers == 0)
    fc_infeasible(answer, "clients: compute_flops, downlink_spectral_efficiency and "
                          "uplink_spectral_efficiency let none of them ever end");
  else if (largest * (1 + 1e-12) < needed)
    fc_infeasible(answer,
                  "memory: the deepest block needs %g bytes, and no client that can work has more "
                  "than %g",
                  needed, largest);
  else
    fc_infeasible(answer,
                  "memory: no way was found for the %lld clients that can work to hold %d blocks",
                  (long long)workers, w->L);
}

/* ---- the whole ------------------------------------------------------------------------------- */

static fc_err improve(fc_deft_work *w, double hi) {
  switch ((fc_deft_method)w->p->method) {
  case FC_DEFT_EXACT:
    return fc_deft_exact(w, hi);
  case FC_DEFT_JBBA:
    return fc_deft_jbba(w, hi);
  default:
    return isfinite(w->best.latency_s) ? fc_deft_prove(w) : FC_ERR_OK;
  }
}

static fc_err find_plan(fc_deft_work *w, fc_answer *answer) {
  double lo = 0, hi = 0;
  if (w->L == 0) return FC_ERR_OK;
  const bool served = bracket(w, &lo, &hi);
  if (!served)
    tell_memory(w, answer);
  else if (w->p->bandwidth_hz <= 0 && hi == INFINITY)
    fc_infeasible(answer, "server.bandwidth_hz is 0 and there are bits to send");
  if (answer->status == FC_INFEASIBLE) return FC_ERR_OK;
  FC_CHECK(isfinite(hi), NUMERIC, "deft: latencies beyond the range of numbers");
  w->proved_s = lo;
  w->best.latency_s = INFINITY;
  FC_TRY(fc_deft_crunch(w, hi));
  FC_TRY(improve(w, fmin(hi, w->best.latency_s)));
  if (!isfinite(w->best.latency_s)) tell_memory(w, answer);
  return FC_ERR_OK;
}

/* What of the plan belongs to this rank's rows. */
static void tell_plan(const fc_deft_work *w, fc_deft_solution *out) {
  const fc_rows_here rows = w->p->rows;
  for (int64_t k = 0; k < rows.n; k++) {
    out->first_block[k] = -1;
    out->blocks[k] = out->bandwidth_hz[k] = 0;
  }
  for (int i = 0; i < w->best.runs; i++) {
    const fc_deft_run r = w->best.run[i];
    const int64_t k = r.client - rows.first;
    if (k < 0 || k >= rows.n) continue;
    out->first_block[k] = w->L - r.q;
    out->blocks[k] = r.n;
    out->bandwidth_hz[k] = w->best.bandwidth_hz[i];
  }
  out->latency_s = w->best.latency_s;
  out->lower_bound_s = fmin(w->proved_s, w->best.latency_s); /* equal but for rounding */
  out->iterations = w->trials;
}

fc_err fc_deft_solve(const fc_deft_problem *p, const fc_reduction *over, fc_deft_solution *out) {
  fc_deft_work w = {.p = p};
  int64_t K = 0;
  out->answer = (fc_answer){FC_OPTIMAL, ""};
  FC_TRY(fc_rows_count(over, &p->rows, &K));
  FC_CHECK(p->blocks == floor(p->blocks) && p->blocks <= FC_DEFT_BLOCKS_MAX, DATA,
           "work.blocks: is %g, must be a whole number up to %d", p->blocks, FC_DEFT_BLOCKS_MAX);
  FC_CHECK(p->method != FC_DEFT_EXACT || K <= FC_DEFT_EXACT_MAX, DATA,
           "method: exact takes up to %d clients, not %lld", FC_DEFT_EXACT_MAX, (long long)K);
  FC_CHECK(K <= INT32_MAX / COLUMNS, DATA, "clients: %lld are too many", (long long)K);
  w.K = (int)K;
  w.L = (int)p->blocks;
  w.limit_hz = p->bandwidth_hz * (1 + 1e-12);
  const size_t bands = (size_t)w.L * ((size_t)w.L + 1) / 2 * (size_t)w.K;
  fc_err err = fc_alloc((size_t)w.K, sizeof *w.client, &w.client);
  if (err == FC_ERR_OK) err = fc_alloc(bands, sizeof *w.band, &w.band);
  err = fc_rows_agree(over, err);
  if (err == FC_ERR_OK) err = gather_clients(&w, over);
  if (err == FC_ERR_OK) err = fc_rows_agree(over, find_plan(&w, &out->answer));
  if (err == FC_ERR_OK && out->answer.status == FC_OPTIMAL) tell_plan(&w, out);
  fc_free(w.client);
  fc_free(w.band);
  return err;
}

/* ---- the descriptor -------------------------------------------------------------------------- */

static fc_err solve(const void *problem, const fc_reduction *over, void *solution) {
  return fc_deft_solve(problem, over, solution);
}

/* What is made up: 24 blocks of 12.6 million weights of 16 bits, 1,024 tokens an iteration, the
 * spectral efficiencies and speeds of [JCPBA]'s setting. */
#define NUMBER(path, member, ...)                                                                  \
  FC_NUMBER(fc_deft_problem, path, member, FC_DRAW_CONSTANT, __VA_ARGS__, 0)
#define WORK(member, value) NUMBER("work." #member, member, value)
#define COLUMN(member, ...) FC_COLUMN(fc_deft_problem, "clients[]." #member, member, __VA_ARGS__)
static const fc_solver_field input[] = {
    COLUMN(compute_flops, FC_DRAW_UNIFORM, 5e11, 2e12),
    COLUMN(downlink_spectral_efficiency, FC_DRAW_UNIFORM, 20, 26),
    COLUMN(uplink_spectral_efficiency, FC_DRAW_UNIFORM, 14, 20),
    COLUMN(memory_bytes, FC_DRAW_UNIFORM, 4e9, 8e9),
    FC_NUMBER(fc_deft_problem, "server.bandwidth_hz", bandwidth_hz, FC_DRAW_PER_ROW, 12.5e6, 0),
    WORK(blocks, 24),
    WORK(iterations, 10),
    WORK(head_flop, 0),
    WORK(forward_flop_per_block, 2.6e10),
    WORK(activation_flop_per_block, 2.6e10),
    WORK(weight_flop_per_block, 2.6e10),
    WORK(download_bits, 4.8e9),
    WORK(download_bits_per_block, 0),
    WORK(upload_bits_per_block, 2e8),
    WORK(base_bytes, 2.2e9),
    WORK(activation_bytes_per_block, 5e7),
    WORK(optimizer_bytes_per_block, 1.5e8),
    FC_CHOICE(fc_deft_problem, "method", method, "jbba crunch exact"),
    FC_CHOICE(fc_deft_problem, "bandwidth", bandwidth, "optimal equal"),
    FC_LAST_FIELD,
};

#define OUT(path, kind, member) FC_OUTPUT(fc_deft_solution, path, kind, member)
static const fc_solver_field output[] = {
    OUT("latency_s", FC_FIELD_NUMBER, latency_s),
    OUT("lower_bound_s", FC_FIELD_NUMBER, lower_bound_s),
    OUT("first_block[]", FC_FIELD_COLUMN, first_block),
    OUT("blocks[]", FC_FIELD_COLUMN, blocks),
    OUT("bandwidth_hz[]", FC_FIELD_COLUMN, bandwidth_hz),
    OUT("iterations", FC_FIELD_INTEGER, iterations),
    FC_LAST_FIELD,
};

const fc_solver fc_solver_deft = {
    "deft",
    "owners of a model's blocks and their bandwidths that end a round soonest",
    sizeof(fc_deft_problem),
    sizeof(fc_deft_solution),
    input,
    output,
    false,
    solve,
};
