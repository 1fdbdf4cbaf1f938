/* config_tables.h - options of every type, for the tests of this room and for the fuzz target. */
#ifndef CONFIG_TABLES_H
#define CONFIG_TABLES_H

#include "fedcell/fc_config.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static inline const char *fading_name(size_t i) {
  static const char *const names[] = {"none", "rayleigh", "rician"};
  return i < sizeof names / sizeof names[0] ? names[i] : NULL;
}

static inline const char *target_name(size_t i) {
  static const char *const names[] = {"query", "key", "value", "output"};
  return i < sizeof names / sizeof names[0] ? names[i] : NULL;
}

static const fc_option run_options[] = {
    {"experiment", FC_OPT_STRING, "", "", FC_OPTION_ANY, NULL, "Name of the experiment."},
    {"seed", FC_OPT_INT, "", "1", FC_OPTION_ANY, NULL, "Start of all random numbers."},
    {"federation.rounds", FC_OPT_INT, "", "10", 1, 1e9, NULL, "Rounds of the federation."},
    {"federation.local.learning_rate", FC_OPT_REAL, "", "1.0e-3", 1e-300, INFINITY, NULL,
     "Step size on a device."},
    {"federation.local.iterations", FC_OPT_INT, "", "4", 1, 1e6, NULL, "Steps a round."},
    {"federation.stop", FC_OPT_BOOL, "", "false", FC_OPTION_ANY, NULL, "Stop at the target?"},
    {"adapter.targets", FC_OPT_NAMES, "", "[query, value]", FC_OPTION_ANY, target_name,
     "Layers that get an adapter."},
    {"adapter.tags", FC_OPT_NAMES, "", "", FC_OPTION_ANY, NULL, "Free words; a | b."},
};

static const fc_option cell_options[] = {
    {"cell.bandwidth_hz", FC_OPT_REAL, "Hz", "20e6", 1, 1e12, NULL, "Total bandwidth."},
    {"cell.fading", FC_OPT_CHOICE, "", "rayleigh", FC_OPTION_ANY, fading_name, "Block fading."},
    {"cell.noise_dbm_per_hz", FC_OPT_REAL, "dBm/Hz", "-174", FC_OPTION_ANY, NULL, "Noise."},
    {"cell.delay_s", FC_OPT_REAL, "s", "0", 0, INFINITY, NULL, "Added to every upload."},
    {"population.compute_flops", FC_OPT_DIST, "FLOP/s", "{uniform: [0.5e12, 2.0e12]}", 1, 1e15,
     NULL, "Speed of a device."},
    {"population.gain_db", FC_OPT_DIST, "dB", "0", FC_OPTION_ANY, NULL, "Antenna gain."},
    {"solver.grid", FC_OPT_REALS, "", "[0, 0.5]", 0, 1, NULL, "Points of the grid."},
    {"federation.target", FC_OPT_REAL, "", "0.9", 0, 1, NULL, "Stop here. In another table."},
};

static const fc_option required_options[] = {
    {"data.dataset", FC_OPT_STRING, "", NULL, FC_OPTION_ANY, NULL, "Which data."},
    {"data.split", FC_OPT_CHOICE, "", NULL, FC_OPTION_ANY, fading_name, "How it is split."},
    {"data.samples", FC_OPT_INT, "", NULL, 5, 100, NULL, "How many."},
    {"data.alpha", FC_OPT_REAL, "", NULL, FC_OPTION_ANY, NULL, "Concentration."},
    {"data.parts", FC_OPT_NAMES, "", NULL, FC_OPTION_ANY, NULL, "Parts."},
    {"data.weights", FC_OPT_REALS, "", NULL, 0, 1, NULL, "Weights."},
    {"data.size", FC_OPT_DIST, "B", NULL, 10, 20, NULL, "Size."},
    {"data.shuffle", FC_OPT_BOOL, "", NULL, FC_OPTION_ANY, NULL, "Shuffle?"},
};

#define TABLE_LENGTH(a) (sizeof(a) / sizeof(a)[0])

/* The first N_TABLES have defaults throughout; the one after that only required options. */
static const fc_option_table all_tables[] = {
    FC_OPTION_TABLE("run: what is trained, and how long", run_options),
    FC_OPTION_TABLE("cell: radio and devices", cell_options),
    FC_OPTION_TABLE("data: required", required_options),
};
enum { N_TABLES = 2, N_ALL_TABLES = 3 };

#endif
