/* Any bytes as a data file: no crash, no leak; a source is either refused with a message or gives
 * at least one sample, each within the arena and with a label of the list. The first byte picks the
 * reader; for idx the second one says how many bytes at the end are the label file. */
#include "../../src/data/readers.h"
#include "fedcell/fc_mem.h"
#include <stdlib.h>
#include <string.h>

static const fc_layout layouts[] = {
    {.fields = 3, .label = 0, .first = 2, .last = 2, .columns = "class,name,text"},
    {.fields = 4, .label = 0, .first = 1, .last = 3, .columns = "class,title,question,answer"}};
static const fc_table_format formats[] = {
    {.task = FC_TASK_CLASSIFY,
     .delimiter = ',',
     .quotes = true,
     .column_a = "text",
     .column_b = "",
     .column_label = "label"},
    {.task = FC_TASK_CLASSIFY,
     .delimiter = ',',
     .quotes = true,
     .layouts = layouts,
     .n_layouts = 2,
     .unescape_newlines = true},
    {.task = FC_TASK_CLASSIFY,
     .delimiter = '\t',
     .column_a = "text",
     .column_b = "second",
     .column_label = "label"},
    {.task = FC_TASK_LM,
     .delimiter = ',',
     .quotes = true,
     .column_a = "text",
     .column_b = "second",
     .column_label = ""},
};

static void require(bool condition) {
  if (!condition) abort();
}

static fc_source copy_of(const uint8_t *data, size_t size) {
  fc_source src = {.name = "fuzz", .size = size};
  require(fc_alloc(size, 1, &src.bytes) == FC_ERR_OK);
  if (size > 0) memcpy(src.bytes, data, size);
  return src;
}

static fc_err read_idx(const uint8_t *data, size_t size, fc_rows *rows, fc_classes *classes) {
  static const fc_label_name digits[] = {{"0", "0"}, {"1", "1"}, {"2", "2"}};
  int height = 0, width = 0;
  require(fc_classes_fix(classes, digits, 3) == FC_ERR_OK);
  size_t of_labels = size > 0 ? data[0] : 0, skip = size > 0 ? 1 : 0;
  if (of_labels > size - skip) of_labels = size - skip;
  fc_source images = copy_of(data + skip, size - skip - of_labels);
  fc_source labels = copy_of(data + size - of_labels, of_labels);
  fc_err err = fc_read_idx(&images, &labels, 3, rows, &height, &width);
  require(err != FC_ERR_OK || (height >= 1 && width >= 1));
  fc_source_free(&images);
  fc_source_free(&labels);
  return err;
}

static fc_err read_any(unsigned which, const uint8_t *data, size_t size, fc_rows *rows,
                       fc_classes *classes) {
  if (which == 7) return read_idx(data, size, rows, classes);
  fc_source src = copy_of(data, size);
  const fc_table_format *format = &formats[which < 4 ? which : which == 4 ? 0 : which - 3];
  fc_err err = which < 4 ? fc_read_delimited(&src, format, rows, classes)
                         : fc_read_jsonl(&src, format, rows, classes);
  fc_source_free(&src);
  return err;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size == 0) return 0;
  size_t before = fc_mem_current_bytes();
  fc_rows rows = {0};
  fc_classes classes = {0};
  unsigned which = data[0] % 8; /* 0-3: delimited; 4, 5, 6: json as 0, 2, 3; 7: idx */
  fc_err err = read_any(which, data + 1, size - 1, &rows, &classes);
  if (err == FC_ERR_OK) {
    fc_classes_settle(&classes, &rows);
    require(rows.n > 0);
    for (size_t i = 0; i < rows.n; i++) {
      const fc_row *row = &rows.row[i];
      require(row->offset + row->a_bytes + row->b_bytes <= rows.used);
      require(row->label >= 0 && (row->label == 0 || (size_t)row->label < classes.n));
    }
  } else {
    require(err == FC_ERR_DATA && strncmp(fc_err_message(), "fuzz:", 5) == 0);
  }
  fc_rows_free(&rows);
  fc_classes_free(&classes);
  require(fc_mem_current_bytes() == before);
  return 0;
}
