/* split.c - who takes part in a round of split learning [Split LoRA]: from the problem to the form
 * of split.h, what cannot be served, and back to the solution. */
#include "split.h"
#include <math.h>

double fc_split_penalty(const fc_split_work *w) {
  return w->p->penalty_weight * w->p->round_weight / w->participants;
}

void fc_split_turn(fc_split_work *w, int k) {
  w->in[k] = !w->in[k];
  w->participants += w->in[k] ? 1 : -1;
}

/* ---- bandwidths of those who take part ------------------------------------------------------- */

typedef struct {
  const fc_split_work *w;
  const int *client;
} chosen;

static fc_task task_of(const void *arg, int64_t i) {
  const chosen *at = arg;
  return at->w->client[at->client[i]].task;
}

fc_err fc_split_hurry(fc_split_work *w) {
  int *client = NULL, m = 0;
  double *band = NULL;
  fc_err err = fc_alloc((size_t)w->K, sizeof *client, &client);
  if (err == FC_ERR_OK) err = fc_alloc((size_t)w->K, sizeof *band, &band);
  for (int k = 0; k < w->K && err == FC_ERR_OK; k++)
    if (w->in[k]) client[m++] = k;
  const chosen at = {w, client};
  if (err == FC_ERR_OK)
    err = fc_tasks_bandwidths(NULL, w->participants, task_of, &at, w->p->bandwidth_hz, band,
                              &w->latency_s);
  for (int k = 0, i = 0; k < w->K && err == FC_ERR_OK; k++)
    w->bandwidth_hz[k] = w->in[k] ? band[i++] : 0;
  w->latency_s += w->participants * w->server_s;
  fc_free(client);
  fc_free(band);
  return err;
}

/* ---- from the problem ------------------------------------------------------------------------ */

enum { FLOPS, DOWN, UP, POWER, ENERGY, ENERGY_QUEUE, PARTICIPATION_QUEUE, COLUMNS };

/* all (COLUMNS, K) */
static fc_split_client client_of(const fc_split_work *w, const double *all, int k) {
  const fc_split_problem *p = w->p;
  double value[COLUMNS];
  for (int c = 0; c < COLUMNS; c++) value[c] = all[(size_t)c * (size_t)w->K + (size_t)k];
  const double uplink = p->iterations * p->uplink_bits / value[UP];
  fc_split_client c = {
      .task = {p->iterations * p->device_flop / value[FLOPS],
               uplink + p->iterations * p->downlink_bits / value[DOWN]},
      .air = value[ENERGY_QUEUE] * value[POWER] * uplink,
      .fixed = value[ENERGY_QUEUE] * value[ENERGY] - value[PARTICIPATION_QUEUE],
  };
  c.works = value[FLOPS] > 0 && value[DOWN] > 0 && value[UP] > 0 &&
            isfinite(c.task.compute_s + c.task.load);
  return c;
}

/* Every client, on every rank; only what its budget reads. */
static fc_err gather_clients(fc_split_work *w, const fc_reduction *over) {
  const fc_split_problem *p = w->p;
  const bool energy = p->budget == FC_SPLIT_ENERGY;
  const double *const column[COLUMNS] = {
      [FLOPS] = p->compute_flops,
      [DOWN] = p->downlink_spectral_efficiency,
      [UP] = p->uplink_spectral_efficiency,
      [POWER] = energy ? p->tx_power_w : NULL,
      [ENERGY] = energy ? p->compute_energy_j : NULL,
      [ENERGY_QUEUE] = energy ? p->energy_queue : NULL,
      [PARTICIPATION_QUEUE] = p->budget == FC_SPLIT_PARTICIPATION ? p->participation_queue : NULL,
  };
  double *all = NULL;
  fc_err err = fc_rows_gather(over, &p->rows, column, COLUMNS, w->K, &all);
  bool finite = true;
  for (int k = 0; k < w->K && err == FC_ERR_OK; k++) {
    const fc_split_client c = w->client[k] = client_of(w, all, k);
    finite = finite && (!c.works || isfinite(c.air + c.fixed));
  }
  fc_free(all);
  FC_TRY(err);
  FC_CHECK(finite, NUMERIC, "split: queues and energies beyond the range of numbers");
  return FC_ERR_OK;
}

