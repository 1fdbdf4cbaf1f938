/* federation.h - what the files of this room share: the run's state, the round, the methods. */
#ifndef FEDERATION_H
#define FEDERATION_H

#include "fedcell/fc_cell.h"
#include "fedcell/fc_data.h"
#include "fedcell/fc_federation.h"
#include "fedcell/fc_mem.h"
#include "fedcell/fc_model.h"
#include "fedcell/fc_optimizer.h"
#include "fedcell/fc_store.h"
#include "fedcell/fc_tokenizer.h"
#include "fedcell/fc_weights.h"

/* ---- settings (options.c) -----------------------------------------------------------------------
 */

typedef struct {
  fc_optimizer_settings optimizer;
  int iterations; /* optimiser steps of a device in a round */
  int batch;      /* sequences of one mini-batch */
  int accumulate; /* mini-batches per optimiser step */
} fc_local_settings;

typedef struct {
  const char *method;
  int64_t rounds;
  int64_t participants; /* 0: by fraction */
  double fraction;
  bool weight_by_samples;
  int bits_per_weight;
  int64_t eval_every;
  int64_t eval_devices; /* of methods with one model a device; 0: all */
  double server_flops;
  double target_loss, target_accuracy; /* 0: none */
  int64_t checkpoint_every;
  int cohort; /* devices that a thread trains at a time; 0: automatic */
  bool recompute;
  int modules; /* global models that are learned side by side: 1, unless the method has more */
  fc_local_settings local;
} fc_federation_settings;
fc_federation_settings fc_federation_settings_read(const fc_config *cfg);
/* Local. What only several options together show; USAGE tells all faults with file and line. The
 * cell is made on the way, as it has faults of its own to find; the caller destroys it. */
fc_err fc_check_configuration(fc_config *cfg, fc_cell **cell);

/* Local. fc_cell_create, with population.trace and cell.trace also from HDF5 (traces.c). */
fc_err fc_traces_cell(fc_config *cfg, fc_cell **cell);

extern const fc_option_table fc_run_options, fc_model_options, fc_adapter_options,
    fc_federation_options, fc_stop_options, fc_pretrain_options;

/* ---- the base model (base.c, pretrain.c) ----------------------------------------------------- */

/* Everything that a learning task needs, shared by federation and pretraining. */
typedef struct {
  fc_dataset *dataset;
  fc_split *split;
  fc_tokenizer *tokenizer;
  fc_corpus *corpus;
  fc_model *model;
  fc_shared_weights *weights;
  fc_trainable *trainable;
  fc_loss_kind loss;
  bool is_bf16; /* products with frozen weights */
} fc_task_setup;

/* Collective. `comm` NULL: for an estimate, on one rank, without weights. */
fc_err fc_task_create(const fc_comm *comm, fc_config *cfg, fc_task_setup *task);
void fc_task_destroy(fc_task_setup *task);
/* Local. What adapter.* says is trained, of task->model, into task->trainable. */
fc_err fc_task_trainable(const fc_config *cfg, fc_task_setup *task);
/* Local. The same with another LoRA rank and alpha. */
fc_err fc_task_trainable_of_rank(const fc_config *cfg, const fc_task_setup *task, int lora_rank,
                                 float alpha, fc_trainable **out);
/* Local. All weights are trained: adapter.kind, or the method, says so. */
bool fc_task_trains_all(const fc_config *cfg);
/* Collective; comm NULL: as this process would pick alone. Whether products with frozen weights run
 * in bf16 (model.precision). All ranks then take the same path, the best one that each can run, so
 * that no result depends on who computed what. (precision.c) */
fc_err fc_precision_pick(const fc_comm *comm, const fc_config *cfg, bool *is_bf16);
/* Local. Mean tokens of the devices' training samples (1 if there are none), and their number:
 * FLOP are counted at this length. */
double fc_task_mean_length(const fc_task_setup *task, uint32_t devices, int64_t *samples);
/* Local. Name of the cache folder of the embedded base for this configuration; caller frees. */
fc_err fc_base_folder(const fc_config *cfg, const fc_dataset *ds, const fc_split *split,
                      char **folder);
