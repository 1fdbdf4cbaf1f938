/* peft_names.c - which names PEFT's lists of modules need, so that they mean exactly our layers.
 *
 * PEFT adapts every linear layer whose name is in target_modules or ends with "." and an entry of
 * it; the tensors of a model therefore tell how short an entry may be. */
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

fc_err fc_peft_marks_create(const fc_model *model, const fc_trainable *t, fc_peft_marks *out) {
  size_t n = 0;
  *out = (fc_peft_marks){.model = model, .trainable = t};
  out->tensors = fc_model_tensors(model, &out->n);
  fc_err err = fc_alloc(out->n, sizeof *out->whole, &out->whole);
  if (err == FC_ERR_OK) err = fc_alloc(out->n, sizeof *out->adapted, &out->adapted);
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
  return FC_ERR_OK;
}

void fc_peft_marks_destroy(fc_peft_marks *marks) {
  fc_free(marks->whole);
  fc_free(marks->adapted);
  marks->whole = NULL;
  marks->adapted = NULL;
}

/* Whether a module that has no adapter ends like this: PEFT would adapt it too. */
static bool means_others(const fc_peft_marks *m, const char *ending, size_t n) {
  static const char weight[] = ".weight";
  for (size_t i = 0; i < m->n; i++) {
    const char *name = m->tensors[i].name;
    size_t module = fc_peft_module_length(name);
    if (m->adapted[i] || strcmp(name + module, weight) != 0) continue;
    if (tail_is(name, module, ending, n)) return true;
  }
  return false;
}

const char *fc_peft_target(const fc_peft_marks *m, size_t tensor, size_t *n) {
  const char *name = m->tensors[tensor].name;
  size_t length = fc_peft_module_length(name), at = length;
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
