/* bench_trainer.h - the work of `fedcell bench train`: many devices take optimiser steps with an
 * adapter of their own on one frozen decoder, in cohorts, as a round of a federation does.
 *
 *   fc_trainer_case c = {.shape = shape, .devices = 64, .batch = 1, .length = 128, ...};
 *   FC_TRY(fc_trainer_create(&c, &t));          // or from files: fc_trainer_open
 *   FC_TRY(fc_trainer_run(t));                  // all devices, all steps, from the start again
 *   loss = fc_trainer_loss(t, step);
 */
#ifndef BENCH_TRAINER_H
#define BENCH_TRAINER_H

#include "fedcell/fc_model.h"

typedef struct {
  fc_model_shape shape;
  int devices, batch, length; /* sequences of a device, tokens of a sequence */
  int steps;                  /* of AdamW, each on the same batch */
  float learning_rate;
  int cohort; /* devices that a thread takes at a time */
  bool bf16;
  const char *weights, *adapter; /* folders; NULL: drawn at random */
  const int32_t *tokens;         /* (devices, batch, length); NULL: drawn at random */
} fc_trainer_case;

typedef struct fc_trainer fc_trainer;
fc_err fc_trainer_create(const fc_trainer_case *c, fc_trainer **out);
/* The case that a JSON file describes:
 *   {"model": FOLDER, "adapter": FOLDER, "tokens": [[..], ..], "devices": 8, "batch": 1,
 *    "steps": 1, "learning_rate": 1e-3, "cohort": 8, "precision": "f32"}
 * tokens: devices x batch sequences of the same length. adapter: rank 8 on c_attn (gpt2). */
fc_err fc_trainer_open(const char *path, fc_trainer **out);
void fc_trainer_destroy(fc_trainer **t); /* accepts NULL; leaves *t == NULL */
const fc_trainer_case *fc_trainer_get_case(const fc_trainer *t);

/* An fc_bench_work's function: trains all devices from their first state. */
fc_err fc_trainer_run(void *trainer);
double fc_trainer_tokens(const fc_trainer *t); /* of one run */
double fc_trainer_flop(const fc_trainer *t);   /* of one run */
/* Mean over the devices, before step `step` (from 0) was taken, in the last run. */
double fc_trainer_loss(const fc_trainer *t, int step);

#endif
