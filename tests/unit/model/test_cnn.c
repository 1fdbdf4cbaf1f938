/* The CNN: counts, its gradient against finite differences, samples that do not depend on their
 * batch, failures. */
#include "fedcell/fc_cnn.h"
#include "fixture.h"
#include <omp.h>

static const fc_cnn_shape mcmahan = {
    .height = 28, .width = 28, .channels = {32, 64}, .hidden = 512, .classes = 10};
static const fc_cnn_shape small = {
    .height = 8, .width = 12, .channels = {3, 5}, .hidden = 7, .classes = 4};
enum { MOST = 9, MOST_PIXELS = 28 * 28 };

static uint8_t pixels[MOST][MOST_PIXELS];
static const uint8_t *rows[MOST];
static int32_t labels[MOST];

/* Random images; every number from 0 to 255 as likely. */
static fc_images some_images(int n, int classes) {
  fc_rng rng = fc_rng_open(3, FC_RNG_TEST, 0, 0);
  for (int i = 0; i < MOST; i++) {
    for (int p = 0; p < MOST_PIXELS; p++) pixels[i][p] = (uint8_t)fc_rng_below(&rng, 256);
    rows[i] = pixels[i];
    labels[i] = (int32_t)fc_rng_below(&rng, (uint64_t)classes);
  }
  return (fc_images){.n = n, .pixels = rows, .labels = labels};
}

static fc_cnn *new_cnn(const fc_cnn_shape *shape, int max_batch, float **w) {
  fc_cnn *cnn = NULL;
  OK(fc_cnn_create(shape, max_batch, &cnn));
  *w = new_floats(fc_cnn_weight_count(shape));
  fc_cnn_init(shape, 1, *w);
  return cnn;
}

static void counts(void **state) {
  (void)state;
  fc_cnn_part part[FC_CNN_PARTS];
  fc_cnn_parts(&mcmahan, part);
  size_t weights = 0, end = 0;
  for (int i = 0; i < FC_CNN_PARTS; i++) {
    assert_int_equal(part[i].offset, end);
    end += (size_t)(part[i].rows * part[i].cols);
    if (strstr(part[i].name, ".weight")) weights += (size_t)(part[i].rows * part[i].cols);
  }
  assert_int_equal(fc_cnn_weight_count(&mcmahan), 1663370);
  assert_int_equal(end, 1663370);
  assert_int_equal(weights, 1662752);
  assert_string_equal(part[2].name, "conv2.weight");
  assert_true(part[2].rows == 64 && part[2].cols == 32 * 25);
  /* Products of 784 x 25 x 32, 196 x 800 x 64, 3136 x 512 and 512 x 10. */
  assert_true(fc_cnn_forward_flop(&mcmahan) == 2.0 * (627200 + 10035200 + 1605632 + 5120));
}

static void first_weights_are_uniform(void **state) {
  (void)state;
  const size_t n = fc_cnn_weight_count(&mcmahan);
  float *w = new_floats(n), *again = new_floats(n);
  fc_cnn_part part[FC_CNN_PARTS];
  fc_cnn_parts(&mcmahan, part);
  fc_cnn_init(&mcmahan, 1, w);
  fc_cnn_init(&mcmahan, 1, again);
  assert_memory_equal(w, again, n * sizeof *w);
  fc_cnn_init(&mcmahan, 2, again);
  assert_memory_not_equal(w, again, n * sizeof *w);
  static const double fan_in[] = {25, 25, 800, 800, 3136, 3136, 512, 512};
  for (int i = 0; i < FC_CNN_PARTS; i++) {
    const int64_t size = part[i].rows * part[i].cols;
    const double bound = 1.0 / sqrt(fan_in[i]), largest = fc_k_max_abs(w + part[i].offset, size);
    const double square = fc_k_sum_squares(w + part[i].offset, size) / (double)size;
    assert_true(largest <= bound);
    if (size < 10000) continue; /* the mean square is bound^2/3 */
    assert_true(largest > 0.99 * bound);
    assert_true(fabs(square / (bound * bound / 3.0) - 1.0) <= 0.02);
  }
  fc_free(w);
  fc_free(again);
}

/* ---- gradient -------------------------------------------------------------------------------- */

static double mean_loss(fc_cnn *cnn, const float *w, const fc_images *images) {
  fc_loss_result r = {0};
  OK(fc_cnn_loss(cnn, w, images, &r));
  assert_int_equal(r.count, images->n);
  return r.loss_sum / (double)r.count;
}

