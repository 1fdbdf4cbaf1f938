/* scenario.c - who the devices are: their limits, their share of the data. */
#include "environment.h"
#include "fedcell/fc_mem.h"
#include <math.h>

/* ---- limits ---------------------------------------------------------------------------------- */

static double draw(const fc_scenario *s, const fc_dist *d, int stream, int device) {
  fc_rng rng = fc_rng_open(s->seed, FC_RNG_SCENARIO, (uint64_t)stream, (uint64_t)device);
  return fc_dist_draw(d, &rng);
}

/* Scenario 2: the slow become the fast; along a logarithmic scale where values are drawn on one. */
static fc_err mirror(const fc_dist *d, double *f_max_hz, int devices) {
  FC_CHECK(d->kind == FC_DIST_UNIFORM || d->kind == FC_DIST_LOG_UNIFORM, USAGE,
           "evaluation.scenario 2 mirrors environment.f_max_hz in its range: it must be uniform or "
           "log_uniform");
  for (int n = 0; n < devices; n++)
    f_max_hz[n] =
        d->kind == FC_DIST_UNIFORM ? d->a + d->b - f_max_hz[n] : d->a * d->b / f_max_hz[n];
  return FC_ERR_OK;
}

static fc_err draw_limits(const fc_config *cfg, fc_environment_use use, fc_scenario *s) {
  const bool other = use == FC_EVALUATION && fc_config_int(cfg, "evaluation.scenario") == 2;
  const fc_dist f_max = fc_config_dist(cfg, "environment.f_max_hz");
  const fc_dist p_max = fc_config_dist(cfg, "environment.p_max_w");
  for (int n = 0; n < s->set.devices; n++) {
    s->f_max_hz[n] = draw(s, &f_max, SCENARIO_F_MAX, n);
    s->p_max_w[n] = draw(s, &p_max, other ? SCENARIO_P_MAX_AGAIN : SCENARIO_P_MAX, n);
  }
  return other ? mirror(&f_max, s->f_max_hz, s->set.devices) : FC_ERR_OK;
}

/* ---- data ------------------------------------------------------------------------------------ */

/* Mean and spread of the training images' pixels, from exact counts of their values. */
static void measure_pixels(fc_scenario *s) {
  const size_t images = fc_dataset_train_count(s->data);
  const size_t pixels = (size_t)s->set.cnn.height * (size_t)s->set.cnn.width;
  double count[UINT8_MAX + 1] = {0}, mean = 0, variance = 0;
  for (size_t i = 0; i < images; i++) {
    const uint8_t *pixel = fc_dataset_sample(s->data, i).pixels;
    for (size_t p = 0; p < pixels; p++) count[pixel[p]]++;
  }
  const double all = (double)images * (double)pixels;
  for (int v = 0; v <= UINT8_MAX; v++) mean += count[v] / all * v / 255.0;
  for (int v = 0; v <= UINT8_MAX; v++)
    variance += count[v] / all * (v / 255.0 - mean) * (v / 255.0 - mean);
  s->set.pixel_mean = mean;
  s->set.pixel_sd = sqrt(variance);
}

static fc_err open_data(const fc_config *cfg, uint64_t seed, fc_scenario *s) {
  const fc_data_settings data = fc_data_settings_read(cfg);
  FC_TRY(fc_dataset_open(&data, seed, &s->data));
  FC_CHECK(fc_dataset_task(s->data) == FC_TASK_IMAGE, USAGE,
           "data.dataset = %s: the environment's devices classify images; allowed are mnist and "
           "generated-digits",
           data.dataset);
  fc_dataset_image_shape(s->data, &s->set.cnn.height, &s->set.cnn.width);
  s->set.cnn.classes = fc_dataset_classes(s->data);
  const int64_t test = (int64_t)fc_dataset_test_count(s->data);
  FC_CHECK(test > 0, USAGE, "there are no test samples: set data.test_fraction or data.test_file");
  if (s->set.test_samples == 0 || s->set.test_samples > test) s->set.test_samples = test;
  if (s->set.standard_pixels) measure_pixels(s);
  return fc_cnn_shape_check(&s->set.cnn);
}

