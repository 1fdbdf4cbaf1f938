/* jcpba.c - joint client-specific pruning and bandwidth allocation [JCPBA (10)]: from the problem
 * to the form of jcpba.h, what cannot be served, and back to the solution. */
#include "jcpba.h"
#include <math.h>

/* ---- from the problem ------------------------------------------------------------------------ */

/* log2(1 + SNR): bit/s per Hz. */
static double efficiency(double power_w, double gain, double noise_w) {
  return log1p(power_w * gain / noise_w) / M_LN2;
}

static fc_jcpba_client client_of(const fc_jcpba_problem *p, int64_t k) {
  const double f = p->compute_flops[k];
  const double down = efficiency(p->server_power_w, p->downlink_gain[k], p->noise_power_w);
  const double up = efficiency(p->tx_power_w[k], p->uplink_gain[k], p->noise_power_w);
  fc_jcpba_client c = {.t0 = p->iterations * p->adapter_flop / f,
                       .d1 = p->iterations * p->emulator_flop / f,
                       .n0 = p->adapter_bits / down + p->update_bits / up,
                       .n1 = p->emulator_bits / down,
                       .kept_max = 1.0 - p->pruning_min};
  const double room = p->memory_bytes[k] - p->adapter_bytes - p->fixed_bytes; /* C3 */
  if (c.kept_max * p->emulator_bytes > room) c.kept_max = room / p->emulator_bytes;
  return c;
}

/* What of a client no bandwidth mends. C3 may be missed by rounding alone. */
enum { SERVED, NO_COMPUTE, NO_DOWNLINK, NO_UPLINK, NO_POWER, NO_MEMORY };
static int fault_of(const fc_jcpba_problem *p, const fc_jcpba_client *c, int64_t k,
                    double kept_min) {
  if (p->tx_power_w[k] <= 0) return NO_POWER;
  if (p->compute_flops[k] <= 0 || !isfinite(c->t0 + c->d1)) return NO_COMPUTE;
  if (p->downlink_gain[k] <= 0 || !isfinite(c->n1)) return NO_DOWNLINK;
  if (p->uplink_gain[k] <= 0 || !isfinite(c->n0)) return NO_UPLINK;
  const double needed = p->adapter_bytes + p->fixed_bytes + kept_min * p->emulator_bytes;
  return needed <= p->memory_bytes[k] * (1 + 1e-12) ? SERVED : NO_MEMORY;
}

static void tell_fault(const fc_jcpba_problem *p, int64_t row, int fault, double value,
                       fc_answer *answer) {
  static const char *const field[] = {
      [NO_COMPUTE] = "compute_flops",
      [NO_DOWNLINK] = "downlink_gain",
      [NO_UPLINK] = "uplink_gain",
      [NO_POWER] = "tx_power_w",
  };
  if (fault == NO_MEMORY)
    fc_infeasible(answer,
                  "C3 (memory): clients[%lld] needs %g bytes even at pruning.max %g and has %g",
                  (long long)row,
                  p->adapter_bytes + p->fixed_bytes + (1 - p->pruning_max) * p->emulator_bytes,
                  p->pruning_max, value);
  else
    fc_infeasible(answer, "clients[%lld].%s is %g: no finite latency at any bandwidth",
                  (long long)row, field[fault], value);
}

/* Fills w->client; the lowest client that nothing can serve makes the answer infeasible. */
static fc_err prepare_clients(fc_jcpba_work *w, fc_answer *answer) {
  const fc_jcpba_problem *p = w->p;
  int64_t row = -1;
  double facts[2] = {SERVED, 0}; /* the fault, and the value at fault */
  for (int64_t k = p->rows.n - 1; k >= 0; k--) {
    fc_jcpba_client *c = &w->client[k];
    *c = client_of(p, k);
    const int fault = fault_of(p, c, k, w->kept_min);
    c->kept_max = fmax(c->kept_max, w->kept_min);
    if (fault == SERVED) continue;
    const double *const column[] = {[NO_COMPUTE] = p->compute_flops,
                                    [NO_DOWNLINK] = p->downlink_gain,
                                    [NO_UPLINK] = p->uplink_gain,
                                    [NO_POWER] = p->tx_power_w,
                                    [NO_MEMORY] = p->memory_bytes};
    row = p->rows.first + k;
    facts[0] = fault;
    facts[1] = column[fault][k];
  }
  FC_TRY(fc_rows_lowest(w->over, &row, facts, 2));
  if (row >= 0) tell_fault(p, row, (int)facts[0], facts[1], answer);
  return FC_ERR_OK;
}

static void keep_terms(const void *arg, int64_t k, double *term) {
  const fc_jcpba_work *w = arg;
  const fc_jcpba_client *c = &w->client[k];
  term[0] = 1.0;
  term[1] = c->kept_max;
  term[2] = fc_jcpba_load(c, c->kept_max);
}

