/* cnn.c - the forward and backward pass of the CNN [McMahan+ 2017].
 *
 * A convolution is a matrix product of unfolded images (samples height width, 25 in) with its
 * weights. The kernels want a pixel's channels side by side, PyTorch's weights have each channel's
 * window together: the convolutions' weights are reordered at the beginning of a pass and their
 * gradients at its end. ReLU follows the pooling, which gives the same values and gradients for a
 * quarter of the work. The unfolded images of a few samples at a time stay in the second-level
 * cache; the backward pass unfolds again rather than fetch them from memory. */
#include "cnn.h"
#include "fedcell/fc_mem.h"
#include <string.h>

/* What a few samples' unfolded images and sums may take; a single sample may take more. */
enum { CHUNK_BYTES = 1 << 20, MAX_BATCH = 1 << 16 };

enum { CONV1, CONV1_BIAS, CONV2, CONV2_BIAS, FC1, FC1_BIAS, FC2, FC2_BIAS };

typedef struct {
  int height, width, in, out; /* of what goes in */
  int weight, bias;           /* parts */
  int chunk;                  /* samples at a time */
  float *w, *dw;              /* (out, 25 in), a pixel's channels side by side */
  float *x, *dx;              /* (samples, height, width, in); dx NULL: not wanted */
  float *y, *dy;              /* (samples, height/2, width/2, out): pooled, ReLU */
  uint8_t *at;                /* as y: which pixel was the largest */
} conv;

struct fc_cnn {
  fc_cnn_shape shape;
  fc_cnn_part part[FC_CNN_PARTS];
  int max_batch;
  fc_slab *slab;
  conv conv[2];
  float *unfolded;         /* (chunk height width, 25 in) of either convolution */
  float *sums;             /* (chunk, height, width, out), before pooling */
  float *flat;             /* (samples, features), then its gradient */
  float *hidden, *dhidden; /* (samples, hidden) after ReLU */
  float *logits;           /* (samples, classes), then their gradient */
  float *loss;             /* (samples) */
  int32_t *best;           /* (samples) */
};

/* ---- workspace ------------------------------------------------------------------------------- */

/* Hands out a slab's pieces, or only counts their bytes. */
typedef struct {
  fc_slab *slab; /* NULL: count only */
  size_t bytes;
} layout;

static void *take(layout *l, int64_t count, size_t size) {
  const size_t bytes = (size_t)count * size;
  l->bytes += fc_slab_round(bytes);
  return l->slab ? fc_slab_take(l->slab, bytes) : NULL;
}

static float *take_floats(layout *l, int64_t count) {
  return take(l, count, sizeof(float));
}

static int64_t pixels(const conv *c) {
  return (int64_t)c->height * c->width;
}

static int window_floats(const conv *c) {
  return FC_CNN_WINDOW * c->in;
}

/* x and dx are what comes out of the convolution before, or an image that needs no gradient. */
static conv make_conv(layout *l, const fc_cnn *cnn, int i, float *x, float *dx) {
  const fc_cnn_shape *s = &cnn->shape;
  conv c = {.height = s->height >> i,
            .width = s->width >> i,
            .in = i == 0 ? 1 : s->channels[0],
            .out = s->channels[i],
            .weight = i == 0 ? CONV1 : CONV2,
            .bias = i == 0 ? CONV1_BIAS : CONV2_BIAS,
            .x = x,
            .dx = dx};
  const int64_t weights = (int64_t)c.out * window_floats(&c);
  const int64_t pooled = cnn->max_batch * pixels(&c) / 4 * c.out;
  const int64_t sample = pixels(&c) * (window_floats(&c) + c.out) * (int64_t)sizeof(float);
  const int64_t fit = CHUNK_BYTES / sample;
  c.chunk = fit < 1 ? 1 : fit < cnn->max_batch ? (int)fit : cnn->max_batch;
  c.w = take_floats(l, weights);
  c.dw = take_floats(l, weights);
  c.y = take_floats(l, pooled);
  c.dy = take_floats(l, pooled);
  c.at = take(l, pooled, sizeof *c.at);
  return c;
}