/* What its budget cannot do without. */
static fc_err check(const fc_split_problem *p) {
  const bool rows = p->rows.n > 0, energy = p->budget == FC_SPLIT_ENERGY;
  FC_CHECK(p->budget == FC_SPLIT_LATENCY || !isnan(p->deadline_s), DATA,
           "deadline_s: is missing; energy and participation budgets need it");
  FC_CHECK(!rows || !energy || p->tx_power_w, DATA,
           "clients[].tx_power_w: is missing; an energy budget needs it");
  FC_CHECK(!rows || !energy || p->compute_energy_j, DATA,
           "clients[].compute_energy_j: is missing; an energy budget needs it");
  return FC_ERR_OK;
}

/* ---- the whole ------------------------------------------------------------------------------- */

/* What nothing mends, whoever takes part. */
static void find_fault(const fc_split_work *w, fc_answer *answer) {
  int64_t workers = 0;
  double load = 0;
  for (int k = 0; k < w->K; k++) {
    workers += w->client[k].works;
    if (w->client[k].works) load = fmax(load, w->client[k].task.load);
  }
  if (!isfinite(w->server_s))
    fc_infeasible(answer, "server.compute_flops is %g: no finite latency", w->p->server_flops);
  else if (workers == 0)
    fc_infeasible(answer, "clients: compute_flops, downlink_spectral_efficiency and "
                          "uplink_spectral_efficiency let none of them ever end");
  else if (load > 0 && w->p->bandwidth_hz <= 0)
    fc_infeasible(answer, "server.bandwidth_hz is 0 and there are bits to send");
}

static fc_err choose(fc_split_work *w, fc_answer *answer) {
  const fc_split_problem *p = w->p;
  if (!isnan(p->latency_queue)) w->queue = p->latency_queue;
  w->server_s = p->server_flop > 0 ? p->iterations * p->server_flop / p->server_flops : 0;
  find_fault(w, answer);
  if (answer->status == FC_INFEASIBLE) return FC_ERR_OK;
  if (p->budget == FC_SPLIT_LATENCY)
    FC_TRY(fc_split_latency(w));
  else
    FC_TRY(fc_split_search(w));
  if (w->participants == 0)
    fc_infeasible(answer, "deadline_s: no client ends within %g s, even alone in the whole band",
                  p->deadline_s);
  FC_CHECK(w->participants == 0 || isfinite(w->objective), NUMERIC,
           "split: objectives beyond the range of numbers");
  return FC_ERR_OK;
}

static void tell(const fc_split_work *w, fc_split_solution *out) {
  const fc_rows_here rows = w->p->rows;
  for (int64_t k = 0; k < rows.n; k++) {
    out->selected[k] = w->in[rows.first + k];
    out->bandwidth_hz[k] = w->bandwidth_hz[rows.first + k];
  }
  out->latency_s = w->latency_s;
  out->objective = w->objective;
}

fc_err fc_split_solve(const fc_split_problem *p, const fc_reduction *over, fc_split_solution *out) {
  fc_split_work w = {.p = p};
  int64_t K = 0;
  out->answer = (fc_answer){FC_OPTIMAL, ""};
  FC_TRY(fc_rows_agree(over, check(p)));
  FC_TRY(fc_rows_count(over, &p->rows, &K));
  FC_CHECK(K <= INT32_MAX / COLUMNS, DATA, "clients: %lld are too many", (long long)K);
  w.K = (int)K;
  fc_err err = fc_alloc((size_t)K, sizeof *w.client, &w.client);
  if (err == FC_ERR_OK) err = fc_alloc((size_t)K, sizeof *w.in, &w.in);
  if (err == FC_ERR_OK) err = fc_alloc((size_t)K, sizeof *w.bandwidth_hz, &w.bandwidth_hz);
  err = fc_rows_agree(over, err);
  if (err == FC_ERR_OK) err = gather_clients(&w, over);
  if (err == FC_ERR_OK) err = fc_rows_agree(over, choose(&w, &out->answer));
  if (err == FC_ERR_OK && out->answer.status == FC_OPTIMAL) tell(&w, out);
  fc_free(w.client);
  fc_free(w.in);
  fc_free(w.bandwidth_hz);
  return err;
}

