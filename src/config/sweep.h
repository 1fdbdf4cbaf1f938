/* sweep.h - inside of a sweep: axes of steps of settings.
 *
 * An axis is one thing that varies (the list, the zip, an option of the grid, the seed); one of its
 * steps is taken by each point and gives that point some settings. Settings refer to nodes of the
 * sweep file's YAML document by their ids, as nodes move when one is added. */
#ifndef FC_CONFIG_SWEEP_H
#define FC_CONFIG_SWEEP_H

#include "config_private.h"
#include "fedcell/fc_sweep.h"

typedef struct {
  char *name; /* of the option, or of a group that is given as a map; owned */
  int value;  /* id of the node */
  size_t line;
} sweep_setting;

typedef struct {
  size_t first, n; /* settings */
} sweep_step;

typedef struct {
  size_t first, n; /* steps */
  const char *part;
} sweep_axis;

struct fc_sweep {
  const fc_option_table *tables;
  size_t n_tables;
  char *path, *name;
  char *base, *size; /* NULL: none */
  size_t size_line;
  const char *base_text;
  size_t base_length;
  const char *base_size;
  yaml_document_t doc;
  bool has_doc;
  sweep_setting *settings;
  size_t n_settings;
  sweep_step *steps;
  size_t n_steps;
  sweep_axis *axes;
  size_t n_axes;
  size_t n_fixed;      /* settings of `set`: the first ones */
  const char **varies; /* (n_varies) the options that the axes set, each once; borrowed */
  size_t n_varies;
  size_t count;
};

/* sweep_read.c: fills the axes from s->doc; faults go to `faults`. */
void fc_sweep_read(fc_sweep *s, fc_config *faults);

#endif
