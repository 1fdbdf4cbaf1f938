/* study_policy.c - study: policy at the command line: a policy that chooses devices is trained and
 * judged (T-ELLM). */
#include "app.h"
#include "fedcell/fc_mem.h"
#include "fedcell/fc_policy.h"
#include "fedcell/fc_timer.h"
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* ---- what it needs --------------------------------------------------------------------------- */

static void show_estimate(const fc_study_estimate *estimate, fc_ranks on) {
  const fc_policy_estimate *e = &estimate->policy;
  char a[FC_HUMAN], b[FC_HUMAN];
  fc_app_say("\n# ---- what it needs (%d rank%s of %d thread%s on one node) ----\n", on.ranks,
             on.ranks == 1 ? "" : "s", on.threads, on.threads == 1 ? "" : "s");
  fc_app_say("# weights:    %zu in the devices' classifier, %zu in the learned environment, %zu in "
             "the policy, %zu of them trained\n",
             e->classifier_weights, e->dynamics_weights, e->policy_weights, e->trained_weights);
  if (e->policy_is_missing)
    fc_app_say(
        "#             policy.model is not on this machine: counted by its published shape\n");
  fc_app_say("# memory:     %s a node", fc_app_human(a, e->node_bytes, "B"));
  fc_app_say(": %s a rank; this node has %s\n", fc_app_human(a, e->rank_bytes, "B"),
             fc_app_human(b, e->memory_bytes, "B"));
  fc_app_say("# work:       trajectories %s, learned environment %s,\n",
             fc_app_human(a, e->collect_flop, "FLOP"), fc_app_human(b, e->dynamics_flop, "FLOP"));
  fc_app_say("#             warm start %s, training %s,\n",
             fc_app_human(a, e->warm_up_flop, "FLOP"), fc_app_human(b, e->training_flop, "FLOP"));
  fc_app_say("#             %lld trial%s %s\n", (long long)e->trials, e->trials == 1 ? "" : "s",
             fc_app_human(a, e->trials_flop, "FLOP"));
}

static fc_err show_estimate_json(const fc_study_estimate *estimate) {
  const fc_policy_estimate *e = &estimate->policy;
  return fc_app_say_json(
      json_pack("{s:I, s:I, s:I, s:I, s:I, s:b, s:f, s:f, s:f, s:f, s:f, s:f, s:f}", "trials",
                (json_int_t)e->trials, "classifier_weights", (json_int_t)e->classifier_weights,
                "dynamics_weights", (json_int_t)e->dynamics_weights, "policy_weights",
                (json_int_t)e->policy_weights, "trained_weights", (json_int_t)e->trained_weights,
                "policy_is_missing", e->policy_is_missing, "node_bytes", e->node_bytes,
                "rank_bytes", e->rank_bytes, "collect_flop", e->collect_flop, "dynamics_flop",
                e->dynamics_flop, "warm_up_flop", e->warm_up_flop, "training_flop",
                e->training_flop, "trials_flop", e->trials_flop));
}

static fc_err estimate(fc_config *cfg, fc_ranks on, fc_study_estimate *out) {
  FC_TRY(fc_policy_check(cfg));
  return fc_policy_estimate_of(cfg, on.ranks, on.threads, &out->policy);
}

static fc_needs needs(const fc_study_estimate *estimate) {
  const fc_policy_estimate *e = &estimate->policy;
  return (fc_needs){e->node_bytes, e->rank_bytes, e->trials_flop / (double)(e->trials * e->rounds),
                    (uint32_t)e->devices};
}

/* ---- progress -------------------------------------------------------------------------------- */

typedef struct {
  fc_progress trials;
  const char *stage; /* the present one */
  double start_s, told_s;
  int64_t first; /* done when this call began with the stage */
  bool live, quiet;
} progress;

static void on_stage(void *arg, const fc_prepare_report *r) {
  progress *p = arg;
  double now = fc_wall_time_s();
  char left[FC_HUMAN] = "?";
  bool is_new = !p->stage || strcmp(p->stage, r->stage) != 0;
  if (is_new) {
    p->stage = r->stage;
    p->start_s = now;
    p->first = r->done;
  }
  bool due = now - p->told_s >= (p->live ? 0.2 : 5.0);
  if (p->quiet || !(due || is_new || r->done >= r->all)) return;
  p->told_s = now;
  if (r->done > p->first)
    fc_app_human_time(left, (now - p->start_s) / (double)(r->done - p->first) *
                                (double)(r->all - r->done));
  fc_app_note(p->live ? "\r\033[K%s %lld/%lld  %s  %s left%s" : "%s %lld/%lld  %s  %s left%s",
              r->stage, (long long)r->done, (long long)r->all, r->text, left,
              p->live && r->done < r->all ? "" : "\n");
}

