/* course.c - the loop of a training. */
#include "course.h"
#include "fedcell/fc_log.h"
#include "fedcell/fc_mem.h"
#include "train.h"
#include <unistd.h>

fc_err fc_learned_open(void *arg, int episodes, fc_environment **out) {
  const fc_learned *l = arg;
  return fc_environment_open_learned(l->scenario, l->dynamics, l->starts, episodes, out);
}

static fc_err add_option(const fc_config *cfg, const char *name, char **key) {
  char *value = NULL, *longer = NULL;
  fc_err err = fc_config_text(cfg, name, &value);
  if (err == FC_ERR_OK) err = fc_format(&longer, "%s%s: %s\n", *key, name, value);
  fc_free(value);
  FC_TRY(err);
  fc_free(*key);
  *key = longer;
  return FC_ERR_OK;
}

fc_err fc_course_key(const fc_config *cfg, const char *name, const fc_option_table *const *tables,
                     size_t n, char **key) {
  fc_err err = fc_format(key, "%s\n", name);
  for (size_t k = 0; k < n; k++)
    for (size_t i = 0; i < tables[k]->n && err == FC_ERR_OK; i++)
      err = add_option(cfg, tables[k]->options[i].name, key);
  return err;
}

/* ---- checkpoints ----------------------------------------------------------------------------- */

static fc_err save(const fc_course *c, int64_t done) {
  fc_store_file *f = NULL;
  if (!c->request->checkpoint) return FC_ERR_OK;
  FC_TRY(fc_store_write_begin(c->comm, c->request->checkpoint, &f));
  c->put(c->own, f, done);
  fc_train_reports_put(f, c->comm->rank, c->reports, done);
  return fc_store_write_end(&f);
}

static fc_err load(const fc_course *c, const fc_store_reader *r, int64_t *done) {
  const char *path = c->request->checkpoint;
  double number = 0;
  FC_TRY(c->get(c->own, r, path, &number));
  FC_CHECK(number >= 0 && number <= (double)c->iterations, DATA,
           "%s: %g iterations are done of %lld", path, number, (long long)c->iterations);
  *done = (int64_t)number;
  return fc_train_reports_get(r, c->reports, *done, c->iterations);
}

static fc_err begin(const fc_course *c, int64_t *done) {
  const char *path = c->request->checkpoint;
  int64_t there = path && access(path, R_OK) == 0;
  fc_store_reader *r = NULL;
  *done = 0;
  FC_TRY(fc_comm_broadcast(c->comm, &there, sizeof there, 0)); /* one rank looks */
  if (!there) return c->start ? c->start(c->own) : FC_ERR_OK;
  fc_err err = fc_store_open(path, &r);
  if (err == FC_ERR_OK) err = load(c, r, done);
  fc_store_close(&r);
  FC_TRY(fc_agree(c->comm, err));
  fc_log(FC_LOG_INFO, "%s goes on after iteration %lld", c->what, (long long)*done);
  return FC_ERR_OK;
}

/* ---- the loop -------------------------------------------------------------------------------- */

fc_err fc_course_run(const fc_course *c) {
  int64_t done = 0;
  FC_TRY(begin(c, &done));
  while (done < c->iterations) {
    fc_train_report *r = &c->reports[done];
    bool stop = false;
    FC_TRY(c->iterate(c->own, done++, r));
    if (c->request->on_iteration) c->request->on_iteration(c->request->arg, r);
    if (done == c->iterations) break;
    FC_TRY(fc_comm_any(c->comm, c->request->stop, &stop));
    if (stop || done % c->checkpoint_every == 0) FC_TRY(save(c, done));
    FC_CHECK(!stop, STOPPED, "stopped on request after iteration %lld of %lld of %s",
             (long long)done, (long long)c->iterations, c->what);
  }
  return FC_ERR_OK;
}

void fc_course_end(const fc_course *c) {
  if (c->comm->rank == 0 && c->request->checkpoint) unlink(c->request->checkpoint);
}
