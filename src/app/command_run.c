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

static void show_summary(const fc_run_summary *s, const char *output, double wall_s) {
  char a[FC_HUMAN], b[FC_HUMAN], c[FC_HUMAN], d[FC_HUMAN], e[FC_HUMAN];
  fc_app_say("\n%-22s %14s %14s\n", "", "before", "after");
  fc_app_say("%-22s %14.4f %14.4f\n", "test loss (nat)", s->first.test_loss, s->last.test_loss);
  fc_app_say("%-22s %13.2f%% %13.2f%%\n", "test accuracy", 100 * s->first.test_accuracy,
             100 * s->last.test_accuracy);
  fc_app_say("\n%lld rounds (ended by %s), simulated time %s, energy %s\n",
             (long long)s->last.round, s->ended_by, fc_app_human_time(a, s->last.sim_time_s),
             fc_app_human(b, s->last.total_energy_j, "J"));
  fc_app_say("uplink %s, downlink %s, local work %s\n", fc_app_human(c, s->uplink_bits / 8, "B"),
             fc_app_human(d, s->downlink_bits / 8, "B"), fc_app_human(e, s->flop, "FLOP"));
  fc_app_say("took %s; result in %s\n", fc_app_human_time(a, wall_s), output);
}

fc_err fc_app_run(const fc_comm *comm, fc_config *cfg, const fc_arguments *a, const char *output,
                  volatile sig_atomic_t *stop, fc_run_summary *summary) {
  fc_progress progress;
  fc_federation *fed = NULL;
  fc_run_request request = {.output = output,
                            .resume = a->resume,
                            .stop = stop,
                            .on_round = fc_progress_round,
                            .arg = &progress};
  request.facts = fc_app_facts(a, &request.n_facts);
  fc_progress_begin(&progress, a->quiet);
  fc_err err = fc_federation_create(comm, cfg, &fed);
  if (err == FC_ERR_OK) err = fc_federation_run(fed, &request, summary);
  fc_progress_end(&progress);
  fc_federation_destroy(&fed);
  return err;
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
  fc_run_summary summary;
  catch_signals();
  FC_TRY(fc_app_run(comm, cfg, a, output, &stop_wanted, &summary));
  show_summary(&summary, output, MPI_Wtime() - start);
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
  if (err == FC_ERR_OK && strcmp(fc_config_string(cfg, "model.base"), "embedded") != 0)
    err = fc_fail(FC_ERR_USAGE, "%s: model.base = %s: only the embedded base is made by pretrain",
                  a->operand, fc_config_string(cfg, "model.base"));
  if (err == FC_ERR_OK) err = fc_federation_pretrain(comm, cfg, a->again, &folder);
  if (err == FC_ERR_OK) fc_app_say("%s\n", folder);
  fc_free(folder);
  fc_config_destroy(&cfg);
  return err;
}
