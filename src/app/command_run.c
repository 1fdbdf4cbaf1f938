/* command_run.c - fedcell run and pretrain. */
#include "app.h"
#include "fedcell/fc_mem.h"
#include <string.h>

/* ---- run --------------------------------------------------------------------------------------
 */

static volatile sig_atomic_t stop_wanted;

static void want_stop(int signal_number) {
  (void)signal_number;
  stop_wanted = 1;
}

static void catch_signals(void) {
  struct sigaction action = {.sa_handler = want_stop, .sa_flags = SA_RESTART};
  sigaction(SIGUSR1, &action, NULL);
  sigaction(SIGTERM, &action, NULL);
}

fc_err fc_app_run_told(const fc_comm *comm, const fc_arguments *a, fc_config *cfg) {
  char output[FC_PATH_SIZE];
  bool done = false;
  double start = MPI_Wtime();
  FC_TRY(fc_output_prepare(comm, a, cfg, output, &done));
  if (done) {
    fc_app_say("%s is finished: nothing to do\n", output);
    return FC_ERR_OK;
  }
  if (*fc_config_size(cfg)) fc_app_say("size %s\n", fc_config_size(cfg));
  catch_signals();
  FC_TRY(fc_study_of(cfg)->run(comm, cfg, a, output, &stop_wanted));
  char took[FC_HUMAN];
  fc_app_say("took %s; result in %s\n", fc_app_human_time(took, MPI_Wtime() - start), output);
  return FC_ERR_OK;
}

fc_err fc_command_run(const fc_comm *comm, const fc_arguments *a) {
  fc_config *cfg = NULL;
  FC_CHECK(!(a->resume && a->overwrite), USAGE, "run: --resume and --overwrite exclude each other");
  fc_err err = fc_arguments_config(comm, a, &cfg);
  if (err == FC_ERR_OK) err = fc_app_run_told(comm, a, cfg);
  fc_config_destroy(&cfg);
  return err;
}

/* ---- pretrain ---------------------------------------------------------------------------------
 */

fc_err fc_command_pretrain(const fc_comm *comm, const fc_arguments *a) {
  fc_config *cfg = NULL;
  char *folder = NULL;
  fc_err err = fc_arguments_config(comm, a, &cfg);
  catch_signals();
  if (err == FC_ERR_OK) err = fc_study_of(cfg)->prepare(comm, cfg, a, &stop_wanted, &folder);
  if (err == FC_ERR_OK && !folder) err = fc_study_of(cfg)->nothing_to_prepare(cfg, a->operand);
  if (err == FC_ERR_OK) fc_app_say("%s\n", folder);
  fc_free(folder);
  fc_config_destroy(&cfg);
  return err;
}
