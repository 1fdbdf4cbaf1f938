/* oracle_cnn.c - fedcell's image classifier for test_cnn_parity.py.
 *
 *   oracle_cnn JOB.safetensors OUT.safetensors STEPS LEARNING_RATE
 *
 * JOB holds the weights, named and shaped as PyTorch's, "images" (batches, n, height, width) of
 * values 0 to 255, "labels" (batches, n) and "standard" (2), the mean and standard deviation that
 * pixels are taken by, all f32. OUT gets of the first batch "logits", "loss"
 * and "grad/PART", and after STEPS steps of SGD over the batches in turn "losses" and "w/PART",
 * parts as (rows, cols). Exit code 1 with a message when anything fails. */
#include "fedcell/fc_cnn.h"
#include "fedcell/fc_mem.h"
#include "fedcell/fc_safetensors.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
  fc_safetensors *file;
  fc_cnn_shape shape;
  fc_cnn_part part[FC_CNN_PARTS];
  fc_cnn *cnn;
  int batches, n;        /* images of each */
  uint8_t *pixels;       /* (batches, n, height, width) */
  const uint8_t **image; /* (batches, n) */
  int32_t *labels;       /* (batches, n) */
  float standard[2];     /* mean, sd */
  size_t count;          /* of weights */
  float *w, *dw;
} job;

static fc_err find(const job *j, const char *name, int dims, const fc_safetensor **out) {
  *out = fc_safetensors_find(j->file, name);
  FC_CHECK(*out, DATA, "no tensor %s", name);
  FC_CHECK((*out)->dims == dims, DATA, "tensor %s has %d dimensions, not %d", name, (*out)->dims,
           dims);
  return FC_ERR_OK;
}

static fc_err read_shape(job *j) {
  const fc_safetensor *conv1, *conv2, *fc2, *images;
  FC_TRY(find(j, "conv1.weight", 4, &conv1));
  FC_TRY(find(j, "conv2.weight", 4, &conv2));
  FC_TRY(find(j, "fc2.weight", 2, &fc2));
  FC_TRY(find(j, "images", 4, &images));
  j->batches = (int)images->shape[0];
  j->n = (int)images->shape[1];
  j->shape = (fc_cnn_shape){.height = (int)images->shape[2],
                            .width = (int)images->shape[3],
                            .channels = {(int)conv1->shape[0], (int)conv2->shape[0]},
                            .hidden = (int)fc2->shape[1],
                            .classes = (int)fc2->shape[0]};
  return fc_cnn_create(&j->shape, j->n, &j->cnn);
}

static fc_err read_weights(job *j) {
  j->count = fc_cnn_weight_count(&j->shape);
  fc_cnn_parts(&j->shape, j->part);
  FC_TRY(fc_alloc(j->count, sizeof *j->w, &j->w));
  FC_TRY(fc_alloc(j->count, sizeof *j->dw, &j->dw));
  for (int i = 0; i < FC_CNN_PARTS; i++) {
    const fc_cnn_part *p = &j->part[i];
    const fc_safetensor *t = fc_safetensors_find(j->file, p->name);
    FC_CHECK(t && fc_safetensor_elements(t) == p->rows * p->cols, SHAPE, "%s does not fit",
             p->name);
    FC_TRY(fc_safetensor_read_f32(t, j->w + p->offset));
  }
  return FC_ERR_OK;
}

static fc_err read_images(job *j) {
  const size_t n = (size_t)(j->batches * j->n);
  const size_t size = (size_t)(j->shape.height * j->shape.width);
  const fc_safetensor *images, *labels, *standard;
  float *values = NULL;
  FC_TRY(find(j, "standard", 1, &standard));
  FC_CHECK(fc_safetensor_elements(standard) == 2, SHAPE, "standard is not a mean and a deviation");
  FC_TRY(fc_safetensor_read_f32(standard, j->standard));
  FC_TRY(find(j, "images", 4, &images));
  FC_TRY(find(j, "labels", 2, &labels));
  FC_CHECK((size_t)fc_safetensor_elements(labels) == n, SHAPE, "labels are not one an image");
  FC_TRY(fc_alloc(n * size, sizeof *values, &values));
  FC_TRY(fc_alloc(n * size, sizeof *j->pixels, &j->pixels));
  FC_TRY(fc_alloc(n, sizeof *j->image, &j->image));
  FC_TRY(fc_alloc(n, sizeof *j->labels, &j->labels));
  FC_TRY(fc_safetensor_read_f32(images, values));
  for (size_t i = 0; i < n * size; i++) j->pixels[i] = (uint8_t)values[i];
  FC_TRY(fc_safetensor_read_f32(labels, values));
  for (size_t i = 0; i < n; i++) {
    j->labels[i] = (int32_t)values[i];
    j->image[i] = j->pixels + i * size;
  }
  fc_free(values);
  return FC_ERR_OK;
}

