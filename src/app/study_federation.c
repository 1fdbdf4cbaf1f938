/* study_federation.c - study: federation at the command line: devices fine-tune a model together.
 */
#include "app.h"
#include "fedcell/fc_mem.h"
#include <string.h>

/* ---- what it needs --------------------------------------------------------------------------- */

static void show_estimate(const fc_study_estimate *estimate, fc_ranks on) {
  const fc_estimate *e = &estimate->federation;
  char a[FC_HUMAN], b[FC_HUMAN];
#define BYTES(buffer, field) fc_app_human(buffer, e->field, "B")
  fc_app_say("\n# ---- what it needs (%d rank%s of %d thread%s on one node) ----\n", on.ranks,
             on.ranks == 1 ? "" : "s", on.threads, on.threads == 1 ? "" : "s");
  fc_app_say("# samples:    %lld on %u devices, %lld public, %lld test\n",
             (long long)e->samples_train, e->devices, (long long)e->samples_public,
             (long long)e->samples_test);
  fc_app_say("# weights:    %zu in the base, %zu trained\n", e->base_weights, e->trained_weights);
  fc_app_say("# memory:     %s a node: %s a rank", BYTES(a, node_bytes), BYTES(b, rank_bytes));
  fc_app_say(" and %s of base weights shared by all\n", BYTES(a, node_shared_bytes));
  fc_app_say("#             of a rank's: %s a training thread (cohort of %d device%s), %s a "
             "participant of its rounds\n",
             BYTES(a, thread_bytes), e->cohort_devices, e->cohort_devices == 1 ? "" : "s",
             BYTES(b, participant_bytes));
  fc_app_say("#             recommended: federation.cohort %d", e->best_cohort);
  if (e->memory_bytes > 0) fc_app_say("; this node has %s", BYTES(a, memory_bytes));
  fc_app_say("%s\n", e->memory_bytes > 0 && e->node_bytes > 0.8 * e->memory_bytes
                         ? ": too little, try federation.recompute: true"
                         : "");
  fc_app_say("#             each further simulated device: %s\n", BYTES(a, idle_device_bytes));
  fc_app_say("# one round:  %u participants, %s", e->participants,
             fc_app_human(a, e->flop_per_round, "FLOP"));
  fc_app_say(", up %s, down %s\n", fc_app_human(a, e->uplink_bits_per_round / 8, "B"),
             fc_app_human(b, e->downlink_bits_per_round / 8, "B"));
#undef BYTES
}

/* The same figures for programs. */
static fc_err show_estimate_json(const fc_study_estimate *estimate) {
  const fc_estimate *e = &estimate->federation;
  json_t *o = json_pack(
      "{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:i, s:i, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f}",
      "devices", (json_int_t)e->devices, "participants", (json_int_t)e->participants,
      "samples_train", (json_int_t)e->samples_train, "samples_public",
      (json_int_t)e->samples_public, "samples_test", (json_int_t)e->samples_test, "base_weights",
      (json_int_t)e->base_weights, "trained_weights", (json_int_t)e->trained_weights,
      "cohort_devices", e->cohort_devices, "best_cohort", e->best_cohort, "node_bytes",
      e->node_bytes, "rank_bytes", e->rank_bytes, "node_shared_bytes", e->node_shared_bytes,
      "thread_bytes", e->thread_bytes, "participant_bytes", e->participant_bytes,
      "idle_device_bytes", e->idle_device_bytes, "flop_per_round", e->flop_per_round,
      "uplink_bits_per_round", e->uplink_bits_per_round, "downlink_bits_per_round",
      e->downlink_bits_per_round);
  return fc_app_say_json(o);
}

static fc_err estimate(fc_config *cfg, fc_ranks on, fc_study_estimate *out) {
  return fc_federation_estimate(cfg, on.ranks, on.threads, &out->federation);
}

static fc_needs needs(const fc_study_estimate *estimate) {
  const fc_estimate *e = &estimate->federation;
  return (fc_needs){e->node_bytes, e->rank_bytes, e->flop_per_round, e->participants};
}

/* ---- running --------------------------------------------------------------------------------- */

static void show_summary(const fc_run_summary *s) {
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
}

static fc_err run(const fc_comm *comm, fc_config *cfg, const fc_arguments *a, const char *output,
                  volatile sig_atomic_t *stop) {
  fc_progress progress;
  fc_federation *fed = NULL;
  fc_run_summary summary;
  fc_run_request request = {.output = output,
                            .resume = a->resume,
                            .stop = stop,
                            .on_round = fc_progress_round,
                            .arg = &progress};
  request.facts = fc_app_facts(a, &request.n_facts);
  fc_progress_begin(&progress, a->quiet);
  fc_err err = fc_federation_create(comm, cfg, &fed);
  if (err == FC_ERR_OK) err = fc_federation_run(fed, &request, &summary);
  fc_progress_end(&progress);
  fc_federation_destroy(&fed);
  if (err == FC_ERR_OK) show_summary(&summary);
  return err;
}

static fc_err prepare(const fc_comm *comm, fc_config *cfg, const fc_arguments *a,
                      volatile sig_atomic_t *stop, char **folder) {
  (void)stop; /* minutes at most */
  if (strcmp(fc_config_string(cfg, "model.base"), "embedded") != 0) return FC_ERR_OK;
  return fc_federation_pretrain(comm, cfg, a->again, folder);
}

static fc_err nothing_to_prepare(const fc_config *cfg, const char *file) {
  return fc_fail(FC_ERR_USAGE, "%s: model.base = %s: only the embedded base is made by pretrain",
                 file, fc_config_string(cfg, "model.base"));
}

const fc_study fc_study_federation = {.name = FC_STUDY_FEDERATION,
                                      .check = fc_federation_check,
                                      .estimate = estimate,
                                      .show_estimate = show_estimate,
                                      .show_estimate_json = show_estimate_json,
                                      .needs = needs,
                                      .run = run,
                                      .prepare = prepare,
                                      .nothing_to_prepare = nothing_to_prepare,
                                      .check_result = fc_result_check};
