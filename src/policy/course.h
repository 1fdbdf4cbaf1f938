/* course.h - what trainings of agents have in common: iterations with reports, checkpoints, stops.
 *
 * A trainer keeps its own state and says how one iteration goes; fc_course_run does the rest. */
#ifndef POLICY_COURSE_H
#define POLICY_COURSE_H

#include "fedcell/fc_policy.h"

/* An environment for this rank's `episodes` (1 or more). */
typedef fc_err fc_environment_opener(void *arg, int episodes, fc_environment **out);

/* The learned environment: an opener and what it is given. */
typedef struct {
  const fc_scenario *scenario;
  const fc_dynamics *dynamics;
  const fc_trajectories *starts;
} fc_learned;
fc_environment_opener fc_learned_open;

/* Local. What training depends on, as checkpoints keep it: the trainer's name and the options of
 * these tables. Caller frees. */
fc_err fc_course_key(const fc_config *cfg, const char *name, const fc_option_table *const *tables,
                     size_t n, char **key);

typedef struct {
  const fc_comm *comm;
  const fc_train_request *request;
  const char *what; /* "training with rewards" */
  int64_t iterations, checkpoint_every;
  fc_train_report *reports; /* (iterations) */
  void *own;
  /* Collective. One iteration (from 0); fills its report. */
  fc_err (*iterate)(void *own, int64_t iteration, fc_train_report *r);
  /* Collective; or NULL. Before the first iteration of a training that no checkpoint continues. */
  fc_err (*start)(void *own);
  /* Collective. The state after `done` iterations into a checkpoint. */
  void (*put)(void *own, fc_store_file *f, int64_t done);
  /* Local. And from it; *done as it was. `path` is for messages. */
  fc_err (*get)(void *own, const fc_store_reader *r, const char *path, double *done);
} fc_course;
/* Collective. All iterations, or those that a checkpoint leaves; STOPPED with a checkpoint after a
 * stop request. The checkpoint stays until fc_course_end. */
fc_err fc_course_run(const fc_course *c);
/* Collective. The product is safe: the checkpoint goes. */
void fc_course_end(const fc_course *c);

#endif
