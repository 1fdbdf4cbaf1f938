/* main.c - starts MPI, finds the subcommand, tells a failure once, and gives the exit code. */
#include "app.h"
#include "build_info.h"
#include "fedcell/fc_log.h"
#include "fedcell/fc_mem.h"
#include <errno.h>
#include <omp.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

static const fc_command commands[] = {
    {"run", "FILE.yaml", "set size output resume overwrite quiet",
     "Runs an experiment and writes its result file", fc_command_run},
    {"check", "FILE.yaml", "set size ranks threads json",
     "Validates; prints the resolved configuration, memory and work", fc_command_check},
    {"options", NULL, "format", "Every option of a configuration, with unit, range and meaning",
     fc_command_options},
    {"list", "methods|agents|models|datasets|solvers|experiments|benchmarks|columns", "",
     "What there is to choose from", fc_command_list},
    {"sweep", "SWEEP.yaml",
     "list count index folder status missing needs pretrain size ranks threads json quiet",
     "Runs one point of a sweep, or tells of all of them: give one of --list, --count, --index, "
     "--status, --needs, --pretrain",
     fc_command_sweep},
    {"pretrain", "FILE.yaml", "set size again",
     "Makes the small base model that the file asks for, unless the cache has it",
     fc_command_pretrain},
    {"generate", NULL, "model tokenizer prompt steps temperature top-p seed",
     "Continues a text with a decoder, token by token", fc_command_generate},
    {"solve", "NAME PROBLEM.json", "",
     "Solves a resource problem and prints the answer as JSON (see fedcell list solvers)",
     fc_command_solve},
    {"bench", "NAME", "json quick case",
     "Measures a part of the program beside the machine's own limits (see fedcell list benchmarks)",
     fc_command_bench},
    {"info", "OUT.h5", "json check", "What a result file holds, and its final figures",
     fc_command_info},
    {"compare", "PATH...", "target-loss target-accuracy json",
     "Compares finished runs (result files, or folders of them) by pairs of the same seed: final "
     "figures, cost to a target, 95 % intervals",
     fc_command_compare},
    {"rerun", "OUT.h5", "quiet",
     "Runs again from the configuration inside a result file and compares", fc_command_rerun},
    {"export", "OUT.h5 FOLDER", "base dtype",
     "Writes the trained adapter of a result file as a folder of the PEFT library",
     fc_command_export},
};
enum { COMMANDS = sizeof commands / sizeof commands[0] };

static const char *command_name(size_t i) {
  return i < COMMANDS ? commands[i].name : NULL;
}

static const fc_command *find_command(const char *name) {
  for (size_t i = 0; i < COMMANDS; i++)
    if (strcmp(commands[i].name, name) == 0) return &commands[i];
  return NULL;
}

static void help(void) {
  fc_app_say(
      "fedcell %s: federated fine-tuning of language models over simulated wireless cells\n\n"
      "usage: mpirun -n RANKS fedcell COMMAND ...\n\n",
      FEDCELL_BUILD_VERSION);
  for (size_t i = 0; i < COMMANDS; i++)
    fc_app_say("  fedcell %s%s%s\n      %s\n", commands[i].name, commands[i].operand ? " " : "",
               commands[i].operand ? commands[i].operand : "", commands[i].meaning);
  fc_app_say(
      "\nfedcell COMMAND --help tells a command's options.\n"
      "Exit codes: 0 done, 2 bad input, 75 stopped by a signal with a checkpoint (run again with "
      "--resume), 1 other failures.\n");
}

static bool is(const char *word, const char *a, const char *b) {
  return strcmp(word, a) == 0 || strcmp(word, b) == 0;
}

static fc_err no_command(const char *word) {
  const char *near = fc_nearest_name(word, command_name);
  return near ? fc_fail(FC_ERR_USAGE, "no command %s; did you mean %s?", word, near)
              : fc_fail(FC_ERR_USAGE, "no command %s; see fedcell --help", word);
}

