/* switching.h - online model switching [SW]: N LoRA modules on one frozen encoder, each device (UE)
 * subscribing to some of them, round by round.
 *
 * A round is Algorithm 2 of [SW]: bandwidth and power of the subscribed links (switching_radio.c)
 * of those who can be served by the deadline (switching_admit.c), training, delivery, the modules'
 * averages; then the bound of Theorem 1 (switching_bound.c) and each device's next subscriptions
 * (switching_decide.c). What belongs to a device lies on the rank that hosts it, fc_comm_share of
 * all devices.
 *
 * All modules have the same size, so all links of a device get the same share of the band, at one
 * power, and arrive with the same probability: delta_{n,k}, lambda_{n,k} do not depend on n. */
#ifndef SWITCHING_H
#define SWITCHING_H

#include "federation.h"
#include "fedcell/fc_solver.h"

extern const fc_option_table fc_switching_options;
enum { FC_MODULES_MAX = 8 };

/* What sets the methods of this family apart. */
typedef struct {
  bool looks_back;    /* at earlier rounds' bounds and participation; else at this round alone */
  int64_t last_round; /* after which subscriptions stay; 0: never */
} fc_switching_variant;

typedef struct {
  int modules, most;            /* N, s_t */
  double participation;         /* v_n [SW (7d)] */
  double mu;                    /* objective per joule */
  double xi, eps, zeta1, zeta2; /* of the bound; zeta2 as scaled for many devices */
  double devices;               /* K: that take part in a round */
  int formulas;                 /* fc_formulas */
  bool is_drawn;                /* delivery from the closed form; else by the cell's SINR */
  bool adapts_power;
  double tolerance;            /* q_th, of the objective */
  int alternations;            /* e_max */
  double step, dual_step;      /* NAN: a vertex; varsigma */
  double loss_weight;          /* objective per nat of misfit; 0: none */
  double compute_j_per_sample; /* G^w f^2 rho M of [SW (4)], G^w as compute_bits says */
  double update_bits;          /* G^dw */
  double bandwidth_hz, noise_w_per_hz, deadline_s;
  /* Of the closed form [SW (15)]: SINR to be reached, density of interfering cells, ... */
  double threshold, density_per_m2, interferer_power_w, exponent;
  double loss_at_1m; /* what the path loss d^alpha is multiplied by */
} fc_switching_settings;
/* Local. `fed` with P and task. */
fc_switching_settings fc_switching_settings_read(const fc_federation *fed);
/* Local. Faults that several options together show (fc_method.check). */
void fc_switching_check(fc_config *cfg);
int fc_switching_modules(const fc_config *cfg);

/* ---- the bound of Theorem 1 (switching_bound.c) ------------------------------------------------
 *
 * `missing` is what does not arrive: (1-lambda)(1-beta) as printed, 1 - beta lambda corrected; for
 * A_n, B_n its mean over the devices weighted by rho_k, for A_{n,k}, B_{n,k} the device's own. */
double fc_switching_missing(const fc_switching_settings *s, double success, double subscribed);
double fc_switching_rate(const fc_switching_settings *s, double missing);   /* A */
double fc_switching_offset(const fc_switching_settings *s, double missing); /* B */
/* What `missing` weighs in Qhat [SW (14)], with B of the round before. */
double fc_switching_weight(const fc_switching_settings *s, double bound);

/* ---- a device's decisions (switching_decide.c) -------------------------------------------------
 */

typedef struct {
  double beta;     /* betahat: before rounding */
  double dual;     /* nu */
  double bound;    /* B_{n,k} of the round before */
  double loss;     /* training loss when it last was subscribed; NAN: never */
  double rounds;   /* in which it was subscribed */
  bool subscribed; /* in the round at hand */
} fc_subscription;

/* What the round has shown of a device. */
typedef struct {
  double success;  /* lambda */
  double energy_j; /* C, of one module */
} fc_switching_seen;

