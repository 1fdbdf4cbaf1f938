/* fc_federation.h - the federated run: devices, rounds, methods, results.
 *
 *   fc_config_create(tables, n, &cfg);        // the tables of fc_federation_tables()
 *   ... load, set, finish ...
 *   fc_federation_create(comm, cfg, &fed);     // data, split, base weights (pretrained if needed)
 *   fc_federation_run(fed, &request, &summary);
 *
 * One round: plan (who takes part, with what bandwidth) -> local training, one device a thread ->
 * delivery over the simulated radio -> aggregation in fixed point -> evaluation shared over the
 * ranks -> record, checkpoint. Results are the same bit for bit for any number of ranks. */
#ifndef FC_FEDERATION_H
#define FC_FEDERATION_H

#include "fedcell/fc_comm.h"
#include "fedcell/fc_config.h"
#include "fedcell/fc_err.h"
#include "fedcell/fc_safetensors.h"
#include "fedcell/fc_store.h"
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Values of the option `study`: what a configuration is for. */
#define FC_STUDY_FEDERATION "federation"
#define FC_STUDY_POLICY     "policy" /* fc_policy.h */

/* Local. All option tables of a federated run, in the order of the reference; borrowed, constant.
 */
const fc_option_table *fc_federation_tables(size_t *n);

/* Local. The i-th learning method; NULL past the end. */
const char *fc_method_name(size_t i);
const char *fc_method_meaning(size_t i);

typedef struct fc_federation fc_federation;

/* Collective. Opens the data, makes the split, finds or pretrains the base model, shares its
 * weights on every node. */
fc_err fc_federation_create(const fc_comm *comm, fc_config *cfg, fc_federation **out);
void fc_federation_destroy(fc_federation **fed); /* Collective; accepts NULL */

/* What one round brought; NaN where a round was not evaluated. */
typedef struct {
  int64_t round;  /* from 1; 0 is the state before training */
  int64_t rounds; /* planned */
  double train_loss, test_loss, test_accuracy;
  double sim_time_s; /* simulated, since the start */
  double energy_j;   /* this round */
  double total_energy_j;
  double tokens;      /* trained in this round */
  double wall_time_s; /* this round took */
  int64_t participants, delivered;
} fc_round_report;

/* A fact for the result's provenance: "version", "compiler", ... */
typedef struct {
  const char *name, *value;
} fc_fact;

/* Local. Where the checkpoint of a result file lies: "x.h5" -> "x.ckpt.h5". Caller frees. */
fc_err fc_checkpoint_path(const char *output, char **path);

typedef struct {
  const char *output;   /* result file; the checkpoint lies beside it */
  bool resume;          /* continue from the checkpoint if there is one */
  const fc_fact *facts; /* of the program and its call, for the provenance */
  size_t n_facts;
  volatile sig_atomic_t
      *stop; /* set by a signal: finish the round, checkpoint, STOPPED; may be NULL */
  void (*on_round)(void *arg, const fc_round_report *r); /* rank 0 only; may be NULL */
  void *arg;
} fc_run_request;

typedef struct {
  fc_round_report first, last;             /* before training; after the last round */
  double uplink_bits, downlink_bits, flop; /* totals */
  const char *ended_by;                    /* "rounds", "target_loss", "target_accuracy" */
} fc_run_summary;

/* Collective. Runs, or resumes, and writes the result file; STOPPED after a stop request. */
fc_err fc_federation_run(fc_federation *fed, const fc_run_request *request,
                         fc_run_summary *summary);

/* Collective. All ranks take the best path of bf16 products that each of them can run, as they may
 * sit on different CPUs: no result depends on who computed what. */
fc_err fc_precision_agree(const fc_comm *comm);

/* Local. Folder of all that is cached (model.cache, FEDCELL_CACHE, ...); caller frees. */
fc_err fc_cache_folder(const fc_config *cfg, char **out);
/* Local. The model folder (or file) that a STRING option names: a path, or a name under models/ in
 * FEDCELL_DATA or in that cache. Caller frees. IO, with what else the option may say, if there is
 * none that can be read. */
fc_err fc_model_folder(const fc_config *cfg, const char *option, const char *others, char **folder);

/* Collective. Makes the embedded base that the configuration asks for, unless the cache has it;
 * folder (caller frees with fc_free) is where it lies. */
fc_err fc_federation_pretrain(const fc_comm *comm, fc_config *cfg, bool again, char **folder);

