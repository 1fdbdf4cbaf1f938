/* weights.c - a model's tensors from and to the safetensors files of Hugging Face folders.
 *
 * A model tensor is looked for under its own name, with or without the family's prefix, and under
 * what older files call it. Tied output weights are not read; they must equal the embedding. */
#include "weights.h"
#include "fedcell/fc_log.h"
#include "fedcell/fc_mem.h"
#include "fedcell/fc_safetensors.h"
#include "llama2c.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- names ------------------------------------------------------------------------------------
 */

/* Older names: the first files of BERT were converted from another framework; the masked-LM bias
 * stands under one or both of two names. */
static const struct {
  const char *ending, *now;
} RENAMED[] = {{"LayerNorm.gamma", "LayerNorm.weight"},
               {"LayerNorm.beta", "LayerNorm.bias"},
               {"cls.predictions.decoder.bias", "cls.predictions.bias"},
               {"lm_head.decoder.bias", "lm_head.bias"}};

/* Output weights that are the token embedding again. */
static const char *const TIED[] = {"lm_head.weight", "cls.predictions.decoder.weight",
                                   "lm_head.decoder.weight"};

static bool ends_with(const char *name, const char *ending) {
  size_t n = strlen(name), e = strlen(ending);
  return n >= e && strcmp(name + n - e, ending) == 0;
}

/* The model's tensor for a name in a file and how far the name is from it (0: the very name). */
static const fc_tensor *match(const fc_model *model, const char *name, int *distance) {
  const fc_tensor *t = fc_model_find_tensor(model, name);
  if (t) {
    *distance = strcmp(t->name, name) != 0;
    return t;
  }
  *distance = 2;
  for (size_t i = 0; i < sizeof RENAMED / sizeof RENAMED[0]; i++) {
    char now[256];
    size_t keep = strlen(name) - strlen(RENAMED[i].ending);
    if (!ends_with(name, RENAMED[i].ending) || strlen(name) + 8 > sizeof now) continue;
    snprintf(now, sizeof now, "%.*s%s", (int)keep, name, RENAMED[i].now);
    return fc_model_find_tensor(model, now);
  }
  return NULL;
}

/* ---- layout -----------------------------------------------------------------------------------
 */

/* Vectors are 1-D in files. Matrices with one row (one token type, one class) are not vectors, so
 * the name decides. */
static bool is_vector(const fc_tensor *t) {
  static const char *const endings[] = {".bias",       "LayerNorm.weight", "norm.weight",
                                        "ln_1.weight", "ln_2.weight",      "ln_f.weight"};
  for (size_t i = 0; i < sizeof endings / sizeof endings[0]; i++)
    if (ends_with(t->name, endings[i])) return true;
  return false;
}

static int file_shape(const fc_tensor *t, int64_t *shape) {
  if (is_vector(t)) {
    shape[0] = t->cols;
    return 1;
  }
  shape[0] = t->is_transposed_in_file ? t->cols : t->rows;
  shape[1] = t->is_transposed_in_file ? t->rows : t->cols;
  return 2;
}

/* to (cols, rows) <- from (rows, cols), in blocks that fit the cache. */
static void transpose(float *to, const float *from, int64_t rows, int64_t cols) {
  enum { BLOCK = 32 };
  for (int64_t r0 = 0; r0 < rows; r0 += BLOCK)
    for (int64_t c0 = 0; c0 < cols; c0 += BLOCK)
      for (int64_t r = r0; r < rows && r < r0 + BLOCK; r++)
        for (int64_t c = c0; c < cols && c < c0 + BLOCK; c++) to[c * rows + r] = from[r * cols + c];
}

static size_t floats_of(const fc_tensor *t) {
  return (size_t)t->rows * (size_t)t->cols;
}

/* ---- reading ----------------------------------------------------------------------------------
 */

/* Where each tensor of the model stands in the file. */
typedef struct {
  const fc_safetensor *found; /* NULL: nowhere */
  int distance;
} place;

static void shape_text(char *text, size_t size, int dims, const int64_t *shape) {
  size_t at = (size_t)snprintf(text, size, "[");
  for (int d = 0; d < dims && at < size; d++)
    at += (size_t)snprintf(text + at, size - at, "%s%lld", d ? ", " : "", (long long)shape[d]);
  if (at < size) snprintf(text + at, size - at, "]");
}