static fc_err divide_data(const fc_config *cfg, fc_environment_use use, uint64_t seed,
                          fc_scenario *s) {
  fc_split_settings split = fc_split_settings_read(cfg);
  const double alpha = use == FC_EVALUATION ? fc_config_real(cfg, "evaluation.alpha") : 0;
  if (alpha > 0) split.alpha = alpha;
  return fc_split_create(&split, s->data, fc_config_real(cfg, "data.public_fraction"), seed,
                         s->seed, (uint32_t)s->set.devices, &s->split);
}

static fc_err count_samples(fc_scenario *s) {
  const int classes = s->set.cnn.classes;
  for (int d = 0; d < s->set.devices; d++) {
    size_t n;
    const uint32_t *sample = fc_split_device(s->split, (uint32_t)d, &n);
    FC_CHECK(n > 0, USAGE, "device %d has no samples: data.min_samples must be at least 1", d);
    s->samples[d] = (double)n;
    for (size_t i = 0; i < n; i++)
      s->labels[d * classes + fc_dataset_sample(s->data, sample[i]).label]++;
  }
  return FC_ERR_OK;
}

/* ---- the whole ------------------------------------------------------------------------------- */

static fc_err create(const fc_config *cfg, fc_environment_use use, fc_scenario *s) {
  const uint64_t data_seed = (uint64_t)fc_config_int(cfg, "data.seed");
  FC_TRY(fc_environment_settings_read(cfg, use, &s->set));
  s->seed = (uint64_t)fc_config_int(cfg, "environment.seed");
  s->gain = fc_config_dist(cfg, "environment.gain");
  FC_TRY(open_data(cfg, data_seed, s));
  FC_TRY(divide_data(cfg, use, data_seed, s));
  const size_t devices = (size_t)s->set.devices;
  FC_TRY(fc_alloc(devices, sizeof(double), &s->samples));
  FC_TRY(fc_alloc(devices, sizeof(double), &s->f_max_hz));
  FC_TRY(fc_alloc(devices, sizeof(double), &s->p_max_w));
  FC_TRY(fc_alloc(devices * (size_t)s->set.cnn.classes, sizeof(double), &s->labels));
  FC_TRY(count_samples(s));
  return draw_limits(cfg, use, s);
}

fc_err fc_scenario_create(const fc_config *cfg, fc_environment_use use, fc_scenario **out) {
  *out = NULL;
  FC_TRY(fc_alloc(1, sizeof **out, out));
  const fc_err err = create(cfg, use, *out);
  if (err != FC_ERR_OK) fc_scenario_destroy(out);
  return err;
}

void fc_scenario_destroy(fc_scenario **s) {
  if (!*s) return;
  if ((*s)->split) fc_split_destroy(&(*s)->split);
  if ((*s)->data) fc_dataset_destroy(&(*s)->data);
  fc_free((*s)->samples);
  fc_free((*s)->f_max_hz);
  fc_free((*s)->p_max_w);
  fc_free((*s)->labels);
  fc_free(*s);
  *s = NULL;
}

const fc_environment_settings *fc_scenario_settings(const fc_scenario *s) {
  return &s->set;
}

size_t fc_scenario_bytes(const fc_scenario *s) {
  const size_t numbers = (size_t)s->set.devices * (3 + (size_t)s->set.cnn.classes);
  return sizeof *s + fc_dataset_bytes(s->data) + fc_split_bytes(s->split) +
         numbers * sizeof(double);
}

const double *fc_scenario_samples(const fc_scenario *s) {
  return s->samples;
}

const double *fc_scenario_f_max_hz(const fc_scenario *s) {
  return s->f_max_hz;
}

const double *fc_scenario_p_max_w(const fc_scenario *s) {
  return s->p_max_w;
}

const double *fc_scenario_labels(const fc_scenario *s) {
  return s->labels;
}