static fc_err dispatch(const fc_comm *comm, int argc, char **argv) {
  bool wants_help = argc > 1 && (is(argv[1], "--help", "-h") || strcmp(argv[1], "help") == 0);
  if (argc < 2 || (wants_help && argc == 2)) {
    help();
    return FC_ERR_OK;
  }
  if (strcmp(argv[1], "--version") == 0) {
    fc_app_say("fedcell %s (%s)\n", FEDCELL_BUILD_VERSION, FEDCELL_BUILD_COMMIT);
    return FC_ERR_OK;
  }
  const char *word = wants_help ? argv[2] : argv[1];
  const fc_command *command = find_command(word);
  if (!command) return no_command(word);
  fc_arguments a = {.help = true};
  if (!wants_help) FC_TRY(fc_arguments_read(command, argc - 1, argv + 1, &a));
  if (!a.help) return command->run(comm, &a);
  fc_arguments_usage(command);
  return FC_ERR_OK;
}

static void show_log(fc_log_level level, const char *message) {
  if (level == FC_LOG_DEBUG) return;
  fc_app_note("%s%s\n", level == FC_LOG_WARNING ? "warning: " : "", message);
}

/* Open MPI binds each of one or two ranks to a single core: threads would share it unnoticed. */
static void warn_of_binding(void) {
  cpu_set_t mask;
  if (sched_getaffinity(0, sizeof mask, &mask) != 0) return;
  int cores = CPU_COUNT(&mask), threads = omp_get_max_threads();
  if (threads > cores)
    fc_app_note("warning: %d threads a rank, but only %d core%s: give mpirun --bind-to none (or "
                "--map-by slot:PE=%d), or set OMP_NUM_THREADS=%d\n",
                threads, cores, cores == 1 ? "" : "s", threads, cores);
}

/* FEDCELL_MEMORY_LIMIT, bytes a rank: beyond it an allocation fails in order, before a machine
 * without swap starts to kill. */
static fc_err limit_memory(void) {
  const char *text = getenv("FEDCELL_MEMORY_LIMIT");
  if (!text || !*text) return FC_ERR_OK;
  char *end = NULL;
  errno = 0;
  unsigned long long bytes = strtoull(text, &end, 10);
  FC_CHECK(!errno && !*end && bytes > 0 && text[0] != '-', USAGE,
           "FEDCELL_MEMORY_LIMIT = %s: must be a number of bytes", text);
  fc_mem_set_limit_bytes((size_t)bytes);
  return FC_ERR_OK;
}

/* This rank's failure is not known to the others, which may wait for it: tells it, ends all. */
static void end_all(fc_err err) {
  fc_app_note_here("fedcell: %s\n", fc_err_message());
  MPI_Abort(MPI_COMM_WORLD, fc_err_exit_code(err));
}

/* The ranks' common end. Where several ranks wait in vain, the first one's message ends them all:
 * they do not wait equally long. */
static fc_err leave_together(const fc_comm *comm, fc_err err) {
  double patience_s = 3.0 + 0.5 * (comm->rank < 10 ? comm->rank : 10);
  bool together = false;
  err = fc_agree_at_end(comm, err, patience_s, &together);
  if (!together) end_all(err);
  return err;
}

int main(int argc, char **argv) {
  int provided = 0;
  /* Open MPI would make a file in its session folder for each open file's shared pointer, which
   * parallel HDF5 never uses; of the user's own setting nothing is changed. */
  setenv("OMPI_MCA_sharedfp", "individual", 0);
  MPI_Init_thread(&argc, &argv, MPI_THREAD_FUNNELED, &provided);
  fc_comm *comm = NULL;
  if (fc_comm_create(&comm) != FC_ERR_OK) end_all(FC_ERR_PEER);
  fc_app_print_init(comm->rank);
  fc_log_set_sink(show_log);
  warn_of_binding();
  fc_err err = fc_agree(comm, limit_memory());
  if (err == FC_ERR_OK) err = dispatch(comm, argc, argv);
  if (err == FC_ERR_OK) err = fc_app_print_end();
  err = leave_together(comm, err);
  if (err != FC_ERR_OK) fc_app_note("fedcell: %s\n", fc_err_message());
  fc_comm_destroy(&comm);
  MPI_Finalize();
  return fc_err_exit_code(err);
}
