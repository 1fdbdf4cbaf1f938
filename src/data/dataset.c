/* dataset.c - opening a dataset: generated or read, cut to size, divided into train and test. */
#include "dataset.h"
#include "fedcell/fc_log.h"
#include "fedcell/fc_mem.h"
#include <assert.h>
#include <string.h>

/* ---- reading ---------------------------------------------------------------------------------*/

/* The labels of images-idx3 lie in labels-idx1 beside it. */
static fc_err labels_path(const char *images, char **out) {
  const char *base = strrchr(images, '/');
  base = base ? base + 1 : images;
  const char *word = strstr(base, "images"), *form = strstr(base, "idx3");
  FC_CHECK(
      word != NULL && form != NULL, USAGE,
      "%s: the name of an image file must hold \"images\" and \"idx3\", so that its labels are "
      "found under \"labels\" and \"idx1\"",
      images);
  FC_TRY(fc_alloc(strlen(images) + 1, 1, out));
  strcpy(*out, images);
  memcpy(*out + (word - images), "labels", 6);
  memcpy(*out + (form - images), "idx1", 4);
  return FC_ERR_OK;
}

static fc_err read_idx_pair(const char *path, const fc_source *images, fc_dataset *ds) {
  char *name;
  fc_source labels;
  int height, width;
  FC_TRY(labels_path(path, &name));
  fc_err err = fc_source_read(name, &labels);
  if (err == FC_ERR_OK)
    err = fc_read_idx(images, &labels, (int)ds->classes.n, &ds->rows, &height, &width);
  fc_source_free(&labels);
  fc_free(name);
  FC_TRY(err);
  FC_CHECK(ds->height == 0 || (height == ds->height && width == ds->width), DATA,
           "%s: images of %d x %d pixels, but the train part has %d x %d", path, height, width,
           ds->height, ds->width);
  ds->height = height;
  ds->width = width;
  return FC_ERR_OK;
}

static fc_err read_source(const fc_dataset_kind *kind, const fc_table_format *format,
                          const char *path, const fc_source *src, fc_dataset *ds) {
  switch (kind->form) {
  case FC_FILE_DELIMITED:
    return fc_read_delimited(src, format, &ds->rows, &ds->classes);
  case FC_FILE_JSONL:
    return fc_read_jsonl(src, format, &ds->rows, &ds->classes);
  case FC_FILE_IDX:
    return read_idx_pair(path, src, ds);
  case FC_FILE_NONE:
    break;
  }
  assert(!"a dataset that is neither read nor generated");
  return FC_ERR_OK;
}

static fc_err read_file(const fc_dataset_kind *kind, const fc_table_format *format,
                        const char *path, fc_dataset *ds) {
  fc_source src;
  FC_TRY(fc_source_read(path, &src));
  fc_err err = read_source(kind, format, path, &src, ds);
  fc_source_free(&src);
  return err;
}

static fc_err user_format(const fc_data_settings *s, fc_table_format *format, fc_task *task) {
  bool lm = strcmp(s->task, "lm") == 0;
  FC_CHECK(lm || strcmp(s->task, "classify") == 0, USAGE, "data.task = %s: must be classify or lm",
           s->task);
  FC_CHECK(s->column_a[0] != '\0', USAGE, "data.dataset %s needs data.column_a", s->dataset);
  FC_CHECK(lm || s->column_label[0] != '\0', USAGE, "data.task classify needs data.column_label");
  *task = format->task = lm ? FC_TASK_LM : FC_TASK_CLASSIFY;
  format->column_a = s->column_a;
  format->column_b = s->column_b;
  format->column_label = s->column_label;
  return FC_ERR_OK;
}

/* ---- parts -----------------------------------------------------------------------------------*/

