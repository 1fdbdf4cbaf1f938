/* split.h - what is behind an fc_split. Internal to the data room. */
#ifndef FC_DATA_SPLIT_H
#define FC_DATA_SPLIT_H

#include "fedcell/fc_data.h"

const char *fc_split_name(size_t i); /* the ways to split; NULL past the end */

/* What is split. label (n) may be NULL where there are no classes. */
typedef struct {
  const int32_t *label;
  size_t n, test; /* train and test samples */
  int classes;    /* 0: no labels */
} fc_split_input;

/* fc_split_create on labels alone: it is a function of them and the seed. */
fc_err fc_split_labels(const fc_split_settings *s, const fc_split_input *in, double public_fraction,
                       uint64_t parts_seed, uint64_t seed, uint32_t devices, fc_split **out);

/* How many of `total` samples each device gets: size (devices). alpha <= 0: equal but for one, else
 * Dirichlet(alpha) shares; at least min_samples each, taken from the largest. */
fc_err fc_split_sizes(double alpha, int64_t min_samples, uint64_t total, fc_rng *rng,
                      uint32_t devices, uint64_t *size);

/* Streams of FC_RNG_SPLIT (the `round` of a stream). */
enum {
  FC_SPLIT_SIZES,
  FC_SPLIT_ORDER,       /* of the samples */
  FC_SPLIT_MIX,         /* per device: its mix of classes and what it draws by it */
  FC_SPLIT_VISIT,       /* in which order the devices draw */
  FC_SPLIT_DEVICE_TEST, /* per device */
};

#endif