/* Collective. Pretrains into `folder`, published by rename when complete. replace: in the place of
 * the base that lies there; else that one stands, as it holds the same. */
fc_err fc_base_pretrain(const fc_comm *comm, const fc_config *cfg, const fc_dataset *ds,
                        const fc_split *split, const char *folder, bool replace);
/* Local. The vocabulary and shape of the embedded base, and how samples become its sequences. */
fc_err fc_base_tokenizer(const fc_config *cfg, const fc_dataset *ds, const fc_split *split,
                         fc_tokenizer **out);
void fc_base_shape(const fc_config *cfg, int vocab, fc_model_shape *shape);
fc_sequence_format fc_task_format(const fc_config *cfg);
/* Local. The model's position of a sequence's first token: RoBERTa counts from 2. */
int fc_task_first_position(const fc_config *cfg);

/* ---- training (train.c, parallel.c) ---------------------------------------------------------- */

struct fc_trainee; /* one device while it trains */

/* What one thread needs to train a cohort: activations, batch arrays, and for each of its devices
 * gradient and optimiser state. */
typedef struct {
  fc_work *work;
  fc_batcher *batcher;
  struct fc_trainee *trainees; /* (cohort) */
  fc_member *members;          /* (cohort) */
  fc_batch_part *parts;        /* (cohort) */
  uint32_t *samples;           /* (cohort, batch) */
  float *gradients;            /* (cohort, P) */
  float *optimizer_states;     /* (cohort, fc_optimizer_state_count) */
} fc_thread;

/* What the threads must have room for. */
typedef struct {
  int cohort; /* devices at a time */
  int batch;  /* sequences of each, up to the corpus' longest */
  fc_work_kind kind;
  const fc_optimizer_settings *optimizer; /* NULL: no gradients and optimiser states of their own
                                             (data-parallel training keeps them elsewhere) */
} fc_thread_room;

typedef struct {
  int n, cohort;
  fc_thread *thread;
} fc_threads;
/* Local. */
fc_err fc_threads_create(const fc_task_setup *task, const fc_thread_room *room, int n,
                         fc_threads *out);
void fc_threads_destroy(fc_threads *t);
size_t fc_threads_bytes(const fc_task_setup *task, const fc_thread_room *room, int n);
/* Local. The room that a thread of a run needs. Devices of a cohort: federation.cohort, or by the
 * rows that a product needs to be fast; never more than a thread's share of the participants. No
 * result depends on it. */
fc_thread_room fc_room_of_run(const fc_task_setup *task, const fc_federation_settings *s,
                              uint32_t participants, int ranks, int threads);

/* A participant: the plan above, what came out below. */
typedef struct {
  uint32_t device;
  double bandwidth_hz;
  double power_w; /* of its upload; 0: as its profile says */
  double samples; /* |D_k|, the aggregation weight before normalising */
  /* What it trains: NULL, zero: all of the run's. A trainable of lower rank (fc_trainable_fits) has
   * a shorter theta, which begins its row of round->theta. Borrowed from the method. */
  const fc_trainable *trainable;
  fc_scope scope;
  double pruning; /* share of the emulator that was left out; 0: none */
  int module;     /* what it learns for, of several; else 0 */
  double tokens;  /* trained */
  fc_loss_result loss;
  double change; /* largest |theta_k - theta|: fc_measure_change */
  fc_work_load load;
  fc_channel channel;
  fc_cost cost;
} fc_participant;

/* What only some methods tell of a round; NAN where one does not (fc_round_notes_none). The columns
 * are in record.c. */
typedef struct {
  double planned_s, lower_bound_s; /* latency that the plan promised, and that none can beat */
  double server_loss;              /* of the server's own training */
  double emulator_loss;            /* test loss of the model that devices see */
  double aggregation_error;        /* |new - exact mean of the products| / |exact mean| */
  double risk_bound;               /* Phi_t of [SW (6)] */
  double delay_s, bandwidth_steps; /* of Algorithm 1 of [SW] */
  double left_out;                 /* devices that no band was left for by the deadline */
  double participation_shortfall;  /* [SW (7d)]: largest v_n - mean subscription, 0 if met */
} fc_round_notes;
extern const fc_round_notes fc_round_notes_none;

