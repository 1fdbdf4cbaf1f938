/* bench_onednn.h - oneDNN's bf16 product as the yardstick of `fedcell bench gemm`. */
#ifndef BENCH_ONEDNN_H
#define BENCH_ONEDNN_H

#include "fedcell/fc_err.h"
#include <stdbool.h>

typedef struct fc_onednn fc_onednn;

/* Was the program built with it? */
bool fc_onednn_there(void);
/* y (N,O) = bf16(x) W^T of x (N,I), W (O,I), all f32 and borrowed; W is taken in whatever order of
 * bf16 oneDNN likes best. */
fc_err fc_onednn_create(const float *x, const float *W, float *y, int N, int I, int O,
                        fc_onednn **out);
/* Rounds x, multiplies; arg is an fc_onednn. */
fc_err fc_onednn_run(void *arg);
void fc_onednn_destroy(fc_onednn **d); /* accepts NULL; leaves *d == NULL */

#endif