/* C5 and C1: what the clients ask for together. */
static fc_err prepare_sums(fc_jcpba_work *w, fc_answer *answer) {
  const fc_jcpba_problem *p = w->p;
  const double cap = p->pruning_mean_max;
  double sum[3];
  FC_TRY(fc_rows_reduce(w->over, p->rows.n, keep_terms, w, 3, 0, sum));
  w->clients = sum[0];
  w->kept_sum = w->clients * fmax(0.0, 1.0 - cap);
  w->kept_slack = w->clients * fmin(1e-13, 1e-10 * cap);
  if (sum[1] < w->kept_sum - w->kept_slack)
    fc_infeasible(answer,
                  "C5 (convergence): pruning.min and the clients' memory ask for a mean pruning of "
                  "at least %.6g, pruning.mean_max is %g",
                  1.0 - sum[1] / w->clients, cap);
  else if (sum[2] > 0 && p->bandwidth_hz <= 0)
    fc_infeasible(answer, "C1 (bandwidth): server.bandwidth_hz is 0 and there are bits to send");
  return FC_ERR_OK;
}

static fc_err prepare(fc_jcpba_work *w, fc_answer *answer) {
  const fc_jcpba_problem *p = w->p;
  if (p->pruning_min > p->pruning_max)
    fc_infeasible(answer, "C4 (pruning range): pruning.min %g is above pruning.max %g",
                  p->pruning_min, p->pruning_max);
  else if (p->server_power_w <= 0)
    fc_infeasible(answer, "server.tx_power_w is 0: no finite latency at any bandwidth");
  if (answer->status == FC_INFEASIBLE) return FC_ERR_OK;
  w->kept_min = 1.0 - p->pruning_max;
  FC_TRY(prepare_clients(w, answer));
  return answer->status == FC_INFEASIBLE ? FC_ERR_OK : prepare_sums(w, answer);
}

/* ---- bandwidth at given pruning -------------------------------------------------------------- */

typedef struct {
  const fc_jcpba_work *w;
  const double *kept;
} pruned;

static fc_task task_of(const void *arg, int64_t k) {
  const pruned *at = arg;
  const fc_jcpba_client *c = &at->w->client[k];
  return (fc_task){fc_jcpba_compute_s(c, at->kept[k]), fc_jcpba_load(c, at->kept[k])};
}

fc_err fc_jcpba_bandwidths(const fc_jcpba_work *w, const double *kept, double *bandwidth_hz,
                           double *latency_s) {
  const pruned at = {w, kept};
  return fc_tasks_bandwidths(w->over, w->p->rows.n, task_of, &at, w->p->bandwidth_hz, bandwidth_hz,
                             latency_s);
}

/* ---- to the solution ------------------------------------------------------------------------- */

typedef struct {
  const fc_jcpba_work *w;
  const fc_jcpba_solution *s;
} solved;

static void bandwidth_terms(const void *arg, int64_t k, double *term) {
  const solved *at = arg;
  term[0] = at->s->bandwidth_hz[k];
}

static void latency_terms(const void *arg, int64_t k, double *term) {
  const solved *at = arg;
  const fc_jcpba_client *c = &at->w->client[k];
  const double kept = 1.0 - at->s->pruning[k];
  term[0] = fc_jcpba_compute_s(c, kept) +
            fc_band_of(fc_jcpba_load(c, kept), at->s->bandwidth_hz[k]); /* [JCPBA (9)] */
}

/* From kept shares in s->pruning to the solution: pruning rates, the whole band spent to the last
 * hertz, the latency that comes of it. */
static fc_err finish(const fc_jcpba_work *w, fc_jcpba_solution *s) {
  const fc_jcpba_problem *p = w->p;
  const solved at = {w, s};
  double total = 0;
  FC_TRY(fc_rows_reduce(w->over, p->rows.n, bandwidth_terms, &at, 1, 0, &total));
  FC_CHECK(isfinite(total), NUMERIC, "jcpba: bandwidths beyond the range of numbers");
  for (int64_t k = 0; k < p->rows.n; k++) {
    s->pruning[k] = fmin(fmax(1.0 - s->pruning[k], p->pruning_min), p->pruning_max);
    s->bandwidth_hz[k] =
        total > 0 ? s->bandwidth_hz[k] * (p->bandwidth_hz / total) : p->bandwidth_hz / w->clients;
  }
  return fc_rows_reduce(w->over, p->rows.n, latency_terms, &at, 0, 1, &s->latency_s);
}

static fc_err solve_with(fc_jcpba_work *w, fc_jcpba_solution *out) {
  FC_TRY(prepare(w, &out->answer));
  if (out->answer.status == FC_INFEASIBLE) return FC_ERR_OK;
  double *kept = out->pruning; /* until finish() */
  FC_TRY(fc_jcpba_exact(w, kept, out->bandwidth_hz, &out->lower_bound_s, &out->iterations));
  if (w->p->method == FC_JCPBA_BCD)
    FC_TRY(fc_jcpba_bcd(w, kept, out->bandwidth_hz, &out->iterations));
  FC_TRY(finish(w, out));
  out->lower_bound_s = fmin(out->lower_bound_s, out->latency_s); /* equal but for rounding */
  return FC_ERR_OK;
}