static int64_t larger(int64_t a, int64_t b) {
  return a > b ? a : b;
}

static size_t lay_out(fc_cnn *cnn, fc_slab *slab) {
  const fc_cnn_shape *s = &cnn->shape;
  const int64_t n = cnn->max_batch;
  layout l = {.slab = slab};
  conv *a = &cnn->conv[0], *b = &cnn->conv[1];
  *a = make_conv(&l, cnn, 0, take_floats(&l, n * s->height * s->width), NULL);
  *b = make_conv(&l, cnn, 1, a->y, a->dy);
  const int64_t rows_a = a->chunk * pixels(a), rows_b = b->chunk * pixels(b);
  cnn->unfolded = take_floats(&l, larger(rows_a * window_floats(a), rows_b * window_floats(b)));
  cnn->sums = take_floats(&l, larger(rows_a * a->out, rows_b * b->out));
  cnn->flat = take_floats(&l, n * fc_cnn_features(s));
  cnn->hidden = take_floats(&l, n * s->hidden);
  cnn->dhidden = take_floats(&l, n * s->hidden);
  cnn->logits = take_floats(&l, n * s->classes);
  cnn->loss = take_floats(&l, n);
  cnn->best = take(&l, n, sizeof *cnn->best);
  return l.bytes;
}

size_t fc_cnn_bytes(const fc_cnn_shape *shape, int max_batch) {
  fc_cnn counted = {.shape = *shape, .max_batch = max_batch};
  return sizeof counted + lay_out(&counted, NULL);
}

fc_err fc_cnn_create(const fc_cnn_shape *shape, int max_batch, fc_cnn **out) {
  fc_cnn *cnn = NULL;
  *out = NULL;
  FC_TRY(fc_cnn_shape_check(shape));
  FC_CHECK(max_batch >= 1 && max_batch <= MAX_BATCH, SHAPE,
           "a CNN for batches of %d samples, allowed is 1 to %d", max_batch, MAX_BATCH);
  FC_TRY(fc_alloc(1, sizeof *cnn, &cnn));
  cnn->shape = *shape;
  cnn->max_batch = max_batch;
  fc_cnn_parts(shape, cnn->part);
  fc_err err = fc_slab_create(lay_out(cnn, NULL), &cnn->slab);
  if (err == FC_ERR_OK) lay_out(cnn, cnn->slab);
  *out = cnn;
  if (err != FC_ERR_OK) fc_cnn_destroy(out);
  return err;
}

void fc_cnn_destroy(fc_cnn **cnn) {
  if (!*cnn) return;
  fc_slab_destroy(&(*cnn)->slab);
  fc_free(*cnn);
  *cnn = NULL;
}

/* ---- another order --------------------------------------------------------------------------- */

/* to (cols,rows) = the transpose of from (rows,cols), for each of n. */
static void transpose(float *to, const float *from, int n, int rows, int cols) {
  for (int i = 0; i < n; i++, to += rows * cols, from += rows * cols)
    for (int r = 0; r < rows; r++)
      for (int c = 0; c < cols; c++) to[c * rows + r] = from[r * cols + c];
}

static void add_transpose(float *to, const float *from, int n, int rows, int cols) {
  for (int i = 0; i < n; i++, to += rows * cols, from += rows * cols)
    for (int r = 0; r < rows; r++)
      for (int c = 0; c < cols; c++) to[c * rows + r] += from[r * cols + c];
}

/* ---- forward --------------------------------------------------------------------------------- */

static void conv_fwd(fc_cnn *cnn, const conv *c, const float *bias, int n) {
  const int I = window_floats(c), O = c->out;
  const int64_t in = pixels(c) * c->in, pooled = pixels(c) / 4 * O;
  for (int s = 0; s < n; s += c->chunk) {
    const int64_t some = n - s < c->chunk ? n - s : c->chunk, rows = some * pixels(c);
    fc_k_unfold(cnn->unfolded, c->x + s * in, some, c->height, c->width, c->in);
    fc_k_linear_fwd(cnn->sums, O, cnn->unfolded, I, c->w, I, bias, rows, I, O, false);
    fc_k_maxpool_fwd(c->y + s * pooled, c->at + s * pooled, cnn->sums, some, c->height, c->width,
                     O);
  }
  fc_k_act_fwd(c->y, c->y, FC_ACT_RELU, n * pooled);
}