typedef struct {
  int64_t number; /* from 1 */
  uint32_t n;     /* participants of all ranks, in device order */
  fc_participant *all;
  uint32_t first, count; /* those trained here: all[first .. first+count) */
  float *theta;          /* (count, P): where they start, then what they trained */
  double latency_s, energy_j, uplink_bits, downlink_bits, flop, tokens;
  double train_loss;
  int64_t delivered;
  fc_round_notes notes; /* the same on all ranks */
} fc_round;

struct fc_federation {
  const fc_comm *comm;
  fc_config *cfg;
  uint64_t seed;
  fc_federation_settings set;
  fc_task_setup task;
  fc_cell *cell;
  const struct fc_method *method;
  void *method_state;
  fc_threads threads;
  /* Whose names the trained weights have in results: of the original model, where devices work on
   * another; borrowed from the method. NULL: task.trainable. */
  const fc_trainable *named_as;
  size_t P;     /* trained weights */
  float *theta; /* (set.modules, P) the global model's trained weights, on every rank */
  fc_flop_count flop_per_token;
  fc_table *rounds, *participation;
  int64_t participation_rows; /* of all ranks so far */
  double sim_time_s, total_energy_j;
};

/* Local. Trains own participants from round->theta in place, a cohort of devices a thread. */
fc_err fc_train_participants(fc_federation *fed, fc_round *round);

/* Data-parallel training of one model on pooled samples: the gradient of a step is the mean over
 * fixed micro-batches, summed over ranks in fixed point. */
typedef struct {
  const fc_comm *comm;
  const fc_task_setup *task;
  fc_threads *threads;
  fc_loss_kind loss;
  int micro_batch; /* sequences a thread takes at a time: fixes the result, not the ranks */
  uint64_t seed;
  float *theta; /* (P) the same on all ranks */
  fc_scope scope;
  const fc_distillation *distill; /* (threads) learn from a teacher, each thread with a workspace of
                                     its own for it; NULL: from the targets */
  fc_optimizer optimizer;
  float *gradients; /* (micro-batches per step, P) of this rank */
  int64_t *sum;     /* (P) */
} fc_parallel;
fc_err fc_parallel_create(fc_parallel *p, const fc_optimizer_settings *o, int max_batch);
void fc_parallel_destroy(fc_parallel *p);
/* Local. What fc_parallel_create takes on a rank, for P weights. */
double fc_parallel_bytes(const fc_optimizer_settings *o, int max_batch, int micro_batch, int ranks,
                         size_t P);
/* Collective. One optimiser step on these samples; adds to *result (of all ranks) and *tokens. */
fc_err fc_parallel_step(fc_parallel *p, const uint32_t *samples, int n, int64_t step,
                        fc_loss_result *result, double *tokens);

/* ---- sums that do not depend on the ranks (exact.c) ------------------------------------------ */

/* Collective. sums (k) <- column sums of x (n,k) over all ranks' rows, exact and rounded once
 * (fc_sum.h). k <= 16. NUMERIC if a sum is not finite. */
fc_err fc_exact_sums(const fc_comm *comm, const double *x, int64_t n, int k, double *sums);
/* The larger of two, NaN if either is: fmax would lose it. */
double fc_exact_larger(double a, double b);
/* Power of two s with largest * s <= 2^bits; 0 if largest is 0. */
double fc_exact_scale(double largest, int bits);

/* ---- evaluation (evaluate.c) ----------------------------------------------------------------- */

typedef struct {
  double loss, accuracy;
  double emulator_loss; /* of the smaller model that devices see; NAN: there is none */
} fc_metrics;
typedef struct {
  fc_threads *threads; /* workspaces of the model */
  const float *theta;
  const fc_block_view *view; /* NULL: whole */
} fc_evaluated;
/* Collective. Of one model on the test part; blocks of samples are shared over ranks and threads.
 */
