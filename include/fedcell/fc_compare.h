/* fc_compare.h - finished runs beside each other: what they reached, what it cost, and how much of
 * a difference is more than chance.
 *
 * Runs whose configurations differ in nothing but the seed are one group; the first file's group is
 * the baseline. Runs with the same seed are paired (same devices, data, channels, participants), so
 * a group is compared with the baseline by the differences of its pairs, which scatter far less
 * than the runs themselves.
 *
 *   fc_compare_create(paths, n, &(fc_compare_target){.loss = NAN, .accuracy = 0.9}, &c);
 *   c->group[1].difference[FC_METRIC_target_energy_j].mean
 *
 * All Local. */
#ifndef FC_COMPARE_H
#define FC_COMPARE_H

#include "fedcell/fc_err.h"
#include "fedcell/fc_stats.h"
#include <stddef.h>

/* X(name, unit): of a whole run, then up to the first evaluation that meets the target. */
#define FC_METRIC_LIST(X)                                                                          \
  X(test_loss, "nat")                                                                              \
  X(test_accuracy, "")                                                                             \
  X(rounds, "")                                                                                    \
  X(sim_time_s, "s")                                                                               \
  X(energy_j, "J")                                                                                 \
  X(bits, "bit")                                                                                   \
  X(target_rounds, "")                                                                             \
  X(target_sim_time_s, "s")                                                                        \
  X(target_energy_j, "J")                                                                          \
  X(target_bits, "bit")
typedef enum {
#define FC_METRIC_ENUM(name, unit) FC_METRIC_##name,
  FC_METRIC_LIST(FC_METRIC_ENUM)
#undef FC_METRIC_ENUM
      FC_METRICS
} fc_metric;
extern const char *const fc_metric_names[FC_METRICS];
extern const char *const fc_metric_units[FC_METRICS];

typedef struct {
  double loss, accuracy; /* NaN: none. Both NaN: a loss is chosen: nine tenths of the way from the
                            start to the final loss of the middle group, in thousandths */
} fc_compare_target;

typedef struct {
  char *label;    /* the settings in which groups differ, "method=local alpha=0.1" */
  size_t runs;    /* one a seed */
  size_t pairs;   /* of its seeds, those that the baseline has too */
  size_t reached; /* runs that reach the target; the costs to it are NaN unless all do */
  fc_mean_interval value[FC_METRICS];
  fc_mean_interval difference[FC_METRICS]; /* to the baseline, over the pairs; NaN for itself */
} fc_compare_group;

typedef struct {
  fc_compare_target target; /* with the one that was chosen */
  fc_compare_group *group;  /* (n), the baseline first */
  size_t n;
} fc_comparison;

/* Reads the result files. USAGE for a checkpoint, and for two files of the same settings and seed.
 */
fc_err fc_compare_create(const char *const *paths, size_t n, const fc_compare_target *target,
                         fc_comparison **out);
void fc_compare_destroy(fc_comparison **c); /* accepts NULL; leaves *c == NULL */

#endif
