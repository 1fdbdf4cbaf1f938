/* The image classifier learns drawn digits by SGD with momentum, and what it learned holds for the
 * test part. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "fedcell/fc_cnn.h"
#include "fedcell/fc_data.h"
#include "fedcell/fc_mem.h"

enum { TRAIN = 800, TEST = 200, BATCH = 32, STEPS = 75 };

#define OK(call)                                                                                   \
  do {                                                                                             \
    fc_err e_ = (call);                                                                            \
    if (e_ != FC_ERR_OK) fail_msg("%s: %s", fc_err_text(e_), fc_err_message());                    \
  } while (0)

typedef struct {
  const uint8_t *pixels[TRAIN + TEST];
  int32_t labels[TRAIN + TEST];
} digits;

static void look_at(const fc_dataset *ds, digits *d) {
  for (size_t i = 0; i < TRAIN + TEST; i++) {
    const fc_sample sample = fc_dataset_sample(ds, i);
    d->pixels[i] = sample.pixels;
    d->labels[i] = sample.label;
  }
}

static fc_images part(const digits *d, int first, int n) {
  return (fc_images){.n = n, .pixels = d->pixels + first, .labels = d->labels + first};
}

static fc_loss_result test(fc_cnn *cnn, const float *w, const digits *d) {
  const fc_images images = part(d, TRAIN, TEST);
  fc_loss_result r = {0};
  OK(fc_cnn_loss(cnn, w, &images, &r));
  assert_int_equal(r.count, TEST);
  return r;
}

static void digits_are_learned(void **state) {
  (void)state;
  const fc_data_settings settings = {
      .dataset = "generated-digits", .dir = "", .samples = TRAIN, .test_samples = TEST};
  fc_cnn_shape shape = {.channels = {8, 16}, .hidden = 64};
  const fc_sgd sgd = {.learning_rate = 0.05F, .momentum = 0.9F};
  fc_dataset *ds = NULL;
  fc_cnn *cnn = NULL;
  float *w = NULL, *dw = NULL, *v = NULL;
  static digits d;
  OK(fc_dataset_open(&settings, 1, &ds));
  fc_dataset_image_shape(ds, &shape.height, &shape.width);
  shape.classes = fc_dataset_classes(ds);
  look_at(ds, &d);
  const size_t n = fc_cnn_weight_count(&shape);
  OK(fc_cnn_create(&shape, TEST, &cnn));
  OK(fc_alloc(n, sizeof *w, &w));
  OK(fc_alloc(n, sizeof *dw, &dw));
  OK(fc_alloc(n, sizeof *v, &v));
  fc_cnn_init(&shape, 1, w);
  const fc_loss_result before = test(cnn, w, &d);
  for (int k = 0; k < STEPS; k++) {
    const fc_images images = part(&d, k * BATCH % TRAIN, BATCH);
    fc_loss_result ignored = {0};
    fc_k_scale(dw, 0.0F, (int64_t)n);
    OK(fc_cnn_grad(cnn, w, &images, dw, &ignored));
    fc_k_sgd(w, v, dw, sgd, k + 1, (int64_t)n);
  }
  const fc_loss_result after = test(cnn, w, &d);
  print_message("loss %.3f -> %.3f, right %d -> %d of %d\n", before.loss_sum / TEST,
                after.loss_sum / TEST, (int)before.correct, (int)after.correct, TEST);
  assert_true(before.loss_sum / TEST > 2.0 && before.correct < TEST / 3);
  assert_true(after.loss_sum < 0.5 * before.loss_sum && after.correct > TEST * 3 / 4);
  fc_free(w);
  fc_free(dw);
  fc_free(v);
  fc_cnn_destroy(&cnn);
  fc_dataset_destroy(&ds);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(digits_are_learned)};
  return cmocka_run_group_tests_name("cnn_digits", tests, NULL, NULL);
}
