/* fc_solver.h - resource optimisers: a plain problem in, a plain solution out.
 *
 *   fc_jcpba_problem p = {.rows = {n, first}, .compute_flops = f, ...};  // this rank's clients
 *   fc_jcpba_solution s = {.pruning = beta, .bandwidth_hz = b};         // (n) each, the caller's
 *   FC_TRY(fc_jcpba_solve(&p, &over, &s));
 *   if (s.answer.status == FC_INFEASIBLE) ... s.answer.reason ...
 *
 * Devices are spread over the ranks in any way that gives every one to exactly one rank. All that
 * couples them is a few sums and largest values over all devices, which go through one fc_reduction
 * (fc_sum.h; NULL: this rank alone). The sums are exact, so any number of ranks and threads gets
 * the same answer, bit for bit. No solver reads, writes or prints.
 *
 * Values must be finite and not negative (`switch` apart): who makes a problem sees to that
 * (fc_problem.h does for files). What cannot be served is no failure: the answer is FC_INFEASIBLE
 * with a reason that names the constraint. SI units. A solution is within 1e-6 (mostly 1e-9) of
 * the optimum, relative, unless its method says otherwise, and meets every constraint to 1e-9.
 *
 * fc_solver_find gives a solver by its name, with the table of its problem's and its solution's
 * fields: reading, writing and generating problems follow from these tables alone. */
#ifndef FC_SOLVER_H
#define FC_SOLVER_H

#include "fedcell/fc_err.h"
#include "fedcell/fc_sum.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { FC_REASON_SIZE = 256 };

/* Every problem begins with its rows (devices, clients, links, modules): n of them lie on this
 * rank, the first of these is number `first` of all. */
typedef struct {
  int64_t n, first;
} fc_rows_here;

typedef enum { FC_OPTIMAL, FC_INFEASIBLE } fc_solver_status;

/* Every solution begins with its answer, the same on all ranks. */
typedef struct {
  fc_solver_status status;
  char reason[FC_REASON_SIZE]; /* "" where optimal */
} fc_answer;

/* ---- jcpba: client-specific pruning and bandwidth [JCPBA (10)] ---------------------------------
 *
 *   min over beta, B of max_k T_k,   T_k = M (a + e0 (1-beta_k)) / f_k                [JCPBA (6)]
 *     + (|wA| + (1-beta_k) |wE|) / (B_k e_dn,k) + |dwA| / (B_k e_up,k)                [JCPBA (8)]
 *   with e = log2(1 + p H / N0), subject to
 *   C1 sum B_k <= B, C2 B_k >= 0, C3 adapter + fixed + (1-beta_k) emulator bytes <= memory_k,
 *   C4 min <= beta_k <= max, C5 mean(beta) <= mean_max. */
typedef enum { FC_JCPBA_EXACT, FC_JCPBA_BCD } fc_jcpba_method;

typedef struct {
  fc_rows_here rows;
  const double *compute_flops;                                           /* (n) f_k, FLOP/s */
  const double *downlink_gain, *uplink_gain, *tx_power_w, *memory_bytes; /* (n) */
  double server_power_w, bandwidth_hz, noise_power_w;
  double iterations, adapter_flop, emulator_flop; /* M, a and e0 per iteration */
  double adapter_bits, emulator_bits, update_bits;
  double adapter_bytes, emulator_bytes, fixed_bytes;
  double pruning_min, pruning_max, pruning_mean_max;
  int method; /* fc_jcpba_method */
} fc_jcpba_problem;

typedef struct {
  fc_answer answer;
  double latency_s;     /* max_k T_k of what follows */
  double lower_bound_s; /* no allocation is faster: proved by duality, whatever the method */
  double *pruning;      /* (n) beta_k */
  double *bandwidth_hz; /* (n) B_k */
  int64_t iterations;   /* exact: trial latencies; bcd: alternations */
} fc_jcpba_solution;

/* Collective. EXACT: the global optimum to 1e-9. BCD: Algorithm 1 of [JCPBA], which may stop above
 * it. NUMERIC if the numbers leave the range of doubles. */
fc_err fc_jcpba_solve(const fc_jcpba_problem *p, const fc_reduction *over, fc_jcpba_solution *out);

