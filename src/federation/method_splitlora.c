/* method_splitlora.c - Split LoRA [Wang+ 2024]: a device holds the embeddings and the head, the
 * server the blocks in between with a low-rank copy for each participant. In every iteration
 * activations go up, answers come down, and their gradient goes up again; only the copies, which
 * stay at the server, and a trained head are averaged. Who takes part, and with which bands, is
 * decided round by round so that a long-term budget holds on average (Lyapunov drift plus penalty):
 * the solver `split`.
 *
 * What is computed is what fedlora computes, since nothing is lost on the link; what differs is
 * where, and hence what crosses the radio and how long it takes.
 *
 * The solver's rates are proportional to the share of the band; where noise depends on the share
 * (cell.noise allocated), they are those of equal shares, and the planned time is an estimate. */
#include "cut.h"
#include "fedcell/fc_solver.h"
#include <math.h>
#include <string.h>

typedef struct {
  fc_cut cut;
  fc_split_problem problem;        /* without its columns and queues */
  double server_flop, device_flop; /* a token */
  double head_bits;                /* of what is trained of the head, each way at the round's end */
  double full_s;                   /* of a round in which all candidates take part, mean channels */
  double latency_queue;
  double *queue;  /* (devices) of energy or participation, the same on all ranks; else NULL */
  double *budget; /* (devices) of energy a round */
} split_state;

static void destroy(void *state) {
  split_state *s = state;
  if (!s) return;
  fc_free(s->queue);
  fc_free(s->budget);
  fc_free(s);
}

/* ---- what crosses the link ------------------------------------------------------------------- */

/* Bits of an iteration, or of a round, with so many tokens in so many sequences: X and dY up, Y
 * down, of a width each. A classifier's head sees one vector a sequence. */
static void crossing(const fc_federation *fed, const fc_cut *cut, double tokens, double sequences,
                     double *up, double *down) {
  double vector = fc_model_get_shape(fed->task.model)->width * cut->bits;
  double answers = fed->task.loss == FC_LOSS_CLASSIFY ? sequences : tokens;
  bool back_down = fc_config_bool(fed->cfg, "splitlora.train_embedding");
  *up = (tokens + answers) * vector;
  *down = (answers + (back_down ? tokens : 0.0)) * vector;
}

static double trained_head(const fc_federation *fed) {
  size_t n = 0, tensors = 0;
  double weights = 0;
  const fc_trainable_part *part = fc_trainable_parts(fed->task.trainable, &n);
  const fc_tensor *tensor = fc_model_tensors(fed->task.model, &tensors);
  for (size_t i = 0; i < n; i++)
    if (tensor[part[i].tensor].layer < 0) weights += (double)(part[i].rows * part[i].cols);
  return weights;
}

static void bill_as(const fc_federation *fed, const split_state *s, fc_participant *p,
                    double sequences) {
  double up = 0, down = 0;
  crossing(fed, &s->cut, p->tokens, sequences, &up, &down);
  p->load = (fc_work_load){.flop = p->tokens * s->device_flop,
                           .downlink_bits = down + s->head_bits,
                           .uplink_bits = up + s->head_bits};
}

static void bill(const fc_federation *fed, const fc_round *round, fc_participant *p) {
  (void)round;
  bill_as(fed, fed->method_state, p, (double)p->loss.count);
}

/* ---- scheduling ------------------------------------------------------------------------------ */

/* Of this rank's candidates, then of all; one block of memory. */
typedef struct {
  double *flops, *down, *up, *power, *compute_j, *energy_queue, *participation_queue;
  double *selected, *band, *all_selected, *all_band;
} columns;
enum { OWN_COLUMNS = 9, ALL_COLUMNS = 2 };

static fc_err columns_create(size_t n, size_t all, columns *c) {
  double *x = NULL;
  FC_TRY(fc_alloc(n * OWN_COLUMNS + all * ALL_COLUMNS, sizeof *x, &x));
  double *y = x + n * OWN_COLUMNS;
  *c = (columns){x,         x + n,     x + 2 * n, x + 3 * n, x + 4 * n, x + 5 * n,
                 x + 6 * n, x + 7 * n, x + 8 * n, y,         y + all};
  return FC_ERR_OK;
}