/* ---- the descriptor -------------------------------------------------------------------------- */

static fc_err solve(const void *problem, const fc_reduction *over, void *solution) {
  return fc_split_solve(problem, over, solution);
}

/* What is made up: a small encoder of 12 blocks of 7 million weights, batches of 8 texts of 128
 * tokens of 768 values of 16 bits. */
#define NUMBER(path, member, ...) FC_NUMBER(fc_split_problem, path, member, __VA_ARGS__)
#define COLUMN(member, ...)       FC_COLUMN(fc_split_problem, "clients[]." #member, member, __VA_ARGS__)
#define OPTIONAL(path, kind, member)                                                               \
  { path, kind, offsetof(fc_split_problem, member), 0, INFINITY, {FC_DRAW_NONE, 0, 0}, NULL }
#define OPTIONAL_COLUMN(member) OPTIONAL("clients[]." #member, FC_FIELD_OPTIONAL_COLUMN, member)
static const fc_solver_field input[] = {
    COLUMN(compute_flops, FC_DRAW_UNIFORM, 5e11, 2e12),
    COLUMN(downlink_spectral_efficiency, FC_DRAW_UNIFORM, 5, 10),
    COLUMN(uplink_spectral_efficiency, FC_DRAW_UNIFORM, 2, 8),
    OPTIONAL_COLUMN(tx_power_w),
    OPTIONAL_COLUMN(compute_energy_j),
    OPTIONAL_COLUMN(energy_queue),
    OPTIONAL_COLUMN(participation_queue),
    NUMBER("server.bandwidth_hz", bandwidth_hz, FC_DRAW_CONSTANT, 1e8, 0),
    NUMBER("server.compute_flops", server_flops, FC_DRAW_CONSTANT, 1e14, 0),
    NUMBER("work.iterations", iterations, FC_DRAW_CONSTANT, 10, 0),
    NUMBER("work.device_flop", device_flop, FC_DRAW_CONSTANT, 1e9, 0),
    NUMBER("work.server_flop", server_flop, FC_DRAW_CONSTANT, 3.5e11, 0),
    NUMBER("work.uplink_bits", uplink_bits, FC_DRAW_CONSTANT, 2.5e7, 0),
    NUMBER("work.downlink_bits", downlink_bits, FC_DRAW_CONSTANT, 1.25e7, 0),
    NUMBER("penalty_weight", penalty_weight, FC_DRAW_CONSTANT, 100, 0),
    NUMBER("round_weight", round_weight, FC_DRAW_CONSTANT, 1, 0),
    OPTIONAL("latency_queue", FC_FIELD_OPTIONAL, latency_queue),
    OPTIONAL("deadline_s", FC_FIELD_OPTIONAL, deadline_s),
    FC_CHOICE(fc_split_problem, "budget", budget, "latency energy participation"),
    FC_LAST_FIELD,
};

#define OUT(path, kind, member) FC_OUTPUT(fc_split_solution, path, kind, member)
static const fc_solver_field output[] = {
    OUT("latency_s", FC_FIELD_NUMBER, latency_s),
    OUT("objective", FC_FIELD_NUMBER, objective),
    OUT("selected[]", FC_FIELD_COLUMN, selected),
    OUT("bandwidth_hz[]", FC_FIELD_COLUMN, bandwidth_hz),
    FC_LAST_FIELD,
};

const fc_solver fc_solver_split = {
    "split",
    "participants of split learning and their bandwidths under a long-term budget",
    sizeof(fc_split_problem),
    sizeof(fc_split_solution),
    input,
    output,
    false,
    solve,
};