/* ---- bandwidth: the least common delay of many links [SW (13)-(20), Algorithm 1] ----------------
 *
 *   min E  with  bits_l / (W d_l log2(1 + S_l / (I_l + W N0 d_l))) <= E,  sum d_l <= 1
 * and d_l >= least_share_l, where a link is promised one. The rate rises with the share d, is
 * concave, and saturates at S/(N0 ln 2). */
typedef struct {
  fc_rows_here rows;
  const double *signal_w, *interference_w, *bits; /* (n) */
  double bandwidth_hz, noise_psd_w_per_hz;
  const double *least_share; /* (n) ours; NULL: none */
} fc_bandwidth_problem;

typedef struct {
  fc_answer answer;
  double delay_s;
  double *share; /* (n); a link without bits needs none */
  int64_t steps; /* trial delays */
} fc_bandwidth_solution;

/* Collective. INFEASIBLE where a link has no signal, or more is promised than there is. */
fc_err fc_bandwidth_solve(const fc_bandwidth_problem *p, const fc_reduction *over,
                          fc_bandwidth_solution *out);

/* ---- switch: which modules a device subscribes to [SW (12)] -------------------------------------
 *
 *   min sum (gradient - dual) beta  [+ |beta - current|^2 / (2 step)]
 *   over 0 <= beta <= 1, sum beta <= max_subscriptions */
typedef struct {
  fc_rows_here rows;
  const double *gradient, *dual; /* (n), any sign */
  const double *current;         /* (n) in [0, 1]; NULL if step is NAN */
  double max_subscriptions;
  double step; /* NAN: no second term, and a vertex is the answer */
} fc_switch_problem;

typedef struct {
  fc_answer answer;
  double *subscription; /* (n) beta; of equal entries the first is taken */
} fc_switch_solution;

/* Local. */
fc_err fc_switch_solve(const fc_switch_problem *p, fc_switch_solution *out);

/* ---- altd: frequency, power and bandwidth of least energy by a deadline [TELLM, P2]
 * --------------
 *
 *   min sum_n zeta w_n f_n^2 + p_n s / v_n,  w_n = C D_n I,  v_n = B_n log2(1 + p_n G_n / (N0 B_n))
 *   with w_n / f_n + s / v_n <= T, f_n <= f_max, p_n <= p_max             [TELLM (5)-(10)]
 * and B_n = B/n (EQUAL), or any B_n with sum B_n <= B (OPTIMAL: jointly convex in times and bands).
 * Device by device EXACT takes the root of the energy's derivative in the time on the air; ALTD
 * alternates frequency, power and the deadline's multiplier [Yao+Ansari 2021]. Both agree. */
typedef enum { FC_ALTD_EQUAL, FC_ALTD_OPTIMAL } fc_altd_bandwidth;
typedef enum { FC_ALTD_EXACT, FC_ALTD_ALTERNATING } fc_altd_method;

typedef struct {
  fc_rows_here rows;
  const double *samples, *gain, *f_max_hz, *p_max_w; /* (n) D, G, limits */
  double deadline_s, model_bits, bandwidth_hz, noise_psd_w_per_hz;
  double local_iterations, cycles_per_sample, switched_capacitance; /* I, C, zeta */
  int bandwidth;                                                    /* fc_altd_bandwidth */
  int method;                                                       /* fc_altd_method */
} fc_altd_problem;

/* A device that has nothing to compute (to send) is given its highest frequency (power). */
typedef struct {
  fc_answer answer;
  double *infeasible_devices; /* (n) 1: misses the deadline at f_max and p_max with its share
                                 (EQUAL) or with the whole band (OPTIMAL); else 0 */
  double *frequency_hz, *power_w, *bandwidth_hz, *time_s, *energy_j; /* (n) */
  double total_energy_j;
} fc_altd_solution;

/* Collective. INFEASIBLE if a device is, or if all together need more than the band. */
fc_err fc_altd_solve(const fc_altd_problem *p, const fc_reduction *over, fc_altd_solution *out);