static void describe(const fc_federation *fed, const fc_round *round, uint32_t i,
                     const columns *c) {
  const split_state *s = fed->method_state;
  const fc_participant *p = &round->all[round->first + i];
  fc_link link = fc_link_of(fed, round, p);
  c->flops[i] = link.profile.compute_flops;
  c->down[i] = link.down;
  c->up[i] = link.up;
  c->power[i] = link.profile.tx_power_w;
  c->compute_j[i] = s->problem.iterations * s->problem.device_flop * link.profile.energy_per_flop_j;
  c->energy_queue[i] = c->participation_queue[i] = s->queue ? s->queue[p->device] : 0.0;
}

static fc_split_problem problem_of(const split_state *s, const fc_round *round, const columns *c) {
  fc_split_problem p = s->problem;
  p.rows = (fc_rows_here){round->count, round->first};
  p.compute_flops = c->flops;
  p.downlink_spectral_efficiency = c->down;
  p.uplink_spectral_efficiency = c->up;
  if (p.budget == FC_SPLIT_ENERGY) {
    p.tx_power_w = c->power;
    p.compute_energy_j = c->compute_j;
    p.energy_queue = c->energy_queue;
  }
  if (p.budget == FC_SPLIT_PARTICIPATION) p.participation_queue = c->participation_queue;
  p.latency_queue = s->latency_queue;
  return p;
}

/* Selects among the round's candidates. Where fading lets none of them meet the deadline, those who
 * end first take the round: it is the budget's slot, not the cell's deadline. */
static fc_err schedule(fc_federation *fed, fc_round *round, const fc_split_problem *p,
                       const columns *c) {
  fc_reduction over = fc_comm_reduction(fed->comm);
  fc_split_solution found = {.selected = c->selected, .bandwidth_hz = c->band};
  FC_TRY(fc_agree(fed->comm, fc_split_solve(p, &over, &found)));
  if (found.answer.status == FC_INFEASIBLE && p->budget != FC_SPLIT_LATENCY) {
    fc_split_problem fastest = *p;
    fastest.budget = FC_SPLIT_LATENCY;
    fastest.penalty_weight = 0;
    fastest.latency_queue = 1;
    FC_TRY(fc_agree(fed->comm, fc_split_solve(&fastest, &over, &found)));
  }
  FC_CHECK(found.answer.status == FC_OPTIMAL, USAGE, "round %lld: no plan is possible: %s",
           (long long)round->number, found.answer.reason);
  round->notes.planned_s = found.latency_s;
  FC_TRY(fc_plan_gather(fed, round, c->selected, c->all_selected));
  return fc_plan_gather(fed, round, c->band, c->all_band);
}

static fc_err plan_with(fc_federation *fed, fc_round *round, const columns *c) {
  split_state *s = fed->method_state;
  for (uint32_t i = 0; i < round->count; i++) describe(fed, round, i, c);
  s->problem.round_weight =
      pow(fc_config_real(fed->cfg, "splitlora.rho"), (double)(fed->set.rounds - round->number));
  fc_split_problem p = problem_of(s, round, c);
  FC_TRY(schedule(fed, round, &p, c));
  for (uint32_t i = 0; i < round->n; i++) round->all[i].bandwidth_hz = c->all_band[i];
  return fc_agree(fed->comm, fc_plan_keep(fed, round, c->all_selected));
}

static fc_err plan(fc_federation *fed, fc_round *round) {
  columns c = {0};
  FC_TRY(fc_plan_random(fed, round));
  fc_err err = fc_agree(fed->comm, columns_create(round->count, round->n, &c));
  if (err == FC_ERR_OK) err = plan_with(fed, round, &c);
  fc_free(c.flops);
  return err;
}

/* ---- queues ---------------------------------------------------------------------------------- */