/* Moves test_fraction of the rows, every class its share, behind the others. */
static fc_err divide(fc_dataset *ds, double fraction, uint64_t seed) {
  size_t n = ds->rows.n, k = (size_t)(fraction * (double)n + 0.5);
  FC_CHECK(fraction > 0.0 && fraction < 1.0, USAGE,
           "data.test_fraction = %g: must be above 0 and below 1, as dataset %s has no test part "
           "of its own",
           fraction, ds->name);
  if (k == 0) k = 1;
  FC_CHECK(k < n, DATA, "dataset %s has %zu sample%s, too few for a train and a test part",
           ds->name, n, n == 1 ? "" : "s");
  uint8_t *in_test = NULL;
  int32_t *label = NULL;
  uint32_t *order = NULL;
  fc_err err = FC_ERR_OK;
  FC_TRY_GOTO(err, fc_alloc(n, 1, &in_test), done);
  FC_TRY_GOTO(err, fc_alloc(n, sizeof *label, &label), done);
  FC_TRY_GOTO(err, fc_alloc(n, sizeof *order, &order), done);
  for (size_t i = 0; i < n; i++) label[i] = ds->rows.row[i].label;
  fc_rng rng = fc_rng_open(seed, FC_RNG_PARTS, FC_PARTS_TEST, 0);
  FC_TRY_GOTO(err, fc_pick_stratified(label, n, (int)ds->classes.n, k, &rng, in_test), done);
  size_t to[2] = {0, n - k};
  for (size_t i = 0; i < n; i++) order[to[in_test[i]]++] = (uint32_t)i;
  FC_TRY_GOTO(err, fc_rows_select(&ds->rows, order, n), done);
  ds->train = n - k;
  ds->test = k;
done:
  fc_free(in_test);
  fc_free(label);
  fc_free(order);
  return err;
}

/* Appends to kept[*n ...] the numbers of `most` of the samples [first, first + count), drawn at
 * random, in their order. */
static fc_err choose(size_t first, size_t count, size_t most, fc_rng rng, uint32_t *kept,
                     size_t *n) {
  uint8_t *chosen;
  FC_TRY(fc_alloc(count, 1, &chosen));
  fc_err err = fc_pick_stratified(NULL, count, 0, most, &rng, chosen);
  for (size_t i = 0; err == FC_ERR_OK && i < count; i++)
    if (chosen[i]) kept[(*n)++] = (uint32_t)(first + i);
  fc_free(chosen);
  return err;
}

static size_t at_most(size_t count, int64_t most) {
  return most > 0 && (uint64_t)most < count ? (size_t)most : count;
}

/* At most so many of each part (0: all). */
static fc_err limit(fc_dataset *ds, int64_t samples, int64_t test_samples, uint64_t seed) {
  size_t train = at_most(ds->train, samples), test = at_most(ds->test, test_samples), n = 0;
  if (train == ds->train && test == ds->test) return FC_ERR_OK;
  uint32_t *kept;
  fc_err err = FC_ERR_OK;
  fc_rng train_rng = fc_rng_open(seed, FC_RNG_PARTS, FC_PARTS_LIMIT_TRAIN, 0);
  fc_rng test_rng = fc_rng_open(seed, FC_RNG_PARTS, FC_PARTS_LIMIT_TEST, 0);
  FC_TRY(fc_alloc(train + test, sizeof *kept, &kept));
  FC_TRY_GOTO(err, choose(0, ds->train, train, train_rng, kept, &n), done);
  FC_TRY_GOTO(err, choose(ds->train, ds->test, test, test_rng, kept, &n), done);
  FC_TRY_GOTO(err, fc_rows_select(&ds->rows, kept, n), done);
  ds->train = train;
  ds->test = test;
done:
  fc_free(kept);
  return err;
}

/* ---- open ------------------------------------------------------------------------------------*/

static fc_err open_files(const fc_data_settings *s, const fc_dataset_kind *kind,
                         const fc_data_files *files, uint64_t seed, fc_dataset *ds) {
  fc_table_format format = kind->format;
  if (kind->by_user) FC_TRY(user_format(s, &format, &ds->task));
  FC_TRY(read_file(kind, &format, files->train, ds));
  fc_classes_settle(&ds->classes, &ds->rows);
  ds->train = ds->rows.n;
  if (files->test != NULL) {
    FC_TRY(read_file(kind, &format, files->test, ds));
    ds->test = ds->rows.n - ds->train;
  } else {
    FC_TRY(divide(ds, s->test_fraction, seed));
    fc_log(FC_LOG_INFO, "%s: no test part beside it, %zu of its samples serve as one", files->train,
           ds->test);
  }
  return limit(ds, s->samples, s->test_samples, seed);
}

