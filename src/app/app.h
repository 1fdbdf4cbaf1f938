/* app.h - what the subcommands share. This room alone prints to the user and exits. */
#ifndef APP_H
#define APP_H

#include "fedcell/fc_comm.h"
#include "fedcell/fc_config.h"
#include "fedcell/fc_err.h"
#include "fedcell/fc_federation.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* One subcommand. argv[0] is its own name. Collective: every rank calls it, rank 0 alone prints. */
typedef struct {
  const char *name, *arguments, *meaning;
  fc_err (*run)(const fc_comm *comm, int argc, char **argv);
} fc_command;

fc_err fc_command_run(const fc_comm *comm, int argc, char **argv);
fc_err fc_command_check(const fc_comm *comm, int argc, char **argv);
fc_err fc_command_options(const fc_comm *comm, int argc, char **argv);
fc_err fc_command_list(const fc_comm *comm, int argc, char **argv);
fc_err fc_command_pretrain(const fc_comm *comm, int argc, char **argv);
fc_err fc_command_info(const fc_comm *comm, int argc, char **argv);
fc_err fc_command_rerun(const fc_comm *comm, int argc, char **argv);

/* ---- printing (print.c) ---------------------------------------------------------------------- */

/* On rank 0 only; elsewhere nothing. fc_app_print_init tells which rank this is. */
void fc_app_print_init(int rank);
void fc_app_say(const char *format, ...) __attribute__((format(printf, 1, 2)));  /* stdout */
void fc_app_note(const char *format, ...) __attribute__((format(printf, 1, 2))); /* stderr */
/* stderr, whatever the rank: for a failure that the others do not know of. */
void fc_app_note_here(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* "12.3 GB", "4.1 min": numbers for people. Buffers of 32 bytes. */
enum { FC_HUMAN = 32 };
char *fc_app_human(char *buffer, double value, const char *unit);
char *fc_app_human_time(char *buffer, double seconds);

/* ---- the command line of commands that work on a configuration (arguments.c) --------------------
 */

enum { FC_SETS_MAX = 256 };
typedef struct {
  const char *file; /* the configuration, or a result file */
  const char *size, *output, *format;
  const char *set[FC_SETS_MAX];
  size_t sets;
  bool resume, overwrite, again, json, quiet;
  int ranks, threads; /* check: 0: as now */
} fc_arguments;

/* Local. `allowed` lists the long options that this command takes, e.g. "set size output". USAGE on
 * anything else, and when not exactly one FILE is given (file_name: what it is called). */
fc_err fc_arguments_read(int argc, char **argv, const char *allowed, const char *file_name,
                         fc_arguments *a);
/* Collective. Rank 0 reads the file, all ranks parse the same text, lay over size and sets. Faults
 * stay collected: the caller finishes. */
fc_err fc_arguments_config(const fc_comm *comm, const fc_arguments *a, fc_config **out);

/* ---- a run and what is said about it (progress.c, provenance in facts.c)
 * --------------------------- */

typedef struct {
  double start_s, told_s; /* wall clock */
  bool live, quiet;
  int64_t first; /* the first round of this call, for the time left */
  bool begun;
} fc_progress;
void fc_progress_begin(fc_progress *p, bool quiet);
void fc_progress_round(void *progress, const fc_round_report *r);
void fc_progress_end(fc_progress *p);

/* Facts of the build and the call; borrowed static memory. */
const fc_fact *fc_app_facts(int argc, char **argv, size_t *n);

#endif