/* Energy: what each participant has spent, against its budget; participation: who took part. */
static fc_err update_queues(fc_federation *fed, const fc_round *round) {
  split_state *s = fed->method_state;
  uint32_t devices = fc_cell_devices(fed->cell), next = 0;
  double *own = NULL, *all = NULL, promised = fc_config_real(fed->cfg, "splitlora.limit");
  fc_err err = fc_alloc(round->count, sizeof *own, &own);
  if (err == FC_ERR_OK) err = fc_alloc(round->n, sizeof *all, &all);
  FC_TRY_GOTO(err, fc_agree(fed->comm, err), done);
  for (uint32_t i = 0; i < round->count; i++) own[i] = round->all[round->first + i].cost.energy_j;
  FC_TRY_GOTO(err, fc_plan_gather(fed, round, own, all), done);
  for (uint32_t d = 0; d < devices; d++) {
    bool took_part = next < round->n && round->all[next].device == d;
    double spent = took_part ? all[next++] : 0.0;
    s->queue[d] = s->problem.budget == FC_SPLIT_ENERGY
                      ? fc_queue_next(s->queue[d], spent, s->budget[d])
                      : fc_queue_next(s->queue[d], promised, took_part);
  }
done:
  fc_free(own);
  fc_free(all);
  return err;
}

/* The server works on one participant's tokens after the other's. */
static fc_err train(fc_federation *fed, fc_round *round) {
  split_state *s = fed->method_state;
  FC_TRY(fc_train_from_global(fed, round));
  round->latency_s += round->tokens * s->server_flop / fed->set.server_flops;
  double allowed = fc_config_real(fed->cfg, "splitlora.limit") * s->full_s;
  s->latency_queue = fc_queue_next(s->latency_queue, round->latency_s, allowed);
  return s->queue ? update_queues(fed, round) : FC_ERR_OK;
}

/* ---- set-up ---------------------------------------------------------------------------------- */

static void find_problem(const fc_federation *fed, split_state *s) {
  static const char *const budgets[] = {"latency", "energy", "participation"};
  const char *budget = fc_config_string(fed->cfg, "splitlora.budget");
  double sequences = (double)fed->set.local.batch * fed->set.local.accumulate;
  double tokens = sequences * s->cut.length, M = fed->set.local.iterations, up = 0, down = 0;
  fc_cut headless = s->cut;
  headless.cost.count_head = false;
  s->server_flop = fc_cut_flop(fed, &headless, &(fc_scope){0});
  s->device_flop = fc_cut_flop(fed, &s->cut, &(fc_scope){0}) - s->server_flop;
  s->head_bits = trained_head(fed) * s->cut.bits;
  crossing(fed, &s->cut, tokens, sequences, &up, &down);
  s->problem = (fc_split_problem){.bandwidth_hz = fc_cell_bandwidth_hz(fed->cell),
                                  .server_flops = fed->set.server_flops,
                                  .iterations = M,
                                  .device_flop = tokens * s->device_flop,
                                  .server_flop = tokens * s->server_flop,
                                  .uplink_bits = up + s->head_bits / M,
                                  .downlink_bits = down + s->head_bits / M,
                                  .penalty_weight = fc_config_real(fed->cfg, "splitlora.v"),
                                  .round_weight = 1,
                                  .deadline_s = (double)NAN};
  for (int i = 0; i < 3; i++)
    if (strcmp(budget, budgets[i]) == 0) s->problem.budget = i;
}

static fc_err expect(const fc_federation *fed, fc_participant *p) {
  split_state s = {0};
  FC_TRY(fc_cut_of(fed, &s.cut));
  find_problem(fed, &s);
  bill_as(fed, &s, p, p->tokens / s.cut.length);
  return FC_ERR_OK;
}

static void check(fc_config *cfg) {
  if (strcmp(fc_config_string(cfg, "adapter.kind"), "lora") != 0)
    fc_config_fault(cfg, "adapter.kind", "must be lora for federation.method = splitlora");
}

/* All candidates of an average round take part: its latency, by the channels' means. */
static fc_err find_full_round(fc_federation *fed, split_state *s, fc_round *round,
                              const columns *c) {
  double band = fc_cell_bandwidth_hz(fed->cell) / round->n;
  for (uint32_t i = 0; i < round->count; i++) {
    describe(fed, round, i, c);
    fc_profile d = fc_cell_profile(fed->cell, round->all[round->first + i].device);
    c->down[i] =
        fc_cell_rate_bps(fed->cell, band, fc_cell_server_power_w(fed->cell, band), d.pathloss) /
        band;
    c->up[i] = fc_cell_rate_bps(fed->cell, band, d.tx_power_w, d.pathloss) / band;
  }
  fc_split_problem p = problem_of(s, round, c);
  p.budget = FC_SPLIT_LATENCY; /* without a queue: as many as can */
  p.latency_queue = 0;
  FC_TRY(schedule(fed, round, &p, c));
  s->full_s = round->notes.planned_s;
  return FC_ERR_OK;
}