static fc_err check_shape(const char *folder, const fc_tensor *t, const fc_safetensor *found) {
  int64_t needed[2];
  char has[200], wants[64];
  int dims = file_shape(t, needed);
  bool same = found->dims == dims;
  for (int d = 0; same && d < dims; d++) same = found->shape[d] == needed[d];
  if (same) return FC_ERR_OK;
  shape_text(has, sizeof has, found->dims, found->shape);
  shape_text(wants, sizeof wants, dims, needed);
  return fc_fail(FC_ERR_SHAPE, "%s: tensor %s is %s, the model needs %s", folder, found->name, has,
                 wants);
}

static fc_err check_finite(const char *folder, const char *name, const float *x, size_t n) {
  for (size_t i = 0; i < n; i++)
    FC_CHECK(isfinite(x[i]), NUMERIC, "%s: tensor %s, element %zu is %g", folder, name, i,
             (double)x[i]);
  return FC_ERR_OK;
}

fc_err fc_weights_read_tensor(const char *folder, const fc_tensor *t, const fc_safetensor *found,
                              float *scratch, float *w) {
  FC_TRY(check_shape(folder, t, found));
  fc_err err = fc_safetensor_read_f32(found, t->is_transposed_in_file ? scratch : w);
  if (err != FC_ERR_OK) return fc_fail(err, "%s: %s", folder, fc_err_message());
  if (t->is_transposed_in_file) transpose(w, scratch, t->cols, t->rows);
  return check_finite(folder, found->name, w, floats_of(t));
}

/* Untied output weights would be left out silently, and the model be another one. */
static fc_err check_tied(const char *folder, const fc_model *model, const fc_safetensors *file,
                         const float *weights) {
  size_t n = 0;
  const fc_tensor *embedding = fc_model_tensors(model, &n); /* the token table comes first */
  float *x = NULL;
  for (size_t i = 0; i < sizeof TIED / sizeof TIED[0]; i++) {
    const fc_safetensor *t = fc_safetensors_find(file, TIED[i]);
    if (fc_model_find_tensor(model, TIED[i])) continue; /* a table of its own */
    if (!t || (size_t)fc_safetensor_elements(t) != floats_of(embedding)) continue;
    FC_TRY(fc_alloc(floats_of(embedding), sizeof *x, &x));
    fc_err err = fc_safetensor_read_f32(t, x);
    bool same = err == FC_ERR_OK &&
                memcmp(x, weights + embedding->offset, floats_of(embedding) * sizeof *x) == 0;
    fc_free(x);
    x = NULL;
    FC_TRY(err);
    FC_CHECK(same, DATA,
             "%s: %s differs from %s: output weights that are not tied to the embedding are not "
             "supported",
             folder, TIED[i], embedding->name);
  }
  return FC_ERR_OK;
}

static void find_places(const fc_model *model, const fc_safetensors *file, place *places) {
  size_t n = 0;
  const fc_tensor *tensors = fc_model_tensors(model, &n);
  for (size_t i = 0; i < fc_safetensors_count(file); i++) {
    const fc_safetensor *found = fc_safetensors_get(file, i);
    int distance = 0;
    const fc_tensor *t = match(model, found->name, &distance);
    place *p = t ? &places[t - tensors] : NULL;
    if (p && (!p->found || distance < p->distance)) *p = (place){found, distance};
    if (!t) fc_log(FC_LOG_DEBUG, "tensor %s is not part of the model", found->name);
  }
}

static fc_err read_places(const fc_model *model, const char *folder, uint64_t seed,
                          const place *places, float *scratch, float *weights) {
  size_t n = 0;
  const fc_tensor *tensors = fc_model_tensors(model, &n);
  size_t fresh = 0;
  for (size_t i = 0; i < n; i++) {
    const fc_tensor *t = &tensors[i];
    if (places[i].found) {
      FC_TRY(fc_weights_read_tensor(folder, t, places[i].found, scratch, weights + t->offset));
      continue;
    }
    FC_CHECK(t->is_head, SHAPE, "%s: tensor %s (%lld x %lld) is missing", folder, t->name,
             (long long)t->rows, (long long)t->cols);
    fresh++;
  }
  if (fresh > 0)
    fc_log(FC_LOG_INFO, "%s has no classification head: it starts at random (seed %llu)", folder,
           (unsigned long long)seed);
  return FC_ERR_OK;
}

