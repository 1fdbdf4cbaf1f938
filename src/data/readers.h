/* readers.h - files in memory and the readers that turn them into samples.
 *
 *   fc_source src = {0};
 *   FC_TRY(fc_source_read(path, &src));                   // plain or gzip
 *   err = fc_read_delimited(&src, &format, &rows, &classes);
 *   fc_source_free(&src);
 *
 * Every reader works on bytes in memory, so tests and the fuzz target call it without files. A
 * malformed source is DATA with `name:line:` (idx: the byte offset) and leaves rows and classes
 * valid, to be freed. Internal to the data room. */
#ifndef FC_DATA_READERS_H
#define FC_DATA_READERS_H

#include "rows.h"
#include "fedcell/fc_data.h"

typedef struct {
  const char *name; /* for messages; borrowed */
  char *bytes;      /* readers unescape quoted fields in place */
  size_t size;
} fc_source;

/* The whole file, unpacked if it is gzip. IO if it cannot be read, DATA for a truncated or damaged
 * gzip stream or an empty file. */
fc_err fc_source_read(const char *path, fc_source *out);
void fc_source_free(fc_source *src);
/* Logs one warning if text is not UTF-8, with the first line that is not. Such bytes are passed on
 * as they are: published files (Yahoo Answers, scraped csv) hold a few, and the tokenisers define
 * what they mean (as U+FFFD). json is stricter by its own definition: there it is DATA. */
void fc_source_check_text(const fc_source *src);

/* Where the fields of a record go, for files without a header. The columns first..last are joined
 * by a blank into text a (empty ones left out). */
typedef struct {
  int fields; /* a record has so many */
  int label, first, last;
  const char *columns; /* for messages: "class,title,description" */
} fc_layout;

typedef struct {
  fc_task task; /* CLASSIFY or LM */
  char delimiter;
  bool quotes; /* RFC 4180 quoting; false: quotes are ordinary characters */
  /* With a header line: names of the columns, "" none. Without: NULL. */
  const char *column_a, *column_b, *column_label;
  const fc_layout *layouts; /* without a header: which numbers of fields are allowed */
  size_t n_layouts;
  bool unescape_newlines; /* the two characters \n stand for a line end (Yahoo Answers) */
} fc_table_format;

/* csv and tsv. Tolerates CRLF, a byte order mark, blank lines, a missing last line end, and (with
 * quotes on) a quote inside an unquoted field. */
fc_err fc_read_delimited(const fc_source *src, const fc_table_format *format, fc_rows *rows,
                         fc_classes *classes);
/* One json object a line; column_a, column_b and column_label of the format name its keys. */
fc_err fc_read_jsonl(const fc_source *src, const fc_table_format *format, fc_rows *rows,
                     fc_classes *classes);
/* A pair of idx files: images (n, height, width) and labels (n), both of unsigned bytes
 * [MNIST]; labels must be below `classes`. */
fc_err fc_read_idx(const fc_source *images, const fc_source *labels, int classes, fc_rows *rows,
                   int *height, int *width);

#endif