static void load_pixels(fc_cnn *cnn, const fc_images *images) {
  const int64_t size = pixels(&cnn->conv[0]);
  const double sd = images->sd > 0 ? images->sd : 1, mean = images->sd > 0 ? images->mean : 0;
  float x[UINT8_MAX + 1]; /* of each value */
  for (int v = 0; v <= UINT8_MAX; v++) x[v] = (float)((v / 255.0 - mean) / sd);
  for (int s = 0; s < images->n; s++)
    for (int64_t p = 0; p < size; p++) cnn->conv[0].x[s * size + p] = x[images->pixels[s][p]];
}

/* Fills cnn->logits. */
static void forward(fc_cnn *cnn, const float *w, const fc_images *images) {
  const fc_cnn_shape *s = &cnn->shape;
  const fc_cnn_part *part = cnn->part;
  const conv *last = &cnn->conv[1];
  const int n = images->n, features = fc_cnn_features(s);
  load_pixels(cnn, images);
  for (int i = 0; i < 2; i++) {
    const conv *c = &cnn->conv[i];
    transpose(c->w, w + part[c->weight].offset, c->out, c->in, FC_CNN_WINDOW);
    conv_fwd(cnn, c, w + part[c->bias].offset, n);
  }
  transpose(cnn->flat, last->y, n, features / last->out, last->out);
  fc_k_linear_fwd(cnn->hidden, s->hidden, cnn->flat, features, w + part[FC1].offset, features,
                  w + part[FC1_BIAS].offset, n, features, s->hidden, false);
  fc_k_act_fwd(cnn->hidden, cnn->hidden, FC_ACT_RELU, (int64_t)n * s->hidden);
  fc_k_linear_fwd(cnn->logits, s->classes, cnn->hidden, s->hidden, w + part[FC2].offset, s->hidden,
                  w + part[FC2_BIAS].offset, n, s->hidden, s->classes, false);
}

/* ---- backward -------------------------------------------------------------------------------- */

static void conv_bwd(fc_cnn *cnn, const conv *c, float *dbias, int n) {
  const int I = window_floats(c), O = c->out;
  const int64_t in = pixels(c) * c->in, pooled = pixels(c) / 4 * O;
  fc_k_act_bwd(c->dy, c->dy, c->y, FC_ACT_RELU, n * pooled);
  memset(c->dw, 0, (size_t)O * (size_t)I * sizeof *c->dw);
  if (c->dx) memset(c->dx, 0, (size_t)(n * in) * sizeof *c->dx);
  for (int s = 0; s < n; s += c->chunk) {
    const int64_t some = n - s < c->chunk ? n - s : c->chunk, rows = some * pixels(c);
    fc_k_maxpool_bwd(cnn->sums, c->dy + s * pooled, c->at + s * pooled, some, c->height, c->width,
                     O);
    fc_k_unfold(cnn->unfolded, c->x + s * in, some, c->height, c->width, c->in);
    fc_k_linear_bwd_weight(c->dw, I, dbias, cnn->sums, O, cnn->unfolded, I, rows, I, O);
    if (!c->dx) continue;
    fc_k_linear_bwd_input(cnn->unfolded, I, cnn->sums, O, c->w, I, rows, I, O, false);
    fc_k_fold(c->dx + s * in, cnn->unfolded, some, c->height, c->width, c->in);
  }
}

