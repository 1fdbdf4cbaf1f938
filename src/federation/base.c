/* base.c - everything a learning task needs: data, split, tokeniser, base model, what is trained.
 *
 * The base comes from one of three sources, told apart by model.base: the embedded base (pretrained
 * on the public split and cached), random weights, or a Hugging Face folder (or, in its place, a
 * model file of llama2.c). */
#include "federation.h"
#include "fedcell/fc_log.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool base_is(const fc_config *cfg, const char *source) {
  return strcmp(fc_config_string(cfg, "model.base"), source) == 0;
}

/* ---- data ------------------------------------------------------------------------------------ */

static fc_err open_data(const fc_config *cfg, fc_task_setup *task) {
  fc_data_settings data = fc_data_settings_read(cfg);
  fc_split_settings split = fc_split_settings_read(cfg);
  uint64_t parts_seed = (uint64_t)fc_config_int(cfg, "data.seed");
  FC_TRY(fc_dataset_open(&data, parts_seed, &task->dataset));
  return fc_split_create(&split, task->dataset, data.public_fraction, parts_seed,
                         (uint64_t)fc_config_int(cfg, "seed"),
                         (uint32_t)fc_config_int(cfg, "population.devices"), &task->split);
}

static fc_err pick_loss(const fc_config *cfg, fc_task_setup *task) {
  const char *family = fc_config_string(cfg, "model.family");
  bool causal = fc_arch_is_causal(fc_arch_find(family));
  switch (fc_dataset_task(task->dataset)) {
  case FC_TASK_CLASSIFY:
    task->loss = FC_LOSS_CLASSIFY;
    return FC_ERR_OK;
  case FC_TASK_LM:
    FC_CHECK(causal, USAGE,
             "data.dataset = %s is a language-modelling task, which needs a decoder: "
             "model.family is %s, allowed are gpt2, llama",
             fc_config_string(cfg, "data.dataset"), family);
    task->loss = FC_LOSS_CAUSAL_LM;
    return FC_ERR_OK;
  case FC_TASK_IMAGE:
    break;
  }
  return fc_fail(FC_ERR_USAGE,
                 "data.dataset = %s holds images: model.family = %s reads text; choose a text "
                 "dataset (fedcell list datasets)",
                 fc_config_string(cfg, "data.dataset"), family);
}

/* ---- tokeniser and shape by source ----------------------------------------------------------- */

static fc_err load_tokenizer(const fc_config *cfg, const char *folder, fc_tokenizer **out) {
  const char *given = fc_config_string(cfg, "model.tokenizer");
  if (*given) return fc_tokenizer_load(given, NULL, out);
  if (!folder) return fc_tokenizer_create_byte(out);
  fc_err err = fc_tokenizer_load_of_model(folder, out);
  return err == FC_ERR_USAGE ? fc_fail(err, "model.tokenizer is empty, and %s", fc_err_message())
                             : err;
}

static bool is_folder(const char *path) {
  struct stat there;
  return stat(path, &there) == 0 && S_ISDIR(there.st_mode);
}

static fc_err shape_of_folder(const fc_config *cfg, const char *folder, int labels,
                              fc_model_shape *shape) {
  const char *family = fc_config_string(cfg, "model.family");
  const char *pooling = fc_config_string(cfg, "model.pooling");
  FC_TRY(fc_weights_read_shape(folder, labels, shape));
  FC_CHECK(shape->arch == fc_arch_find(family), USAGE,
           "model.family is %s, but %s%s describes another family", family, folder,
           is_folder(folder) ? "/config.json" : "");
  if (strcmp(pooling, "auto") != 0)
    shape->pool = strcmp(pooling, "mean") == 0 ? FC_POOL_MEAN : FC_POOL_FIRST;
  return FC_ERR_OK;
}