static fc_images batch(const job *j, int i) {
  const int at = i % j->batches * j->n;
  return (fc_images){.n = j->n,
                     .pixels = j->image + at,
                     .labels = j->labels + at,
                     .mean = j->standard[0],
                     .sd = j->standard[1]};
}

static fc_err gradient(job *j, int i, float *dw, float *mean_loss) {
  const fc_images images = batch(j, i);
  fc_loss_result r = {0};
  memset(dw, 0, j->count * sizeof *dw);
  FC_TRY(fc_cnn_grad(j->cnn, j->w, &images, dw, &r));
  *mean_loss = (float)(r.loss_sum / (double)r.count);
  return FC_ERR_OK;
}

enum { OUTPUTS = 3 + 2 * FC_CNN_PARTS };

typedef struct {
  fc_safetensor_source tensors[OUTPUTS];
  char names[OUTPUTS][40];
  size_t n;
} output;

static void put(output *out, const char *before, const char *name, int64_t rows, int64_t cols,
                const float *data) {
  snprintf(out->names[out->n], sizeof out->names[0], "%s%s", before, name);
  out->tensors[out->n] = (fc_safetensor_source){
      .name = out->names[out->n], .dims = 2, .shape = {rows, cols}, .data = data};
  out->n++;
}

static void put_parts(output *out, const job *j, const char *before, const float *values) {
  for (int i = 0; i < FC_CNN_PARTS; i++)
    put(out, before, j->part[i].name, j->part[i].rows, j->part[i].cols, values + j->part[i].offset);
}

static fc_err run(job *j, const char *path, int steps, float learning_rate) {
  const fc_images first = batch(j, 0);
  const fc_sgd sgd = {.learning_rate = learning_rate};
  float *logits = NULL, *losses = NULL, *first_gradient = NULL, loss = 0.0F;
  output out = {0};
  FC_TRY(fc_alloc((size_t)(j->n * j->shape.classes), sizeof *logits, &logits));
  FC_TRY(fc_alloc((size_t)steps, sizeof *losses, &losses));
  FC_TRY(fc_alloc(j->count, sizeof *first_gradient, &first_gradient));
  FC_TRY(fc_cnn_logits(j->cnn, j->w, &first, logits));
  FC_TRY(gradient(j, 0, first_gradient, &loss));
  for (int k = 0; k < steps; k++) {
    FC_TRY(gradient(j, k, j->dw, &losses[k]));
    fc_k_sgd(j->w, NULL, j->dw, sgd, k + 1, (int64_t)j->count);
  }
  put(&out, "logits", "", j->n, j->shape.classes, logits);
  put(&out, "loss", "", 1, 1, &loss);
  put(&out, "losses", "", 1, steps, losses);
  put_parts(&out, j, "grad/", first_gradient);
  put_parts(&out, j, "w/", j->w);
  FC_TRY(fc_safetensors_write(path, out.tensors, out.n, NULL));
  fc_free(logits);
  fc_free(losses);
  fc_free(first_gradient);
  return FC_ERR_OK;
}

static fc_err run_all(job *j, char **argv) {
  FC_TRY(fc_safetensors_open(argv[1], &j->file));
  FC_TRY(read_shape(j));
  FC_TRY(read_weights(j));
  FC_TRY(read_images(j));
  return run(j, argv[2], atoi(argv[3]), strtof(argv[4], NULL));
}

int main(int argc, char **argv) {
  if (argc != 5) {
    fprintf(stderr, "usage: oracle_cnn JOB.safetensors OUT.safetensors STEPS LEARNING_RATE\n");
    return 2;
  }
  job j = {0};
  fc_err err = run_all(&j, argv);
  if (err != FC_ERR_OK) fprintf(stderr, "oracle_cnn: %s: %s\n", fc_err_text(err), fc_err_message());
  fc_safetensors_close(&j.file);
  fc_cnn_destroy(&j.cnn);
  fc_free(j.pixels);
  fc_free(j.image);
  fc_free(j.labels);
  fc_free(j.w);
  fc_free(j.dw);
  return err != FC_ERR_OK;
}
