/* cnn.c - times training steps of the image classifier; tests/bench/cnn.py holds them against
 * PyTorch's.
 *
 *   ninja bench_cnn && OMP_NUM_THREADS=1 tests/bench_cnn CHANNELS CHANNELS HIDDEN BATCH STEPS
 *
 * Random images of 28 x 28, ten classes; a step is a gradient and SGD. Prints the seconds of each
 * step, one a line. A program to look at, not a test. */
#include "fedcell/fc_cnn.h"
#include "fedcell/fc_mem.h"
#include "fedcell/fc_timer.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SIDE = 28, CLASSES = 10, MOST = 1024 };

static uint8_t pixels[MOST][SIDE * SIDE];
static const uint8_t *rows[MOST];
static int32_t labels[MOST];

static void draw_images(void) {
  fc_rng rng = fc_rng_open(1, FC_RNG_TEST, 0, 0);
  for (int i = 0; i < MOST; i++) {
    rows[i] = pixels[i];
    labels[i] = (int32_t)fc_rng_below(&rng, CLASSES);
    for (int p = 0; p < SIDE * SIDE; p++) pixels[i][p] = (uint8_t)fc_rng_below(&rng, 256);
  }
}

static fc_err run(const fc_cnn_shape *shape, int batch, int steps) {
  const fc_images images = {.n = batch, .pixels = rows, .labels = labels};
  const size_t n = fc_cnn_weight_count(shape);
  fc_cnn *cnn = NULL;
  float *w = NULL, *dw = NULL;
  FC_CHECK(batch >= 1 && batch <= MOST, USAGE, "BATCH is %d, allowed is 1 to %d", batch, MOST);
  FC_TRY(fc_cnn_create(shape, batch, &cnn));
  FC_TRY(fc_alloc(n, sizeof *w, &w));
  FC_TRY(fc_alloc(n, sizeof *dw, &dw));
  fc_cnn_init(shape, 1, w);
  for (int k = 0; k < steps; k++) {
    fc_loss_result ignored = {0};
    const double begin = fc_wall_time_s();
    memset(dw, 0, n * sizeof *dw);
    FC_TRY(fc_cnn_grad(cnn, w, &images, dw, &ignored));
    fc_k_sgd(w, NULL, dw, (fc_sgd){.learning_rate = 0.01F}, k + 1, (int64_t)n);
    printf("%.9f\n", fc_wall_time_s() - begin);
  }
  fc_free(w);
  fc_free(dw);
  fc_cnn_destroy(&cnn);
  return FC_ERR_OK;
}

int main(int argc, char **argv) {
  if (argc != 6) {
    fprintf(stderr, "usage: bench_cnn CHANNELS CHANNELS HIDDEN BATCH STEPS\n");
    return 2;
  }
  draw_images();
  const fc_cnn_shape shape = {.height = SIDE,
                              .width = SIDE,
                              .channels = {atoi(argv[1]), atoi(argv[2])},
                              .hidden = atoi(argv[3]),
                              .classes = CLASSES};
  fc_err err = run(&shape, atoi(argv[4]), atoi(argv[5]));
  if (err != FC_ERR_OK) fprintf(stderr, "bench_cnn: %s\n", fc_err_message());
  return err != FC_ERR_OK;
}
