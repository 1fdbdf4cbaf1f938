/* rows.h - the samples of a dataset in memory, and the names of its classes.
 *
 * All texts (or pixels) of all samples lie behind each other in one arena; a sample is a row of
 * 24 bytes with the place of its text a, directly followed by its text b. Offsets are 64-bit, the
 * number of rows must fit a 32-bit sample index. Internal to the data room. */
#ifndef FC_DATA_ROWS_H
#define FC_DATA_ROWS_H

#include "fedcell/fc_err.h"
#include "fedcell/fc_tokenizer.h" /* fc_text */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
  uint64_t offset;           /* of a in the arena; b follows */
  uint32_t a_bytes, b_bytes; /* of the two texts; IMAGE: a_bytes pixels, b_bytes 0 */
  int32_t label;
} fc_row;

typedef struct { /* zero-initialise */
  char *arena;
  size_t used, capacity;
  fc_row *row;
  size_t n, row_capacity;
} fc_rows;

/* Appends a sample; the texts are copied. DATA if a text has 4 GiB or more or the rows no longer
 * fit a 32-bit index. */
fc_err fc_rows_add(fc_rows *rows, fc_text a, fc_text b, int32_t label);
/* Keeps the n samples `index` names, in that order, and gives the rest of the memory back. */
fc_err fc_rows_select(fc_rows *rows, const uint32_t *index, size_t n);
/* Gives back what growing took too much. */
fc_err fc_rows_trim(fc_rows *rows);
void fc_rows_free(fc_rows *rows);

/* What a label is called in the file and what the class is called in results. */
typedef struct {
  const char *text, *name;
} fc_label_name;

/* Classes: either a fixed list (the dataset's own) or learned from the labels as they come. */
typedef struct {
  char *text, *name; /* owned; the same pointer where the class is named like its label */
  int32_t id;        /* in order of appearance */
} fc_class;
typedef struct { /* zero-initialise */
  fc_class *item;
  size_t n, capacity;
  bool fixed;  /* a label not in the list is a fault */
  bool sorted; /* a learned list that is settled */
} fc_classes;

enum { FC_CLASSES_MAX = 10000 };

fc_err fc_classes_fix(fc_classes *classes, const fc_label_name *labels, size_t n);
/* The id of a label: its place in a fixed list, else its order of first appearance (new labels are
 * added). DATA with `file` and `line` if it is empty, unknown, or one too many. */
fc_err fc_classes_find(fc_classes *classes, const char *file, size_t line, fc_text label,
                       int32_t *id);
/* Learned classes: from now on the list is fixed, sorted by name (whole numbers first, by value;
 * then the others byte by byte), and the labels of the rows are renumbered to match. */
void fc_classes_settle(fc_classes *classes, fc_rows *rows);
void fc_classes_free(fc_classes *classes);

#endif