/* ---- success: probability that an upload arrives [SW (15)] --------------------------------------
 *
 * Rayleigh fading, interferers in a Poisson field. As printed:
 *   exp( - W d N0 theta r^2 / (P (2 phi)^(alpha/2-1))
 *        - phi pi r^2 theta^(2/alpha) int_0^inf (1 - e^(-c x)) / (1 + x^(alpha/2)) dx ),
 *   c = (12/5) pi theta^(2/alpha).
 * Corrected: r^alpha for r^2 / (2 phi)^(alpha/2-1); c = (12/5) pi phi r^2 theta^(2/alpha), the
 * correlation of a user with its own cell; theta P_I/P for theta where interference is meant, as
 * the interferers send with their own power P_I. */
typedef enum { FC_FORMULAS_PRINTED, FC_FORMULAS_CORRECTED } fc_formulas;

/* The integral, tabulated to 1e-9: for problems by the thousand. Any number of threads may use it.
 */
typedef struct fc_success_table fc_success_table;
/* Local. DATA unless the exponent is above 2. */
fc_err fc_success_table_create(double pathloss_exponent, fc_success_table **out);
void fc_success_table_destroy(fc_success_table **t); /* accepts NULL; leaves *t == NULL */

typedef struct {
  fc_rows_here rows; /* none */
  double share, bandwidth_hz, noise_psd_w_per_hz, threshold, distance_m, power_w;
  double pathloss_exponent, density_per_m2;
  double interferer_power_w;     /* P_I, corrected only; NAN: P */
  int formulas;                  /* fc_formulas */
  const fc_success_table *table; /* of this exponent; NULL: integrate */
} fc_success_problem;

typedef struct {
  fc_answer answer;
  double probability; /* 0 where alpha <= 2: the interference of the plane is infinite */
} fc_success_solution;

/* Local. */
fc_err fc_success_solve(const fc_success_problem *p, fc_success_solution *out);

/* ---- power: a device's transmit power [SW (14), (21)] -------------------------------------------
 *
 * Global minimum over 0 < P <= max_power_w. As printed, with lambda_n the success probability,
 *   sum_n (1-beta_n) (1-lambda_n(P)) (16 xi zeta2/eps B_n + 4 zeta1/eps) + mu sum_n beta_n P E.
 * Corrected: 1 - beta_n lambda_n(P) for the first two factors, 8 for 16, and the corrected lambda,
 * interferers at max_power_w unless told otherwise. */
typedef struct {
  fc_rows_here rows;
  const double *selected, *share, *previous_bound; /* (n) of modules: beta, d, B */
  double max_power_w, delay_s, mu, xi, eps, zeta1, zeta2;
  double bandwidth_hz, noise_psd_w_per_hz, threshold, distance_m;
  double pathloss_exponent, density_per_m2;
  double interferer_power_w;     /* corrected only; NAN: max_power_w */
  int formulas;                  /* fc_formulas */
  const fc_success_table *table; /* as above */
  double tolerance;              /* of the objective; below 1e-7, 0 among it: 1e-7 */
} fc_power_problem;

typedef struct {
  fc_answer answer;
  double power_w;
  double objective; /* there; where P -> 0 is the infimum, P is so small that this is it but 1e-9 */
} fc_power_solution;

/* Local. The minimum is found by branch and bound. */
fc_err fc_power_solve(const fc_power_problem *p, fc_power_solution *out);

/* ---- deft: which client fine-tunes which blocks [DEFT] ------------------------------------------
 *
 * Each of L blocks has one owner. Client k owns n_k blocks in a row; the deepest of them (the
 * farthest from the output) lies at depth q_k, 1 being the block next to the output:
 *   min over owners, B of max_k T_k,    over the clients that own blocks,
 *   T_k = M F(q_k, n_k) / f_k + (D + n_k d) / (B_k e_dn,k) + n_k u / (B_k e_up,k)
 *   F(q, n) = head + L forward + q activation + n weight            FLOP per iteration
 * with sum B_k <= B and base + q_k activation + n_k optimiser bytes <= memory_k. Who owns nothing
 * gets no band and no bound on its time. No client ever gains from blocks that are not in a row.
 *
 *   CRUNCH  owners at bands of B/K: for a latency, how many blocks each client could serve (cut),
 *           from the deepest on the client that serves most (recount), until all are served (check)
 *   JBBA    owners and bandwidths together: Lagrangian relaxation of "one run of blocks a client",
 *           shortest paths, dual ascent [DEFT]
 *   EXACT   the optimum, over all subsets of clients; at most FC_DEFT_EXACT_MAX of them
 * with bandwidths OPTIMAL (for the owners found) or EQUAL (B/K each, K all clients). */
