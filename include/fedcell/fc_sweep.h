/* fc_sweep.h - a sweep: one file that stands for many runs.
 *
 *   base:  ../experiments/quickstart.yaml             # seen from this file; may be left out
 *   size:  laptop                                     # of the base's sizes; may be left out
 *   set:   {federation.rounds: 12}                    # for all points
 *   list:  [{cell.fading: none}, {cell.fading: rayleigh, cell.reciprocal: true}]
 *   zip:   {population.devices: [40, 80], federation.participants: [10, 20]}
 *   grid:  {federation.method: [fedlora, local], data.alpha: [0.1, 1]}
 *   seeds: 4                                          # 1 to 4, or a list
 *
 * The points are all combinations of an entry of `list`, a place in the lists of `zip`, a value of
 * each option of `grid` and a seed, numbered from 1; seeds vary fastest, then the grid's last
 * option, `list` slowest. A point's label names the settings in which points differ, so it stays
 * the same when others are added to the file:
 *
 *   fc_sweep_create(tables, n, "methods.yaml", text, length, &sweep);
 *   fc_sweep_set_base(sweep, base_text, base_length, NULL); // the file fc_sweep_base(sweep) names
 *   fc_sweep_check(sweep, fc_federation_check, &labels);    // all faults of all points
 *   fc_sweep_point(sweep, 7, &cfg);
 *
 * All Local. The sweep, its tables and the base's text must outlive its configurations. */
#ifndef FC_SWEEP_H
#define FC_SWEEP_H

#include "fedcell/fc_config.h"
#include "fedcell/fc_err.h"
#include <stdbool.h>
#include <stddef.h>

enum { FC_SWEEP_POINTS_MAX = 100000, FC_SWEEP_LABEL_SIZE = 136 };

typedef struct fc_sweep fc_sweep;
/* Reads the text of the file `path`. USAGE with all faults of its form; whether the points' options
 * are right is seen by fc_sweep_check. */
fc_err fc_sweep_create(const fc_option_table *tables, size_t n, const char *path, const char *text,
                       size_t length, fc_sweep **out);
void fc_sweep_destroy(fc_sweep **sweep); /* accepts NULL; leaves *sweep == NULL */

/* The file's name without folder and ending. */
const char *fc_sweep_name(const fc_sweep *sweep);
/* Path of the base as seen from the working folder; NULL: the sweep has none. */
const char *fc_sweep_base(const fc_sweep *sweep);
/* The base's text is borrowed. size: lays over what the file's `size` says; NULL: that. */
void fc_sweep_set_base(fc_sweep *sweep, const char *text, size_t length, const char *size);

size_t fc_sweep_count(const fc_sweep *sweep);
/* The configuration of point `number`, from 1; its faults are told by fc_config_finish. The caller
 * destroys *out, also after a failure. USAGE at once where the base is not valid YAML. */
fc_err fc_sweep_point(const fc_sweep *sweep, size_t number, fc_config **out);
/* "method=local-alpha=0.1-seed=3", fit for a file's name: letters, digits and "._+-=" only; where
 * that loses something, or it would be too long, a hash of the whole follows. cfg is the point's.
 */
fc_err fc_sweep_label(const fc_sweep *sweep, size_t number, const fc_config *cfg,
                      char label[FC_SWEEP_LABEL_SIZE]);

typedef char fc_sweep_labels[FC_SWEEP_LABEL_SIZE];
/* Looks at every point with `check` (which finishes the configuration). USAGE with every different
 * fault once, and the points that have it; points of equal settings are a fault too. *labels
 * (count), from point 1 on: caller frees with fc_free. */
fc_err fc_sweep_check(const fc_sweep *sweep, fc_err (*check)(fc_config *cfg),
                      fc_sweep_labels **labels);

/* "3,17-20": the places, counted from 1, where `in` (n) is true; "" if there are none. Caller frees
 * *out with fc_free. */
fc_err fc_sweep_ranges(const bool *in, size_t n, char **out);

#endif