fc_err fc_jcpba_solve(const fc_jcpba_problem *p, const fc_reduction *over, fc_jcpba_solution *out) {
  fc_jcpba_work w = {.p = p, .over = over};
  out->answer = (fc_answer){FC_OPTIMAL, ""};
  fc_err err = fc_rows_agree(over, fc_alloc((size_t)p->rows.n, sizeof *w.client, &w.client));
  if (err == FC_ERR_OK) err = solve_with(&w, out);
  fc_free(w.client);
  return err;
}

/* ---- the descriptor -------------------------------------------------------------------------- */

static fc_err solve(const void *problem, const fc_reduction *over, void *solution) {
  return fc_jcpba_solve(problem, over, solution);
}

/* What is made up follows Section IV of [JCPBA]: 12.5 MHz a client (100 MHz for 8). */
#define NUMBER(path, member, ...) FC_NUMBER(fc_jcpba_problem, path, member, __VA_ARGS__)
#define COLUMN(member, ...)       FC_COLUMN(fc_jcpba_problem, "clients[]." #member, member, __VA_ARGS__)
static const fc_solver_field input[] = {
    COLUMN(compute_flops, FC_DRAW_UNIFORM, 5e11, 2e12),
    COLUMN(downlink_gain, FC_DRAW_EXPONENTIAL, 1e-6, 0),
    COLUMN(uplink_gain, FC_DRAW_EXPONENTIAL, 1e-6, 0),
    COLUMN(tx_power_w, FC_DRAW_CONSTANT, 0.2, 0),
    COLUMN(memory_bytes, FC_DRAW_UNIFORM, 4e9, 8e9),
    NUMBER("server.tx_power_w", server_power_w, FC_DRAW_CONSTANT, 10, 0),
    NUMBER("server.bandwidth_hz", bandwidth_hz, FC_DRAW_PER_ROW, 12.5e6, 0),
    {"server.noise_power_w",
     FC_FIELD_NUMBER,
     offsetof(fc_jcpba_problem, noise_power_w),
     0x1p-1022,
     INFINITY,
     {FC_DRAW_CONSTANT, 4e-13, 0},
     NULL},
    NUMBER("work.iterations", iterations, FC_DRAW_CONSTANT, 10, 0),
    NUMBER("work.adapter_flop", adapter_flop, FC_DRAW_CONSTANT, 1.55e11, 0),
    NUMBER("work.emulator_flop", emulator_flop, FC_DRAW_CONSTANT, 5.7e11, 0),
    NUMBER("work.adapter_bits", adapter_bits, FC_DRAW_CONSTANT, 4.03e8, 0),
    NUMBER("work.emulator_bits", emulator_bits, FC_DRAW_CONSTANT, 4.43e9, 0),
    NUMBER("work.update_bits", update_bits, FC_DRAW_CONSTANT, 4.03e8, 0),
    NUMBER("work.adapter_bytes", adapter_bytes, FC_DRAW_CONSTANT, 5.04e7, 0),
    NUMBER("work.emulator_bytes", emulator_bytes, FC_DRAW_CONSTANT, 5.54e8, 0),
    NUMBER("work.fixed_bytes", fixed_bytes, FC_DRAW_CONSTANT, 3.8e9, 0),
    {"pruning.min",
     FC_FIELD_NUMBER,
     offsetof(fc_jcpba_problem, pruning_min),
     0,
     1,
     {FC_DRAW_CONSTANT, 0.1, 0},
     NULL},
    {"pruning.max",
     FC_FIELD_NUMBER,
     offsetof(fc_jcpba_problem, pruning_max),
     0,
     1,
     {FC_DRAW_CONSTANT, 0.9, 0},
     NULL},
    NUMBER("pruning.mean_max", pruning_mean_max, FC_DRAW_CONSTANT, 0.5, 0),
    FC_CHOICE(fc_jcpba_problem, "method", method, "exact bcd"),
    FC_LAST_FIELD,
};

#define OUT(path, kind, member) FC_OUTPUT(fc_jcpba_solution, path, kind, member)
static const fc_solver_field output[] = {
    OUT("latency_s", FC_FIELD_NUMBER, latency_s),
    OUT("pruning[]", FC_FIELD_COLUMN, pruning),
    OUT("bandwidth_hz[]", FC_FIELD_COLUMN, bandwidth_hz),
    OUT("lower_bound_s", FC_FIELD_NUMBER, lower_bound_s),
    OUT("iterations", FC_FIELD_INTEGER, iterations),
    FC_LAST_FIELD,
};

const fc_solver fc_solver_jcpba = {
    "jcpba",
    "client-specific pruning and bandwidth that end a round soonest",
    sizeof(fc_jcpba_problem),
    sizeof(fc_jcpba_solution),
    input,
    output,
    false,
    solve,
};