/* A device may spend that share of what it would on average if it took part whenever it is drawn,
 * with an equal band. */
static void find_energy_budgets(const fc_federation *fed, split_state *s) {
  double limit = fc_config_real(fed->cfg, "splitlora.limit");
  double n = (double)fc_participants_per_round(&fed->set, fc_cell_devices(fed->cell));
  double band = fc_cell_bandwidth_hz(fed->cell) / n, M = s->problem.iterations;
  double drawn = n / fc_cell_devices(fed->cell);
  for (uint32_t d = 0; d < fc_cell_devices(fed->cell); d++) {
    fc_profile p = fc_cell_profile(fed->cell, d);
    double rate = fc_cell_rate_bps(fed->cell, band, p.tx_power_w, p.pathloss);
    s->budget[d] = limit * drawn * M *
                   (p.tx_power_w * s->problem.uplink_bits / rate +
                    s->problem.device_flop * p.energy_per_flop_j);
  }
}

static fc_err look_at_average(fc_federation *fed, split_state *s) {
  fc_round round = {.number = 1, .notes = fc_round_notes_none};
  columns c = {0};
  fc_err err = fc_plan_random(fed, &round);
  if (err == FC_ERR_OK) err = fc_agree(fed->comm, columns_create(round.count, round.n, &c));
  if (err == FC_ERR_OK) err = find_full_round(fed, s, &round, &c);
  fc_free(c.flops);
  fc_free(round.all);
  fc_free(round.theta);
  return err;
}

static fc_err create(fc_federation *fed, void **state) {
  split_state *s = NULL;
  size_t devices = fc_cell_devices(fed->cell);
  fc_err err = fc_alloc(1, sizeof *s, &s);
  *state = s;
  if (err == FC_ERR_OK) err = fc_cut_of(fed, &s->cut);
  if (err == FC_ERR_OK) {
    find_problem(fed, s);
    if (s->problem.budget != FC_SPLIT_LATENCY) err = fc_alloc(devices, sizeof *s->queue, &s->queue);
  }
  if (err == FC_ERR_OK && s->problem.budget == FC_SPLIT_ENERGY)
    err = fc_alloc(devices, sizeof *s->budget, &s->budget);
  FC_TRY(fc_agree(fed->comm, err));
  FC_TRY(look_at_average(fed, s));
  if (s->problem.budget != FC_SPLIT_LATENCY) s->problem.deadline_s = s->full_s;
  if (s->budget) find_energy_budgets(fed, s);
  return FC_ERR_OK;
}

/* ---- checkpoints ----------------------------------------------------------------------------- */

static void save(fc_federation *fed, fc_store_file *f) {
  const split_state *s = fed->method_state;
  int64_t devices = fc_cell_devices(fed->cell), first = 0, own = 0;
  fc_store_put_number(f, "/state", "latency_queue", s->latency_queue);
  if (!s->queue) return;
  fc_comm_share(devices, fed->comm->size, fed->comm->rank, &first, &own);
  fc_store_put_f64(f, "/state/queue", "", "of every device's budget", s->queue + first, first, own,
                   devices);
}

static fc_err load(fc_federation *fed, const fc_store_reader *r) {
  split_state *s = fed->method_state;
  FC_TRY(fc_store_get_number(r, "/state", "latency_queue", &s->latency_queue));
  if (!s->queue) return FC_ERR_OK;
  return fc_store_get_f64(r, "/state/queue", 0, fc_cell_devices(fed->cell), s->queue);
}

const fc_method fc_method_splitlora = {
    .name = "splitlora",
    .meaning = "embeddings and head on the devices, blocks with low-rank copies on the server; "
               "devices are scheduled under a long-term budget",
    .uses_radio = true,
    .plans_by_rounds = true,
    .create = create,
    .destroy = destroy,
    .plan = plan,
    .train = train,
    .bill = bill,
    .server = fc_aggregate_mean,
    .evaluate = fc_evaluate_theta,
    .check = check,
    .expect = expect,
    .save = save,
    .load = load,
};
