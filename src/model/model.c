/* model.c - a model: the tensors of the architecture table laid out in one blob, and who plays
 * which role. The model owns its tables; the weights are borrowed. */
#include "fedcell/fc_mem.h"
#include "internal.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

#define INIT_STD 0.02F /* [Radford+ 2019], [Devlin+ 2019]: all weights normal(0, 0.02) */

/* ---- stages ---------------------------------------------------------------------------------- */

enum { STAGE_EMBED, STAGE_EMBED_NORM, STAGE_BLOCKS };

static int stage_of(const fc_model_shape *s, fc_role role, int layer) {
  int above = STAGE_BLOCKS + s->layers * FC_ARCH_BLOCK_ROLES;
  if (fc_arch_is_block_role(role))
    return STAGE_BLOCKS + layer * FC_ARCH_BLOCK_ROLES + fc_arch_block_order(s->arch, role);
  switch (role) {
  case FC_ROLE_TOKEN:
  case FC_ROLE_POSITION:
  case FC_ROLE_TYPE:
    return STAGE_EMBED;
  case FC_ROLE_EMBED_NORM:
    return STAGE_EMBED_NORM;
  case FC_ROLE_FINAL_NORM:
    return above;
  case FC_ROLE_CLASS_DENSE:
  case FC_ROLE_LM_DENSE:
    return above + 1;
  case FC_ROLE_LM_NORM:
    return above + 2;
  default:
    return above + 3; /* CLASS_OUT, LM_BIAS */
  }
}

int fc_model_first_stage(int layer) {
  return STAGE_BLOCKS + layer * FC_ARCH_BLOCK_ROLES;
}

int fc_model_block_of_stage(int stage) {
  return stage < STAGE_BLOCKS ? 0 : (stage - STAGE_BLOCKS) / FC_ARCH_BLOCK_ROLES;
}

/* ---- laying out the tensors ------------------------------------------------------------------ */

static int add_tensor(fc_model *m, const fc_arch_module *module, int layer, const char *suffix,
                      int64_t rows, int64_t cols) {
  const fc_arch *arch = m->shape.arch;
  fc_tensor *t = &m->tensors[m->n_tensors];
  bool in_trunk = module->role <= FC_ROLE_FINAL_NORM;
  char block[48] = "";
  if (layer >= 0) snprintf(block, sizeof block, "%s%d.", arch->block, layer);
  snprintf(t->name, sizeof t->name, "%s%s%s.%s", in_trunk ? arch->prefix : "", block, module->name,
           suffix);
  t->rows = rows;
  t->cols = cols;
  t->offset = m->weight_count;
  t->layer = layer;
  t->is_head = module->role == FC_ROLE_CLASS_DENSE || module->role == FC_ROLE_CLASS_OUT;
  m->info[m->n_tensors].stage = stage_of(&m->shape, module->role, layer);
  m->weight_count += (size_t)rows * (size_t)cols;
  return m->n_tensors++;
}

static bool is_linear(const fc_arch_module *module) {
  return module->kind == FC_MODULE_LINEAR || module->kind == FC_MODULE_LINEAR_NO_BIAS ||
         module->kind == FC_MODULE_CONV1D;
}

static bool is_norm(const fc_arch_module *module) {
  return module->kind == FC_MODULE_NORM || module->kind == FC_MODULE_RMS_NORM;
}

static int add_weight(fc_model *m, const fc_arch_module *module, int layer) {
  if (module->kind == FC_MODULE_BIAS) return FC_TENSOR_NONE;
  const fc_model_shape *s = &m->shape;
  int i = add_tensor(m, module, layer, "weight", fc_arch_dim(s, module->rows),
                     fc_arch_dim(s, module->cols));
  fc_tensor_info *info = &m->info[i];
  bool is_residual = module->role == FC_ROLE_ATTENTION_OUT || module->role == FC_ROLE_DOWN;
  info->is_adaptable = is_linear(module);
  info->init_std = INIT_STD;
  if (is_residual && s->arch->scaled_residual_init)
    info->init_std = INIT_STD / sqrtf(2.0F * (float)s->layers);
  if (is_norm(module)) {
    info->init_std = 0.0F;
    info->init_value = 1.0F;
  }
  m->tensors[i].is_transposed_in_file = module->kind == FC_MODULE_CONV1D;
  return i;
}

static int add_bias(fc_model *m, const fc_arch_module *module, int layer) {
  if (module->kind == FC_MODULE_TABLE || module->kind == FC_MODULE_LINEAR_NO_BIAS ||
      module->kind == FC_MODULE_RMS_NORM)
    return FC_TENSOR_NONE;
  fc_dim length = is_linear(module) ? module->rows : module->cols;
  return add_tensor(m, module, layer, "bias", 1, fc_arch_dim(&m->shape, length));
}

