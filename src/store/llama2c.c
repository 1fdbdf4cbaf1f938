/* llama2c.c - llama2.c's model files (its first, "legacy" layout).
 *
 * Seven int32: dim, hidden_dim, n_layers, n_heads, n_kv_heads, vocab_size (negative: the head has a
 * table of its own), seq_len; then f32 weights tensor by tensor, each for all layers; between the
 * final norm and the head two tables of angles, which are computed here instead. Its rotary
 * positions turn elements 2j and 2j+1 of a head, ours j and j + width/2, as Hugging Face's: the
 * rows of the query and key weights change places. */
#include "llama2c.h"
#include "fedcell/fc_mem.h"
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { DIM, HIDDEN, LAYERS, HEADS, KV_HEADS, VOCABULARY, LENGTH, HEADER_INTS };
enum { HEADER_BYTES = HEADER_INTS * 4 };

/* The tensors in the file's order. */
static const struct {
  const char *name;
  bool in_layers; /* one for each layer */
  bool rotary;
} ORDER[] = {{"embed_tokens.weight", false, false},
             {"input_layernorm.weight", true, false},
             {"self_attn.q_proj.weight", true, true},
             {"self_attn.k_proj.weight", true, true},
             {"self_attn.v_proj.weight", true, false},
             {"self_attn.o_proj.weight", true, false},
             {"post_attention_layernorm.weight", true, false},
             {"mlp.gate_proj.weight", true, false},
             {"mlp.down_proj.weight", true, false},
             {"mlp.up_proj.weight", true, false},
             {"norm.weight", false, false}};
enum { N_ORDER = sizeof ORDER / sizeof ORDER[0] };

/* ---- the header ------------------------------------------------------------------------------ */

static uint64_t bytes_of(const fc_model_shape *s, bool untied) {
  uint64_t C = (uint64_t)s->width, F = (uint64_t)s->ffn, L = (uint64_t)s->layers;
  uint64_t V = (uint64_t)s->vocab, head = C / (uint64_t)s->heads, KV = head * (uint64_t)s->kv_heads;
  uint64_t layer = 2 * C + 2 * C * C + 2 * C * KV + 3 * C * F;
  uint64_t angles = (uint64_t)s->positions * (head / 2) * 2;
  return HEADER_BYTES + 4 * (V * C + L * layer + C + angles + (untied ? V * C : 0));
}

fc_err fc_llama2c_parse_shape(const char *name, const void *bytes, size_t size, int labels,
                              fc_model_shape *shape) {
  int32_t h[HEADER_INTS];
  *shape = (fc_model_shape){0};
  FC_CHECK(size >= HEADER_BYTES, DATA,
           "%s: %zu bytes are no model of llama2.c, whose header alone has %d", name, size,
           HEADER_BYTES);
  memcpy(h, bytes, sizeof h);
  bool untied = h[VOCABULARY] < 0;
  FC_CHECK(h[KV_HEADS] != 0 && h[HIDDEN] != 0 && h[VOCABULARY] != INT32_MIN, DATA,
           "%s: the header has %d key and value heads, hidden_dim %d, vocab_size %d", name,
           h[KV_HEADS], h[HIDDEN], h[VOCABULARY]);
  *shape = (fc_model_shape){.arch = fc_arch_find("llama"),
                            .layers = h[LAYERS],
                            .width = h[DIM],
                            .heads = h[HEADS],
                            .kv_heads = h[KV_HEADS],
                            .ffn = h[HIDDEN],
                            .vocab = untied ? -h[VOCABULARY] : h[VOCABULARY],
                            .positions = h[LENGTH],
                            .labels = labels > 0 ? labels : 0,
                            .untied_head = untied && labels <= 0,
                            .norm_eps = 1e-5F,
                            .rope_theta = 10000.0F};
  if (fc_model_shape_check(shape) != FC_ERR_OK)
    return fc_fail(FC_ERR_DATA, "%s: %s", name, fc_err_message());
  uint64_t needed = bytes_of(shape, untied);
  FC_CHECK(size == needed, DATA, "%s: the file has %zu bytes, its header asks for %llu", name, size,
           (unsigned long long)needed);
  return FC_ERR_OK;
}

/* ---- the weights ----------------------------------------------------------------------------- */

/* w (rows,cols): rows 2j and 2j+1 of a head become rows j and j + width/2. */
static void copy_rotary(float *w, const char *from, const fc_tensor *t, int head_width) {
  size_t bytes = (size_t)t->cols * sizeof *w;
  for (int64_t row = 0; row < t->rows; row++) {
    int64_t head = row / head_width, i = row % head_width, half = head_width / 2;
    int64_t source = head * head_width + (i < half ? 2 * i : 2 * (i - half) + 1);
    memcpy(w + row * t->cols, from + (size_t)source * bytes, bytes);
  }
}