/* cnn->logits are the gradient of the logits. */
static void backward(fc_cnn *cnn, const float *w, int n, float *dw) {
  const fc_cnn_shape *s = &cnn->shape;
  const fc_cnn_part *part = cnn->part;
  const conv *last = &cnn->conv[1];
  const int features = fc_cnn_features(s);
  fc_k_linear_bwd_weight(dw + part[FC2].offset, s->hidden, dw + part[FC2_BIAS].offset, cnn->logits,
                         s->classes, cnn->hidden, s->hidden, n, s->hidden, s->classes);
  fc_k_linear_bwd_input(cnn->dhidden, s->hidden, cnn->logits, s->classes, w + part[FC2].offset,
                        s->hidden, n, s->hidden, s->classes, false);
  fc_k_act_bwd(cnn->dhidden, cnn->dhidden, cnn->hidden, FC_ACT_RELU, (int64_t)n * s->hidden);
  fc_k_linear_bwd_weight(dw + part[FC1].offset, features, dw + part[FC1_BIAS].offset, cnn->dhidden,
                         s->hidden, cnn->flat, features, n, features, s->hidden);
  fc_k_linear_bwd_input(cnn->flat, features, cnn->dhidden, s->hidden, w + part[FC1].offset,
                        features, n, features, s->hidden, false);
  transpose(last->dy, cnn->flat, n, last->out, features / last->out);
  for (int i = 1; i >= 0; i--) {
    const conv *c = &cnn->conv[i];
    conv_bwd(cnn, c, dw + part[c->bias].offset, n);
    add_transpose(dw + part[c->weight].offset, c->dw, c->out, FC_CNN_WINDOW, c->in);
  }
}

/* ---- calls ----------------------------------------------------------------------------------- */

static fc_err check_count(const fc_cnn *cnn, const fc_images *images) {
  FC_CHECK(images->n >= 0 && images->n <= cnn->max_batch, SHAPE,
           "the batch has %d images, the workspace takes at most %d", images->n, cnn->max_batch);
  return FC_ERR_OK;
}

static fc_err check_labels(const fc_cnn *cnn, const fc_images *images) {
  for (int i = 0; i < images->n; i++)
    FC_CHECK(images->labels[i] >= 0 && images->labels[i] < cnn->shape.classes, DATA,
             "label %d at image %d of the batch, allowed is 0 to %d", images->labels[i], i,
             cnn->shape.classes - 1);
  return FC_ERR_OK;
}

/* Nothing is added if a loss is not finite. */
static fc_err add_result(const fc_cnn *cnn, const fc_images *images, fc_loss_result *result) {
  const int n = images->n, bad = (int)fc_k_first_not_finite(cnn->loss, n);
  FC_CHECK(bad == n, NUMERIC, "the CNN's loss is not finite at image %d of the batch", bad);
  for (int i = 0; i < n; i++) {
    result->loss_sum += (double)cnn->loss[i];
    result->correct += cnn->best[i] == images->labels[i];
  }
  result->count += n;
  return FC_ERR_OK;
}

/* Up to the losses and, if wanted, the gradient of the logits in their place. */
static fc_err forward_loss(fc_cnn *cnn, const float *w, const fc_images *images,
                           bool wants_gradient, fc_loss_result *result) {
  FC_TRY(check_count(cnn, images));
  FC_TRY(check_labels(cnn, images));
  if (images->n == 0) return FC_ERR_OK;
  forward(cnn, w, images);
  fc_k_xent(cnn->loss, cnn->best, wants_gradient ? cnn->logits : NULL, cnn->logits, images->labels,
            1.0F / (float)images->n, images->n, cnn->shape.classes);
  return add_result(cnn, images, result);
}

fc_err fc_cnn_loss(fc_cnn *cnn, const float *w, const fc_images *images, fc_loss_result *result) {
  return forward_loss(cnn, w, images, false, result);
}

fc_err fc_cnn_grad(fc_cnn *cnn, const float *w, const fc_images *images, float *dw,
                   fc_loss_result *result) {
  FC_TRY(forward_loss(cnn, w, images, true, result));
  if (images->n > 0) backward(cnn, w, images->n, dw);
  return FC_ERR_OK;
}

const float *fc_cnn_losses(const fc_cnn *cnn) {
  return cnn->loss;
}

fc_err fc_cnn_logits(fc_cnn *cnn, const float *w, const fc_images *images, float *logits) {
  FC_TRY(check_count(cnn, images));
  if (images->n == 0) return FC_ERR_OK;
  forward(cnn, w, images);
  memcpy(logits, cnn->logits, (size_t)images->n * (size_t)cnn->shape.classes * sizeof *logits);
  return FC_ERR_OK;
}
