/* peft_write.c - theta into a folder that peft.PeftModel.from_pretrained opens; see fc_peft.h.
 *
 * Names and keys as PEFT 0.8 writes them, which later releases read. Whole tensors go by modules:
 * PEFT's modules_to_save replaces a module with all that is in it, so a listed module's tensors are
 * all written, from the base where they are not trained. */
#include "fedcell/fc_mem.h"
#include "peft.h"
#include "weights.h"
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
  fc_peft_marks marks;
  const float *theta;
  fc_loss_kind kind;
  json_t *targets, *modules; /* the lists of adapter_config.json */
  fc_safetensor_source *sources;
  char (*names)[FC_PEFT_NAME];
  size_t n_sources;
  float *scratch; /* for tensors that files hold transposed */
} writer;

/* ---- lists of modules ------------------------------------------------------------------------ */

static fc_err add_name(json_t *list, const char *name, size_t n) {
  size_t i;
  json_t *entry;
  json_array_foreach(list, i, entry) {
    if (json_string_length(entry) == n && strncmp(json_string_value(entry), name, n) == 0)
      return FC_ERR_OK;
  }
  FC_CHECK(json_array_append_new(list, json_stringn(name, n)) == 0, NOMEM,
           "adapter_config.json: out of memory");
  return FC_ERR_OK;
}

static bool is_listed(const writer *w, const char *tensor) {
  size_t i;
  json_t *entry;
  json_array_foreach(w->modules, i, entry) {
    size_t n = json_string_length(entry);
    if (strncmp(tensor, json_string_value(entry), n) == 0 && tensor[n] == '.') return true;
  }
  return false;
}

/* PEFT wraps the modules "classifier" and "score" of a sequence classifier whole, asked or not. */
static size_t head_length(const writer *w, const char *tensor) {
  static const char *const heads[] = {"classifier", "score"};
  for (int i = 0; i < 2 && w->kind == FC_LOSS_CLASSIFY; i++) {
    size_t n = strlen(heads[i]);
    if (strncmp(tensor, heads[i], n) == 0 && tensor[n] == '.') return n;
  }
  return 0;
}

/* The module that has to be saved for this tensor to be. */
static fc_err list_module(writer *w, const fc_tensor *t) {
  size_t head = head_length(w, t->name);
  size_t n = head ? head : fc_peft_module_length(t->name);
  for (size_t i = 0; i < w->marks.n && !head; i++) {
    const char *other = w->marks.tensors[i].name;
    bool inside = strncmp(other, t->name, n) == 0 && other[n] == '.' && strchr(other + n + 1, '.');
    FC_CHECK(!inside, USAGE,
             "%s is trained whole, which PEFT cannot express: module %.*s holds others, such as %s",
             t->name, (int)n, t->name, other);
  }
  return add_name(w->modules, t->name, n);
}

/* Whether the tensor's module has an adapter on its weight. */
static bool module_is_adapted(const fc_peft_marks *m, const char *tensor) {
  size_t n = fc_peft_module_length(tensor);
  for (size_t i = 0; i < m->n; i++) {
    const char *other = m->tensors[i].name;
    if (m->adapted[i] && fc_peft_module_length(other) == n && strncmp(other, tensor, n) == 0)
      return true;
  }
  return false;
}

static fc_err list_modules(writer *w) {
  const fc_peft_marks *m = &w->marks;
  for (size_t i = 0; i < m->n; i++) {
    const fc_tensor *t = &m->tensors[i];
    size_t n = 0;
    bool is_head = w->kind == FC_LOSS_CLASSIFY && t->is_head && !module_is_adapted(m, t->name);
    if (m->adapted[i]) {
      const char *target = fc_peft_target(m, i, &n);
      FC_TRY(add_name(w->targets, target, n));
    } else if (m->whole[i] >= 0 || is_head) {
      FC_TRY(list_module(w, t));
    }
  }
  for (size_t i = 0; i < m->n; i++)
    FC_CHECK(!m->adapted[i] ||
                 (!is_listed(w, m->tensors[i].name) && head_length(w, m->tensors[i].name) == 0),
             USAGE,
             "%s has an adapter inside of a module that is saved whole, which PEFT cannot express: "
             "leave it out of adapter.targets or name the module in adapter.saved",
             m->tensors[i].name);
  FC_CHECK(json_array_size(w->targets) > 0, USAGE,
           "nothing has a low-rank adapter, and PEFT's format needs one");
  return FC_ERR_OK;
}

