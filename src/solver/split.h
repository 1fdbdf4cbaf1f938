/* split.h - the problem of [Split LoRA] in the form in which it is solved.
 *
 * A round of the set S takes  T = max over S of (compute_k + load_k / B_k) + |S| server_s,  and its
 * energies and promises weigh  sum over S of  air_k / B_k + fixed_k  in the objective. Every rank
 * holds all clients. */
#ifndef SPLIT_H
#define SPLIT_H

#include "solver.h"

typedef struct {
  fc_task task;
  double air;   /* Hz: Z_k p_k M a_up / e_up */
  double fixed; /* Z_k E_cmp,k - P_k */
  bool works;   /* ends at some bandwidth */
} fc_split_client;

typedef struct {
  const fc_split_problem *p;
  int K;
  fc_split_client *client; /* (K) */
  double server_s;         /* of each participant */
  double queue;            /* Q */
  bool *in;                /* (K) S */
  int participants;        /* |S| */
  double *bandwidth_hz;    /* (K), 0 outside S */
  double latency_s, objective;
} fc_split_work;

/* The least latency of S: bandwidths with which all end together. */
fc_err fc_split_hurry(fc_split_work *w);
/* V omega / |S| */
double fc_split_penalty(const fc_split_work *w);
/* Client k joins S, or leaves it. */
void fc_split_turn(fc_split_work *w, int k);

/* S, bandwidths, latency and objective; nobody if no one meets the deadline. */
fc_err fc_split_latency(fc_split_work *w);
fc_err fc_split_search(fc_split_work *w);

#endif