/* (f(w + h) - f(w - h))/2h by weight i. */
static double finite_difference(fc_cnn *cnn, float *w, size_t i, const fc_images *images) {
  const float kept = w[i], up = kept + 3e-4F, down = kept - 3e-4F;
  w[i] = up;
  const double above = mean_loss(cnn, w, images);
  w[i] = down;
  const double below = mean_loss(cnn, w, images);
  w[i] = kept;
  return (above - below) / ((double)up - down);
}

/* Of every weight of a small network. The loss has kinks (ReLU, pooling) that a difference may
 * stride over, so that each part's gradient is judged as a whole. */
static void gradient_is_the_derivative(void **state) {
  (void)state;
  fc_cnn_part part[FC_CNN_PARTS];
  const fc_images images = some_images(5, small.classes);
  float *w = NULL, *dw = new_floats(fc_cnn_weight_count(&small));
  fc_cnn *cnn = new_cnn(&small, 5, &w);
  fc_loss_result r = {0};
  fc_k_scale(w, 2.0F,
             (int64_t)fc_cnn_weight_count(&small)); /* larger gradients than at the start */
  OK(fc_cnn_grad(cnn, w, &images, dw, &r));
  assert_true(r.loss_sum / (double)r.count == mean_loss(cnn, w, &images));
  fc_cnn_parts(&small, part);
  for (int p = 0; p < FC_CNN_PARTS; p++) {
    double wrong = 0.0, norm = 0.0;
    for (size_t i = 0; i < (size_t)(part[p].rows * part[p].cols); i++) {
      const double expected = finite_difference(cnn, w, part[p].offset + i, &images);
      wrong += pow((double)dw[part[p].offset + i] - expected, 2);
      norm += expected * expected;
    }
    if (!(sqrt(wrong) <= 0.003 * sqrt(norm)) || !(sqrt(norm) > 0.01))
      fail_msg("%s: the gradient is off by %g, its norm is %g", part[p].name, sqrt(wrong),
               sqrt(norm));
  }
  fc_free(w);
  fc_free(dw);
  fc_cnn_destroy(&cnn);
}

static void gradients_accumulate(void **state) {
  (void)state;
  const size_t n = fc_cnn_weight_count(&small);
  const fc_images images = some_images(4, small.classes);
  float *w = NULL, *once = new_floats(n), *twice = new_floats(n);
  fc_cnn *cnn = new_cnn(&small, 4, &w);
  fc_loss_result r = {0};
  OK(fc_cnn_grad(cnn, w, &images, once, &r));
  for (int k = 0; k < 2; k++) OK(fc_cnn_grad(cnn, w, &images, twice, &r));
  assert_int_equal(r.count, 12);
  for (size_t i = 0; i < n; i++)
    assert_true(fabsf(twice[i] - 2.0F * once[i]) <= 1e-6F + 1e-5F * fabsf(once[i]));
  fc_free(w);
  fc_free(once);
  fc_free(twice);
  fc_cnn_destroy(&cnn);
}

/* ---- what a sample and a gradient do not depend on ------------------------------------------- */

static void logits_do_not_depend_on_the_batch(const fc_cnn_shape *shape) {
  const fc_images all = some_images(MOST, shape->classes);
  const size_t classes = (size_t)shape->classes;
  float *w = NULL, *whole = new_floats(MOST * classes), *part = new_floats(MOST * classes);
  fc_cnn *cnn = new_cnn(shape, MOST, &w);
  OK(fc_cnn_logits(cnn, w, &all, whole));
  for (int n = 1; n < MOST; n++) {
    const int first = (5 * n) % (MOST - n + 1);
    const fc_images some = {.n = n, .pixels = rows + first, .labels = labels + first};
    fc_cnn *fitting = NULL; /* unfolds other numbers of samples at a time */
    OK(fc_cnn_create(shape, n, &fitting));
    OK(fc_cnn_logits(fitting, w, &some, part));
    assert_memory_equal(part, whole + (size_t)first * classes, (size_t)n * classes * sizeof *part);
    OK(fc_cnn_logits(cnn, w, &some, part));
    assert_memory_equal(part, whole + (size_t)first * classes, (size_t)n * classes * sizeof *part);
    fc_cnn_destroy(&fitting);
  }
  fc_free(w);
  fc_free(whole);
  fc_free(part);
  fc_cnn_destroy(&cnn);
}

static void samples_stand_alone(void **state) {
  (void)state;
  logits_do_not_depend_on_the_batch(&small);
  logits_do_not_depend_on_the_batch(&mcmahan);
}

