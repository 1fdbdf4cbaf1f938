/* dynamics.h - the learned dynamics, inside: how states become numbers (encoding), the network, and
 * episodes that it continues (rollout).
 *
 * A row stands for a round in which somebody took part; idle rounds change nothing and have none.
 * With N devices it has D = 4 N + 1 values (statistics device by device, then the accuracy) and
 * F = D + 3 N features: the values before the round, 0 where unknown; who took part before; who
 * takes part now (S_t); ln |D_n|. All values are standardised; targets are the values after it.
 */
#ifndef FC_ENVIRONMENT_DYNAMICS_H
#define FC_ENVIRONMENT_DYNAMICS_H

#include "fedcell/fc_dynamics.h"
#include "fedcell/fc_model.h"
#include "fedcell/fc_optimizer.h"

/* ---- settings ---------------------------------------------------------------------------------
 */

typedef struct {
  int layers, width, heads;
  int64_t epochs, batch;           /* trajectories of a step */
  fc_optimizer_settings optimizer; /* but for its steps */
  double warmup;                   /* share of the steps */
  double dropout, held_out, variance_floor;
  bool sample;
  uint64_t seed;
} fc_dynamics_settings;
fc_dynamics_settings fc_dynamics_settings_read(const fc_config *cfg);
/* What training depends on: every option, and the trajectories. Caller frees. */
fc_err fc_dynamics_key(const fc_config *cfg, const fc_trajectories *t, char **out);

/* ---- encoding ---------------------------------------------------------------------------------
 */

typedef struct {
  int devices;
  double *mean, *scale; /* (D) of the values, after each statistic's own transformation */
  double *log_samples;  /* (N) standardised over devices */
} fc_encoding;

static inline int fc_value_count(int devices) {
  return FC_STATISTICS * devices + 1;
}
static inline int fc_feature_count(int devices) {
  return fc_value_count(devices) + 3 * devices;
}

/* mean 0 and scale 1. */
fc_err fc_encoding_create(const fc_scenario *s, fc_encoding *e);
void fc_encoding_destroy(fc_encoding *e);
/* mean and scale of the values in the n listed trajectories. */
fc_err fc_encoding_fit(fc_encoding *e, const fc_trajectories *t, const uint32_t *which, size_t n);
/* values (D) <- statistics (N, FC_STATISTICS) and accuracy, NAN where they are. */
void fc_encoding_values(const fc_encoding *e, const double *statistics, double accuracy,
                        float *values);
/* features (F) <- values with NAN, select (N). */
void fc_encoding_features(const fc_encoding *e, const float *values, const uint8_t *select,
                          float *features);
/* The statistics and accuracy that standardised values (D) stand for, brought into the range of
 * what is possible. */
void fc_encoding_decode(const fc_encoding *e, const double *values, double *statistics,
                        double *accuracy);
/* statistics of a state, and back: devices that do not take part (select (N)) have NAN. */
void fc_statistics_of_state(const fc_fl_state *state, double *statistics);
void fc_statistics_to_state(const double *statistics, const uint8_t *select, fc_fl_state *state);

/* Rows of trajectories: x (rows, F), y (rows, D) with NAN where not known; trajectory i owns the
 * rows [start[i], start[i+1]); round (rows) counts from 1. */
typedef struct {
  int n;
  int64_t *start; /* (n + 1) */
  float *x, *y;
  int32_t *round;
} fc_dynamics_rows;
/* DATA if a loss or an accuracy is not known. */
fc_err fc_dynamics_rows_create(const fc_encoding *e, const fc_trajectories *t,
                               fc_dynamics_rows *out);
void fc_dynamics_rows_destroy(fc_dynamics_rows *rows);

/* ---- network ----------------------------------------------------------------------------------
 */

/* theta: the decoder's weights, linear1 (C,F) and bias (C), linear2 (2D,C) and bias (2D). */
typedef struct {
  int features, values, width; /* F, D, C */
  double variance_floor;
  fc_model *model;
  fc_trainable *trainable;
  float *weights; /* the model's, before theta replaces them all */
  size_t linear1, linear2, count;
} fc_network;
fc_err fc_network_create(const fc_model_shape *shape, int devices, double variance_floor,
                         fc_network *out);
/* The decoder that the settings ask for, of `rounds` positions. */
fc_model_shape fc_network_shape(const fc_dynamics_settings *s, int64_t rounds);
void fc_network_destroy(fc_network *n);
/* Decoder as GPT-2, linear layers as torch.nn.Linear. */
void fc_network_init(const fc_network *n, uint64_t seed, float *theta);

/* Of some rows, sums over them. A row's error is the mean of its known values' squared ones. */
typedef struct {
  double statistics_mse, accuracy_mse, nll; /* nll: that of both, without its constant */
  int64_t rows;
} fc_network_loss;

/* One thread's buffers. */
typedef struct {
  const fc_network *network;
  fc_work *work;
  int64_t rows;
  float *inputs, *dinputs; /* (rows, C); dinputs in training alone */
  float *out, *dout;       /* (rows, 2D): mean and log variance beside the floor */
} fc_network_work;
fc_err fc_network_work_create(const fc_network *n, int64_t rows, int sequences, int length,
                              bool training, fc_network_work *out);
void fc_network_work_destroy(fc_network_work *w);

typedef struct {
  int32_t sequences;
  const int64_t *start; /* (sequences + 1) */
  const float *x, *y;   /* (rows, F), (rows, D); y NULL: no loss */
  double dropout;       /* on linear1's outputs; with the mask of rng */
  fc_rng rng;
} fc_network_batch;
/* w->out; adds to *loss (may be NULL), and to dtheta (NULL: forward alone, no dropout) the gradient
 * of the sum over rows of
 *   statistics_mse + accuracy_mse + nll.
 * The likelihood teaches the variance only: the means
 * are those of the squared error [TELLM, Algorithm 1, line 8]. */
fc_err fc_network_run(fc_network_work *w, const float *theta, const fc_network_batch *b,
                      float *dtheta, fc_network_loss *loss);
/* Of value d in a row of w->out. */
double fc_network_mean(const fc_network_work *w, int64_t row, int d);
double fc_network_variance(const fc_network_work *w, int64_t row, int d);

/* ---- what is trained --------------------------------------------------------------------------
 */

struct fc_dynamics {
  bool sample;
  int64_t rounds;
  fc_encoding encoding;
  fc_network network;
  float *theta;
  fc_episode *seen; /* (n_seen) that it was trained on */
  int n_seen;
};
/* DATA if the scenario has another number of devices, or more rounds. */
fc_err fc_dynamics_check(const fc_dynamics *d, const fc_scenario *s);

/* ---- episodes that it continues ----------------------------------------------------------------
 */

typedef struct {
  const fc_dynamics *d;
  fc_network_work work;
  int episodes;
  int64_t *length; /* (episodes) rows so far */
  float *history;  /* (episodes, K, F) */
  float *x;        /* (episodes * K, F): of one call, packed */
  int64_t *start;  /* (episodes + 1) */
} fc_rollout;
fc_err fc_rollout_create(const fc_dynamics *d, int episodes, fc_rollout *out);
void fc_rollout_destroy(fc_rollout *r);
/* One more row of episode i, of values (D) and select (N). */
void fc_rollout_push(fc_rollout *r, int i, const float *values, const uint8_t *select);
/* mean, sd (n, D): what comes after the last rows of the n listed episodes; sd may be NULL. */
fc_err fc_rollout_predict(fc_rollout *r, const int *which, int n, double *mean, double *sd);

#endif