static void set_linear(fc_model *m, fc_linear *l, const fc_arch_module *modules, int n, int layer,
                       const int *weight, const int *bias) {
  const fc_model_shape *s = &m->shape;
  l->in = fc_arch_dim(s, modules[0].cols);
  l->stage = stage_of(s, modules[0].role, layer);
  l->n_pieces = n;
  for (int i = 0; i < n; i++) {
    int rows = fc_arch_dim(s, modules[i].rows);
    l->piece[i] = (fc_piece){.weight = weight[i], .bias = bias[i], .row = l->out, .rows = rows};
    l->out += rows;
  }
}

static fc_linear *linear_of(fc_model *m, fc_role role, int layer) {
  switch (role) {
  case FC_ROLE_QKV:
    return &m->blocks[layer].slot[FC_SLOT_QKV];
  case FC_ROLE_ATTENTION_OUT:
    return &m->blocks[layer].slot[FC_SLOT_ATTENTION_OUT];
  case FC_ROLE_UP:
    return &m->blocks[layer].slot[FC_SLOT_UP];
  case FC_ROLE_DOWN:
    return &m->blocks[layer].slot[FC_SLOT_DOWN];
  case FC_ROLE_CLASS_DENSE:
    return &m->class_head.dense;
  case FC_ROLE_CLASS_OUT:
    return &m->class_head.out;
  default:
    return &m->lm_head.dense;
  }
}

static fc_norm *norm_of(fc_model *m, fc_role role, int layer) {
  switch (role) {
  case FC_ROLE_EMBED_NORM:
    return &m->embed_norm;
  case FC_ROLE_NORM1:
    return &m->blocks[layer].norm[0];
  case FC_ROLE_NORM2:
    return &m->blocks[layer].norm[1];
  case FC_ROLE_FINAL_NORM:
    return &m->final_norm;
  default:
    return &m->lm_head.norm;
  }
}

/* Lays out n consecutive modules of one role: all weights, then all biases, so that the pieces of a
 * product form one matrix. */
static void add_modules(fc_model *m, const fc_arch_module *modules, int n, int layer) {
  int weight[FC_ARCH_MAX_PIECES], bias[FC_ARCH_MAX_PIECES];
  for (int i = 0; i < n; i++) weight[i] = add_weight(m, &modules[i], layer);
  for (int i = 0; i < n; i++) bias[i] = add_bias(m, &modules[i], layer);
  fc_role role = modules[0].role;
  if (is_linear(modules))
    set_linear(m, linear_of(m, role, layer), modules, n, layer, weight, bias);
  else if (is_norm(modules))
    *norm_of(m, role, layer) = (fc_norm){weight[0], bias[0], stage_of(&m->shape, role, layer)};
  else if (role == FC_ROLE_TOKEN)
    m->token = weight[0];
  else if (role == FC_ROLE_POSITION)
    m->position = weight[0];
  else if (role == FC_ROLE_TYPE)
    m->type = weight[0];
  else if (role == FC_ROLE_LM_OUT)
    m->lm_head.out.piece[0].weight = weight[0];
  else /* LM_BIAS */
    m->lm_head.out.piece[0].bias = bias[0];
}

/* Lays out modules[0..n) for one layer (or -1), grouped by role. */
static void add_run(fc_model *m, const fc_arch_module *modules, int n, int layer) {
  for (int i = 0, same = 1; i < n; i += same) {
    for (same = 1; i + same < n && modules[i + same].role == modules[i].role;) same++;
    if (fc_arch_has_role(&m->shape, modules[i].role)) add_modules(m, &modules[i], same, layer);
  }
}

static void add_list(fc_model *m, const fc_arch_module *list) {
  int i = 0;
  while (list[i].name) {
    int end = i;
    bool in_block = fc_arch_is_block_role(list[i].role);
    while (list[end].name && fc_arch_is_block_role(list[end].role) == in_block) end++;
    for (int layer = 0; in_block && layer < m->shape.layers; layer++)
      add_run(m, &list[i], end - i, layer);
    if (!in_block) add_run(m, &list[i], end - i, -1);
    i = end;
  }
}

/* The LM head's last product is with its own table or else the token table itself. */
static void set_lm_head(fc_model *m) {
  const fc_model_shape *s = &m->shape;
  if (!s->lm_head && !s->arch->causal) return;
  fc_linear *out = &m->lm_head.out;
  int own = out->piece[0].weight;
  *out = (fc_linear){
      .in = s->width,
      .out = s->vocab,
      .n_pieces = 1,
      .stage = stage_of(s, FC_ROLE_LM_BIAS, -1),
      .piece = {{own == FC_TENSOR_NONE ? m->token : own, out->piece[0].bias, 0, s->vocab}}};
}

