/* method_jcpba.c - devices tune the last blocks of a model whose other blocks the server has pruned
 * for each of them.
 *
 * jcpba: pruning rates beta_k and bandwidths B_k minimise the round's latency together [JCPBA
 * (10)]. ubfp: one rate and an equal share for all; a device whose memory needs more gets its own
 * minimum. Both then run the same round [JCPBA (1)-(4)]; between rounds the server may tune the
 * emulator.
 *
 * Where noise depends on the share (cell.noise allocated), rates are not proportional to B_k, which
 * the problem supposes: it is then solved again with the efficiency that each link has at its last
 * share, until the shares stay. All then end together, but it is not proved to be the optimum. */
#include "cut.h"
#include "emulator.h"
#include "fedcell/fc_solver.h"
#include "merged.h"
#include <math.h>
#include <string.h>

typedef struct {
  fc_cut cut;
  fc_emulator *emulator; /* NULL: the server does not train */
  fc_block_view *views;  /* (own participants, layers) of this round */
  fc_block_view *mean;   /* (layers) at the mean rate: what the server tunes and evaluates */
  double least, most, mean_max;
} jcpba_state;

/* ---- set-up ---------------------------------------------------------------------------------- */

static void destroy(void *state) {
  jcpba_state *s = state;
  if (!s) return;
  fc_emulator_destroy(&s->emulator);
  fc_free(s->views);
  fc_free(s->mean);
  fc_free(s);
}

/* C5 of [JCPBA (10)]: the limit of the mean rate, or the one that the constants give. */
static double mean_limit(const fc_federation *fed) {
  double gamma = fc_config_real(fed->cfg, "jcpba.gamma_min");
  if (gamma <= 0) return fc_config_real(fed->cfg, "jcpba.mean_max");
  double K = (double)fc_participants_per_round(&fed->set, fc_cell_devices(fed->cell));
  double N = (double)fed->set.local.batch * fed->set.local.accumulate;
  double limit = (gamma - fc_config_real(fed->cfg, "jcpba.xi") -
                  fc_config_real(fed->cfg, "jcpba.phi") / (K * N)) /
                 fc_config_real(fed->cfg, "jcpba.psi");
  return fmin(limit, 1.0);
}

static fc_err read_settings(const fc_federation *fed, jcpba_state *s) {
  s->least = fc_config_real(fed->cfg, "jcpba.pruning_min");
  s->most = fc_config_real(fed->cfg, "jcpba.pruning_max");
  s->mean_max = mean_limit(fed);
  FC_CHECK(
      s->mean_max >= s->least, USAGE,
      "the mean pruning rate's limit is %g (jcpba.mean_max, or gamma_min, xi, phi, psi), below "
      "jcpba.pruning_min = %g",
      s->mean_max, s->least);
  return FC_ERR_OK;
}

static bool server_trains(const fc_config *cfg) {
  return fc_config_int(cfg, "server.tune_steps") > 0 ||
         fc_config_int(cfg, "server.first_steps") > 0;
}

/* The emulator has all blocks of the original. */
static fc_emulator_plan emulator_plan(const fc_federation *fed, const fc_cut *cut) {
  return (fc_emulator_plan){.kept = cut->first,
                            .distills = fc_config_string(fed->cfg, "server.objective")[0] == 'd'};
}

static fc_err more_bytes(const fc_federation *fed, int ranks, int threads, double *rank_bytes,
                         double *node_bytes) {
  double sorting = fc_sort_bytes(fed, threads);
  if (server_trains(fed->cfg)) {
    fc_cut cut;
    FC_TRY(fc_cut_check(fed));
    FC_TRY(fc_cut_of(fed, &cut));
    fc_emulator_plan emulator = emulator_plan(fed, &cut);
    FC_TRY(fc_emulator_bytes(fed, &emulator, ranks, threads, rank_bytes, node_bytes));
  }
  *rank_bytes = fmax(*rank_bytes, sorting); /* one before the other */
  return FC_ERR_OK;
}

static void check(fc_config *cfg) {
  double least = fc_config_real(cfg, "jcpba.pruning_min");
  fc_cut_check_options(cfg);
  if (fc_config_real(cfg, "jcpba.pruning_max") < least)
    fc_config_fault(cfg, "jcpba.pruning_max", "must be at least jcpba.pruning_min = %g", least);
  if (fc_config_real(cfg, "jcpba.gamma_min") <= 0 && fc_config_real(cfg, "jcpba.mean_max") < least)
    fc_config_fault(cfg, "jcpba.mean_max", "must be at least jcpba.pruning_min = %g", least);
  if (server_trains(cfg)) fc_emulator_check_options(cfg);
}