fc_err fc_evaluate_global(fc_federation *fed, const fc_evaluated *what, fc_metrics *m);
/* Local. Of one model on the whole test part by this rank alone: for methods with a model a device.
 */
fc_err fc_evaluate_alone(fc_federation *fed, fc_thread *thread, const float *theta,
                         fc_loss_result *result);

/* ---- methods --------------------------------------------------------------------------------- */

typedef struct fc_method {
  const char *name, *meaning;
  bool keeps_device_models; /* devices are trained where their model lives */
  bool pools_data;          /* no device trains: threads take micro-batches of pooled samples */
  bool trains_all;          /* all weights, whatever adapter.kind says */
  bool plans_by_rounds;     /* its plans depend on how many rounds there will be */
  /* Collective; each may be NULL where it says so. */
  fc_err (*create)(fc_federation *fed, void **state); /* or NULL */
  void (*destroy)(void *state);                       /* or NULL */
  fc_err (*plan)(fc_federation *fed, fc_round *round);
  fc_err (*train)(fc_federation *fed, fc_round *round);
  fc_err (*server)(fc_federation *fed, fc_round *round);
  fc_err (*evaluate)(fc_federation *fed, fc_metrics *m);
  void (*save)(fc_federation *fed, fc_store_file *f);           /* into /state; or NULL */
  fc_err (*load)(fc_federation *fed, const fc_store_reader *r); /* or NULL */
  void (*put_final)(fc_federation *fed, fc_store_file *f); /* into /final, beside the adapter; or
                                                              NULL */
  /* Local; NULL: the trained weights both ways, forward and backward of the tokens. p->load of a
   * participant that has trained: FLOP of its work, bits down and up. */
  void (*bill)(const fc_federation *fed, const fc_round *round, fc_participant *p);
  /* Local; or NULL. Puts right p->cost, what the cell has made of p->load. */
  void (*settle)(const fc_federation *fed, const fc_round *round, fc_participant *p);
  /* Local; NULL: 1. Global models that it learns side by side (fc_participant.module). */
  int (*modules)(const fc_config *cfg);
  /* Local; or NULL. Adds the gradient of what the method adds to the devices' loss, before each
   * optimiser step. theta, gradient as the participant's trainable has them. */
  void (*regularise)(const fc_federation *fed, const fc_participant *p, const float *theta,
                     float *gradient);
  /* Local; or NULL. Adds the faults of the configuration that this method alone minds. */
  void (*check)(fc_config *cfg);
  /* Local; NULL: as `bill` without one. p->load of a typical participant, told before anything
   * runs: fed has its cfg, settings, task, cell, method, P and flop_per_token, nothing more. */
  fc_err (*expect)(const fc_federation *fed, fc_participant *p);
  /* Local; or NULL. What the method makes beside what every run holds: on each rank, on the node.
   */
  fc_err (*more_bytes)(const fc_federation *fed, int ranks, int threads, double *rank_bytes,
                       double *node_bytes);
  /* Local. Bytes that a device's state holds on its rank while it is idle, and bits sent. */
  size_t (*device_bytes)(size_t P); /* or NULL: none */
  /* Local. What a rank holds for the rounds; NULL: participants' trained copies and records. */
  double (*rank_bytes)(const fc_federation_settings *s, int ranks, const fc_estimate *e);
  bool uses_radio;
} fc_method;
const fc_method *fc_method_find(const char *name);

/* Pieces that methods are put together from (plan.c, train.c, aggregate.c, evaluate.c). */
/* Local. Deals the participants all[0..n), planned by the caller and in device order, to the ranks
 * and makes room for what they train. */
fc_err fc_plan_share_out(fc_federation *fed, fc_round *round);
/* Local. Drops the participants whose `keep` (n) is 0, then deals the rest as above. */
fc_err fc_plan_keep(fc_federation *fed, fc_round *round, const double *keep);
/* Collective. all (n) <- values of all participants, on all ranks; own (count): of this rank's. */
fc_err fc_plan_gather(const fc_federation *fed, const fc_round *round, const double *own,
                      double *all);
