/* environment.h - what the files of the room share. */
#ifndef ENVIRONMENT_H
#define ENVIRONMENT_H

#include "fedcell/fc_data.h"
#include "fedcell/fc_environment.h"

struct fc_scenario {
  fc_environment_settings set;
  uint64_t seed;
  fc_dist gain;
  fc_dataset *data;
  fc_split *split;
  double *samples, *f_max_hz, *p_max_w; /* (N) */
  double *labels;                       /* (N, classes) */
};

/* options.c. USAGE where an option does not fit; cnn.height, width, classes are the data's. */
fc_err fc_environment_settings_read(const fc_config *cfg, fc_environment_use use,
                                    fc_environment_settings *set);

/* The streams of FC_RNG_SCENARIO (their `round`; the device follows), and of FC_RNG_PROBE. */
enum { SCENARIO_F_MAX, SCENARIO_P_MAX, SCENARIO_P_MAX_AGAIN };
enum { PROBE_OF_DEVICE, PROBE_TEST };

#endif
