/* recurrent.h - the network of FL-DLT3 with its two branches [Zheng+ 2022]:
 *
 *   p_t = relu(W_a a_t + b_a)             q_t = relu(W_b b_t + b_b)
 *   h_t = LSTM(q_t, h_{t-1}), h_0 = 0     y_t = W_y relu(W_z [p_t, h_t] + b_z) + b_y
 *
 *   fc_recurrent_create(&shape, episodes, steps, true, &r);        // one thread's
 *   y = fc_recurrent_forward(r, theta, a, b, episodes, steps);
 *   fc_recurrent_backward(r, theta, dy, dtheta, da);
 *
 * Rows are time-major: step t of episode e is row t episodes + e. The LSTM is PyTorch's (gates i,
 * f, g, o) with one bias. All Local. */
#ifndef POLICY_RECURRENT_H
#define POLICY_RECURRENT_H

#include "fedcell/fc_err.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
  int a, b, hidden, outputs; /* A, B, H, O */
} fc_recurrent_shape;

/* Its tensors in theta, without gaps: (rows, cols), biases with rows = 1. */
typedef struct {
  const char *name;
  int64_t rows, cols;
  size_t offset;
} fc_recurrent_part;
enum { FC_RECURRENT_PARTS = 11 };
void fc_recurrent_parts(const fc_recurrent_shape *s, fc_recurrent_part part[FC_RECURRENT_PARTS]);
size_t fc_recurrent_count(const fc_recurrent_shape *s);
/* Uniform in +-1/sqrt(inputs), as torch.nn.Linear and LSTM; `number` tells networks apart. */
void fc_recurrent_init(const fc_recurrent_shape *s, uint64_t seed, uint64_t number, float *theta);

typedef struct fc_recurrent fc_recurrent;
fc_err fc_recurrent_create(const fc_recurrent_shape *s, int episodes, int steps, bool training,
                           fc_recurrent **out);
void fc_recurrent_destroy(fc_recurrent **r); /* accepts NULL; leaves *r == NULL */
/* a (rows, A), b (rows, B), borrowed until the backward pass; returns y (rows, O), borrowed until
 * the next forward pass. */
const float *fc_recurrent_forward(fc_recurrent *r, const float *theta, const float *a,
                                  const float *b, int episodes, int steps);
/* Of the latest forward pass: dtheta += (may be NULL), da (rows, A) overwritten (may be NULL). */
void fc_recurrent_backward(fc_recurrent *r, const float *theta, const float *dy, float *dtheta,
                           float *da);
/* The next step of `episodes` episodes, whose h (episodes, H) and c (episodes, H) are carried on;
 * the same numbers as the forward pass gives. */
const float *fc_recurrent_step(fc_recurrent *r, const float *theta, const float *a, const float *b,
                               int episodes, float *h, float *c);

#endif