/* folder NULL: from the options (random weights, or an embedded base that is yet to be made). */
static fc_err tokenizer_and_shape(const fc_config *cfg, fc_task_setup *task, const char *folder,
                                  fc_model_shape *shape) {
  bool unmade = !folder && base_is(cfg, "embedded");
  int labels = task->loss == FC_LOSS_CLASSIFY ? fc_dataset_classes(task->dataset) : 0;
  if (folder) FC_TRY(shape_of_folder(cfg, folder, labels, shape));
  FC_TRY(unmade ? fc_base_tokenizer(cfg, task->dataset, task->split, &task->tokenizer)
                : load_tokenizer(cfg, folder, &task->tokenizer));
  int vocab = fc_tokenizer_vocab_size(task->tokenizer);
  if (!folder) {
    fc_base_shape(cfg, vocab, shape);
    shape->labels = labels;
    return fc_model_shape_check(shape);
  }
  FC_CHECK(vocab <= shape->vocab, SHAPE, "the tokeniser has %d tokens, the model in %s only %d",
           vocab, folder, shape->vocab);
  return FC_ERR_OK;
}

/* ---- what is trained ------------------------------------------------------------------------- */

bool fc_task_trains_all(const fc_config *cfg) {
  return strcmp(fc_config_string(cfg, "adapter.kind"), "full") == 0 ||
         fc_method_find(fc_config_string(cfg, "federation.method"))->trains_all;
}

enum { NAMES_MAX = 64 };

static fc_err read_names(const fc_config *cfg, const char *option, const char **names, size_t *n) {
  *n = fc_config_count(cfg, option);
  FC_CHECK(*n <= NAMES_MAX, USAGE, "%s: %zu names, at most %d", option, *n, NAMES_MAX);
  for (size_t i = 0; i < *n; i++) names[i] = fc_config_name(cfg, option, i);
  return FC_ERR_OK;
}

fc_err fc_task_trainable_of_rank(const fc_config *cfg, const fc_task_setup *task, int lora_rank,
                                 float alpha, fc_trainable **out) {
  static const char *const all[] = {"all"};
  const char *targets[NAMES_MAX], *saved[NAMES_MAX];
  bool full = fc_task_trains_all(cfg);
  int layers = fc_model_get_shape(task->model)->layers;
  int64_t last = fc_config_int(cfg, "adapter.last_blocks");
  FC_CHECK(last <= layers, USAGE, "adapter.last_blocks is %lld, but the model has %d blocks",
           (long long)last, layers);
  fc_trainable_spec spec = {.targets = targets,
                            .saved = saved,
                            .first_block = last > 0 ? layers - (int)last : 0,
                            .next_block = last > 0 ? layers : 0,
                            .lora_rank = lora_rank,
                            .alpha = alpha,
                            .dropout = (float)fc_config_real(cfg, "adapter.dropout")};
  if (full) {
    spec.saved = all;
    spec.n_saved = 1;
    spec.dropout = 0;
  } else {
    FC_TRY(read_names(cfg, "adapter.targets", targets, &spec.n_targets));
    if (task->loss == FC_LOSS_CLASSIFY)
      FC_TRY(read_names(cfg, "adapter.saved", saved, &spec.n_saved));
  }
  fc_err err = fc_trainable_create(task->model, &spec, out);
  return err == FC_ERR_USAGE ? fc_fail(err, "adapter.targets, adapter.saved: %s", fc_err_message())
                             : err;
}

fc_err fc_task_trainable(const fc_config *cfg, fc_task_setup *task) {
  return fc_task_trainable_of_rank(cfg, task, (int)fc_config_int(cfg, "adapter.rank"),
                                   (float)fc_config_real(cfg, "adapter.alpha"), &task->trainable);
}

/* ---- weights --------------------------------------------------------------------------------- */

typedef struct {
  const fc_model *model;
  const char *folder; /* NULL: random */
  uint64_t seed;
} weight_source;

static fc_err fill_weights(void *arg, float *weights) {
  const weight_source *source = arg;
  if (source->folder) return fc_weights_read(source->model, source->folder, source->seed, weights);
  fc_model_init_weights(source->model, source->seed, false, weights);
  return FC_ERR_OK;
}

static fc_err local_setup(const fc_config *cfg, fc_task_setup *task, const char *folder) {
  fc_model_shape shape;
  fc_sequence_format format = fc_task_format(cfg);
  FC_TRY(tokenizer_and_shape(cfg, task, folder, &shape));
  int room = shape.positions - fc_task_first_position(cfg);
  if (format.max_length > room) {
    fc_log(FC_LOG_WARNING, "data.max_length %d cut to the model's %d positions", format.max_length,
           room);
    format.max_length = room;
  }
  FC_TRY(fc_corpus_create(task->dataset, task->tokenizer, &format, &task->corpus));
  FC_TRY(fc_model_create(&shape, &task->model));
  return fc_task_trainable(cfg, task);
}