static fc_err create(fc_federation *fed, void **state) {
  jcpba_state *s = NULL;
  fc_err err = fc_cut_check(fed);
  if (err == FC_ERR_OK) err = fc_alloc(1, sizeof *s, &s);
  *state = s;
  if (err == FC_ERR_OK) err = read_settings(fed, s);
  if (err == FC_ERR_OK) err = fc_cut_of(fed, &s->cut);
  if (err == FC_ERR_OK) err = fc_alloc((size_t)s->cut.layers, sizeof *s->mean, &s->mean);
  FC_TRY(fc_agree(fed->comm, err));
  FC_TRY(fc_sort_emulator(fed, &s->cut));
  fc_emulator_plan emulator = emulator_plan(fed, &s->cut);
  if (server_trains(fed->cfg)) FC_TRY(fc_emulator_create(fed, &emulator, &s->emulator));
  fc_cut_view(fed, &s->cut, fmin(s->mean_max, s->most), s->mean);
  return FC_ERR_OK;
}

/* ---- plans ----------------------------------------------------------------------------------- */

/* This rank's part of problem P1 and of its solution, in one block of memory. */
typedef struct {
  double *flops, *down, *up, *power, *memory, *pruning, *bandwidth, *before;
} columns;
enum { COLUMNS = 8 };

static fc_err columns_create(size_t n, columns *c) {
  double *x = NULL;
  FC_TRY(fc_alloc(n * COLUMNS, sizeof *x, &x));
  *c = (columns){x, x + n, x + 2 * n, x + 3 * n, x + 4 * n, x + 5 * n, x + 6 * n, x + 7 * n};
  return FC_ERR_OK;
}

/* The gain with which log2(1 + P g / N0) is what the link carries per second and hertz: noise, caps
 * and interference as the cell has them. */
static double equal_gain(double efficiency, double power_w, double noise_w) {
  return power_w > 0 ? expm1(efficiency * M_LN2) * noise_w / power_w : 0.0;
}

static void describe(const fc_federation *fed, const fc_round *round, uint32_t i, double noise_w,
                     const columns *c) {
  fc_link link = fc_link_of(fed, round, &round->all[round->first + i]);
  double server_w = fc_cell_server_power_w(fed->cell, fc_cell_bandwidth_hz(fed->cell));
  c->flops[i] = link.profile.compute_flops;
  c->power[i] = link.profile.tx_power_w;
  c->memory[i] = link.profile.memory_bytes;
  c->down[i] = equal_gain(link.down, server_w, noise_w);
  c->up[i] = equal_gain(link.up, link.profile.tx_power_w, noise_w);
}

static fc_jcpba_problem problem_of(const fc_federation *fed, const jcpba_state *s,
                                   const fc_round *round, const columns *c) {
  const fc_cut *cut = &s->cut;
  double band = fc_cell_bandwidth_hz(fed->cell), bytes = cut->bits / 8;
  double tokens = cut->length * fed->set.local.batch * fed->set.local.accumulate;
  return (fc_jcpba_problem){.rows = {round->count, round->first},
                            .compute_flops = c->flops,
                            .downlink_gain = c->down,
                            .uplink_gain = c->up,
                            .tx_power_w = c->power,
                            .memory_bytes = c->memory,
                            .server_power_w = fc_cell_server_power_w(fed->cell, band),
                            .bandwidth_hz = band,
                            .noise_power_w = fc_cell_noise_w(fed->cell, band),
                            .iterations = fed->set.local.iterations,
                            .adapter_flop = tokens * cut->adapter_flop,
                            .emulator_flop = tokens * cut->emulator_flop,
                            .adapter_bits = cut->adapter_weights * cut->bits,
                            .emulator_bits = cut->emulator_weights * cut->bits,
                            .update_bits = cut->update_weights * cut->bits,
                            .adapter_bytes = cut->adapter_weights * bytes,
                            .emulator_bytes = cut->emulator_weights * bytes,
                            .fixed_bytes = cut->fixed_bytes,
                            .pruning_min = s->least,
                            .pruning_max = s->most,
                            .pruning_mean_max = s->mean_max,
                            .method = fc_config_string(fed->cfg, "jcpba.solver")[0] == 'e'
                                          ? FC_JCPBA_EXACT
                                          : FC_JCPBA_BCD};
}