/* Local. Duals, gradient, step, rounding [SW (11), (12)]: own (N) <- the next round's
 * subscriptions; of equally good modules those next after the present ones. u in (0,1) is the
 * rounding's draw. */
fc_err fc_switching_decide(const fc_switching_settings *s, const fc_switching_variant *v,
                           const fc_switching_seen *seen, double u, fc_subscription *own);
/* Local. chosen (n): E[chosen_i] = beta_i over u, and as many as sum beta, rounded up or down, but
 * never more than `most`: systematic sampling. */
void fc_switching_round(const double *beta, int n, int most, double u, bool *chosen);

/* ---- the state ---------------------------------------------------------------------------------
 */

/* A device of this round that this rank hosts. */
typedef struct {
  uint32_t device;
  double samples, share_of_data;                        /* D_k; rho_k among the round's devices */
  double gain, interference_w, distance_m, max_power_w; /* of this round */
  double power_w, share;                                /* P_k; delta_k of each of its links */
  double least_share; /* of a link, with which it meets the deadline */
  bool served;        /* the band is enough for that */
  fc_switching_seen seen;
} fc_ue;

typedef struct {
  fc_switching_settings set;
  fc_switching_variant variant;
  fc_success_table *table;
  int64_t first, count;        /* hosted devices */
  fc_subscription *own;        /* (count, N) */
  double *drawn_rounds;        /* (count) in which the device was drawn */
  double past[FC_MODULES_MAX]; /* sum over q of prod (1-A^p) B^q of [SW (6)]; on all ranks */
  double risk[FC_MODULES_MAX]; /* F(dw_n), as last measured */
  double base_norm2;           /* |w_0|^2 */
  uint32_t *batch;             /* (federation.local.batch) samples of one */
  /* This round: the devices drawn, (n); of them those hosted here, drawn[ue_first...] */
  uint32_t n, *drawn;
  uint32_t ue_first, ue_count;
  fc_ue *ue;
} fc_switching;

static inline fc_subscription *fc_switching_own(const fc_switching *s, const fc_ue *u) {
  return s->own + (u->device - s->first) * s->set.modules;
}

/* Modules that the device subscribes to: its links. */
static inline int fc_switching_links(const fc_switching *s, const fc_ue *u) {
  int n = 0;
  for (int m = 0; m < s->set.modules; m++) n += fc_switching_own(s, u)[m].subscribed;
  return n;
}

/* Collective. x (n): each rank has filled a part, the others hold 0 there; all get the whole. */
fc_err fc_switching_tell_all(const fc_federation *fed, double *x, size_t n);

/* Collective. At the hosted devices' powers, who is served, and with how much at the least; tells
 * how many are not (switching_admit.c). */
fc_err fc_switching_admit(const fc_federation *fed, fc_switching *s, fc_round *round);
/* Local. served (n): as many as their needs, shares of the band, sum to one. */
fc_err fc_switching_choose(const double *need, uint32_t n, bool *served);
/* Download, work and upload, however long; c of this load. */
double fc_switching_exchange_s(const fc_work_load *load, const fc_cost *c);

/* Collective. Power, share, success and energy of the hosted devices (switching_radio.c). */
fc_err fc_switching_allocate(fc_federation *fed, fc_switching *s, fc_round *round);
/* Local. lambda of [SW (15)]. */
fc_err fc_switching_success(const fc_switching *s, double distance_m, double power_w, double share,
                            double *out);
/* Local. Computing energy of a device's round for one module [SW (4)]. */
double fc_switching_compute_j(const fc_federation *fed, const fc_switching_settings *s,
                              double samples);

/* Collective. Phi_t into the notes (switching_bound.c). */
fc_err fc_switching_record(fc_federation *fed, fc_switching *s, fc_round *round);

/* Collective. The ensemble [SW (3)]: loss is the mean of the modules' losses, the answer has the
 * greatest mean probability (switching_ensemble.c). */
fc_err fc_evaluate_ensemble(fc_federation *fed, fc_metrics *m);

#endif
