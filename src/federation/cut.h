/* cut.h - a model cut in two [JCPBA]: the emulator, its blocks [0, first), frozen on the devices
 * and possibly pruned for each, and the adapter, the last blocks with what follows them, which
 * devices train (adapter.last_blocks). What each of the two weighs and costs. */
#ifndef CUT_H
#define CUT_H

#include "federation.h"
#include "fedcell/fc_solver.h"

extern const fc_option_table fc_cut_options;

typedef struct {
  bool is_planned; /* simulated costs linear in the pruning rate */
  bool count_attention, count_head;
  double fixed_bytes; /* 0: counted */
} fc_cost_settings;
fc_cost_settings fc_cost_settings_read(const fc_config *cfg);

typedef struct {
  fc_cost_settings cost;
  double length;           /* mean tokens of a sequence */
  double bits;             /* of a weight */
  int layers, first;       /* all blocks; the adapter's first */
  double emulator_weights; /* |w^E|, of all its blocks */
  double adapter_weights;  /* |w^A|, sent down: its blocks and what else is trained */
  double update_weights;   /* |dw^A|, sent up: what is trained */
  double emulator_flop;    /* e0 a token: what of the work falls linearly with the pruning rate */
  double adapter_flop;     /* a a token: the rest */
  double fixed_bytes;      /* what training needs of a device's memory beside those weights */
} fc_cut;
/* Local. Of the model that devices work on, fed->task. After fc_cut_check. */
fc_err fc_cut_of(const fc_federation *fed, fc_cut *cut);
/* Local. USAGE where adapter.last_blocks leaves no emulator or no adapter. */
fc_err fc_cut_check(const fc_federation *fed);
/* Local. FLOP a token of forward and backward pass in that scope, as cost.* counts them. */
double fc_cut_flop(const fc_federation *fed, const fc_cut *cut, const fc_scope *scope);
/* Local. What the emulator keeps at that pruning rate, of every head and neuron the most important
 * [JCPBA (1)]: view (layers). */
void fc_cut_view(const fc_federation *fed, const fc_cut *cut, double pruning, fc_block_view *view);
/* Local. p->load of a device that works on its view: the emulator's kept part and the adapter down,
 * the update up [JCPBA (5)-(8)]. */
void fc_cut_bill(const fc_federation *fed, const fc_cut *cut, fc_participant *p);

/* Local. A link's rate is proportional to its share of the band, as solvers suppose. */
bool fc_rates_are_proportional(const fc_federation *fed);
/* Local. The faults of adapter.last_blocks, where the options tell how many blocks there are. */
void fc_cut_check_options(fc_config *cfg);

/* Collective. Puts heads and neurons of the emulator in order of importance, as jcpba.* says, in
 * the base weights that the node shares (importance.c). */
fc_err fc_sort_emulator(fc_federation *fed, const fc_cut *cut);
/* Local. What that takes on a rank while it lasts. */
double fc_sort_bytes(const fc_federation *fed, int threads);

/* Local. gradient += that of epsilon |A - A_received|^2 over the merged weights. */
void fc_fedbiot_pull(const fc_trainable *t, double epsilon, const float *theta,
                     const float *received, float *gradient);
/* Local. F(q, n) of DEFT: the four FLOP fields of *p, as fc_cut_flop counts what trains the n
 * blocks from depth q on. */
void fc_deft_work(const fc_federation *fed, const fc_cut *cut, fc_deft_problem *p);

#endif
