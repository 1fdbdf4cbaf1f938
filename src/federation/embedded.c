/* embedded.c - what the embedded base is: the folder that its configuration and the public texts
 * name, its vocabulary and its shape. */
#include "federation.h"
#include "fedcell/fc_hash.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool base_is(const fc_config *cfg, const char *source) {
  return strcmp(fc_config_string(cfg, "model.base"), source) == 0;
}

/* ---- where it lies --------------------------------------------------------------------------- */

static uint64_t hash_public(const fc_dataset *ds, const fc_split *split, uint64_t h) {
  size_t n = 0;
  const uint32_t *samples = fc_split_public(split, &n);
  for (size_t i = 0; i < n; i++) {
    fc_sample s = fc_dataset_sample(ds, samples[i]);
    h = fc_hash_bytes(h, s.a.text, s.a.length);
    h = fc_hash_bytes(h, "\n", 1);
    h = fc_hash_bytes(h, s.b.text, s.b.length);
    h = fc_hash_bytes(h, "\n", 1);
  }
  return h;
}

/* All that the base depends on besides the public texts. Raise the version when pretraining itself
 * changes. */
static fc_err base_key(const fc_config *cfg, const fc_dataset *ds, char **key) {
  char kv_heads[32] = ""; /* told only where they differ: bases made before there were any stand */
#define INT(name) (long long)fc_config_int(cfg, name)
  if (fc_config_int(cfg, "model.kv_heads") > 0)
    snprintf(kv_heads, sizeof kv_heads, " kv_heads %lld", INT("model.kv_heads"));
  return fc_format(
      key,
      "version 2 task %d %s layers %lld width %lld heads %lld ffn %lld vocab %lld length %lld "
      "%s steps %lld batch %lld/%lld lr %.17g decay %.17g seed %lld%s",
      (int)fc_dataset_task(ds), fc_config_string(cfg, "model.family"), INT("model.layers"),
      INT("model.width"), INT("model.heads"), INT("model.ffn"), INT("model.vocab"),
      INT("data.max_length"), fc_config_string(cfg, "pretrain.objective"), INT("pretrain.steps"),
      INT("pretrain.batch"), INT("pretrain.micro_batch"),
      fc_config_real(cfg, "pretrain.learning_rate"), fc_config_real(cfg, "pretrain.weight_decay"),
      INT("pretrain.seed"), kv_heads);
#undef INT
}

fc_err fc_cache_folder(const fc_config *cfg, char **out) {
  const char *given = fc_config_string(cfg, "model.cache");
  const char *own = getenv("FEDCELL_CACHE"), *xdg = getenv("XDG_CACHE_HOME"),
             *home = getenv("HOME");
  if (*given) return fc_format(out, "%s", given);
  if (own && *own) return fc_format(out, "%s", own);
  if (xdg && *xdg) return fc_format(out, "%s/fedcell", xdg);
  FC_CHECK(home && *home, IO,
           "no place for the embedded base: set model.cache, FEDCELL_CACHE or HOME");
  return fc_format(out, "%s/.cache/fedcell", home);
}

fc_err fc_base_folder(const fc_config *cfg, const fc_dataset *ds, const fc_split *split,
                      char **folder) {
  char *key = NULL, *cache = NULL;
  fc_err err = base_key(cfg, ds, &key);
  if (err == FC_ERR_OK) err = fc_cache_folder(cfg, &cache);
  if (err == FC_ERR_OK) {
    uint64_t h = hash_public(ds, split, fc_hash_bytes(FC_HASH_START, key, strlen(key)));
    err = fc_format(folder, "%s/base-%016llx", cache, (unsigned long long)h);
  }
  fc_free(key);
  fc_free(cache);
  return err;
}

/* ---- vocabulary and shape -------------------------------------------------------------------- */

/* Learns the embedded base's vocabulary from the public split. */
fc_err fc_base_tokenizer(const fc_config *cfg, const fc_dataset *ds, const fc_split *split,
                         fc_tokenizer **out) {
  size_t n = 0;
  const uint32_t *samples = fc_split_public(split, &n);
  FC_CHECK(n > 0, USAGE,
           "model.base = embedded is made from the public split, which is empty: raise "
           "data.public_fraction (now %g)",
           fc_config_real(cfg, "data.public_fraction"));
  fc_text *texts = NULL;
  FC_TRY(fc_alloc(2 * n, sizeof *texts, &texts));
  for (size_t i = 0; i < n; i++) {
    fc_sample s = fc_dataset_sample(ds, samples[i]);
    texts[2 * i] = s.a;
    texts[2 * i + 1] = s.b;
  }
  fc_err err = fc_tokenizer_learn_bpe(texts, 2 * n, (int)fc_config_int(cfg, "model.vocab"), out);
  fc_free(texts);
  return err;
}

void fc_base_shape(const fc_config *cfg, int vocab, fc_model_shape *shape) {
  *shape = (fc_model_shape){
      .arch = fc_arch_find(fc_config_string(cfg, "model.family")),
      .layers = (int)fc_config_int(cfg, "model.layers"),
      .width = (int)fc_config_int(cfg, "model.width"),
      .heads = (int)fc_config_int(cfg, "model.heads"),
      .kv_heads = (int)fc_config_int(cfg, "model.kv_heads"), /* 0: as many as heads */
      .ffn = (int)fc_config_int(cfg, "model.ffn"),
      .vocab = vocab,
      .positions = (int)fc_config_int(cfg, "data.max_length") + fc_task_first_position(cfg),
      .pool = FC_POOL_FIRST,
  };
  const char *pooling = fc_config_string(cfg, "model.pooling");
  if (strcmp(pooling, "mean") == 0 || (base_is(cfg, "embedded") && strcmp(pooling, "auto") == 0))
    shape->pool = FC_POOL_MEAN;
}
