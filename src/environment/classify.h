/* classify.h - the devices' classifiers: local training, losses and gradients on a device's
 * samples, accuracy on the test part [TELLM (1), (3)]. */
#ifndef CLASSIFY_H
#define CLASSIFY_H

#include "environment.h"

/* A workspace a thread; borrows the scenario. */
typedef struct fc_classify fc_classify;
fc_err fc_classify_create(const fc_scenario *s, fc_classify **out);
void fc_classify_destroy(fc_classify **c); /* accepts NULL */
int fc_classify_threads(const fc_classify *c);

/* The functions below work in the workspace of the calling thread of a team of that many. */

/* w (weights): a device's local model after I steps from where w is. The mini-batches are those of
 * (seed, update). */
fc_err fc_classify_train(fc_classify *c, int device, uint64_t seed, uint64_t update, float *w);

typedef struct {
  double loss, rms; /* mean and root mean square of the samples' losses */
} fc_probe;
/* On the device's probe samples; dw (weights) <- the gradient of the mean loss, NULL: not wanted.
 */
fc_err fc_classify_probe(fc_classify *c, int device, const float *w, float *dw, fc_probe *probe);

/* Starts a team of its own. */
fc_err fc_classify_accuracy(fc_classify *c, const float *w, double *accuracy);

#endif
