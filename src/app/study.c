/* study.c - the table of studies; everything that differs between them goes through it. */
#include "app.h"
#include <omp.h>
#include <string.h>

static const fc_study *const studies[] = {&fc_study_federation, &fc_study_policy};

const fc_study *fc_study_of(const fc_config *cfg) {
  size_t i = sizeof studies / sizeof *studies - 1; /* the option's choices are these names */
  while (i > 0 && strcmp(studies[i]->name, fc_config_string(cfg, "study")) != 0) i--;
  return studies[i];
}

fc_err fc_study_check(fc_config *cfg) {
  return fc_study_of(cfg)->check(cfg);
}

fc_ranks fc_ranks_asked(const fc_comm *comm, const fc_arguments *a) {
  return (fc_ranks){a->ranks ? a->ranks : comm->size,
                    a->threads ? a->threads : omp_get_max_threads()};
}