/* ---- tensors --------------------------------------------------------------------------------- */

static void add_source(writer *w, const char *name, const fc_safetensor_source *source) {
  char *full = w->names[w->n_sources];
  snprintf(full, FC_PEFT_NAME, FC_PEFT_PREFIX "%s", name);
  w->sources[w->n_sources] = *source;
  w->sources[w->n_sources++].name = full;
}

static void add_adapters(writer *w) {
  size_t n = 0;
  const fc_trainable_part *p = fc_trainable_parts(w->marks.trainable, &n);
  for (size_t i = 0; i < n; i++) {
    if (p[i].kind == 'W') continue;
    fc_safetensor_source source = {
        .dims = 2, .shape = {p[i].rows, p[i].cols}, .data = w->theta + p[i].offset};
    add_source(w, p[i].name + strlen(FC_PEFT_PREFIX), &source);
  }
}

/* The output's weights are the token table again: whoever trains one trains both. */
static bool saves_output(const writer *w) {
  return w->kind == FC_LOSS_CAUSAL_LM && w->marks.whole[0] >= 0 &&
         fc_peft_output_is_tied(w->marks.model);
}

static void add_wholes(writer *w) {
  size_t n = 0;
  const fc_peft_marks *m = &w->marks;
  const fc_trainable_part *parts = fc_trainable_parts(m->trainable, &n);
  float *scratch = w->scratch;
  for (size_t i = 0; i < m->n; i++) {
    const fc_tensor *t = &m->tensors[i];
    const float *values = m->whole[i] >= 0 ? w->theta + parts[m->whole[i]].offset
                                           : fc_model_weights(m->model) + t->offset;
    fc_safetensor_source source;
    if (!is_listed(w, t->name)) continue;
    fc_weights_fill_source(t, values, &scratch, &source);
    add_source(w, t->name, &source);
    /* transformers ties the output to the base's table, not to PEFT's copy of it */
    if (i == 0 && saves_output(w)) add_source(w, "lm_head.weight", &source);
  }
}

static fc_err write_tensors(writer *w, const char *folder) {
  static const char *const metadata[] = {"format", "pt", NULL};
  char path[FC_PEFT_PATH];
  size_t n = 0, floats = 0;
  fc_trainable_parts(w->marks.trainable, &n);
  for (size_t i = 0; i < w->marks.n; i++) {
    const fc_tensor *t = &w->marks.tensors[i];
    if (t->is_transposed_in_file && is_listed(w, t->name))
      floats += (size_t)t->rows * (size_t)t->cols;
  }
  n += w->marks.n + 1;
  FC_TRY(fc_alloc(n, sizeof *w->sources, &w->sources));
  FC_TRY(fc_alloc(n, sizeof *w->names, &w->names));
  FC_TRY(fc_alloc(floats, sizeof *w->scratch, &w->scratch));
  add_adapters(w);
  add_wholes(w);
  snprintf(path, sizeof path, "%s/adapter_model.safetensors", folder);
  return fc_safetensors_write(path, w->sources, w->n_sources, metadata);
}

/* ---- configuration --------------------------------------------------------------------------- */

/* The blocks that have adapters, null for all of them. */
static json_t *layers_to_transform(const fc_peft_marks *m) {
  json_t *list = m->by_blocks ? json_array() : json_null();
  for (int b = 0; m->by_blocks && b < fc_model_get_shape(m->model)->layers; b++) {
    if (!m->block[b] || json_array_append_new(list, json_integer(b)) == 0) continue;
    json_decref(list);
    return NULL;
  }
  return list;
}

/* What the list of blocks is called: "h" of "transformer.h.1.attn.c_attn.weight". */
static json_t *layers_pattern(const fc_peft_marks *m) {
  size_t i = 0;
  if (!m->by_blocks) return json_null();
  while (m->tensors[i].layer != 0) i++;
  const char *name = m->tensors[i].name, *end = strstr(name, ".0."), *from = end;
  while (from > name && from[-1] != '.') from--;
  return json_stringn(from, (size_t)(end - from));
}

