/* app.h - what the subcommands share. This room alone prints to the user and exits. */
#ifndef APP_H
#define APP_H

#include "fedcell/fc_comm.h"
#include "fedcell/fc_config.h"
#include "fedcell/fc_err.h"
#include "fedcell/fc_federation.h"
#include "fedcell/fc_policy.h"
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* ---- the command line (arguments.c) ---------------------------------------------------------- */

enum { FC_SETS_MAX = 256, FC_OPERANDS_MAX = 1024 };
typedef struct {
  const char *operand;                   /* the configuration or result file, or what to list */
  const char *operand2;                  /* the second, of a command that takes two */
  const char *operands[FC_OPERANDS_MAX]; /* all of them, of a command that takes any number */
  size_t n_operands;
  const char *size, *output, *format, *base, *dtype;
  const char *set[FC_SETS_MAX];
  size_t sets;
  bool resume, overwrite, again, json, quiet, quick, help;
  int ranks, threads;                                                  /* check: 0: as now */
  const char *model, *tokenizer, *prompt, *temperature, *top_p, *seed; /* generate */
  int steps;                                                           /* generate: 0: default */
  const char *bench_case;                                              /* bench */
  bool check;                                                          /* info */
  bool list, count, missing, needs, pretrain;                          /* sweep */
  const char *target_loss, *target_accuracy;                           /* compare */
  const char *status, *folder;
  int index; /* 0: none */
  int argc;  /* the command and its words as they were given */
  char **argv;
} fc_arguments;

/* One subcommand. Collective: every rank calls it, rank 0 alone prints. */
typedef struct {
  const char *name;
  const char *operand; /* what it works on, e.g. "FILE.yaml" or "OUT.h5 FOLDER"; NULL: nothing */
  const char *options; /* names of the options that it takes, with spaces between */
  const char *meaning;
  fc_err (*run)(const fc_comm *comm, const fc_arguments *a);
} fc_command;

fc_err fc_command_run(const fc_comm *comm, const fc_arguments *a);
fc_err fc_command_check(const fc_comm *comm, const fc_arguments *a);
fc_err fc_command_options(const fc_comm *comm, const fc_arguments *a);
fc_err fc_command_list(const fc_comm *comm, const fc_arguments *a);
fc_err fc_command_pretrain(const fc_comm *comm, const fc_arguments *a);
fc_err fc_command_info(const fc_comm *comm, const fc_arguments *a);
fc_err fc_command_generate(const fc_comm *comm, const fc_arguments *a);
fc_err fc_command_bench(const fc_comm *comm, const fc_arguments *a);
fc_err fc_command_solve(const fc_comm *comm, const fc_arguments *a);
fc_err fc_command_rerun(const fc_comm *comm, const fc_arguments *a);
fc_err fc_command_export(const fc_comm *comm, const fc_arguments *a);
fc_err fc_command_sweep(const fc_comm *comm, const fc_arguments *a);
fc_err fc_command_compare(const fc_comm *comm, const fc_arguments *a);

/* Local. argv[0] is the command's own name. USAGE on an option that it does not take or a missing
 * value, and when the operands are not as many as it wants (unless help is asked for). */
fc_err fc_arguments_read(const fc_command *c, int argc, char **argv, fc_arguments *a);
/* Local. *out <- the option's text as a number; stays as it is where the option is not given. */
fc_err fc_arguments_number(const char *command, const char *name, const char *text, double *out);
/* Prints how the command is called. */
void fc_arguments_usage(const fc_command *c);

/* Collective. Rank 0 reads the file, all ranks parse the same text and lay over size and sets.
 * USAGE with all faults; *out is to be destroyed in any case. (configuration.c) */
fc_err fc_arguments_config(const fc_comm *comm, const fc_arguments *a, fc_config **out);
/* Collective. The configuration that the result file was made with; *out as above. */
fc_err fc_result_config(const fc_comm *comm, const char *path, fc_config **out);
/* Local. The same, of this rank alone. */
fc_err fc_result_config_read(const char *path, fc_config **out);
/* Collective. The text of a file, as rank 0 reads it, on all ranks. The caller frees *text with
 * fc_free, also after a failure. */
fc_err fc_shared_text(const fc_comm *comm, const char *path, char **text, size_t *length);

/* ---- printing (print.c) ---------------------------------------------------------------------- */

