/* fc_cnn.h - the image classifier of [McMahan+ 2017]: conv 5x5, max-pool 2, conv 5x5, max-pool 2,
 * dense ReLU, dense. ReLU after each convolution; convolutions keep the image's size (padding 2).
 *
 *   fc_cnn_shape s = {.height = 28, .width = 28, .channels = {32, 64}, .hidden = 512, .classes =
 * 10}; fc_cnn_create(&s, max_batch, &cnn);                 // one thread's workspace
 *   fc_cnn_init(&s, seed, w);                           // w (fc_cnn_weight_count)
 *   fc_cnn_grad(cnn, w, &images, dw, &result);
 *
 * With the shape above: 1,663,370 weights, 1,662,752 of them without biases. All weights lie in one
 * flat vector; convolutions are matrix products over unfolded images. All Local; a fc_cnn belongs
 * to one thread. A sample's logits do not depend on the other samples of its batch. */
#ifndef FC_CNN_H
#define FC_CNN_H

#include "fedcell/fc_err.h"
#include "fedcell/fc_model.h"
#include <stddef.h>
#include <stdint.h>

typedef struct {
  int height, width; /* both divisible by 4 */
  int channels[2];   /* of the two convolutions */
  int hidden, classes;
} fc_cnn_shape;
/* SHAPE if a number is out of range. */
fc_err fc_cnn_shape_check(const fc_cnn_shape *shape);

typedef struct {
  const char *name;   /* as in PyTorch: "conv1.weight", ..., "fc2.bias" */
  int64_t rows, cols; /* (O,I) of a matrix: convolutions (C_out, C_in 5 5); biases have rows = 1 */
  size_t offset;      /* floats into w */
} fc_cnn_part;
enum { FC_CNN_PARTS = 8 };
void fc_cnn_parts(const fc_cnn_shape *shape, fc_cnn_part part[FC_CNN_PARTS]);
size_t fc_cnn_weight_count(const fc_cnn_shape *shape);
/* Uniform in +-1/sqrt(fan in), weights and biases, as PyTorch initialises. */
void fc_cnn_init(const fc_cnn_shape *shape, uint64_t seed, float *w);
/* FLOP of one sample's forward pass; forward and backward together take three times as many. */
double fc_cnn_forward_flop(const fc_cnn_shape *shape);

/* Samples of one mini-batch. */
typedef struct {
  int n;
  const uint8_t *const *pixels; /* (n), each height*width bytes */
  const int32_t *labels;        /* (n) */
  double mean, sd;              /* a pixel is taken as (value/255 - mean)/sd; sd 0: as value/255 */
} fc_images;

typedef struct fc_cnn fc_cnn;
fc_err fc_cnn_create(const fc_cnn_shape *shape, int max_batch, fc_cnn **out);
void fc_cnn_destroy(fc_cnn **cnn); /* accepts NULL; leaves *cnn == NULL */
size_t fc_cnn_bytes(const fc_cnn_shape *shape, int max_batch);

/* Forward only: adds to *result (cross entropy). NUMERIC if the loss is not finite, DATA for a
 * label out of range, SHAPE for more samples than max_batch. */
fc_err fc_cnn_loss(fc_cnn *cnn, const float *w, const fc_images *images, fc_loss_result *result);
/* Forward and backward: dw += d(mean loss)/dw. After a failure dw is undefined. */
fc_err fc_cnn_grad(fc_cnn *cnn, const float *w, const fc_images *images, float *dw,
                   fc_loss_result *result);
/* -log p of each sample of the latest call of the two above; borrowed until the next call. */
const float *fc_cnn_losses(const fc_cnn *cnn);
/* logits (n, classes). For tests. */
fc_err fc_cnn_logits(fc_cnn *cnn, const float *w, const fc_images *images, float *logits);

#endif
