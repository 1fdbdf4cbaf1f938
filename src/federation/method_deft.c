/* method_deft.c - DEFT [Wu+ 2024b]: the trained blocks are shared out among the devices, each block
 * to one of them, so that the round is short: devices go forward through everything and back down
 * to their deepest block only. Which blocks and how much band: the solver `deft`. Devices that get
 * no block sit the round out.
 *
 * The solver's rates are proportional to the share of the band. Where noise depends on the share
 * (cell.noise allocated), they are those of equal shares: the plan is then an estimate, and its
 * bound none. */
#include "cut.h"
#include "fedcell/fc_solver.h"
#include <math.h>
#include <string.h>

typedef struct {
  fc_cut cut;
  fc_deft_problem problem; /* without its columns */
  bool sends_all;          /* down: the whole model, else what is trained of it */
} deft_state;

static void destroy(void *state) {
  fc_free(state);
}

/* FLOP an iteration of a device that trains the n blocks from depth q on; `head`: with the head. */
static double work(const fc_federation *fed, const fc_cut *cut, int q, int n, bool head) {
  fc_cut counted = *cut;
  counted.cost.count_head = head && cut->cost.count_head;
  int first = cut->layers - q;
  const fc_scope scope = {.first_block = first, .next_block = first + n};
  return fc_cut_flop(fed, &counted, &scope) * cut->length * fed->set.local.batch *
         fed->set.local.accumulate;
}

/* The work is head + L forward + q activation + n weight: what each is, from the work of the last
 * blocks. The gradients of a trained head, which the last block's owner computes, count for all. */
void fc_deft_work(const fc_federation *fed, const fc_cut *cut, fc_deft_problem *p) {
  double one = work(fed, cut, 1, 1, false), deep = work(fed, cut, 2, 1, false);
  double two = work(fed, cut, 2, 2, false), all = work(fed, cut, 1, 1, true);
  p->activation_flop_per_block = deep - one;
  p->weight_flop_per_block = two - deep;
  p->forward_flop_per_block = 0; /* in head_flop, with all that every owner does */
  p->head_flop = all - p->activation_flop_per_block - p->weight_flop_per_block;
}

static void find_sizes(const fc_federation *fed, const deft_state *s, fc_deft_problem *p) {
  const fc_cut *cut = &s->cut;
  const fc_task_setup *task = &fed->task;
  const fc_local_settings *local = &fed->set.local;
  double model = cut->emulator_weights + cut->adapter_weights, blocks = p->blocks;
  size_t outer = 0, states = fc_optimizer_state_count(&local->optimizer, fed->P);
  const fc_scope inside = {.first_block = cut->first, .next_block = cut->layers};
  double trained = (double)fc_trainable_window(task->trainable, &inside, &outer);
  int longest = fc_corpus_longest(task->corpus);
  int64_t rows = (int64_t)local->batch * longest;
  double resting = (double)fc_work_bytes(task->model, task->trainable, rows, local->batch, longest,
                                         FC_WORK_FORWARD);
  double training = (double)fc_work_bytes(task->model, task->trainable, rows, local->batch, longest,
                                          FC_WORK_TRAIN);
  p->download_bits = (s->sends_all ? model : cut->update_weights) * cut->bits;
  p->upload_bits_per_block = trained / blocks * cut->bits;
  p->base_bytes = (double)fc_model_weight_count(task->model) * cut->bits / 8 + resting;
  p->activation_bytes_per_block = fmax(training - resting, 0) / blocks;
  p->optimizer_bytes_per_block =
      trained / blocks * (1.0 + (double)states / (double)fed->P) * sizeof(float);
}

static fc_err find_problem(const fc_federation *fed, deft_state *s) {
  static const char *const methods[] = {"jbba", "crunch", "exact"};
  const char *matching = fc_config_string(fed->cfg, "deft.matching");
  FC_TRY(fc_cut_of(fed, &s->cut));
  int blocks = s->cut.layers - s->cut.first;
  FC_CHECK(blocks >= 2 && blocks <= FC_DEFT_BLOCKS_MAX, USAGE,
           "adapter.last_blocks is %d: method deft shares out 2 to %d blocks", blocks,
           FC_DEFT_BLOCKS_MAX);
  s->sends_all = fc_config_string(fed->cfg, "deft.download")[0] == 'f';
  s->problem = (fc_deft_problem){.bandwidth_hz = fc_cell_bandwidth_hz(fed->cell),
                                 .blocks = blocks,
                                 .iterations = fed->set.local.iterations,
                                 .bandwidth = FC_DEFT_OPTIMAL};
  for (int i = 0; i < 3; i++)
    if (strcmp(matching, methods[i]) == 0) s->problem.method = i;
  fc_deft_work(fed, &s->cut, &s->problem);
  find_sizes(fed, s, &s->problem);
  return FC_ERR_OK;
}

static fc_err create(fc_federation *fed, void **state) {
  deft_state *s = NULL;
  fc_err err = fc_alloc(1, sizeof *s, &s);
  *state = s;
  if (err == FC_ERR_OK) err = find_problem(fed, s);
  return fc_agree(fed->comm, err);
}

/* ---- plan ------------------------------------------------------------------------------------ */

/* Of this rank's participants, then of all; one block of memory. */
typedef struct {
  double *flops, *down, *up, *memory, *first, *blocks, *band;
  double *all_first, *all_blocks, *all_band;
} columns;
enum { OWN_COLUMNS = 7, ALL_COLUMNS = 3 };

