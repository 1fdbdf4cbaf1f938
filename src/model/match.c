/* match.c - names of what is trained; see match.h. */
#include "match.h"
#include <stdio.h>
#include <string.h>

/* Whether the first n characters of name are `wanted` or end with "." + wanted. */
static bool ends_with(const char *name, size_t n, const char *wanted) {
  size_t w = strlen(wanted);
  if (w == 0 || n < w || strncmp(name + n - w, wanted, w) != 0) return false;
  return n == w || name[n - w - 1] == '.';
}

/* Length of the module's name in a tensor's name: "...query.weight" without ".weight". */
static size_t module_length(const char *tensor) {
  return (size_t)(strrchr(tensor, '.') - tensor);
}

bool fc_match_target(const fc_model *m, int tensor, const char *target) {
  const fc_tensor *t = &m->tensors[tensor];
  if (!m->info[tensor].is_adaptable) return false;
  if (strcmp(target, "all-linear") == 0) return t->layer >= 0;
  return ends_with(t->name, module_length(t->name), target);
}

bool fc_match_saved(const fc_model *m, int tensor, const char *saved) {
  if (strcmp(saved, "all") == 0) return true;
  if (strcmp(saved, "head") == 0 && m->tensors[tensor].is_head) return true;
  const char *name = m->tensors[tensor].name;
  for (const char *dot = strchr(name, '.'); dot; dot = strchr(dot + 1, '.')) {
    if (ends_with(name, (size_t)(dot - name), saved)) return true;
  }
  return ends_with(name, strlen(name), saved);
}

/* ---- what exists, for messages --------------------------------------------------------------- */

typedef struct {
  char text[1024];
  size_t used;
} name_list;

static void list_add(name_list *list, const char *name, size_t n) {
  size_t room = sizeof list->text - list->used;
  int written =
      snprintf(list->text + list->used, room, "%s%.*s", list->used ? ", " : "", (int)n, name);
  list->used += (size_t)written < room ? (size_t)written : room - 1;
}

/* The module's name without prefix, block number and ".weight". */
static void list_add_module(name_list *list, const fc_model *m, const fc_tensor *t) {
  const fc_arch *arch = m->shape.arch;
  const char *name = t->name;
  size_t n = module_length(name), skip = 0;
  if (strncmp(name, arch->prefix, strlen(arch->prefix)) == 0) skip = strlen(arch->prefix);
  if (t->layer >= 0) skip = (size_t)(strchr(name + skip + strlen(arch->block), '.') + 1 - name);
  list_add(list, name + skip, n - skip);
}

fc_err fc_match_fail_target(const fc_model *m, const char *target) {
  name_list list = {"", 0};
  for (int i = 0; i < m->n_tensors; i++) {
    if (m->info[i].is_adaptable && m->tensors[i].layer <= 0)
      list_add_module(&list, m, &m->tensors[i]);
  }
  return fc_fail(FC_ERR_USAGE,
                 "adapter target \"%s\" matches no linear layer of %s; there are: %s, all-linear",
                 target, m->shape.arch->name, list.text);
}

fc_err fc_match_fail_saved(const fc_model *m, const char *saved) {
  const fc_arch *arch = m->shape.arch;
  name_list list = {"", 0};
  const char *before = "";
  for (int i = 0; i < m->n_tensors; i++) {
    const fc_tensor *t = &m->tensors[i];
    size_t n = module_length(t->name);
    bool is_again =
        module_length(before[0] ? before : ".") == n && strncmp(before, t->name, n) == 0;
    if (t->layer < 0 && !is_again) list_add_module(&list, m, t);
    before = t->name;
  }
  return fc_fail(FC_ERR_USAGE,
                 "saved module \"%s\" matches nothing in %s; there are: %s, %s0 to %s%d and what "
                 "is in them, head, all",
                 saved, arch->name, list.text, arch->block, arch->block, m->shape.layers - 1);
}
