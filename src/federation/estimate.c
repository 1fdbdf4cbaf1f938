/* estimate.c - memory and work of a run, told before it starts: the same formulas that size the
 * allocations, plus what the process already takes with its libraries and data loaded. */
#include "federation.h"
#include "fedcell/fc_machine.h"
#include "fedcell/fc_timer.h"
#include <math.h>

/* What a rank takes once it runs, beside its own allocations: the first parallel HDF5 file, MPI-IO,
 * buffers between ranks. No formula gives it: it is the difference that
 * tests/e2e/check_tells_memory.sh showed with the distribution's packages on small runs, 6 and 7 MB
 * a rank. */
static const double LIBRARY_BYTES = 6e6;

/* Tokens that a round trains on, at the devices' mean length. */
static double round_tokens(const fc_federation_settings *s, double participants, double length) {
  return participants * s->local.iterations * s->local.batch * s->local.accumulate * length;
}

/* What the rounds themselves hold on a rank: the plan, the own participants' trained copies, and
 * what is recorded of them until the end. */
static double round_bytes(const fc_federation_settings *s, int ranks, const fc_estimate *e) {
  double own = ceil((double)e->participants / ranks);
  return (double)e->participants * sizeof(fc_participant) +
         own * (double)e->trained_weights * sizeof(float) +
         (double)s->rounds * own * FC_RECORD_BYTES;
}

static void memory(const fc_task_setup *task, const fc_federation_settings *s,
                   const fc_method *method, int ranks, int threads, fc_estimate *e) {
  double P = (double)e->trained_weights, bytes = sizeof(float);
  e->node_shared_bytes = (double)fc_weights_share_bytes(task->model, task->is_bf16);
  fc_thread_room room = fc_room_of_run(task, s, e->participants, ranks, threads);
  e->cohort_devices = room.cohort;
  e->thread_bytes = (double)fc_threads_bytes(task, &room, 1);
  /* its trained copy and its row of the plan */
  e->participant_bytes = P * bytes + sizeof(fc_participant);
  e->idle_device_bytes = method->device_bytes ? (double)method->device_bytes((size_t)P) : 0.0;
  double held = e->idle_device_bytes * ceil((double)e->devices / ranks);
  double aggregation = P * (sizeof(int64_t) + (1 + s->modules) * bytes); /* sum, mean, models */
  double rounds = method->rank_bytes ? method->rank_bytes(s, ranks, e) : round_bytes(s, ranks, e);
  e->rank_bytes = fc_peak_resident_bytes() + LIBRARY_BYTES + threads * e->thread_bytes + rounds +
                  aggregation + held;
  e->node_bytes = ranks * e->rank_bytes + e->node_shared_bytes;
  /* beyond that, a device is its split offset (8 B) and its sample indices (4 B each) */
  e->idle_device_bytes += 8 + 4.0 * (double)e->samples_train / e->devices;
}

/* As many devices as make the products fast, but no more than leave a fifth of the node's memory
 * to others. */
static int best_cohort(const fc_task_setup *task, const fc_federation_settings *s, int ranks,
                       int threads, const fc_estimate *e) {
  fc_federation_settings automatic = *s;
  automatic.cohort = 0;
  fc_thread_room room = fc_room_of_run(task, &automatic, e->participants, ranks, threads);
  double workers = (double)ranks * threads;
  double others = e->node_bytes - workers * e->thread_bytes;
  while (room.cohort > 1 && e->memory_bytes > 0 &&
         others + workers * (double)fc_threads_bytes(task, &room, 1) > 0.8 * e->memory_bytes)
    room.cohort /= 2;
  return room.cohort;
}

/* What a round of typical participants computes and sends. */
static fc_err work(const fc_federation *fed, fc_estimate *e, double length) {
  fc_participant p = {.tokens = round_tokens(&fed->set, 1, length)};
  if (fed->method->expect)
    FC_TRY(fed->method->expect(fed, &p));
  else
    fc_plan_bill(fed, &p);
  e->flop_per_round = e->participants * p.load.flop;
  e->uplink_bits_per_round = e->participants * p.load.uplink_bits;
  e->downlink_bits_per_round = e->participants * p.load.downlink_bits;
  return FC_ERR_OK;
}

static void count_samples(const fc_federation *fed, fc_estimate *e, double *length) {
  const fc_task_setup *task = &fed->task;
  size_t n = 0;
  fc_split_public(task->split, &n);
  e->samples_public = (int64_t)n;
  fc_split_test(task->split, &n);
  e->samples_test = (int64_t)n;
  *length = fc_task_mean_length(task, e->devices, &e->samples_train);
}

static fc_err fill(fc_federation *fed, int ranks, int threads, fc_estimate *e) {
  const fc_task_setup *task = &fed->task;
  double length = 0, more_rank = 0, more_node = 0;
  count_samples(fed, e, &length);
  e->participants = (uint32_t)fc_participants_per_round(&fed->set, e->devices);
  e->base_weights = fc_model_weight_count(task->model);
  e->trained_weights = fed->P = fc_trainable_count(task->trainable);
  fed->flop_per_token =
      fc_trainable_flop_per_token(task->trainable, length, task->loss != FC_LOSS_CLASSIFY);
  memory(task, &fed->set, fed->method, ranks, threads, e);
  if (fed->method->more_bytes)
    FC_TRY(fed->method->more_bytes(fed, ranks, threads, &more_rank, &more_node));
  e->rank_bytes += more_rank;
  e->node_shared_bytes += more_node;
  e->node_bytes += ranks * more_rank + more_node;
  e->memory_bytes = (double)fc_machine_memory_bytes();
  e->best_cohort = best_cohort(task, &fed->set, ranks, threads, e);
  return work(fed, e, length);
}

/* As much of a run as can be had without its ranks and weights. */
fc_err fc_federation_estimate(fc_config *cfg, int ranks, int threads, fc_estimate *out) {
  fc_federation fed = {.cfg = cfg, .set = fc_federation_settings_read(cfg)};
  *out = (fc_estimate){.devices = (uint32_t)fc_config_int(cfg, "population.devices")};
  fed.method = fc_method_find(fed.set.method);
  fc_err err = fc_config_finish(cfg); /* the checks need values within their ranges */
  if (err == FC_ERR_OK) err = fc_check_configuration(cfg, &fed.cell);
  if (err == FC_ERR_OK) err = fc_task_create(NULL, cfg, &fed.task);
  if (err == FC_ERR_OK) err = fill(&fed, ranks, threads, out);
  fc_task_destroy(&fed.task);
  fc_cell_destroy(&fed.cell);
  return err;
}
