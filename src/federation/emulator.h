/* emulator.h - what the server does to the emulator: a model of its own beside the original, with
 * some or all of its blocks, that devices work on and that the server trains on public samples
 * between rounds [JCPBA, step 5; FedBiOT].
 *
 * The emulator's weights are W0 + s B A: W0 the original blocks', psi = (A, B) the server's
 * low-rank factors, merged in. While the server trains, W0 and the current adapter lie in the
 * emulator's shared weights and psi apart; after it, psi is merged in and the adapter's base is W0
 * again, since devices bring the adapter themselves. */
#ifndef EMULATOR_H
#define EMULATOR_H

#include "cut.h"

typedef struct fc_emulator fc_emulator;

/* Which of the original's blocks it has: the adapter's (adapter.last_blocks), and of the others so
 * many, evenly spread, first and last among them. */
typedef struct {
  int kept;
  bool distills; /* the server's steps learn from the original, else from the targets */
} fc_emulator_plan;

/* Local. The original's block that each of the emulator's is: layer (kept + adapter). */
void fc_emulator_blocks(int layers, int adapter, int kept, int *layer);

/* Collective. Takes the place of the run's model: fed->task.model, its weights, what is trained (of
 * the same size as before) and the threads' workspaces are the emulator's from here on; the
 * original's are kept inside, and name the trained weights in results. Also after a failure the
 * caller destroys *out. */
fc_err fc_emulator_create(fc_federation *fed, const fc_emulator_plan *plan, fc_emulator **out);
void fc_emulator_destroy(fc_emulator **e);
/* Local. The faults of server.*. */
void fc_emulator_check_options(fc_config *cfg);
/* Local. What it takes on every rank, and on the node, beside the run's model. */
fc_err fc_emulator_bytes(const fc_federation *fed, const fc_emulator_plan *plan, int ranks,
                         int threads, double *rank_bytes, double *node_bytes);
/* Local. How many weights the server's low-rank factors have, and will have. */
size_t fc_emulator_factors(const fc_emulator *e);
fc_err fc_emulator_expect_factors(const fc_federation *fed, const fc_emulator_plan *plan,
                                  double *factors);
/* Collective. So many steps of the server with the current adapter fed->theta; the student has that
 * view (NULL: whole). The round takes the server's time and loss. */
fc_err fc_emulator_tune(fc_federation *fed, fc_emulator *e, const fc_block_view *view,
                        int64_t steps, fc_round *round);
/* Collective. Test figures of the original with the adapter. */
fc_err fc_emulator_evaluate_original(fc_federation *fed, fc_emulator *e, fc_metrics *m);
/* Collective; psi and its optimiser's state. */
void fc_emulator_save(fc_federation *fed, const fc_emulator *e, fc_store_file *f);
fc_err fc_emulator_load(fc_federation *fed, fc_emulator *e, const fc_store_reader *r);

#endif