static void begin(progress *p, bool quiet) {
  *p = (progress){.live = isatty(STDERR_FILENO), .quiet = quiet};
  fc_progress_begin(&p->trials, quiet);
}

static fc_prepare_request prepare_request(const fc_arguments *a, volatile sig_atomic_t *stop,
                                          progress *p) {
  fc_prepare_request r = {.again = a->again, .stop = stop, .on_progress = on_stage, .arg = p};
  r.facts = fc_app_facts(a, &r.n_facts);
  return r;
}

/* ---- running --------------------------------------------------------------------------------- */

/* Half of an interval, with its sign before it; one trial has none. */
static const char *half(char text[FC_HUMAN], double value) {
  if (isnan(value)) return "";
  snprintf(text, FC_HUMAN, " +- %.3g", value);
  return text;
}

static void show_summary(const fc_policy_summary *s) {
  char text[FC_HUMAN];
  fc_app_say("\n%s: %lld trial%s of %lld rounds in the %s environment%s\n", s->agent,
             (long long)s->trials, s->trials == 1 ? "" : "s", (long long)s->rounds, s->environment,
             s->trials == 1 ? "" : ", mean and half of the 95 % interval");
  fc_app_say("%-34s %12.4f%s\n", "CWPEM, sum of rewards", s->cwpem, half(text, s->cwpem_half));
  fc_app_say("%-34s %12.4g\n", "CWPEM as printed (no energy offset)", s->cwpem_printed);
  fc_app_say("%-34s %11.2f%%%s\n", "test accuracy, last round", 100 * s->accuracy,
             half(text, 100 * s->accuracy_half));
  fc_app_say("%-34s %10.4g J%s\n", "energy of a round", s->energy_j, half(text, s->energy_half));
  fc_app_say("%-34s %11.2f%%\n", "invalid answers", 100 * s->invalid);
  fc_app_say("%-34s %11.2f%%\n", "selected devices not served", 100 * s->infeasible);
}

static fc_err run(const fc_comm *comm, fc_config *cfg, const fc_arguments *a, const char *output,
                  volatile sig_atomic_t *stop) {
  progress p;
  fc_policy_summary summary;
  FC_TRY(fc_agree(comm, fc_policy_check(cfg)));
  begin(&p, a->quiet);
  const fc_prepare_request make = prepare_request(a, stop, &p);
  const fc_run_request request = {.output = output,
                                  .resume = a->resume,
                                  .facts = make.facts,
                                  .n_facts = make.n_facts,
                                  .stop = stop,
                                  .on_round = fc_progress_round,
                                  .arg = &p.trials};
  fc_err err = fc_policy_run(comm, cfg, &request, &make, &summary);
  fc_progress_end(&p.trials);
  if (err == FC_ERR_OK) show_summary(&summary);
  return err;
}

static fc_err prepare(const fc_comm *comm, fc_config *cfg, const fc_arguments *a,
                      volatile sig_atomic_t *stop, char **folder) {
  progress p;
  FC_TRY(fc_agree(comm, fc_policy_check(cfg)));
  begin(&p, a->quiet);
  const fc_prepare_request make = prepare_request(a, stop, &p);
  return fc_policy_prepare(comm, cfg, &make, folder);
}

static fc_err nothing_to_prepare(const fc_config *cfg, const char *file) {
  return fc_fail(FC_ERR_USAGE, "%s: policy.agent = %s is not trained: there is nothing to make",
                 file, fc_config_string(cfg, "policy.agent"));
}

const fc_study fc_study_policy = {.name = FC_STUDY_POLICY,
                                  .check = fc_policy_check,
                                  .estimate = estimate,
                                  .show_estimate = show_estimate,
                                  .show_estimate_json = show_estimate_json,
                                  .needs = needs,
                                  .run = run,
                                  .prepare = prepare,
                                  .nothing_to_prepare = nothing_to_prepare,
                                  .check_result = fc_policy_check_result};