static fc_err read_dataset(const fc_data_settings *s, const fc_dataset_kind *kind, uint64_t seed,
                           fc_dataset *ds) {
  fc_data_files files;
  FC_TRY(fc_data_locate(s, kind, &files));
  fc_err err = open_files(s, kind, &files, seed, ds);
  fc_data_files_free(&files);
  return err;
}

static fc_err generate_dataset(const fc_data_settings *s, const fc_generator *g, uint64_t seed,
                               fc_dataset *ds) {
  ds->train = s->samples > 0 ? (size_t)s->samples : FC_GENERATED_TRAIN;
  ds->test = s->test_samples > 0 ? (size_t)s->test_samples : FC_GENERATED_TEST;
  ds->height = g->height;
  ds->width = g->width;
  FC_TRY(fc_generate(g, seed, 0, ds->train, &ds->rows));
  return fc_generate(g, seed, 1, ds->test, &ds->rows);
}

static fc_err open_kind(const fc_data_settings *s, const fc_dataset_kind *kind, uint64_t seed,
                        fc_dataset *ds) {
  ds->name = kind->name;
  ds->task = kind->task;
  if (kind->labels != NULL) FC_TRY(fc_classes_fix(&ds->classes, kind->labels, kind->n_labels));
  if (kind->generator != NULL) return generate_dataset(s, kind->generator, seed, ds);
  return read_dataset(s, kind, seed, ds);
}

static const fc_dataset_kind *find_kind(const char *name) {
  const fc_dataset_kind *kind;
  for (size_t i = 0; (kind = fc_dataset_kind_get(i)) != NULL; i++)
    if (strcmp(kind->name, name) == 0) return kind;
  return NULL;
}

fc_err fc_dataset_open(const fc_data_settings *s, uint64_t seed, fc_dataset **out) {
  *out = NULL;
  const fc_dataset_kind *kind = find_kind(s->dataset);
  FC_CHECK(kind != NULL, USAGE, "data.dataset = %s: no such dataset", s->dataset);
  FC_CHECK(s->samples >= 0 && s->test_samples >= 0, USAGE,
           "data.samples = %lld, data.test_samples = %lld: must be 0 or more",
           (long long)s->samples, (long long)s->test_samples);
  FC_TRY(fc_alloc(1, sizeof **out, out));
  fc_err err = open_kind(s, kind, seed, *out);
  if (err == FC_ERR_OK) err = fc_rows_trim(&(*out)->rows);
  if (err != FC_ERR_OK) fc_dataset_destroy(out);
  return err;
}

void fc_dataset_destroy(fc_dataset **ds) {
  if (*ds == NULL) return;
  fc_rows_free(&(*ds)->rows);
  fc_classes_free(&(*ds)->classes);
  fc_free(*ds);
  *ds = NULL;
}

/* ---- what is in it ---------------------------------------------------------------------------*/

fc_task fc_dataset_task(const fc_dataset *ds) {
  return ds->task;
}

size_t fc_dataset_train_count(const fc_dataset *ds) {
  return ds->train;
}

size_t fc_dataset_test_count(const fc_dataset *ds) {
  return ds->test;
}

size_t fc_dataset_bytes(const fc_dataset *ds) {
  return sizeof *ds + ds->rows.capacity + ds->rows.row_capacity * sizeof *ds->rows.row;
}

int fc_dataset_classes(const fc_dataset *ds) {
  return (int)ds->classes.n;
}

const char *fc_dataset_class_name(const fc_dataset *ds, int label) {
  assert(label >= 0 && (size_t)label < ds->classes.n);
  return ds->classes.item[label].name;
}

void fc_dataset_image_shape(const fc_dataset *ds, int *height, int *width) {
  *height = ds->height;
  *width = ds->width;
}

fc_sample fc_dataset_sample(const fc_dataset *ds, size_t index) {
  assert(index < ds->train + ds->test);
  const fc_row *row = &ds->rows.row[index];
  const char *text = ds->rows.arena + row->offset;
  if (ds->task == FC_TASK_IMAGE)
    return (fc_sample){.label = row->label, .pixels = (const uint8_t *)text};
  return (fc_sample){
      .a = {text, row->a_bytes}, .b = {text + row->a_bytes, row->b_bytes}, .label = row->label};
}
