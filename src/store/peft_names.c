/* peft_names.c - which names PEFT's lists of modules need, so that they mean exactly our layers.
 *
 * PEFT adapts every linear layer whose name is in target_modules or ends with "." and an entry of
 * it; the tensors of a model therefore tell how short an entry may be. With layers_to_transform, a
 * name that only ends with an entry must stand in one of those blocks. */
#include "fedcell/fc_mem.h"
#include "peft.h"
#include <string.h>

size_t fc_peft_module_length(const char *tensor) {
  return (size_t)(strrchr(tensor, '.') - tensor);
}

static bool tail_is(const char *name, size_t n, const char *wanted, size_t w) {
  if (w == 0 || n < w || strncmp(name + n - w, wanted, w) != 0) return false;
  return n == w || name[n - w - 1] == '.';
}

bool fc_peft_ends_with(const char *name, size_t n, const char *wanted) {
  return tail_is(name, n, wanted, strlen(wanted));
}

bool fc_peft_lies_in(const char *tensor, const char *module) {
  for (const char *dot = strchr(tensor, '.'); dot; dot = strchr(dot + 1, '.'))
    if (fc_peft_ends_with(tensor, (size_t)(dot - tensor), module)) return true;
  return false;
}

/* Sets block and by_blocks. Every block has the same tensors in the same order. */
static void mark_blocks(fc_peft_marks *m) {
  size_t start = 0, like = m->n; /* first tensor of this block, of the first one with adapters */
  int layers = fc_model_get_shape(m->model)->layers;
  for (size_t i = 0; i < m->n; i++)
    if (m->tensors[i].layer >= 0 && m->adapted[i]) m->block[m->tensors[i].layer] = true;
  bool any = false, all = true, alike = true;
  for (int b = 0; b < layers; b++) {
    any = any || m->block[b];
    all = all && m->block[b];
  }
  for (size_t i = 0; i < m->n; i++) {
    int layer = m->tensors[i].layer;
    if (layer < 0 || !m->block[layer]) continue;
    if (i == 0 || m->tensors[i - 1].layer != layer) start = i;
    if (like == m->n) like = i;
    alike = alike && m->adapted[i] == m->adapted[like + i - start];
  }
  m->by_blocks = any && !all && alike;
}

fc_err fc_peft_marks_create(const fc_model *model, const fc_trainable *t, fc_peft_marks *out) {
  size_t n = 0;
  *out = (fc_peft_marks){.model = model, .trainable = t};
  out->tensors = fc_model_tensors(model, &out->n);
  fc_err err = fc_alloc(out->n, sizeof *out->whole, &out->whole);
  if (err == FC_ERR_OK) err = fc_alloc(out->n, sizeof *out->adapted, &out->adapted);
  size_t layers = (size_t)fc_model_get_shape(model)->layers;
  if (err == FC_ERR_OK) err = fc_alloc(layers, sizeof *out->block, &out->block);
  if (err != FC_ERR_OK) {
    fc_peft_marks_destroy(out);
    return err;
  }
  const fc_trainable_part *parts = fc_trainable_parts(t, &n);
  for (size_t i = 0; i < out->n; i++) out->whole[i] = -1;
  for (size_t p = 0; p < n; p++) {
    if (parts[p].kind == 'W')
      out->whole[parts[p].tensor] = (int)p;
    else
      out->adapted[parts[p].tensor] = true;
  }
  mark_blocks(out);
  return FC_ERR_OK;
}

void fc_peft_marks_destroy(fc_peft_marks *marks) {
  fc_free(marks->whole);
  fc_free(marks->adapted);
  fc_free(marks->block);
  marks->whole = NULL;
  marks->adapted = NULL;
  marks->block = NULL;
}

/* Whether a module that has no adapter ends like this: PEFT would adapt it too. */
static bool means_others(const fc_peft_marks *m, const char *ending, size_t n) {
  static const char weight[] = ".weight";
  for (size_t i = 0; i < m->n; i++) {
    const char *name = m->tensors[i].name;
    size_t module = fc_peft_module_length(name);
    int layer = m->tensors[i].layer;
    if (m->adapted[i] || strcmp(name + module, weight) != 0) continue;
    bool whole_name = m->by_blocks && (layer < 0 || !m->block[layer]);
    if (whole_name ? module == n && strncmp(name, ending, n) == 0
                   : tail_is(name, module, ending, n))
      return true;
  }
  return false;
}

const char *fc_peft_target(const fc_peft_marks *m, size_t tensor, size_t *n) {
  const char *name = m->tensors[tensor].name;
  size_t length = fc_peft_module_length(name), at = length;
  *n = length;
  if (m->by_blocks && m->tensors[tensor].layer < 0) return name;
  while (at > 0) {
    do at--;
    while (at > 0 && name[at - 1] != '.');
    *n = length - at;
    if (!means_others(m, name + at, *n)) break;
  }
  return name + at;
}

bool fc_peft_output_is_tied(const fc_model *model) {
  return fc_arch_is_causal(fc_model_get_shape(model)->arch) &&
         !fc_model_find_tensor(model, "lm_head.weight");
}
