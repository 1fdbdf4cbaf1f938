/* oort.h - who is worth selecting, by Oort's rules [Oort], with a price on energy.
 *
 *   score_i = ((min(U_i, clip) - 0.999 min U) / range + sqrt(c ln t / L_i))
 *             (T/t_i)^alpha if t_i > T,  (E/E_i)^kappa if E_i > E
 * U_i = |D_i| rms of its samples' losses when it last took part, in round L_i; t_i and E_i its time
 * and energy, T and E percentiles of theirs. All Local. */
#ifndef POLICY_OORT_H
#define POLICY_OORT_H

#include "fedcell/fc_err.h"
#include "fedcell/fc_rng.h"
#include <stdbool.h>
#include <stdint.h>

typedef struct {
  int wanted;                                             /* devices to select in a round */
  double exploration, exploration_decay, exploration_min; /* share of them not yet tried */
  double clip;                                            /* percentile of U, in (0,1] */
  double uncertainty;                                     /* c */
  double time_penalty, energy_penalty;                    /* alpha, kappa */
  double cut_off;     /* of the score at the cut-off: less is not drawn */
  int window;         /* untried devices that are drawn from, for each that is taken */
  double threshold;   /* per cent: percentile of T and E at the start; 100: no penalty */
  double pacer_delta; /* by which the pacer moves it */
  int pacer_rounds;
  int64_t blacklist_rounds; /* who took part more often is left out; -1: nobody */
  double blacklist_share;   /* of the devices, at most */
} fc_oort_settings;

/* What is remembered of an episode. */
typedef struct {
  int devices;
  double exploration; /* now; 0 for good once all have been tried */
  double threshold;   /* now */
  double *utility;    /* (devices) U */
  int64_t *last;      /* (devices) L; 0: never */
  int64_t *times;     /* (devices) that it took part */
  uint8_t *exploited; /* (devices) of the round before */
  double *history;    /* (2 pacer_rounds) mean U of those exploited in round r, at r modulo that */
  double *score;      /* (devices) of the latest choice; NAN: left out */
  /* room for one choice, (devices) each */
  double *value, *weight;
  int *list;
} fc_oort;
fc_err fc_oort_create(const fc_oort_settings *s, int devices, fc_oort **out);
void fc_oort_destroy(fc_oort **o); /* accepts NULL */
void fc_oort_forget(const fc_oort_settings *s, fc_oort *o);

/* Before round t (from 1): what the round before brought; loss_rms (devices), NAN: took no part. */
void fc_oort_learn(const fc_oort_settings *s, fc_oort *o, int64_t t, const double *samples,
                   const double *loss_rms);
/* Every pacer_rounds rounds: what was exploited lately is worth much as before, so slower and
 * costlier devices are let in; or it has changed sharply, so they are not. */
void fc_oort_pace(const fc_oort_settings *s, fc_oort *o, int64_t t);
/* select (devices) <- the choice for round t, after learn and pace; time_s and energy_j (devices)
 * may be infinite. */
void fc_oort_choose(const fc_oort_settings *s, fc_oort *o, int64_t t, const double *samples,
                    const double *time_s, const double *energy_j, fc_rng *rng, uint8_t *select);

/* The value below which `per_cent` of x (n) lie, one of them; room (n). Infinite from 100 on. */
double fc_oort_percentile(const double *x, int n, double per_cent, double *room);
/* (reference/x)^power where x is above the reference, else 1. */
double fc_oort_penalty(double x, double reference, double power);

#endif