/* Floats of the largest tensor (sum false) or of all (sum true) that files hold transposed. */
static size_t transposed_floats(const fc_model *model, bool sum) {
  size_t n = 0, floats = 0;
  const fc_tensor *tensors = fc_model_tensors(model, &n);
  for (size_t i = 0; i < n; i++) {
    if (!tensors[i].is_transposed_in_file) continue;
    if (sum)
      floats += floats_of(&tensors[i]);
    else if (floats_of(&tensors[i]) > floats)
      floats = floats_of(&tensors[i]);
  }
  return floats;
}

static fc_err read_file(const fc_model *model, const char *folder, uint64_t seed,
                        const fc_safetensors *file, float *weights) {
  size_t n = 0;
  place *places = NULL;
  float *scratch = NULL;
  fc_model_tensors(model, &n);
  fc_err err = fc_alloc(n, sizeof *places, &places);
  if (err == FC_ERR_OK) err = fc_alloc(transposed_floats(model, false), sizeof *scratch, &scratch);
  if (err == FC_ERR_OK) {
    find_places(model, file, places);
    err = read_places(model, folder, seed, places, scratch, weights);
  }
  const fc_model_shape *shape = fc_model_get_shape(model);
  if (err == FC_ERR_OK &&
      (shape->lm_head || (fc_arch_is_causal(shape->arch) && shape->labels == 0)))
    err = check_tied(folder, model, file, weights);
  fc_free(places);
  fc_free(scratch);
  return err;
}

fc_err fc_weights_read(const fc_model *model, const char *folder, uint64_t seed, float *weights) {
  fc_safetensors *file = NULL;
  if (fc_weights_is_file(folder)) {
    fc_model_init_weights(model, seed, true, weights);
    return fc_llama2c_read(model, folder, weights);
  }
  FC_TRY(fc_safetensors_open(folder, &file));
  fc_model_init_weights(model, seed, true, weights); /* heads that the file has overwrite this */
  fc_err err = read_file(model, folder, seed, file, weights);
  fc_safetensors_close(&file);
  return err;
}

/* ---- writing ----------------------------------------------------------------------------------
 */

void fc_weights_fill_source(const fc_tensor *t, const float *w, float **scratch,
                            fc_safetensor_source *source) {
  source->name = t->name;
  source->dims = file_shape(t, source->shape);
  source->data = w;
  if (!t->is_transposed_in_file) return;
  transpose(*scratch, w, t->rows, t->cols);
  source->data = *scratch;
  *scratch += floats_of(t);
}

static fc_err write_tensors(const fc_model *model, const float *weights, fc_dtype dtype,
                            const char *path) {
  static const char *const metadata[] = {"format", "pt", NULL}; /* transformers asks for it */
  size_t n = 0;
  fc_safetensor_source *sources = NULL;
  float *scratch = NULL;
  const fc_tensor *tensors = fc_model_tensors(model, &n);
  fc_err err = fc_alloc(n, sizeof *sources, &sources);
  if (err == FC_ERR_OK) err = fc_alloc(transposed_floats(model, true), sizeof *scratch, &scratch);
  if (err == FC_ERR_OK) {
    float *free_part = scratch;
    for (size_t i = 0; i < n; i++)
      fc_weights_fill_source(&tensors[i], weights + tensors[i].offset, &free_part, &sources[i]);
    err = fc_safetensors_write_as(path, dtype, sources, n, metadata);
  }
  fc_free(sources);
  fc_free(scratch);
  return err;
}

fc_err fc_weights_write_as(const fc_model *model, const float *weights, fc_dtype dtype,
                           const char *folder) {
  char path[4096];
  snprintf(path, sizeof path, "%s/model.safetensors", folder);
  FC_TRY(check_finite(folder, "to be written", weights, fc_model_weight_count(model)));
  FC_TRY(write_tensors(model, weights, dtype, path));
  /* last: makes the folder whole */
  return fc_weights_write_shape(fc_model_get_shape(model), dtype, folder);
}

fc_err fc_weights_write(const fc_model *model, const float *weights, const char *folder) {
  return fc_weights_write_as(model, weights, FC_DTYPE_F32, folder);
}
