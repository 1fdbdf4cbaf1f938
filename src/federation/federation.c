/* federation.c - a run from beginning to end: set-up, the round loop, stopping, results. */
#include "federation.h"
#include "fedcell/fc_log.h"
#include "fedcell/fc_peft.h"
#include "fedcell/fc_timer.h"
#include <math.h>
#include <omp.h>
#include <unistd.h>

/* ---- set-up ---------------------------------------------------------------------------------- */

static fc_err check_settings(const fc_federation *fed) {
  size_t test = 0;
  fc_split_test(fed->task.split, &test);
  FC_CHECK(test > 0, USAGE, "there are no test samples: set data.test_fraction or data.test_file");
  return FC_ERR_OK;
}

/* Fresh, of several models each with draws of its own, or from the adapter that adapter.init names.
 */
static fc_err init_theta(fc_federation *fed) {
  const char *folder = fc_config_string(fed->cfg, "adapter.init");
  fc_err err = FC_ERR_OK;
  for (int m = 0; m < fed->set.modules && err == FC_ERR_OK; m++) {
    float *theta = fed->theta + (size_t)m * fed->P;
    fc_trainable_init(fed->task.trainable, fed->seed + ((uint64_t)m << 53), theta);
    if (*folder) err = fc_peft_read(fed->task.model, fed->task.trainable, folder, theta);
  }
  return err == FC_ERR_OK ? err : fc_fail(err, "adapter.init: %s", fc_err_message());
}

static fc_err create_threads(fc_federation *fed) {
  int threads = omp_get_max_threads();
  uint32_t n = (uint32_t)fc_participants_per_round(&fed->set, fc_cell_devices(fed->cell));
  fc_thread_room room = fc_room_of_run(&fed->task, &fed->set, n, fed->comm->size, threads);
  return fc_threads_create(&fed->task, &room, threads, &fed->threads);
}

static fc_err local_setup(fc_federation *fed) {
  FC_TRY(check_settings(fed));
  fed->P = fc_trainable_count(fed->task.trainable);
  FC_TRY(fc_alloc((size_t)fed->set.modules * fed->P, sizeof(float), &fed->theta));
  FC_TRY(init_theta(fed));
  int64_t samples = 0;
  double length = fc_task_mean_length(&fed->task, fc_cell_devices(fed->cell), &samples);
  fed->flop_per_token =
      fc_trainable_flop_per_token(fed->task.trainable, length, fed->task.loss != FC_LOSS_CLASSIFY);
  FC_TRY(create_threads(fed));
  return fc_record_create(fed);
}

fc_err fc_federation_create(const fc_comm *comm, fc_config *cfg, fc_federation **out) {
  *out = NULL;
  fc_federation *fed = NULL;
  fc_err err = fc_agree(comm, fc_alloc(1, sizeof *fed, &fed));
  if (err != FC_ERR_OK) {
    fc_free(fed); /* another rank has none */
    return err;
  }
  *out = fed; /* the caller destroys it, also after a failure */
  fed->comm = comm;
  fed->cfg = cfg;
  fed->seed = (uint64_t)fc_config_int(cfg, "seed");
  fed->set = fc_federation_settings_read(cfg);
  fed->method = fc_method_find(fed->set.method);
  FC_TRY(fc_agree(comm, fc_check_configuration(cfg, &fed->cell)));
  FC_TRY(fc_task_create(comm, cfg, &fed->task));
  FC_TRY(fc_agree(comm, local_setup(fed)));
  return fed->method->create ? fed->method->create(fed, &fed->method_state) : FC_ERR_OK;
}

void fc_federation_destroy(fc_federation **fed) {
  fc_federation *f = *fed;
  if (!f) return;
  if (f->method && f->method->destroy) f->method->destroy(f->method_state);
  fc_threads_destroy(&f->threads);
  fc_table_destroy(&f->rounds);
  fc_table_destroy(&f->participation);
  fc_free(f->theta);
  fc_task_destroy(&f->task);
  fc_cell_destroy(&f->cell);
  fc_free(f);
  *fed = NULL;
}

/* ---- the round loop -------------------------------------------------------------------------- */

static fc_err evaluate_if_due(fc_federation *fed, fc_round *round, fc_round_report *report) {
  fc_metrics m = {NAN, NAN, NAN};
  if (round->number % fed->set.eval_every == 0 || round->number == fed->set.rounds)
    FC_TRY(fed->method->evaluate(fed, &m));
  round->notes.emulator_loss = m.emulator_loss;
  report->test_loss = m.loss;
  report->test_accuracy = m.accuracy;
  return FC_ERR_OK;
}

