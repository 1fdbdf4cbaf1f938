/* cnn_shape.c - the CNN's shape [McMahan+ 2017]: what is allowed, where its weights lie, how they
 * begin, what a sample costs. */
#include "cnn.h"
#include <math.h>

fc_err fc_cnn_shape_check(const fc_cnn_shape *s) {
  /* so that no int row length overflows */
  const struct {
    const char *what;
    int value, low, high;
  } numbers[] = {
      {"height", s->height, 4, 512},
      {"width", s->width, 4, 512},
      {"channels of the first convolution", s->channels[0], 1, 1024},
      {"channels of the second convolution", s->channels[1], 1, 1024},
      {"hidden", s->hidden, 1, 65536},
      {"classes", s->classes, 2, 65536},
  };
  for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
    FC_CHECK(numbers[i].value >= numbers[i].low && numbers[i].value <= numbers[i].high, SHAPE,
             "CNN %s is %d, allowed is %d to %d", numbers[i].what, numbers[i].value, numbers[i].low,
             numbers[i].high);
  FC_CHECK(s->height % 4 == 0 && s->width % 4 == 0, SHAPE,
           "CNN images are %d x %d, both must be divisible by 4", s->height, s->width);
  return FC_ERR_OK;
}

int fc_cnn_features(const fc_cnn_shape *s) {
  return s->channels[1] * (s->height / 4) * (s->width / 4);
}

void fc_cnn_parts(const fc_cnn_shape *s, fc_cnn_part part[FC_CNN_PARTS]) {
  const struct {
    const char *weight, *bias;
    int rows, cols;
  } layers[FC_CNN_PARTS / 2] = {
      {"conv1.weight", "conv1.bias", s->channels[0], FC_CNN_WINDOW},
      {"conv2.weight", "conv2.bias", s->channels[1], FC_CNN_WINDOW * s->channels[0]},
      {"fc1.weight", "fc1.bias", s->hidden, fc_cnn_features(s)},
      {"fc2.weight", "fc2.bias", s->classes, s->hidden},
  };
  size_t offset = 0;
  for (int i = 0; i < FC_CNN_PARTS / 2; i++) {
    const int64_t rows = layers[i].rows, cols = layers[i].cols;
    part[2 * i] = (fc_cnn_part){layers[i].weight, rows, cols, offset};
    offset += (size_t)(rows * cols);
    part[2 * i + 1] = (fc_cnn_part){layers[i].bias, 1, rows, offset};
    offset += (size_t)rows;
  }
}

size_t fc_cnn_weight_count(const fc_cnn_shape *s) {
  fc_cnn_part part[FC_CNN_PARTS];
  fc_cnn_parts(s, part);
  const fc_cnn_part *last = &part[FC_CNN_PARTS - 1];
  return last->offset + (size_t)(last->rows * last->cols);
}

void fc_cnn_init(const fc_cnn_shape *s, uint64_t seed, float *w) {
  fc_cnn_part part[FC_CNN_PARTS];
  fc_cnn_parts(s, part);
  for (int i = 0; i < FC_CNN_PARTS; i++) {
    fc_rng rng = fc_rng_open(seed, FC_RNG_WEIGHT_INIT, 0, (uint64_t)i);
    const double bound = 1.0 / sqrt((double)part[i / 2 * 2].cols); /* a bias goes by its weights */
    for (int64_t k = 0; k < part[i].rows * part[i].cols; k++)
      w[part[i].offset + (size_t)k] = (float)(bound * (2.0 * fc_rng_uniform(&rng) - 1.0));
  }
}

double fc_cnn_forward_flop(const fc_cnn_shape *s) {
  const double pixels = (double)s->height * s->width, window = FC_CNN_WINDOW;
  const double a = s->channels[0], b = s->channels[1], hidden = s->hidden;
  return 2.0 * (pixels * a * window + pixels / 4.0 * b * window * a + hidden * fc_cnn_features(s) +
                hidden * s->classes);
}
