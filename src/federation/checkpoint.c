/* checkpoint.c - a checkpoint is a result file with /state: the global model, the clocks and what
 * the method keeps. It can be continued on any number of ranks. */
#include "federation.h"
#include <string.h>
#include <unistd.h>

fc_err fc_checkpoint_path(const char *output, char **path) {
  size_t length = strlen(output);
  if (length > 3 && strcmp(output + length - 3, ".h5") == 0) length -= 3;
  return fc_format(path, "%.*s.ckpt.h5", (int)length, output);
}

void fc_checkpoint_put(fc_federation *fed, int64_t round, fc_store_file *f) {
  int64_t first = 0, own = 0, weights = (int64_t)fed->P * fed->set.modules;
  fc_comm_share(weights, fed->comm->size, fed->comm->rank, &first, &own);
  fc_store_put_f32(f, "/state/theta", "", "trained weights of the global model", fed->theta + first,
                   first, own, weights);
  fc_store_put_number(f, "/state", "round", (double)round);
  fc_store_put_number(f, "/state", "sim_time_s", fed->sim_time_s);
  fc_store_put_number(f, "/state", "total_energy_j", fed->total_energy_j);
  if (fed->method->save) fed->method->save(fed, f);
}

/* What may differ between a checkpoint's configuration and the one that continues it: when to stop,
 * not what is computed. */
static const char *const may_differ[] = {
    "stop.target_loss",     "stop.target_accuracy", "checkpoint.every_rounds",
    "model.cache",          "model.scratch",        "federation.cohort",
    "federation.recompute", "federation.rounds" /* last: see below */};
enum { MAY_DIFFER = sizeof may_differ / sizeof may_differ[0] };

/* A learning rate that falls over the run depends on the number of rounds, and so do some methods'
 * plans: it then must stay. */
static size_t may_differ_count(const fc_federation *fed) {
  bool is_constant = strcmp(fed->set.local.optimizer.schedule, "constant") == 0;
  return is_constant && !fed->method->plans_by_rounds ? MAY_DIFFER : MAY_DIFFER - 1;
}

fc_err fc_checkpoint_check(const fc_config *cfg, const char *const *except, size_t n,
                           const fc_store_reader *r, const char *path) {
  char *text = NULL;
  fc_config *then = NULL;
  fc_err err = fc_store_get_text(r, "/provenance", "config", &text);
  if (err == FC_ERR_OK) err = fc_config_create_like(cfg, &then);
  if (err == FC_ERR_OK) err = fc_config_load_text(then, path, text, strlen(text), NULL);
  if (err == FC_ERR_OK) err = fc_config_finish(then);
  if (err == FC_ERR_OK) {
    const char *option = fc_config_first_difference(cfg, then, except, n);
    if (option)
      err = fc_fail(FC_ERR_USAGE,
                    "%s was made with another value of %s; continue with the same configuration, "
                    "or remove it to start anew",
                    path, option);
  }
  fc_config_destroy(&then);
  fc_free(text);
  return err;
}

fc_err fc_checkpoint_rows(const fc_store_reader *r, const char *group, const char *first_column,
                          int size, int rank, fc_table *t, int64_t *rows) {
  char *path = NULL;
  FC_TRY(fc_format(&path, "%s/%s", group, first_column));
  fc_err err = fc_store_count(r, path, rows);
  fc_free(path);
  FC_TRY(err);
  int64_t first = 0, count = 0;
  fc_comm_share(*rows, size, rank, &first, &count);
  return fc_store_get_table(r, group, first, count, t);
}

static fc_err load(fc_federation *fed, const fc_store_reader *r, const char *path, int64_t *round) {
  double number = 0;
  int64_t rounds = 0;
  FC_TRY(fc_checkpoint_check(fed->cfg, may_differ, may_differ_count(fed), r, path));
  FC_TRY(fc_store_get_number(r, "/state", "round", &number));
  *round = (int64_t)number;
  FC_TRY(fc_store_get_number(r, "/state", "sim_time_s", &fed->sim_time_s));
  FC_TRY(fc_store_get_number(r, "/state", "total_energy_j", &fed->total_energy_j));
  int64_t weights = (int64_t)fed->P * fed->set.modules;
  FC_TRY(fc_store_get_f32(r, "/state/theta", 0, weights, fed->theta));
  if (fed->comm->rank == 0)
    FC_TRY(fc_checkpoint_rows(r, "/rounds", "round", 1, 0, fed->rounds, &rounds));
  FC_TRY(fc_checkpoint_rows(r, "/participation", "round", fed->comm->size, fed->comm->rank,
                            fed->participation, &fed->participation_rows));
  return FC_ERR_OK;
}

fc_err fc_checkpoint_load(fc_federation *fed, const char *path, int64_t *round) {
  /* one rank looks, so that all take the same way */
  int64_t there = access(path, R_OK) == 0;
  *round = -1;
  FC_TRY(fc_comm_broadcast(fed->comm, &there, sizeof there, 0));
  if (!there) return FC_ERR_OK;
  fc_store_reader *r = NULL;
  fc_err err = fc_store_open(path, &r);
  if (err == FC_ERR_OK) err = load(fed, r, path, round);
  err = fc_agree(fed->comm, err); /* a method's load is collective */
  if (err == FC_ERR_OK && fed->method->load) err = fc_agree(fed->comm, fed->method->load(fed, r));
  fc_store_close(&r);
  return err;
}