static json_t *name_or_null(const char *name) {
  return name ? json_string(name) : json_null();
}

/* 16, not 16.0: PEFT declares the number whole. */
static json_t *number(double x) {
  return x == floor(x) && fabs(x) < 1e15 ? json_integer((json_int_t)x) : json_real(x);
}

/* The shortest text that is the float again: 0.1, not 0.100000001490116. */
static double decimal(float x) {
  char text[32];
  for (int digits = 6; digits <= 9; digits++) {
    snprintf(text, sizeof text, "%.*g", digits, (double)x);
    if (strtof(text, NULL) == x) break;
  }
  return strtod(text, NULL);
}

static json_t *make_config(const writer *w, const char *base) {
  static const char *const tasks[] = {[FC_LOSS_CAUSAL_LM] = "CAUSAL_LM",
                                      [FC_LOSS_MASKED_LM] = NULL,
                                      [FC_LOSS_CLASSIFY] = "SEQ_CLS"};
  fc_lora_settings lora = fc_trainable_lora(w->marks.trainable);
  bool any_saved = json_array_size(w->modules) > 0, conv1d = false;
  for (size_t i = 0; i < w->marks.n; i++)
    conv1d = conv1d || (w->marks.adapted[i] && w->marks.tensors[i].is_transposed_in_file);
  return json_pack("{s:{}, s:n, s:o, s:s, s:b, s:b, s:b, s:o, s:o, s:o, s:o, s:o, s:s, s:i, s:{}, "
                   "s:n, s:O, s:o}",
                   "alpha_pattern", "auto_mapping", "base_model_name_or_path", name_or_null(base),
                   "bias", "none", "fan_in_fan_out", conv1d, "inference_mode", 1,
                   "init_lora_weights", 1, "layers_pattern", layers_pattern(&w->marks),
                   "layers_to_transform", layers_to_transform(&w->marks), "lora_alpha",
                   number(decimal(lora.alpha)), "lora_dropout", json_real(decimal(lora.dropout)),
                   "modules_to_save", any_saved ? json_incref(w->modules) : json_null(),
                   "peft_type", "LORA", "r", lora.rank, "rank_pattern", "revision",
                   "target_modules", w->targets, "task_type", name_or_null(tasks[w->kind]));
}

static fc_err write_config(const writer *w, const char *base, const char *folder) {
  char path[FC_PEFT_PATH];
  json_t *config = make_config(w, base);
  char *text = config ? json_dumps(config, JSON_INDENT(2)) : NULL;
  json_decref(config);
  FC_CHECK(text, DATA, "adapter_config.json: base model %s is not UTF-8, or memory ran out",
           base ? base : "(none)");
  snprintf(path, sizeof path, "%s/adapter_config.json", folder);
  fc_err err = fc_weights_write_text(path, text);
  free(text);
  return err;
}

static fc_err write_all(writer *w, const char *base, const char *folder) {
  FC_CHECK(w->targets && w->modules, NOMEM, "adapter_config.json: out of memory");
  FC_CHECK(strlen(folder) + 64 < FC_PEFT_PATH, USAGE, "%s: the path is too long", folder);
  FC_TRY(list_modules(w));
  if (saves_output(w)) FC_TRY(add_name(w->modules, "lm_head", strlen("lm_head")));
  FC_TRY(write_tensors(w, folder));
  return write_config(w, base, folder); /* last: makes the folder whole */
}

fc_err fc_peft_write(const fc_model *model, const fc_trainable *t, const float *theta,
                     fc_loss_kind kind, const char *base, const char *folder) {
  writer w = {.theta = theta, .kind = kind};
  FC_TRY(fc_peft_marks_create(model, t, &w.marks));
  w.targets = json_array();
  w.modules = json_array();
  fc_err err = write_all(&w, base, folder);
  json_decref(w.targets);
  json_decref(w.modules);
  fc_free(w.sources);
  fc_free(w.names);
  fc_free(w.scratch);
  fc_peft_marks_destroy(&w.marks);
  return err;
}