static fc_err work_through(fc_federation *fed, fc_round *round, fc_round_report *report) {
  FC_TRY(fed->method->plan(fed, round));
  FC_TRY(fed->method->train(fed, round));
  FC_TRY(fed->method->server(fed, round));
  fed->sim_time_s += round->latency_s;
  fed->total_energy_j += round->energy_j;
  FC_TRY(evaluate_if_due(fed, round, report));
  report->train_loss = round->train_loss;
  report->energy_j = round->energy_j;
  report->tokens = round->tokens;
  report->participants = round->n;
  report->delivered = round->delivered;
  return FC_ERR_OK;
}

static fc_err one_round(fc_federation *fed, const fc_run_request *request, int64_t number,
                        fc_round_report *report) {
  double start = fc_wall_time_s();
  fc_round round = {.number = number, .train_loss = NAN, .notes = fc_round_notes_none};
  *report = (fc_round_report){.round = number, .rounds = fed->set.rounds, .train_loss = NAN};
  fc_err err =
      number == 0 ? evaluate_if_due(fed, &round, report) : work_through(fed, &round, report);
  report->sim_time_s = fed->sim_time_s;
  report->total_energy_j = fed->total_energy_j;
  report->wall_time_s = fc_wall_time_s() - start;
  if (err == FC_ERR_OK) err = fc_agree(fed->comm, fc_record_round(fed, &round, report));
  if (err == FC_ERR_OK && fed->comm->rank == 0 && request->on_round)
    request->on_round(request->arg, report);
  fc_free(round.all);
  fc_free(round.theta);
  return err;
}

/* Why the run is over after this round; NULL: it is not. A NaN reaches no target. */
static const char *reason_to_end(const fc_federation *fed, const fc_round_report *r) {
  if (fed->set.target_loss > 0 && r->test_loss <= fed->set.target_loss) return "target_loss";
  if (fed->set.target_accuracy > 0 && r->test_accuracy >= fed->set.target_accuracy)
    return "target_accuracy";
  return r->round >= fed->set.rounds ? "rounds" : NULL;
}

static fc_err loop(fc_federation *fed, const fc_run_request *request, const char *checkpoint,
                   int64_t next, const char **ended_by) {
  for (;; next++) {
    fc_round_report report;
    bool stop = false;
    FC_TRY(one_round(fed, request, next, &report));
    *ended_by = reason_to_end(fed, &report);
    if (*ended_by) return FC_ERR_OK;
    FC_TRY(fc_comm_any(fed->comm, request->stop, &stop));
    if (stop || (next > 0 && next % fed->set.checkpoint_every == 0))
      FC_TRY(fc_record_write(fed, request, checkpoint, true, next));
    FC_CHECK(
        !stop, STOPPED,
        "stopped on request after round %lld of %lld; checkpoint in %s; continue with --resume",
        (long long)next, (long long)fed->set.rounds, checkpoint);
  }
}

static void summarise(const fc_federation *fed, const char *ended_by, fc_run_summary *s) {
  *s = (fc_run_summary){.ended_by = ended_by};
  size_t rows = fc_table_rows(fed->rounds);
  if (fed->comm->rank != 0 || rows == 0) return;
  s->first = fc_record_report(fed, 0);
  s->last = fc_record_report(fed, rows - 1);
  s->uplink_bits = fc_record_total(fed, "uplink_bits");
  s->downlink_bits = fc_record_total(fed, "downlink_bits");
  s->flop = fc_record_total(fed, "flop");
}

static fc_err run(fc_federation *fed, const fc_run_request *request, const char *checkpoint,
                  fc_run_summary *summary) {
  const char *ended_by = NULL;
  int64_t done = -1;
  if (request->resume) FC_TRY(fc_checkpoint_load(fed, checkpoint, &done));
  if (done >= 0) {
    fc_log(FC_LOG_INFO, "continuing after round %lld from %s", (long long)done, checkpoint);
    /* a checkpoint lies beyond no target, but the number of rounds may have been lowered */
    if (done >= fed->set.rounds) ended_by = "rounds";
  }
  if (!ended_by) FC_TRY(loop(fed, request, checkpoint, done + 1, &ended_by));
  FC_TRY(fc_record_write(fed, request, request->output, false, 0));
  if (fed->comm->rank == 0) unlink(checkpoint); /* gone already if none was written */
  summarise(fed, ended_by, summary);
  return FC_ERR_OK;
}

fc_err fc_federation_run(fc_federation *fed, const fc_run_request *request,
                         fc_run_summary *summary) {
  char *checkpoint = NULL;
  fc_err err = fc_agree(fed->comm, fc_checkpoint_path(request->output, &checkpoint));
  if (err == FC_ERR_OK) err = run(fed, request, checkpoint, summary);
  fc_free(checkpoint);
  return err;
}
