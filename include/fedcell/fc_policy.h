/* fc_policy.h - T-ELLM whole: a policy is prepared once, and judged in the real environment, or in
 * the learned one to see how far that drifts.
 *
 *   fc_policy_prepare(comm, cfg, &request, &folder);   // trajectories -> learned environment ->
 *                                                      // warm start -> GRPO; kept in the cache
 *   fc_policy_run(comm, cfg, &run, &summary);          // trials of policy.agent: a result file
 *
 * What is prepared depends on all options but `seed` and evaluation.*, so that a policy is judged
 * elsewhere without training it anew. Each stage's product is kept by itself under a name that
 * tells what it depends on: a change of grpo.* alone does not collect trajectories again. */
#ifndef FC_POLICY_H
#define FC_POLICY_H

#include "fedcell/fc_agent.h"
#include "fedcell/fc_dynamics.h"
#include "fedcell/fc_federation.h"
#include "fedcell/fc_llm.h"

/* Local. All option tables of the program: those of fc_federation_tables, then those of this
 * system, which count in study: policy alone. */
const fc_option_table *fc_policy_tables(size_t *n);
/* Local. As fc_federation_check. */
fc_err fc_policy_check(fc_config *cfg);

/* ---- collecting (collect.c) -------------------------------------------------------------------
 */

/* Collective. Ranks run trajectories of their own in the real environment: trajectories.random of
 * them with random selections, the others with the eps-greedy tool; all ranks get all.
 * on_trajectory: after each of this rank's. */
fc_err fc_policy_collect(const fc_comm *comm, const fc_config *cfg, const fc_scenario *s,
                         const char *checkpoint, volatile sig_atomic_t *stop,
                         void (*on_trajectory)(void *arg, int64_t done, int64_t all), void *arg,
                         fc_trajectories **out);
extern const fc_option_table fc_trajectories_options; /* trajectories.* */

/* ---- training with rewards (train_*.c) ---------------------------------------------------------
 */

/* After an iteration; what users of such trainers expect, over all ranks. */
typedef struct {
  int64_t iteration, iterations;
  double reward_mean, reward_std;       /* of a step, over the batch */
  double return_mean;                   /* sum over an episode */
  double accuracy, energy_j;            /* last round's accuracy, mean energy of a round */
  double zero_spread;                   /* share of the rounds t whose rewards are all alike */
  double kl_reference, kl_old, entropy; /* per token */
  double clip_low, clip_high;           /* share of the terms that a limit of the ratio binds */
  double effective_sample;              /* (sum rho)^2 / (n sum rho^2) */
  double gradient_norm, value_loss, explained_variance;
  double length_mean, length_max;           /* tokens of an answer */
  double invalid;                           /* share of the answers */
  double rollout_s, update_s, tokens_per_s; /* wall clock; generated tokens */
} fc_train_report;

typedef struct {
  const char *algorithm; /* "grpo" or "ppo": the agent that is trained, no option of its own */
  const char *checkpoint;
  volatile sig_atomic_t *stop;
  void (*on_iteration)(void *arg, const fc_train_report *r); /* all ranks; may be NULL */
  void *arg;
} fc_train_request;
/* Collective. GRPO or PPO of `llm` in learned environments; ranks run episodes of
 * their own. The trained policy is left in llm; the reports of all iterations in *reports (caller
 * frees with fc_free). The same bits on any number of ranks. */
fc_err fc_policy_train(const fc_comm *comm, const fc_config *cfg, const fc_scenario *s,
                       const fc_dynamics *d, const fc_trajectories *starts,
                       const fc_train_request *request, fc_llm *llm, fc_train_report **reports,
                       int64_t *n_reports);
extern const fc_option_table fc_grpo_options, fc_reward_options;

/* Collective. The TD3 + LSTM agent `fldlt3`, trained in the same environment with as many steps;
 * writes its networks into `folder`. Reports as of fc_policy_train; what they do not have is NAN.
 */
fc_err fc_fldlt3_train(const fc_comm *comm, const fc_config *cfg, const fc_scenario *s,
                       const fc_dynamics *d, const fc_trajectories *starts,
                       const fc_train_request *request, const char *folder,
                       fc_train_report **reports, int64_t *n_reports);
extern const fc_option_table fc_fldlt3_options; /* fldlt3.* */

/* ---- the whole (prepare.c, evaluate.c) --------------------------------------------------------
 */

typedef struct {
  const char *stage; /* "trajectories", "dynamics", "warm-up", "training" */
  int64_t done, all;
  const char *text; /* one line with the stage's figures */
} fc_prepare_report;
typedef struct {
  bool again; /* make it even if the cache has it */
  volatile sig_atomic_t *stop;
  void (*on_progress)(void *arg, const fc_prepare_report *r); /* rank 0; may be NULL */
  void *arg;
  const fc_fact *facts;
  size_t n_facts;
} fc_prepare_request;
/* Collective. What policy.agent needs, and the environment in which it is judged. *folder (caller
 * frees): where the last of it lies, the policy where there is one. NULL: nothing is needed. */
fc_err fc_policy_prepare(const fc_comm *comm, const fc_config *cfg,
                         const fc_prepare_request *request, char **folder);

typedef struct {
  const char *agent, *environment; /* the second borrowed from the configuration */
  int64_t trials, rounds;
  double cwpem, cwpem_printed, accuracy, energy_j; /* means over trials: sum of rewards, the same
                                                      with [TELLM (12)] as printed, last accuracy,
                                                      energy a round */
  double cwpem_half, accuracy_half, energy_half;   /* half of the 95 % interval (Student's t) */
  double invalid, infeasible; /* shares of the rounds; of the selected devices */
} fc_policy_summary;
/* Collective. evaluation.trials episodes of evaluation.rounds rounds in evaluation.environment,
 * with seeds seed, seed+1, ...; shared out over the ranks; the result file of request->output.
 * Resumes from finished trials. */
fc_err fc_policy_run(const fc_comm *comm, const fc_config *cfg, const fc_run_request *request,
                     const fc_prepare_request *prepare, fc_policy_summary *summary);

/* Local. DATA with all that a result file of this study violates of what it must hold. */
fc_err fc_policy_check_result(const char *path);

/* What a study will need, told by `fedcell check` before anything runs. */
typedef struct {
  int devices;
  int64_t rounds, trials; /* of an evaluation */
  size_t classifier_weights, dynamics_weights, policy_weights, trained_weights;
  bool policy_is_missing;        /* policy.model is not here; counted by its published shape */
  double rank_bytes, node_bytes; /* of the hungriest stage */
  double memory_bytes;           /* of this node; 0: the system does not tell */
  double collect_flop, dynamics_flop, warm_up_flop, training_flop, trials_flop; /* 0: not needed */
} fc_policy_estimate;
/* Local (reads the data's sizes and the shape of policy.model). */
fc_err fc_policy_estimate_of(fc_config *cfg, int ranks, int threads, fc_policy_estimate *out);

/* Collective. What the stages logged that policy.agent needs, into its result. */
void fc_policy_put_logs(const fc_comm *comm, const fc_config *cfg, fc_store_file *f);
/* Local. As fc_result_column, of the result files of policies. */
const fc_column *fc_policy_result_column(size_t i, const char **group);

#endif