static bool can_open(const char *path) {
  return access(path, is_folder(path) ? R_OK | X_OK : R_OK) == 0;
}

/* *folder <- parent/models/name if it can be read, else NULL. */
static fc_err try_models(const char *parent, const char *name, char **folder) {
  FC_TRY(fc_format(folder, "%s/models/%s", parent, name));
  if (can_open(*folder)) return FC_ERR_OK;
  fc_free(*folder);
  *folder = NULL;
  return FC_ERR_OK;
}

/* A name that is no folder here: one of the models that FEDCELL_DATA or the cache holds. */
static fc_err find_model(const fc_config *cfg, const char *name, char **folder) {
  const char *data = getenv("FEDCELL_DATA");
  char *cache = NULL;
  if (data && *data) FC_TRY(try_models(data, name, folder));
  if (*folder) return FC_ERR_OK;
  if (fc_cache_folder(cfg, &cache) != FC_ERR_OK) return FC_ERR_OK; /* no home: not there */
  fc_err err = try_models(cache, name, folder);
  fc_free(cache);
  return err;
}

fc_err fc_model_folder(const fc_config *cfg, const char *option, const char *others,
                       char **folder) {
  const char *path = fc_config_string(cfg, option);
  *folder = NULL;
  if (path[0] != '/' && access(path, F_OK) != 0) {
    int reason = errno;
    FC_TRY(find_model(cfg, path, folder));
    if (*folder) return FC_ERR_OK;
    errno = reason;
  }
  FC_CHECK(can_open(path), IO, "%s = %s is neither %s nor a folder or file that can be read: %s",
           option, path, others, strerror(errno));
  return fc_format(folder, "%s", path);
}

/* The folder of the base, made first if need be; *folder NULL: none (random, or only an estimate).
 */
static fc_err find_folder(const fc_comm *comm, const fc_config *cfg, const fc_task_setup *task,
                          char **folder) {
  *folder = NULL;
  if (base_is(cfg, "random")) return FC_ERR_OK;
  bool embedded = base_is(cfg, "embedded");
  fc_err err = embedded ? fc_base_folder(cfg, task->dataset, task->split, folder)
                        : fc_model_folder(cfg, "model.base", "embedded nor random", folder);
  if (comm) err = fc_agree(comm, err);
  FC_TRY(err);
  if (!embedded) return FC_ERR_OK;
  /* one rank looks, so that all take the same way */
  int64_t made = access(*folder, R_OK) == 0;
  if (comm) {
    FC_TRY(fc_comm_broadcast(comm, &made, sizeof made, 0));
    return made ? FC_ERR_OK
                : fc_base_pretrain(comm, cfg, task->dataset, task->split, *folder, false);
  }
  if (!made) {
    fc_free(*folder);
    *folder = NULL;
  }
  return FC_ERR_OK;
}

fc_err fc_task_create(const fc_comm *comm, fc_config *cfg, fc_task_setup *task) {
  char *folder = NULL;
  fc_err err = open_data(cfg, task);
  if (err == FC_ERR_OK) err = pick_loss(cfg, task);
  if (comm) err = fc_agree(comm, err);
  FC_TRY_GOTO(err, err, done);
  FC_TRY_GOTO(err, find_folder(comm, cfg, task, &folder), done);
  err = local_setup(cfg, task, folder);
  if (!comm) {
    if (err == FC_ERR_OK) err = fc_precision_pick(NULL, cfg, &task->is_bf16);
    goto done;
  }
  FC_TRY_GOTO(err, fc_agree(comm, err), done);
  const char *scratch = fc_config_string(cfg, "model.scratch");
  weight_source source = {.model = task->model,
                          .folder = folder,
                          .seed = (uint64_t)fc_config_int(cfg, "pretrain.seed")};
  FC_TRY_GOTO(err, fc_precision_pick(comm, cfg, &task->is_bf16), done);
  err = fc_weights_share(comm, task->model, *scratch ? scratch : NULL, task->is_bf16, fill_weights,
                         &source, &task->weights);
done:
  fc_free(folder);
  return err;
}