/* On rank 0 only; elsewhere nothing. fc_app_print_init tells which rank this is. */
void fc_app_print_init(int rank);
void fc_app_say(const char *format, ...) __attribute__((format(printf, 1, 2)));  /* stdout */
void fc_app_note(const char *format, ...) __attribute__((format(printf, 1, 2))); /* stderr */
/* stdout; releases it. NOMEM where it is NULL. */
fc_err fc_app_say_json(json_t *o);
/* IO if anything said could not be written: a full disk, a closed pipe. */
fc_err fc_app_print_end(void);
/* stderr, whatever the rank: for a failure that the others do not know of. */
void fc_app_note_here(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* "12.3 GB", "4.1 min": numbers for people. Buffers of 32 bytes. */
enum { FC_HUMAN = 32 };
char *fc_app_human(char *buffer, double value, const char *unit);
char *fc_app_human_time(char *buffer, double seconds);

/* ---- where results go (output.c) ---------------------------------------------------------------
 */

enum { FC_PATH_SIZE = 4096 };
/* Collective. `path` (FC_PATH_SIZE): --output or the default. Its folders are made and can be
 * written in. What is there already is refused, unless --overwrite or --resume is given; *done:
 * --resume and the result is finished. */
fc_err fc_output_prepare(const fc_comm *comm, const fc_arguments *a, const fc_config *cfg,
                         char *path, bool *done);
/* Local. Can a file be written there? Makes the folders on the way. IO with the reason. */
fc_err fc_output_make_folders(const char *path);
/* Local. Makes the folder and those on the way; IO if it cannot be written in. */
fc_err fc_output_make_folder(const char *folder);

/* ---- a run and what is said about it (command_run.c, progress.c, facts.c) -------------------- */

/* Collective. All that `fedcell run` does with a configuration: where the result goes, the run with
 * signals caught, the summary. */
fc_err fc_app_run_told(const fc_comm *comm, const fc_arguments *a, fc_config *cfg);

/* ---- studies (study.c): what a configuration is for ------------------------------------------ */

typedef struct {
  int ranks, threads; /* of one node; threads of a rank */
} fc_ranks;
/* As --ranks and --threads say, else as it is now. */
fc_ranks fc_ranks_asked(const fc_comm *comm, const fc_arguments *a);

/* The figures of `fedcell sweep --needs`. */
typedef struct {
  double node_bytes, rank_bytes, flop_per_round;
  uint32_t participants;
} fc_needs;

typedef union { /* of the study that made it */
  fc_estimate federation;
  fc_policy_estimate policy;
} fc_study_estimate;

typedef struct {
  const char *name; /* the value of the option `study` */
  /* Local. All that can be seen before data are read; USAGE with all faults. */
  fc_err (*check)(fc_config *cfg);
  /* Local. What a run needs; the same said as text, or as JSON; and as figures. */
  fc_err (*estimate)(fc_config *cfg, fc_ranks on, fc_study_estimate *out);
  void (*show_estimate)(const fc_study_estimate *e, fc_ranks on);
  fc_err (*show_estimate_json)(const fc_study_estimate *e);
  fc_needs (*needs)(const fc_study_estimate *e);
  /* Collective. Runs with progress lines and says what came out; stop: as in fc_run_request. */
  fc_err (*run)(const fc_comm *comm, fc_config *cfg, const fc_arguments *a, const char *output,
                volatile sig_atomic_t *stop);
  /* Collective. What runs of this configuration share, made unless the cache has it; *folder
   * (caller frees): where it lies, NULL: there is nothing to make. */
  fc_err (*prepare)(const fc_comm *comm, fc_config *cfg, const fc_arguments *a,
                    volatile sig_atomic_t *stop, char **folder);
  fc_err (*nothing_to_prepare)(const fc_config *cfg, const char *file); /* USAGE that says so */
  /* Local. DATA with all that a result file violates. */
  fc_err (*check_result)(const char *path);
} fc_study;
extern const fc_study fc_study_federation, fc_study_policy;
const fc_study *fc_study_of(const fc_config *cfg);
/* Local. As the study's check. */
fc_err fc_study_check(fc_config *cfg);

typedef struct {
  double start_s, told_s; /* wall clock */
  bool live, quiet;
  int64_t first; /* the first round of this call, for the time left */
  bool begun;
} fc_progress;
void fc_progress_begin(fc_progress *p, bool quiet);
void fc_progress_round(void *progress, const fc_round_report *r);
void fc_progress_end(fc_progress *p);

/* Names and meanings of the benchmarks (command_bench.c), NULL beyond the last. */
const char *fc_bench_name(size_t i);
const char *fc_bench_meaning(size_t i);

/* Facts of the build and the call; borrowed static memory. */
const fc_fact *fc_app_facts(const fc_arguments *a, size_t *n);

#endif
