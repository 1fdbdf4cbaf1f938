/* dataset.h - the table of datasets and what is behind an fc_dataset. Internal to the data room.
 *
 * A new dataset is one row in the table of table.c: where its files are called what, how they are
 * read; a new generator is one file and one row. */
#ifndef FC_DATA_DATASET_H
#define FC_DATA_DATASET_H

#include "generate.h"
#include "readers.h"

struct fc_dataset {
  const char *name;
  fc_task task;
  fc_rows rows; /* train first, then test */
  size_t train, test;
  fc_classes classes;
  int height, width; /* IMAGE */
};

enum { FC_FILE_NAMES = 4 };

typedef enum { FC_FILE_NONE, FC_FILE_DELIMITED, FC_FILE_JSONL, FC_FILE_IDX } fc_file_form;

typedef struct {
  const char *name, *meaning;
  fc_task task;
  const fc_label_name *labels; /* NULL: learned from the train part */
  size_t n_labels;
  /* readers */
  fc_file_form form;
  fc_table_format format;
  const char *train[FC_FILE_NAMES], *test[FC_FILE_NAMES]; /* alternatives, the first one there */
  bool by_user; /* file and column names come from the settings: jsonl, csv */
  /* generators */
  const fc_generator *generator;
} fc_dataset_kind;

const fc_dataset_kind *fc_dataset_kind_get(size_t i); /* NULL past the end */

/* Where the files of a dataset are. */
typedef struct {
  char *train, *test; /* paths; test NULL: none there */
} fc_data_files;
/* [FEDCELL_DATA] data.dir if given, else $FEDCELL_DATA/<dataset>, else $FEDCELL_DATA; with a file
 * name of the user's also the current folder. A name may have .gz appended. IO names every place
 * looked at. */
fc_err fc_data_locate(const fc_data_settings *s, const fc_dataset_kind *kind, fc_data_files *out);
void fc_data_files_free(fc_data_files *files);

/* out[i] = 1 for k of the n samples: every class gives its share (largest remainders, ties to the
 * lower class), which of its samples is drawn from rng. classes 0 or label NULL: one class. */
fc_err fc_pick_stratified(const int32_t *label, size_t n, int classes, size_t k, fc_rng *rng,
                          uint8_t *out);

/* Streams of FC_RNG_PARTS (the `round` of a stream). */
enum { FC_PARTS_PUBLIC, FC_PARTS_TEST, FC_PARTS_LIMIT_TRAIN, FC_PARTS_LIMIT_TEST };

#endif