typedef enum { FC_DEFT_JBBA, FC_DEFT_CRUNCH, FC_DEFT_EXACT } fc_deft_method;
typedef enum { FC_DEFT_OPTIMAL, FC_DEFT_EQUAL } fc_deft_bandwidth;
enum { FC_DEFT_EXACT_MAX = 12, FC_DEFT_BLOCKS_MAX = 96 };

typedef struct {
  fc_rows_here rows;
  const double *compute_flops;                             /* (n) f_k, FLOP/s */
  const double *downlink_spectral_efficiency;              /* (n) e_dn, bit/s/Hz */
  const double *uplink_spectral_efficiency, *memory_bytes; /* (n) */
  double bandwidth_hz;                                     /* B */
  double blocks, iterations;                               /* L (whole), M */
  double head_flop, forward_flop_per_block;                /* an iteration, any owner */
  double activation_flop_per_block, weight_flop_per_block; /* of q, of n */
  double download_bits, download_bits_per_block, upload_bits_per_block; /* D, d, u */
  double base_bytes, activation_bytes_per_block, optimizer_bytes_per_block;
  int method;    /* fc_deft_method */
  int bandwidth; /* fc_deft_bandwidth */
} fc_deft_problem;

typedef struct {
  fc_answer answer;
  double latency_s;     /* max_k T_k of what follows */
  double lower_bound_s; /* no owners are faster (at such bandwidths): proved, whatever the method */
  double *first_block; /* (n) the deepest it owns, 0 being the farthest from the output; -1: none */
  double *blocks;      /* (n) n_k: it owns first_block ... first_block + n_k - 1 */
  double *bandwidth_hz; /* (n) B_k, 0 without blocks */
  int64_t iterations;   /* trial latencies */
} fc_deft_solution;

/* Collective: every rank is given all rows and solves the whole, so the answer is the same on any
 * number of them. A client that cannot work (no speed, no link, too little memory) owns nothing.
 * CRUNCH and JBBA may miss an assignment where memory barely allows one. DATA: more blocks, or for
 * EXACT more clients, than the limits above. */
fc_err fc_deft_solve(const fc_deft_problem *p, const fc_reduction *over, fc_deft_solution *out);

/* ---- split: who takes part in a round of split learning, and with which bands [Split LoRA] ------
 *
 * The devices embed and hold the head, the server runs the encoder, so activations and gradients
 * cross the link in each of M iterations:
 *   T = max over S of M (F_dev/f_k + (a_up/e_up,k + a_dn/e_dn,k)/B_k) + M |S| F_srv/f_srv
 * What is sent once a round joins a_up or a_dn as its M-th part. A convergence bound wants many
 * participants, late rounds more than early ones; a budget that holds on average over the rounds
 * becomes a queue (Lyapunov), and each round minimises over S, not empty, and B, sum B_k <= B:
 *   LATENCY        V omega/|S| + Q T                      exact
 *   ENERGY         V omega/|S| + sum_S Z_k E_k            with T <= deadline
 *   PARTICIPATION  V omega/|S| - sum_S P_k                with T <= deadline
 * with E_k = p_k M a_up/(B_k e_up,k) + compute energy. For ENERGY and PARTICIPATION the bands are
 * optimal for each S, and S is the best prefix of an order, then improved by adding, dropping and
 * swapping devices: no better S is one such move away. Only the queue of its budget is read. */
typedef enum { FC_SPLIT_LATENCY, FC_SPLIT_ENERGY, FC_SPLIT_PARTICIPATION } fc_split_budget;