static fc_err columns_create(size_t own, size_t all, columns *c) {
  double *x = NULL;
  FC_TRY(fc_alloc(own * OWN_COLUMNS + all * ALL_COLUMNS, sizeof *x, &x));
  double *y = x + own * OWN_COLUMNS;
  *c = (columns){x,           x + own,     x + 2 * own, x + 3 * own, x + 4 * own,
                 x + 5 * own, x + 6 * own, y,           y + all,     y + 2 * all};
  return FC_ERR_OK;
}

static fc_err solve(fc_federation *fed, fc_round *round, const columns *c) {
  const deft_state *s = fed->method_state;
  fc_deft_problem p = s->problem;
  fc_deft_solution found = {.first_block = c->first, .blocks = c->blocks, .bandwidth_hz = c->band};
  fc_reduction over = fc_comm_reduction(fed->comm);
  double most = 0;
  for (uint32_t i = 0; i < round->n; i++) most = fmax(most, round->all[i].samples);
  for (uint32_t i = 0; i < round->count; i++) {
    const fc_participant *k = &round->all[round->first + i];
    fc_link link = fc_link_of(fed, round, k);
    /* one without samples would leave its blocks as they are */
    c->flops[i] = k->samples > 0 || most == 0 ? link.profile.compute_flops : 0.0;
    c->memory[i] = link.profile.memory_bytes;
    c->down[i] = link.down;
    c->up[i] = link.up;
  }
  p.rows = (fc_rows_here){round->count, round->first};
  p.compute_flops = c->flops;
  p.downlink_spectral_efficiency = c->down;
  p.uplink_spectral_efficiency = c->up;
  p.memory_bytes = c->memory;
  FC_TRY(fc_deft_solve(&p, &over, &found));
  FC_CHECK(found.answer.status == FC_OPTIMAL, USAGE, "round %lld: no plan is possible: %s",
           (long long)round->number, found.answer.reason);
  round->notes.planned_s = found.latency_s;
  if (fc_rates_are_proportional(fed)) round->notes.lower_bound_s = found.lower_bound_s;
  return FC_ERR_OK;
}

/* Every participant's blocks, on all ranks; those without leave. */
static fc_err take_over(fc_federation *fed, fc_round *round, const columns *c) {
  const deft_state *s = fed->method_state;
  FC_TRY(fc_plan_gather(fed, round, c->first, c->all_first));
  FC_TRY(fc_plan_gather(fed, round, c->blocks, c->all_blocks));
  FC_TRY(fc_plan_gather(fed, round, c->band, c->all_band));
  for (uint32_t i = 0; i < round->n; i++) {
    fc_participant *p = &round->all[i];
    int first = s->cut.first + (int)c->all_first[i];
    p->scope = (fc_scope){.first_block = first, .next_block = first + (int)c->all_blocks[i]};
    p->bandwidth_hz = c->all_band[i];
  }
  return fc_agree(fed->comm, fc_plan_keep(fed, round, c->all_blocks));
}

static fc_err plan(fc_federation *fed, fc_round *round) {
  columns c = {0};
  FC_TRY(fc_plan_random(fed, round));
  fc_err err = fc_agree(fed->comm, columns_create(round->count, round->n, &c));
  if (err == FC_ERR_OK) err = fc_agree(fed->comm, solve(fed, round, &c));
  if (err == FC_ERR_OK) err = take_over(fed, round, &c);
  fc_free(c.flops);
  return err;
}

static void bill_as(const fc_federation *fed, const deft_state *s, fc_participant *p) {
  size_t first = 0;
  double sent = (double)fc_trainable_window(fed->task.trainable, &p->scope, &first);
  p->load = (fc_work_load){.flop = p->tokens * fc_cut_flop(fed, &s->cut, &p->scope),
                           .downlink_bits = s->problem.download_bits,
                           .uplink_bits = sent * s->cut.bits};
}

static void bill(const fc_federation *fed, const fc_round *round, fc_participant *p) {
  (void)round;
  bill_as(fed, fed->method_state, p);
}

/* The owner of an equal share of the blocks, in the middle; as many as can be own some. The fastest
 * round often has fewer owners. */
static fc_err expect(const fc_federation *fed, fc_participant *p) {
  deft_state s = {0};
  FC_TRY(find_problem(fed, &s));
  int64_t devices = fc_participants_per_round(&fed->set, fc_cell_devices(fed->cell));
  int blocks = (int)s.problem.blocks, owners = (int)(devices < blocks ? devices : blocks);
  int n = blocks / owners;
  int first = s.cut.first + (blocks - n) / 2;
  p->scope = (fc_scope){.first_block = first, .next_block = first + n};
  bill_as(fed, &s, p);
  double share = (double)owners / (double)devices;
  p->load.flop *= share;
  p->load.downlink_bits *= share;
  p->load.uplink_bits = s.cut.update_weights * s.cut.bits / (double)devices; /* all, but once */
  return FC_ERR_OK;
}

static void check(fc_config *cfg) {
  int64_t last = fc_config_int(cfg, "adapter.last_blocks");
  if (last < 2 || last > FC_DEFT_BLOCKS_MAX)
    fc_config_fault(cfg, "adapter.last_blocks",
                    "must be 2 to %d for federation.method = deft, which shares these blocks out",
                    FC_DEFT_BLOCKS_MAX);
}

const fc_method fc_method_deft = {
    .name = "deft",
    .meaning = "the trained blocks are shared out among the devices, with the bandwidth, so that "
               "the round is short",
    .uses_radio = true,
    .create = create,
    .destroy = destroy,
    .plan = plan,
    .train = fc_train_from_global,
    .bill = bill,
    .server = fc_aggregate_disjoint,
    .evaluate = fc_evaluate_theta,
    .check = check,
    .expect = expect,
};