/* Twice the value, and the same first weights halved. */
static void pixels_are_scaled(void **state) {
  (void)state;
  const fc_images as_they_are = some_images(4, small.classes);
  fc_images twice = as_they_are, shifted = as_they_are;
  float *w = NULL;
  float expected[4 * 4], logits[4 * 4];
  fc_cnn *cnn = new_cnn(&small, 4, &w);
  twice.sd = 0.5;
  shifted.mean = 0.5;
  OK(fc_cnn_logits(cnn, w, &as_they_are, expected));
  OK(fc_cnn_logits(cnn, w, &shifted, logits)); /* sd 0: not at all */
  assert_memory_equal(logits, expected, sizeof expected);
  shifted.sd = 1;
  OK(fc_cnn_logits(cnn, w, &shifted, logits));
  assert_memory_not_equal(logits, expected, sizeof expected);
  fc_cnn_part part[FC_CNN_PARTS];
  fc_cnn_parts(&small, part);
  fc_k_scale(w + part[0].offset, 0.5F, part[0].rows * part[0].cols);
  OK(fc_cnn_logits(cnn, w, &twice, logits));
  assert_memory_equal(logits, expected, sizeof expected);
  fc_free(w);
  fc_cnn_destroy(&cnn);
}

static float *gradient(fc_cnn *cnn, const float *w, const fc_images *images, float *dw) {
  fc_loss_result r = {0};
  memset(dw, 0, fc_cnn_weight_count(&mcmahan) * sizeof *dw);
  OK(fc_cnn_grad(cnn, w, images, dw, &r));
  return dw;
}

static void gradient_does_not_depend_on_threads(void **state) {
  (void)state;
  const fc_images images = some_images(7, mcmahan.classes);
  const size_t n = fc_cnn_weight_count(&mcmahan);
  const int threads = omp_get_max_threads();
  float *w = NULL, *one = new_floats(n), *more = new_floats(n);
  fc_cnn *cnn = new_cnn(&mcmahan, 7, &w);
  omp_set_num_threads(1);
  gradient(cnn, w, &images, one);
  for (int t = 2; t <= 3; t++) {
    omp_set_num_threads(t);
    assert_memory_equal(gradient(cnn, w, &images, more), one, n * sizeof *one);
  }
  omp_set_num_threads(threads);
#pragma omp parallel num_threads(2)
#pragma omp single
  gradient(cnn, w, &images, more);
  assert_memory_equal(more, one, n * sizeof *one);
  fc_free(w);
  fc_free(one);
  fc_free(more);
  fc_cnn_destroy(&cnn);
}

static void each_loss_is_that_of_its_image(void **state) {
  (void)state;
  enum { N = 4 };
  const fc_images images = some_images(N, small.classes);
  float *w = NULL, *dw = new_floats(fc_cnn_weight_count(&small));
  float logits[N * 4], expected[N], after_loss[N];
  fc_cnn *cnn = new_cnn(&small, N, &w);
  fc_loss_result r = {0};
  OK(fc_cnn_logits(cnn, w, &images, logits));
  fc_k_xent_ref(expected, NULL, NULL, logits, labels, 1.0F, N, 4);
  OK(fc_cnn_loss(cnn, w, &images, &r));
  memcpy(after_loss, fc_cnn_losses(cnn), sizeof after_loss);
  double sum = 0.0;
  for (int i = 0; i < N; i++) {
    assert_true(fabsf(after_loss[i] - expected[i]) <= 1e-5F);
    sum += (double)after_loss[i];
  }
  assert_true(r.loss_sum == sum);
  OK(fc_cnn_grad(cnn, w, &images, dw, &r));
  assert_memory_equal(fc_cnn_losses(cnn), after_loss, sizeof after_loss);
  fc_free(w);
  fc_free(dw);
  fc_cnn_destroy(&cnn);
}

/* ---- failures and edges ---------------------------------------------------------------------- */

static void shapes_out_of_range(void **state) {
  (void)state;
  fc_cnn *cnn = NULL;
  fc_cnn_shape s = mcmahan;
  OK(fc_cnn_shape_check(&s));
  s.channels[1] = 0;
  FAILS(fc_cnn_shape_check(&s), SHAPE,
        "CNN channels of the second convolution is 0, allowed is 1 to 1024");
  s = mcmahan;
  s.classes = 1;
  FAILS(fc_cnn_create(&s, 1, &cnn), SHAPE, "CNN classes is 1, allowed is 2 to 65536");
  assert_null(cnn);
  s = mcmahan;
  s.width = 30;
  FAILS(fc_cnn_shape_check(&s), SHAPE, "CNN images are 28 x 30, both must be divisible by 4");
  FAILS(fc_cnn_create(&mcmahan, 0, &cnn), SHAPE,
        "a CNN for batches of 0 samples, allowed is 1 to 65536");
  assert_null(cnn);
  fc_cnn_destroy(&cnn);
}