static fc_err solve_once(fc_federation *fed, const jcpba_state *s, fc_round *round,
                         const columns *c) {
  fc_jcpba_problem problem = problem_of(fed, s, round, c);
  fc_jcpba_solution found = {.pruning = c->pruning, .bandwidth_hz = c->bandwidth};
  fc_reduction over = fc_comm_reduction(fed->comm);
  for (uint32_t i = 0; i < round->count; i++) describe(fed, round, i, problem.noise_power_w, c);
  FC_TRY(fc_jcpba_solve(&problem, &over, &found));
  FC_CHECK(found.answer.status == FC_OPTIMAL, USAGE, "round %lld: no plan is possible: %s",
           (long long)round->number, found.answer.reason);
  round->notes.planned_s = found.latency_s;
  round->notes.lower_bound_s = found.lower_bound_s;
  return FC_ERR_OK;
}

/* Collective. Takes the solution over; *change: the largest of a share, relative. */
static fc_err take_shares(const fc_federation *fed, fc_round *round, const columns *c,
                          double *change) {
  *change = 0;
  for (uint32_t i = 0; i < round->count; i++) {
    fc_participant *p = &round->all[round->first + i];
    *change = fc_exact_larger(*change, fabs(c->bandwidth[i] / p->bandwidth_hz - 1.0));
    p->bandwidth_hz = c->bandwidth[i];
    p->pruning = c->pruning[i];
  }
  return fc_comm_max(fed->comm, change, 1);
}

static fc_err plan_jointly(fc_federation *fed, jcpba_state *s, fc_round *round) {
  enum { MOST = 100 };
  static const double SETTLED = 1e-9;
  columns c = {0};
  double change = 1;
  fc_err err = fc_agree(fed->comm, columns_create(round->count, &c));
  bool proportional = fc_rates_are_proportional(fed);
  for (int i = 0; i < MOST && err == FC_ERR_OK && change > SETTLED; i++) {
    err = solve_once(fed, s, round, &c);
    if (err == FC_ERR_OK) err = take_shares(fed, round, &c, &change);
    if (proportional) break;
  }
  if (!proportional)
    round->notes.lower_bound_s = (double)NAN; /* of other rates than the optimum's */
  fc_free(c.flops);
  return err;
}

/* The rate at which the emulator fits beside the rest into the memory. */
static double least_by_memory(const fc_cut *cut, double memory_bytes) {
  double others = cut->adapter_weights * cut->bits / 8 + cut->fixed_bytes;
  return 1.0 - (memory_bytes - others) / (cut->emulator_weights * cut->bits / 8);
}

static fc_err plan_uniformly(fc_federation *fed, jcpba_state *s, fc_round *round) {
  for (uint32_t i = 0; i < round->count; i++) {
    fc_participant *p = &round->all[round->first + i];
    fc_profile profile = fc_cell_profile(fed->cell, p->device);
    p->pruning = fmax(fmin(s->mean_max, s->most), least_by_memory(&s->cut, profile.memory_bytes));
    FC_CHECK(p->pruning <= s->most, USAGE,
             "round %lld, device %u: its memory of %.4g bytes needs a pruning rate of %.4g, above "
             "jcpba.pruning_max = %g",
             (long long)round->number, p->device, profile.memory_bytes, p->pruning, s->most);
  }
  return FC_ERR_OK;
}

/* Each own participant's emulator: two numbers a block. */
static fc_err give_views(fc_federation *fed, jcpba_state *s, fc_round *round) {
  size_t layers = (size_t)s->cut.layers;
  fc_free(s->views);
  s->views = NULL;
  FC_TRY(fc_alloc(round->count * layers, sizeof *s->views, &s->views));
  for (uint32_t i = 0; i < round->count; i++) {
    fc_participant *p = &round->all[round->first + i];
    fc_block_view *view = s->views + i * layers;
    fc_cut_view(fed, &s->cut, p->pruning, view);
    p->scope.view = view;
  }
  return FC_ERR_OK;
}

static fc_err tune_first(fc_federation *fed, fc_round *round) {
  jcpba_state *s = fed->method_state;
  if (!s->emulator || round->number != 1) return FC_ERR_OK;
  return fc_emulator_tune(fed, s->emulator, s->mean, fc_config_int(fed->cfg, "server.first_steps"),
                          round);
}

