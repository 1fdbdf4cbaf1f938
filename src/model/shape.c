/* shape.c - what a model's shape may be. */
#include "arch.h"
#include <math.h>

/* Wide enough for any model this program trains, small enough that no product of two sizes and no
 * int row length overflows. */
enum { MAX_LAYERS = 1024, MAX_WIDTH = 1 << 20, MAX_COUNT = 1 << 27, MAX_LABELS = 1 << 20 };

static fc_err check_range(const char *what, int value, int low, int high) {
  FC_CHECK(value >= low && value <= high, SHAPE, "model %s is %d, allowed is %d to %d", what, value,
           low, high);
  return FC_ERR_OK;
}

static void fill_defaults(fc_model_shape *s) {
  if (s->kv_heads == 0) s->kv_heads = s->heads;
  if (s->ffn == 0) s->ffn = 4 * s->width;
  if (s->types == 0) s->types = s->arch->types;
  if (s->norm_eps == 0.0F) s->norm_eps = s->arch->norm_eps;
  if (s->rope_theta == 0.0F) s->rope_theta = s->arch->rope_theta;
}

static fc_err check_rotary(const fc_model_shape *s) {
  const fc_rope_scaling *r = &s->rope_scaling;
  int head_width = s->width / s->heads;
  if (s->arch->rope_theta == 0.0F) return FC_ERR_OK;
  FC_CHECK(head_width % 2 == 0, SHAPE,
           "model width %d in %d heads is %d a head: rotary positions need an even number",
           s->width, s->heads, head_width);
  FC_CHECK(isfinite(s->rope_theta) && s->rope_theta >= 1.0F, SHAPE,
           "model rope_theta is %g, allowed is 1 or more", (double)s->rope_theta);
  if (r->factor == 0.0F) return FC_ERR_OK;
  FC_CHECK(isfinite(r->factor) && r->factor >= 1.0F, SHAPE,
           "model rope_scaling factor is %g, allowed is 1 or more", (double)r->factor);
  FC_CHECK(isfinite(r->high_freq_factor) && r->low_freq_factor > 0.0F &&
               r->high_freq_factor > r->low_freq_factor,
           SHAPE,
           "model rope_scaling has low_freq_factor %g and high_freq_factor %g: needed is "
           "0 < low < high",
           (double)r->low_freq_factor, (double)r->high_freq_factor);
  return check_range("rope_scaling original_max_position_embeddings", r->original_positions, 1,
                     MAX_COUNT);
}

static fc_err check_heads(const fc_model_shape *s) {
  FC_TRY(check_range("heads", s->heads, 1, s->width));
  FC_CHECK(s->width % s->heads == 0, SHAPE, "model width %d is not a multiple of its %d heads",
           s->width, s->heads);
  FC_TRY(check_range("kv_heads", s->kv_heads, 1, s->heads));
  FC_CHECK(s->heads % s->kv_heads == 0, SHAPE, "model kv_heads %d does not divide its %d heads",
           s->kv_heads, s->heads);
  FC_CHECK(s->arch->grouped_kv || s->kv_heads == s->heads, SHAPE,
           "model kv_heads is %d, but %s has no grouped heads: allowed is %d", s->kv_heads,
           s->arch->name, s->heads);
  return FC_ERR_OK;
}

fc_err fc_model_shape_check(fc_model_shape *s) {
  FC_CHECK(s->arch, SHAPE, "the model's shape names no family");
  FC_TRY(check_range("layers", s->layers, 1, MAX_LAYERS));
  FC_TRY(check_range("width", s->width, 1, MAX_WIDTH));
  fill_defaults(s);
  FC_TRY(check_heads(s));
  FC_TRY(check_rotary(s));
  FC_CHECK(!s->untied_head || s->arch->own_lm_table, SHAPE,
           "the head of %s is tied to its token table", s->arch->name);
  FC_TRY(check_range("ffn", s->ffn, 1, 4 * MAX_WIDTH));
  FC_TRY(check_range("vocab", s->vocab, 1, MAX_COUNT));
  FC_TRY(check_range("positions", s->positions, s->arch->position_offset + 1, MAX_COUNT));
  FC_TRY(check_range("types", s->types, s->arch->types > 0, s->arch->types > 0 ? MAX_COUNT : 0));
  FC_TRY(check_range("labels", s->labels, 0, MAX_LABELS));
  FC_TRY(check_range("pool", (int)s->pool, FC_POOL_FIRST, FC_POOL_MEAN));
  FC_CHECK(isfinite(s->norm_eps) && s->norm_eps > 0.0F, SHAPE,
           "model norm_eps is %g, allowed is above 0", (double)s->norm_eps);
  return FC_ERR_OK;
}