static void bad_batches(void **state) {
  (void)state;
  const size_t n = fc_cnn_weight_count(&small);
  fc_images images = some_images(3, small.classes);
  float *w = NULL, *dw = new_floats(n), logits[3 * 4];
  fc_cnn *cnn = new_cnn(&small, 2, &w);
  fc_loss_result r = {0};
  FAILS(fc_cnn_loss(cnn, w, &images, &r), SHAPE,
        "the batch has 3 images, the workspace takes at most 2");
  FAILS(fc_cnn_grad(cnn, w, &images, dw, &r), SHAPE,
        "the batch has 3 images, the workspace takes at most 2");
  FAILS(fc_cnn_logits(cnn, w, &images, logits), SHAPE,
        "the batch has 3 images, the workspace takes at most 2");
  images.n = 2;
  labels[1] = 4;
  FAILS(fc_cnn_loss(cnn, w, &images, &r), DATA,
        "label 4 at image 1 of the batch, allowed is 0 to 3");
  labels[1] = -1;
  FAILS(fc_cnn_grad(cnn, w, &images, dw, &r), DATA,
        "label -1 at image 1 of the batch, allowed is 0 to 3");
  labels[1] = 0;
  w[10] = NAN; /* of the first convolution */
  FAILS(fc_cnn_loss(cnn, w, &images, &r), NUMERIC,
        "the CNN's loss is not finite at image 0 of the batch");
  FAILS(fc_cnn_grad(cnn, w, &images, dw, &r), NUMERIC,
        "the CNN's loss is not finite at image 0 of the batch");
  assert_true(r.count == 0 && r.loss_sum == 0.0);
  w[10] = 0.1F;
  images.n = 0;
  OK(fc_cnn_loss(cnn, w, &images, &r));
  OK(fc_cnn_grad(cnn, w, &images, dw, &r));
  OK(fc_cnn_logits(cnn, w, &images, logits));
  assert_true(r.count == 0 && fc_k_max_abs(dw, (int64_t)n) == 0.0F);
  fc_free(w);
  fc_free(dw);
  fc_cnn_destroy(&cnn);
}

static void memory_is_what_is_told(void **state) {
  (void)state;
  const size_t before = fc_mem_current_bytes();
  fc_cnn *cnn = NULL;
  OK(fc_cnn_create(&mcmahan, 64, &cnn));
  const size_t taken = fc_mem_current_bytes() - before, told = fc_cnn_bytes(&mcmahan, 64);
  assert_true(taken >= told && taken <= told + 1024); /* the slab's own book-keeping */
  const size_t after = fc_mem_current_bytes();
  const fc_images images = some_images(9, mcmahan.classes);
  float *w = new_floats(fc_cnn_weight_count(&mcmahan));
  const size_t with_weights = fc_mem_peak_bytes();
  mean_loss(cnn, w, &images);
  assert_int_equal(fc_mem_peak_bytes(), with_weights);
  fc_free(w);
  assert_int_equal(fc_mem_current_bytes(), after);
  fc_cnn_destroy(&cnn);
  assert_int_equal(fc_mem_current_bytes(), before);
  for (size_t n = 1; n <= 2; n++) {
    fc_mem_fail_at(n);
    assert_int_equal(fc_cnn_create(&mcmahan, 64, &cnn), FC_ERR_NOMEM);
    assert_null(cnn);
    assert_int_equal(fc_mem_current_bytes(), before);
  }
  fc_mem_fail_at(0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(counts),
      cmocka_unit_test(first_weights_are_uniform),
      cmocka_unit_test(gradient_is_the_derivative),
      cmocka_unit_test(gradients_accumulate),
      cmocka_unit_test(samples_stand_alone),
      cmocka_unit_test(pixels_are_scaled),
      cmocka_unit_test(gradient_does_not_depend_on_threads),
      cmocka_unit_test(each_loss_is_that_of_its_image),
      cmocka_unit_test(shapes_out_of_range),
      cmocka_unit_test(bad_batches),
      cmocka_unit_test(memory_is_what_is_told),
  };
  return cmocka_run_group_tests_name("cnn", tests, NULL, NULL);
}
