/* FL-DLT3's network: gradients by finite differences, steps as the whole episode, names. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "fedcell/fc_mem.h"
#include "fedcell/fc_rng.h"
#include "recurrent.h"
#include <math.h>
#include <string.h>

enum { A = 5, B = 7, H = 6, O = 3, EPISODES = 3, STEPS = 4, ROWS = EPISODES * STEPS };
static const fc_recurrent_shape shape = {A, B, H, O};

typedef struct {
  float *theta;
  float a[ROWS * A], b[ROWS * B], pull[ROWS * O]; /* loss = sum pull y */
  fc_recurrent *r;
} fixture;

static void fill(float *x, size_t n, uint64_t number) {
  fc_rng rng = fc_rng_open(3, FC_RNG_TEST, number, 0);
  for (size_t i = 0; i < n; i++) x[i] = (float)fc_rng_normal(&rng);
}

static void begin(fixture *f) {
  assert_int_equal(fc_alloc(fc_recurrent_count(&shape), sizeof(float), &f->theta), FC_ERR_OK);
  fc_recurrent_init(&shape, 1, 0, f->theta);
  fill(f->a, ROWS * A, 1);
  fill(f->b, ROWS * B, 2);
  fill(f->pull, ROWS * O, 3);
  assert_int_equal(fc_recurrent_create(&shape, EPISODES, STEPS, true, &f->r), FC_ERR_OK);
}

static void end(fixture *f) {
  fc_recurrent_destroy(&f->r);
  fc_free(f->theta);
}

static double loss(fixture *f) {
  const float *y = fc_recurrent_forward(f->r, f->theta, f->a, f->b, EPISODES, STEPS);
  double sum = 0;
  for (int i = 0; i < ROWS * O; i++) sum += (double)f->pull[i] * (double)y[i];
  return sum;
}

/* Slopes of x (n) against central differences; f32 sums leave about 1e-4. */
static void check_slope(fixture *f, float *x, const float *slope, size_t n) {
  const float step = 4e-3F;
  for (size_t i = 0; i < n; i++) {
    const float was = x[i];
    x[i] = was + step;
    const double up = loss(f);
    x[i] = was - step;
    const double down = loss(f);
    x[i] = was;
    const double wanted = (up - down) / (2 * (double)step);
    if (!(fabs(wanted - (double)slope[i]) <= 2e-2 * (1 + fabs(wanted))))
      fail_msg("%zu: %g, by differences %g", i, (double)slope[i], wanted);
  }
}

static void gradients_are_the_differences(void **state) {
  (void)state;
  fixture f;
  const size_t n = fc_recurrent_count(&shape);
  float *dtheta = NULL, da[ROWS * A];
  begin(&f);
  assert_int_equal(fc_alloc(n, sizeof *dtheta, &dtheta), FC_ERR_OK);
  loss(&f);
  fc_recurrent_backward(f.r, f.theta, f.pull, dtheta, da);
  check_slope(&f, f.theta, dtheta, n);
  check_slope(&f, f.a, da, ROWS * A);
  /* weights' are added to, and those of a do not need them */
  const float once = dtheta[0];
  loss(&f);
  fc_recurrent_backward(f.r, f.theta, f.pull, dtheta, NULL);
  assert_true(fabsf(dtheta[0] - 2 * once) <= 1e-6F * (1 + fabsf(once)));
  float alone[ROWS * A];
  fc_recurrent_backward(f.r, f.theta, f.pull, NULL, alone);
  assert_memory_equal(alone, da, sizeof da);
  fc_free(dtheta);
  end(&f);
}

static void steps_are_the_episode(void **state) {
  (void)state;
  fixture f;
  float whole[ROWS * O], h[EPISODES * H] = {0}, c[EPISODES * H] = {0};
  begin(&f);
  memcpy(whole, fc_recurrent_forward(f.r, f.theta, f.a, f.b, EPISODES, STEPS), sizeof whole);
  for (int t = 0; t < STEPS; t++) {
    const float *y = fc_recurrent_step(f.r, f.theta, f.a + (size_t)t * EPISODES * A,
                                       f.b + (size_t)t * EPISODES * B, EPISODES, h, c);
    assert_memory_equal(y, whole + (size_t)t * EPISODES * O, EPISODES * O * sizeof *y);
  }
  end(&f);
}

static void an_episode_does_not_depend_on_the_others(void **state) {
  (void)state;
  fixture f;
  float alone_a[STEPS * A], alone_b[STEPS * B], together[ROWS * O];
  begin(&f);
  memcpy(together, fc_recurrent_forward(f.r, f.theta, f.a, f.b, EPISODES, STEPS), sizeof together);
  for (int t = 0; t < STEPS; t++) { /* episode 1 */
    memcpy(alone_a + (size_t)t * A, f.a + (size_t)(t * EPISODES + 1) * A, A * sizeof(float));
    memcpy(alone_b + (size_t)t * B, f.b + (size_t)(t * EPISODES + 1) * B, B * sizeof(float));
  }
  const float *y = fc_recurrent_forward(f.r, f.theta, alone_a, alone_b, 1, STEPS);
  for (int t = 0; t < STEPS; t++)
    assert_memory_equal(y + (size_t)t * O, together + (size_t)(t * EPISODES + 1) * O,
                        O * sizeof *y);
  end(&f);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(gradients_are_the_differences),
      cmocka_unit_test(steps_are_the_episode),
      cmocka_unit_test(an_episode_does_not_depend_on_the_others),
  };
  return cmocka_run_group_tests_name("policy.recurrent", tests, NULL, NULL);
}
