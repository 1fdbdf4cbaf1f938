/* fc_dynamics.h - the statistics part of the virtual environment [TELLM, IV-B, Algorithm 1]: a
 * model that predicts (s^m_{t+1}, Xi_t) from the history of (s^m, Xi, S).
 *
 *   in_t = linear1(s^m_t, Xi_{t-1}, S_t);  out_t = decoder(in_1, ..., in_t);
 *   (s^m_{t+1}, Xi_t) ~ Gaussian of mean and variance linear2(out_t)
 *
 *   fc_dynamics_train(comm, cfg, scenario, trajectories, &request, &d);   // data-parallel
 *   fc_dynamics_save(d, folder); fc_dynamics_load(folder, scenario, &d);
 *   fc_environment_open_learned(scenario, d, trajectories, 32, &e);
 */
#ifndef FC_DYNAMICS_H
#define FC_DYNAMICS_H

#include "fedcell/fc_trajectory.h"
#include <signal.h>

extern const fc_option_table fc_dynamics_options; /* dynamics.* */

typedef struct fc_dynamics fc_dynamics;

/* After an epoch; validation: on held-out trajectories. MSE of standardised values; the loss is the
 * sum of both and of their Gaussian's negative log-likelihood, which teaches the variance alone. */
typedef struct {
  int64_t epoch, epochs;
  double loss, statistics_mse, accuracy_mse;
  double validation_loss, validation_statistics_mse, validation_accuracy_mse; /* NAN: none */
} fc_dynamics_report;

typedef struct {
  void (*on_epoch)(void *arg, const fc_dynamics_report *r); /* all ranks; may be NULL */
  void *arg;
  const char *checkpoint; /* path; continued from where it lies, removed at the end; NULL: none */
  volatile sig_atomic_t *stop; /* checkpoint and STOPPED; may be NULL */
} fc_dynamics_request;

/* Collective. The same bits on all ranks, whatever their number. */
fc_err fc_dynamics_train(const fc_comm *comm, const fc_config *cfg, const fc_scenario *s,
                         const fc_trajectories *t, const fc_dynamics_request *request,
                         fc_dynamics **out);
void fc_dynamics_destroy(fc_dynamics **d); /* accepts NULL */
size_t fc_dynamics_weight_count(const fc_dynamics *d);
/* Local. The same of one that is yet to be trained, and what training takes on a rank. */
fc_err fc_dynamics_needs(const fc_config *cfg, const fc_scenario *s, int ranks, int threads,
                         size_t *weights, double *bytes);
/* Local. A folder of safetensors and a JSON file; it must exist. */
fc_err fc_dynamics_save(const fc_dynamics *d, const char *folder);
/* Local. DATA if it was made for another number of devices. */
fc_err fc_dynamics_load(const char *folder, const fc_scenario *s, fc_dynamics **out);

/* Local. The learned environment: starts from the first recorded state of trajectory seed mod n.
 * Draws from the Gaussian, or takes its mean (dynamics.sample: false). loss_rms, which is not
 * predicted, is the loss before the round. */
fc_err fc_environment_open_learned(const fc_scenario *s, const fc_dynamics *d,
                                   const fc_trajectories *starts, int episodes,
                                   fc_environment **out);

/* Errors against real trajectories of the same selections, and the bound of Theorem 2. */
typedef struct {
  int64_t horizon;                       /* steps that the model ran freely from a recorded state */
  double accuracy_rmse, statistics_rmse; /* over these steps; statistics as the model sees them, in
                                            standard deviations */
  double reward_mae, return_mae;         /* of rewards normalised over the trajectories round by
                                            round, and of their sum: |A^ - A| */
  double bound;                          /* (h^2 - h) R eps [TELLM (39)] */
  double epsilon; /* total variation of one step: 1 - prod (1 - eps_d) over all values d, which
                     bounds that of independent ones from above; eps_d between the model's Gaussian
                     and that with the mean and spread that its errors have */
  double accuracy_epsilon; /* eps_d of the accuracy alone */
  bool vacuous;            /* the bound says no more than |A^ - A| <= 2 h R */
} fc_fidelity;
/* Local. fidelity (n) of the horizons, by the means. Trajectories whose episodes the model was
 * trained on are passed over; DATA if none is left, USAGE if a horizon is not within 1 to K. */
fc_err fc_dynamics_fidelity(const fc_dynamics *d, const fc_scenario *s, const fc_trajectories *t,
                            const int64_t *horizon, int n, fc_fidelity *fidelity);

#endif