typedef struct {
  fc_rows_here rows;
  const double *compute_flops;                 /* (n) f_k */
  const double *downlink_spectral_efficiency;  /* (n) e_dn, bit/s/Hz */
  const double *uplink_spectral_efficiency;    /* (n) e_up */
  const double *tx_power_w, *compute_energy_j; /* (n) p_k, a round's; ENERGY alone, else NULL */
  const double *energy_queue;                  /* (n) Z_k: ENERGY; NULL: all empty */
  const double *participation_queue;           /* (n) P_k: PARTICIPATION; NULL: all empty */
  double bandwidth_hz, server_flops;           /* B, f_srv */
  double iterations, device_flop, server_flop; /* M, F_dev, F_srv an iteration */
  double uplink_bits, downlink_bits;           /* a_up, a_dn an iteration */
  double penalty_weight, round_weight;         /* V, omega_t */
  double latency_queue;                        /* Q: LATENCY; NAN: empty */
  double deadline_s;                           /* ENERGY and PARTICIPATION alone, else NAN */
  int budget;                                  /* fc_split_budget */
} fc_split_problem;

typedef struct {
  fc_answer answer;
  double latency_s, objective;
  double *selected;     /* (n) 0 or 1 */
  double *bandwidth_hz; /* (n) 0 where not selected */
} fc_split_solution;

/* Collective: every rank is given all rows and solves the whole. */
fc_err fc_split_solve(const fc_split_problem *p, const fc_reduction *over, fc_split_solution *out);

/* Local. A queue after a round: [queue + spent - budget]^+. Latency: T and its mean allowed;
 * energy: E_k and its mean allowed; participation: the share of rounds promised, and 1 if it took
 * part. The mean of what was spent stays below budget + queue / rounds. */
static inline double fc_queue_next(double queue, double spent, double budget) {
  const double next = queue + spent - budget;
  return next < 0 ? 0 : next; /* a NaN stays one */
}

/* ---- the table of solvers --------------------------------------------------------------------
 */

typedef enum {
  FC_FIELD_NUMBER,          /* double */
  FC_FIELD_OPTIONAL,        /* double; NAN where absent or null */
  FC_FIELD_CHOICE,          /* int, the index of one of `choices`; the first is the default */
  FC_FIELD_COLUMN,          /* const double *, one value a row */
  FC_FIELD_OPTIONAL_COLUMN, /* the same; NULL where absent */
  FC_FIELD_INTEGER,         /* of a solution: int64_t */
  FC_FIELD_LIST /* of a solution: double *, the numbers of the rows in which it is not 0 */
} fc_field_kind;

enum { FC_FIELDS_MAX = 64 }; /* of a solver's problem */

/* How a field is made up in a generated problem. */
typedef enum {
  FC_DRAW_NONE,        /* it cannot be left out */
  FC_DRAW_CONSTANT,    /* a */
  FC_DRAW_PER_ROW,     /* a times the number of rows (numbers only) */
  FC_DRAW_UNIFORM,     /* in (a, b) */
  FC_DRAW_LOG_UNIFORM, /* in (a, b), its logarithm uniform */
  FC_DRAW_EXPONENTIAL  /* of mean a: the power gain of Rayleigh fading */
} fc_draw_kind;
typedef struct {
  fc_draw_kind kind;
  double a, b;
} fc_draw;

typedef struct {
  const char *path; /* "server.bandwidth_hz"; "clients[].memory_bytes": one a row; "gradient[]" */
  fc_field_kind kind;
  size_t offset;      /* in the problem or solution */
  double least, most; /* what is allowed */
  fc_draw draw;
  const char *choices; /* with spaces between */
} fc_solver_field;

typedef struct {
  const char *name, *meaning;
  size_t problem_bytes, solution_bytes;
  const fc_solver_field *input, *output; /* each ends with a path of NULL */
  bool local;                            /* the rows are one device's: not spread over ranks */
  /* Collective, or Local. On the structs above. */
  fc_err (*solve)(const void *problem, const fc_reduction *over, void *solution);
} fc_solver;

/* Local. NULL beyond the last, or for an unknown name. */
const fc_solver *fc_solver_at(size_t i);
const fc_solver *fc_solver_find(const char *name);
const char *fc_solver_name(size_t i);
const char *fc_solver_meaning(size_t i);

#endif