static size_t tensors_at_most(const fc_model_shape *s) {
  size_t n = 0;
  for (const fc_arch_module *l = s->arch->trunk; l->name; l++)
    n += 2 * (fc_arch_is_block_role(l->role) ? (size_t)s->layers : 1);
  for (const fc_arch_module *l = s->arch->heads; l->name; l++) n += 2;
  return n;
}

static fc_err create_tables(fc_model *m) {
  size_t most = tensors_at_most(&m->shape);
  FC_TRY(fc_alloc(most, sizeof *m->tensors, &m->tensors));
  FC_TRY(fc_alloc(most, sizeof *m->info, &m->info));
  return fc_alloc((size_t)m->shape.layers, sizeof *m->blocks, &m->blocks);
}

fc_err fc_model_create(const fc_model_shape *shape, fc_model **out) {
  static const fc_norm no_norm = {FC_TENSOR_NONE, FC_TENSOR_NONE, 0};
  *out = NULL;
  fc_model_shape checked = *shape;
  FC_TRY(fc_model_shape_check(&checked));
  fc_model *m = NULL;
  FC_TRY(fc_alloc(1, sizeof *m, &m));
  m->shape = checked;
  fc_err err = create_tables(m);
  if (err != FC_ERR_OK) {
    fc_model_destroy(&m);
    return err;
  }
  m->token = m->position = m->type = FC_TENSOR_NONE;
  m->embed_norm = m->final_norm = m->class_head.norm = m->lm_head.norm = no_norm;
  m->lm_head.out.piece[0].weight = m->lm_head.out.piece[0].bias = FC_TENSOR_NONE;
  m->class_head.act = checked.arch->class_activation;
  m->lm_head.act = checked.arch->lm_activation;
  m->head_stage = stage_of(&checked, FC_ROLE_FINAL_NORM, -1) + 1;
  add_list(m, checked.arch->trunk);
  add_list(m, checked.arch->heads);
  set_lm_head(m);
  fc_model_place_units(m);
  fc_model_place_panels(m);
  *out = m;
  return FC_ERR_OK;
}

void fc_model_destroy(fc_model **model) {
  if (!*model) return;
  fc_free((*model)->tensors);
  fc_free((*model)->info);
  fc_free((*model)->blocks);
  fc_free(*model);
  *model = NULL;
}

/* ---- looking at it --------------------------------------------------------------------------- */

const fc_model_shape *fc_model_get_shape(const fc_model *model) {
  return &model->shape;
}

size_t fc_model_weight_count(const fc_model *model) {
  return model->weight_count;
}

const fc_tensor *fc_model_tensors(const fc_model *model, size_t *n) {
  *n = (size_t)model->n_tensors;
  return model->tensors;
}

static const char *without_prefix(const char *name, const char *prefix) {
  size_t n = strlen(prefix);
  return strncmp(name, prefix, n) == 0 ? name + n : name;
}

const fc_tensor *fc_model_find_tensor(const fc_model *model, const char *name) {
  const char *prefix = model->shape.arch->prefix;
  const char *wanted = without_prefix(name, prefix);
  for (int i = 0; i < model->n_tensors; i++) {
    if (strcmp(without_prefix(model->tensors[i].name, prefix), wanted) == 0)
      return &model->tensors[i];
  }
  return NULL;
}

void fc_model_set_weights(fc_model *model, const float *weights) {
  model->weights = weights;
}

const float *fc_model_weights(const fc_model *model) {
  return model->weights;
}

fc_attention_shape fc_model_attention_shape(const fc_model *model, int groups) {
  const fc_model_shape *s = &model->shape;
  return (fc_attention_shape){.heads = s->heads / s->kv_heads * groups,
                              .kv_heads = groups,
                              .head_width = s->width / s->heads,
                              .causal = s->arch->causal};
}

void fc_model_init_weights(const fc_model *model, uint64_t seed, bool heads_only, float *weights) {
  for (int i = 0; i < model->n_tensors; i++) {
    const fc_tensor *t = &model->tensors[i];
    const fc_tensor_info *info = &model->info[i];
    if (heads_only && !t->is_head) continue;
    fc_rng rng = fc_rng_open(seed, FC_RNG_WEIGHT_INIT, 0, (uint64_t)i);
    float *w = weights + t->offset;
    size_t n = (size_t)t->rows * (size_t)t->cols;
    for (size_t k = 0; k < n; k++)
      w[k] = info->init_std > 0.0F ? info->init_std * (float)fc_rng_normal(&rng) : info->init_value;
  }
}