/* Moves *at behind the tensor. */
static fc_err take(const fc_model *model, const char *file, const char *tensor, bool rotary,
                   const char **at, float *weights) {
  const fc_model_shape *s = fc_model_get_shape(model);
  const fc_tensor *t = fc_model_find_tensor(model, tensor);
  FC_CHECK(t, SHAPE, "%s: the model has no tensor %s", file, tensor);
  float *w = weights + t->offset;
  size_t n = (size_t)t->rows * (size_t)t->cols;
  if (rotary)
    copy_rotary(w, *at, t, s->width / s->heads);
  else
    memcpy(w, *at, n * sizeof *w);
  *at += n * sizeof *w;
  for (size_t i = 0; i < n; i++)
    FC_CHECK(isfinite(w[i]), NUMERIC, "%s: tensor %s, element %zu is %g", file, t->name, i,
             (double)w[i]);
  return FC_ERR_OK;
}

fc_err fc_llama2c_parse_weights(const fc_model *model, const char *name, const void *bytes,
                                float *weights) {
  const fc_model_shape *s = fc_model_get_shape(model);
  const char *at = (const char *)bytes + HEADER_BYTES;
  char tensor[64];
  for (int i = 0; i < N_ORDER; i++) {
    for (int layer = 0; layer < (ORDER[i].in_layers ? s->layers : 1); layer++) {
      snprintf(tensor, sizeof tensor, "%s", ORDER[i].name);
      if (ORDER[i].in_layers) snprintf(tensor, sizeof tensor, "layers.%d.%s", layer, ORDER[i].name);
      FC_TRY(take(model, name, tensor, ORDER[i].rotary, &at, weights));
    }
  }
  if (!s->untied_head) return FC_ERR_OK;
  at += (size_t)s->positions * (size_t)(s->width / s->heads) * sizeof(float); /* the angles */
  return take(model, name, "lm_head.weight", false, &at, weights);
}

/* ---- the file -------------------------------------------------------------------------------- */

static fc_err read_all(FILE *f, const char *path, char **bytes, size_t *size) {
  long end = fseek(f, 0, SEEK_END) == 0 ? ftell(f) : -1;
  FC_CHECK(end >= 0 && fseek(f, 0, SEEK_SET) == 0, IO, "%s: cannot be read: %s", path,
           strerror(errno));
  *size = (size_t)end;
  FC_TRY(fc_alloc(*size, 1, bytes));
  if (fread(*bytes, 1, *size, f) == *size) return FC_ERR_OK;
  fc_free(*bytes);
  *bytes = NULL;
  return fc_fail(FC_ERR_IO, "%s: cannot be read: %s", path, strerror(errno));
}

static fc_err read_file(const char *path, char **bytes, size_t *size) {
  *bytes = NULL;
  FILE *f = fopen(path, "rb");
  FC_CHECK(f, IO, "%s: cannot be opened: %s", path, strerror(errno));
  fc_err err = read_all(f, path, bytes, size);
  fclose(f);
  return err;
}

fc_err fc_llama2c_read_shape(const char *path, int labels, fc_model_shape *shape) {
  char *bytes = NULL;
  size_t size = 0;
  FC_TRY(read_file(path, &bytes, &size));
  fc_err err = fc_llama2c_parse_shape(path, bytes, size, labels, shape);
  fc_free(bytes);
  return err;
}

static bool same_sizes(const fc_model_shape *a, const fc_model_shape *b) {
  return a->arch == b->arch && a->layers == b->layers && a->width == b->width &&
         a->heads == b->heads && a->kv_heads == b->kv_heads && a->ffn == b->ffn &&
         a->vocab == b->vocab && a->positions == b->positions && a->untied_head == b->untied_head;
}

fc_err fc_llama2c_read(const fc_model *model, const char *path, float *weights) {
  const fc_model_shape *s = fc_model_get_shape(model);
  fc_model_shape of_file;
  char *bytes = NULL;
  size_t size = 0;
  FC_TRY(read_file(path, &bytes, &size));
  fc_err err = fc_llama2c_parse_shape(path, bytes, size, s->labels, &of_file);
  if (err == FC_ERR_OK && !same_sizes(s, &of_file))
    err = fc_fail(FC_ERR_SHAPE, "%s: the model has another shape than the file", path);
  if (err == FC_ERR_OK) err = fc_llama2c_parse_weights(model, path, bytes, weights);
  fc_free(bytes);
  return err;
}