typedef fc_err planner(fc_federation *fed, jcpba_state *s, fc_round *round);

static fc_err plan_with(fc_federation *fed, fc_round *round, planner *choose) {
  jcpba_state *s = fed->method_state;
  FC_TRY(fc_plan_random(fed, round));
  FC_TRY(tune_first(fed, round));
  FC_TRY(fc_agree(fed->comm, choose(fed, s, round)));
  return fc_agree(fed->comm, give_views(fed, s, round));
}

static fc_err plan_jcpba(fc_federation *fed, fc_round *round) {
  return plan_with(fed, round, plan_jointly);
}

static fc_err plan_ubfp(fc_federation *fed, fc_round *round) {
  return plan_with(fed, round, plan_uniformly);
}

/* ---- the rest of the round ------------------------------------------------------------------- */

static void bill(const fc_federation *fed, const fc_round *round, fc_participant *p) {
  const jcpba_state *s = fed->method_state;
  (void)round;
  fc_cut_bill(fed, &s->cut, p);
}

static fc_err server(fc_federation *fed, fc_round *round) {
  jcpba_state *s = fed->method_state;
  FC_TRY(fc_aggregate_mean(fed, round));
  if (!s->emulator) return FC_ERR_OK;
  return fc_emulator_tune(fed, s->emulator, s->mean, fc_config_int(fed->cfg, "server.tune_steps"),
                          round);
}

static fc_err expect(const fc_federation *fed, fc_participant *p) {
  fc_cut cut;
  fc_block_view *view = NULL;
  FC_TRY(fc_cut_check(fed));
  FC_TRY(fc_cut_of(fed, &cut));
  FC_TRY(fc_alloc((size_t)cut.layers, sizeof *view, &view));
  p->pruning = fmin(mean_limit(fed), fc_config_real(fed->cfg, "jcpba.pruning_max"));
  fc_cut_view(fed, &cut, p->pruning, view);
  p->scope.view = view;
  fc_cut_bill(fed, &cut, p);
  p->scope.view = NULL;
  fc_free(view);
  return FC_ERR_OK;
}

/* The unpruned model with the adapter, and the one pruned at the mean rate. */
static fc_err evaluate(fc_federation *fed, fc_metrics *m) {
  jcpba_state *s = fed->method_state;
  fc_metrics pruned = {0};
  const fc_evaluated what = {.threads = &fed->threads, .theta = fed->theta, .view = s->mean};
  FC_TRY(fc_evaluate_theta(fed, m));
  FC_TRY(fc_evaluate_global(fed, &what, &pruned));
  m->emulator_loss = pruned.loss;
  return FC_ERR_OK;
}

static void save(fc_federation *fed, fc_store_file *f) {
  jcpba_state *s = fed->method_state;
  if (s->emulator) fc_emulator_save(fed, s->emulator, f);
}

static fc_err load(fc_federation *fed, const fc_store_reader *r) {
  jcpba_state *s = fed->method_state;
  return s->emulator ? fc_emulator_load(fed, s->emulator, r) : FC_ERR_OK;
}

/* The adapter was evaluated on the emulator that the server tuned. */
static void put_final(fc_federation *fed, fc_store_file *f) {
  const jcpba_state *s = fed->method_state;
  if (s->emulator) fc_merged_put_blocks(fed, s->cut.first, "/final/base", f);
}

#define METHOD_OF(id, text, planner_of)                                                            \
  const fc_method fc_method_##id = {.name = #id,                                                   \
                                    .meaning = (text),                                             \
                                    .uses_radio = true,                                            \
                                    .create = create,                                              \
                                    .destroy = destroy,                                            \
                                    .plan = (planner_of),                                          \
                                    .train = fc_train_from_global,                                 \
                                    .bill = bill,                                                  \
                                    .server = server,                                              \
                                    .evaluate = evaluate,                                          \
                                    .check = check,                                                \
                                    .expect = expect,                                              \
                                    .more_bytes = more_bytes,                                      \
                                    .save = save,                                                  \
                                    .load = load,                                                  \
                                    .put_final = put_final}

METHOD_OF(jcpba,
          "devices tune the last blocks; the others come pruned for each device, at rates and "
          "bandwidths that minimise the round's latency",
          plan_jcpba);
METHOD_OF(ubfp, "as jcpba, with one pruning rate and an equal share of the band for all",
          plan_ubfp);