/* Collective. Writes the trained adapter of the result file `result`, which was made with `cfg`, to
 * `folder` in PEFT's format (fc_peft.h), several modules to its folders module_0, module_1, ...;
 * base_folder: where the base goes too, as a Hugging Face folder with its tokeniser and its weights
 * as base_dtype, NULL: nowhere. Both folders must exist on rank 0. *mean_pooling: the run's
 * classification head sees the mean of all tokens, which transformers' heads do not. */
fc_err fc_federation_export(const fc_comm *comm, fc_config *cfg, const char *result,
                            const char *folder, const char *base_folder, fc_dtype base_dtype,
                            bool *mean_pooling);

/* Local. All that can be seen before any data are read: finishes the configuration, and looks at
 * what several options only show together. USAGE with all faults; DATA or IO about a trace. */
fc_err fc_federation_check(fc_config *cfg);

/* Local. What every result file holds: the i-th column of its tables, each a dataset group/name,
 * and the i-th text and number among the attributes of /provenance; NULL past the end. */
const fc_column *fc_result_column(size_t i, const char **group);
const char *fc_result_text(size_t i);
const char *fc_result_number(size_t i);
/* Local. DATA with all that a result file, or checkpoint, violates of this; as fc_store_open where
 * it is none at all. */
fc_err fc_result_check(const char *path);

/* ---- for result files of other studies --------------------------------------------------------
 */

/* Whose numbers a result file holds. */
typedef struct {
  const fc_comm *comm;
  const fc_config *cfg;
  const fc_fact *facts;
  size_t n_facts;
  const char *kind, *name; /* the attribute that tells the kind of file: "method", "fedlora" */
  uint64_t seed;
  const char *precision; /* of products */
  int threads;           /* of a rank */
  double shared_bytes;   /* that a node's ranks share */
} fc_provenance;
/* Collective. /provenance: the configuration, the facts, the machine, the memory used so far. */
void fc_result_put_provenance(const fc_provenance *p, fc_store_file *f);
/* What may stand in a column; NaN only where it says "not measured". */
typedef struct {
  const char *dataset;
  double min, max;
  bool may_be_nan, rises, counts; /* counts: 0, 1, 2, ... */
} fc_result_rule;
/* What a kind of result file holds. */
typedef struct {
  const char *kind, *option; /* as above; the option whose value the attribute repeats */
  const fc_column *(*column)(size_t i, const char **group); /* as fc_result_column */
  const fc_result_rule *rules;
  size_t n_rules;
  const fc_option_table *(*tables)(size_t *n); /* of the configuration */
} fc_result_schema;
/* Local. As fc_result_check, of another kind of file. */
fc_err fc_result_check_as(const char *path, const fc_result_schema *schema);
/* Local. USAGE if the open checkpoint `path` was made with another value of some option but those
 * named in `except` (n); the tables are those of cfg. */
fc_err fc_checkpoint_check(const fc_config *cfg, const char *const *except, size_t n,
                           const fc_store_reader *r, const char *path);
/* Local. A table of columns `t` <- this rank's share of the rows in a file's group, whose column
 * `first_column` tells how many there are: *rows. */
fc_err fc_checkpoint_rows(const fc_store_reader *r, const char *group, const char *first_column,
                          int size, int rank, fc_table *t, int64_t *rows);

/* What a run will need, told by `fedcell check` before anything runs. */
typedef struct {
  uint32_t devices, participants;
  int64_t samples_train, samples_public, samples_test;
  size_t base_weights, trained_weights; /* numbers of weights */
  double node_shared_bytes;             /* base weights, once per node */
  double rank_bytes;        /* everything else of a rank, at this number of ranks and threads */
  double node_bytes;        /* the whole node */
  double idle_device_bytes; /* each further simulated device that does not train */
  double thread_bytes;      /* what one training thread holds */
  int cohort_devices;       /* that a thread trains at a time */
  int best_cohort;          /* recommended: as fast as can be within this node's memory */
  double memory_bytes;      /* of this node; 0: the system does not tell */
  double participant_bytes; /* each further participant of a round */
  double flop_per_round, uplink_bits_per_round, downlink_bits_per_round;
} fc_estimate;
/* Local (reads the data, allocates little). ranks on this node and threads per rank as given. */
fc_err fc_federation_estimate(fc_config *cfg, int ranks, int threads, fc_estimate *out);

#endif