/* A participant as solvers see it. */
typedef struct {
  fc_profile profile;
  double down, up; /* spectral efficiency at its present share, bit/s/Hz */
} fc_link;
/* Local. */
fc_link fc_link_of(const fc_federation *fed, const fc_round *round, const fc_participant *p);
/* Local. The bill of methods that have no own one. */
void fc_plan_bill(const fc_federation *fed, fc_participant *p);
/* Local. The trainable of a participant: its own, or the run's. */
const fc_trainable *fc_trainable_of(const fc_federation *fed, const fc_participant *p);
/* Local. device (n) <- the devices drawn for that round, the same for all methods, ascending. */
void fc_plan_draw(const fc_federation *fed, int64_t round, uint32_t n, uint32_t *device);
/* Collective. Draws the participants and gives each an equal share of the band. */
fc_err fc_plan_random(fc_federation *fed, fc_round *round);
/* Collective. The participants train from the global model, of several the one with the number
 * p->module; then fc_plan_deliver. */
fc_err fc_train_from_global(fc_federation *fed, fc_round *round);
/* Collective. Latency, energy, delivery of own participants; the round's totals on all ranks. */
fc_err fc_plan_deliver(fc_federation *fed, fc_round *round);
/* Local. p->change of what the participant trained, theta (P): the sum's common scale needs it
 * before anything is added. Training calls it while theta is in the caches; whoever changes theta
 * later calls it again. */
void fc_measure_change(const fc_federation *fed, fc_participant *p, const float *theta);
/* Collective. theta += sum_k p_k (theta_k - theta) over the delivered ones [FedAvg], of each global
 * model by itself [SW (1)]. NUMERIC for a change that is not finite. */
fc_err fc_aggregate_mean(fc_federation *fed, fc_round *round);
/* Collective. theta += sum_k (theta_k - theta) over the delivered ones, of which no two have
 * trained the same weight. */
fc_err fc_aggregate_disjoint(fc_federation *fed, fc_round *round);
/* Collective. fc_evaluate_global of the global model. */
fc_err fc_evaluate_theta(fc_federation *fed, fc_metrics *m);
int64_t fc_participants_per_round(const fc_federation_settings *s, uint32_t devices);

/* ---- records (record.c, checkpoint.c, provenance.c) ------------------------------------------ */

/* What a participant's record takes in memory: 22 columns and the row's number. */
enum { FC_RECORD_BYTES = 23 * sizeof(double) };
fc_err fc_record_create(fc_federation *fed);
/* Local. The report into the rounds' table (rank 0), own participants into theirs. round NULL: the
 * state before training. */
fc_err fc_record_round(fc_federation *fed, const fc_round *round, const fc_round_report *report);
/* Collective. The finished result; with `state`, a checkpoint from which the round after `round`
 * can be continued. */
fc_err fc_record_write(fc_federation *fed, const fc_run_request *request, const char *path,
                       bool state, int64_t round);
/* Where a result keeps the trained weights of module m. */
typedef struct {
  char text[32];
} fc_group_name;
fc_group_name fc_record_adapter_group(int m);
/* Local, meaningful on rank 0. Sum of a column over all rounds. */
double fc_record_total(const fc_federation *fed, const char *column);
/* Local, rank 0. The report of a recorded row. */
fc_round_report fc_record_report(const fc_federation *fed, size_t row);
/* Collective. Attributes of /provenance. */
void fc_provenance_put(fc_federation *fed, const fc_run_request *request, fc_store_file *f);

/* Collective: method state into /state. */
void fc_checkpoint_put(fc_federation *fed, int64_t round, fc_store_file *f);
/* Collective. *round: the last finished round, -1 if there is no checkpoint at `path`. USAGE if it
 * was made by another configuration, naming what differs. */
fc_err fc_checkpoint_load(fc_federation *fed, const char *path, int64_t *round);

#endif
