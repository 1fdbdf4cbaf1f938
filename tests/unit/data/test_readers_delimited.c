/* csv and tsv readers: what they accept, and what they say of what they don't. */
#include "data_test.h"
#include "readers.h"

typedef struct {
  fc_rows rows;
  fc_classes classes;
} parts;

static const fc_table_format csv = {.task = FC_TASK_CLASSIFY,
                                    .delimiter = ',',
                                    .quotes = true,
                                    .column_a = "text",
                                    .column_b = "",
                                    .column_label = "label"};
static const fc_table_format tsv = {.task = FC_TASK_CLASSIFY,
                                    .delimiter = '\t',
                                    .column_a = "text",
                                    .column_b = "",
                                    .column_label = "label"};
static const fc_layout layouts[] = {
    {.fields = 3, .label = 0, .first = 2, .last = 2, .columns = "class,name,text"},
    {.fields = 4, .label = 0, .first = 1, .last = 3, .columns = "class,title,question,answer"}};
static const fc_table_format bare = {.task = FC_TASK_CLASSIFY,
                                     .delimiter = ',',
                                     .quotes = true,
                                     .layouts = layouts,
                                     .n_layouts = 2,
                                     .unescape_newlines = true};

static fc_err read_bytes(const fc_table_format *format, const char *bytes, size_t n, parts *out) {
  fc_source src = {.name = "f", .size = n};
  *out = (parts){0};
  assert_ok(fc_alloc(n, 1, &src.bytes)); /* exactly n: the sanitizer sees a byte read too far */
  memcpy(src.bytes, bytes, n);
  fc_err err = fc_read_delimited(&src, format, &out->rows, &out->classes);
  if (err == FC_ERR_OK) fc_classes_settle(&out->classes, &out->rows);
  fc_source_free(&src);
  return err;
}

static void free_parts(parts *p) {
  fc_rows_free(&p->rows);
  fc_classes_free(&p->classes);
}

static void expect_row(const parts *p, size_t i, const char *a, const char *b, int label) {
  const fc_row *row = &p->rows.row[i];
  assert_text(((fc_text){p->rows.arena + row->offset, row->a_bytes}), a);
  assert_text(((fc_text){p->rows.arena + row->offset + row->a_bytes, row->b_bytes}), b);
  assert_int_equal(row->label, label);
}

static void expect_fault(const fc_table_format *format, const char *text, const char *message) {
  parts p;
  assert_fails(read_bytes(format, text, strlen(text), &p), FC_ERR_DATA, message);
  free_parts(&p);
}

static void reads_quoted_fields(void **state) {
  (void)state;
  parts p;
  const char *text = "label,text\r\n"
                     "b,\"one, \"\"two\"\"\r\nthree\"\r\n"
                     "\r\n"
                     "a,plain 5\" disk\r\n"
                     "\"a\",last";
  assert_ok(read_bytes(&csv, text, strlen(text), &p));
  assert_int_equal(p.rows.n, 3);
  assert_int_equal(p.classes.n, 2);
  assert_string_equal(p.classes.item[0].name, "a");
  expect_row(&p, 0, "one, \"two\"\r\nthree", "", 1);
  expect_row(&p, 1, "plain 5\" disk", "", 0);
  expect_row(&p, 2, "last", "", 0);
  free_parts(&p);
}

static void quotes_are_ordinary_in_tsv(void **state) {
  (void)state;
  parts p;
  const char *text = "\xEF\xBB\xBFindex\ttext\tlabel\n0\t\"half, open\tno\n1\t\"whole\"\tyes\n";
  assert_ok(read_bytes(&tsv, text, strlen(text), &p));
  assert_int_equal(p.rows.n, 2);
  expect_row(&p, 0, "\"half, open", "", 0);
  expect_row(&p, 1, "\"whole\"", "", 1);
  free_parts(&p);
}

static void joins_columns_without_a_header(void **state) {
  (void)state;
  parts p;
  const char *text = "7,\"T \"\"q\"\"\",,\"two\\nlines\"\n7,only,\"\",\n9,,,answer\n";
  assert_ok(read_bytes(&bare, text, strlen(text), &p));
  assert_int_equal(p.rows.n, 3);
  expect_row(&p, 0, "T \"q\" two\nlines", "", 0);
  expect_row(&p, 1, "only", "", 0);
  expect_row(&p, 2, "answer", "", 1);
  free_parts(&p);
  text = "7,the class's name,text\n";
  assert_ok(read_bytes(&bare, text, strlen(text), &p));
  expect_row(&p, 0, "text", "", 0);
  free_parts(&p);
}

static void sorts_whole_numbers_by_value(void **state) {
  (void)state;
  parts p;
  const char *text = "label,text\n10,a\nx,b\n9,c\n-3,d\n010,e\n";
  assert_ok(read_bytes(&csv, text, strlen(text), &p));
  const char *const order[] = {"-3", "9", "10", "010", "x"};
  assert_int_equal(p.classes.n, 5);
  for (int i = 0; i < 5; i++) assert_string_equal(p.classes.item[i].name, order[i]);
  expect_row(&p, 0, "a", "", 2);
  expect_row(&p, 1, "b", "", 4);
  expect_row(&p, 3, "d", "", 0);
  free_parts(&p);
}

static void language_model_columns(void **state) {
  (void)state;
  parts p;
  fc_table_format lm = csv;
  lm.task = FC_TASK_LM;
  lm.column_b = "answer";
  const char *text = "text,answer\nwhat?,that\n,no prompt\n";
  assert_ok(read_bytes(&lm, text, strlen(text), &p));
  assert_int_equal(p.classes.n, 0);
  expect_row(&p, 0, "what?", "that", 0);
  expect_row(&p, 1, "", "no prompt", 0);
  free_parts(&p);
  expect_fault(&lm, "text,answer\nwhat?,\n", "f:2: the answer is empty");
}

static void passes_on_bytes_that_are_not_utf8(void **state) {
  (void)state;
  parts p;
  const char text[] = "label,text\nb,caf\xE9 \0 end\n";
  assert_ok(read_bytes(&csv, text, sizeof text - 1, &p));
  assert_int_equal(p.rows.row[0].a_bytes, 10);
  assert_memory_equal(p.rows.arena, "caf\xE9 \0 end", 10);
  free_parts(&p);
}

static void tells_what_is_wrong(void **state) {
  (void)state;
  expect_fault(&csv, "", "f: empty file");
  expect_fault(&csv, "\n\r\n", "f: empty file");
  expect_fault(&csv, "label,text\n", "f: no samples");
  expect_fault(&csv, "label,words\n1,a\n", "f:1: no column \"text\"; the columns are label, words");
  expect_fault(&csv, "label,text\n1,a\n1,b,c\n", "f:3: 3 fields, expected 2 as in line 1");
  expect_fault(&csv, "label,text\n1,a\n1\n", "f:3: 1 field, expected 2 as in line 1");
  expect_fault(&csv, "label,text\n1,\"a\nb\"\n,c\n", "f:4: the label is missing");
  expect_fault(&csv, "label,text\n1,\n", "f:2: the text is empty");
  expect_fault(&csv, "label,text\n1,a\n1,\"b\n2,c\n",
               "f:3: a quote is opened here and never closed");
  expect_fault(&csv, "label,text\n1,\"a\" b\n",
               "f:2: text follows a closing quote; a quote inside a quoted field is written twice");
  expect_fault(&bare, "1,text\n",
               "f:1: 2 fields, expected 3 (class,name,text) or 4 (class,title,question,answer)");
  expect_fault(&bare, "1,a,b,c\n1,a,b\n", "f:2: 3 fields, expected 4 as in line 1");
}

static void labels_of_a_fixed_list(void **state) {
  (void)state;
  static const fc_label_name known[] = {{"0", "negative"}, {"1", "positive"}};
  char text[] = "text\tlabel\nfine\t1\nbad\t2\n";
  fc_source src = {.name = "dev.tsv", .bytes = text, .size = strlen(text)};
  parts p = {0};
  assert_ok(fc_classes_fix(&p.classes, known, 2));
  assert_fails(fc_read_delimited(&src, &tsv, &p.rows, &p.classes), FC_ERR_DATA,
               "dev.tsv:3: unknown label \"2\"; known are 0, 1");
  assert_int_equal(p.rows.n, 1);
  assert_string_equal(p.classes.item[1].name, "positive");
  free_parts(&p);
}

static void too_many_fields_and_classes(void **state) {
  (void)state;
  char text[1024];
  memset(text, ',', 300);
  text[300] = '\0';
  expect_fault(&csv, text, "f:1: 301 fields, allowed are 256");
  fc_classes classes = {0};
  char label[16];
  int32_t id;
  for (int i = 0; i < FC_CLASSES_MAX; i++) {
    int n = snprintf(label, sizeof label, "%d", i);
    assert_ok(fc_classes_find(&classes, "f", 2, (fc_text){label, (size_t)n}, &id));
    assert_int_equal(id, i);
  }
  assert_fails(fc_classes_find(&classes, "f", 9, (fc_text){"one more", 8}, &id), FC_ERR_DATA,
               "f:9: more than 10000 different labels; is this the label's column?");
  assert_fails(fc_classes_find(&classes, "f", 9, (fc_text){"a\0b", 3}, &id), FC_ERR_DATA,
               "f:9: the label holds a zero byte");
  memset(text, 'x', sizeof text);
  assert_fails(fc_classes_find(&classes, "f", 9, (fc_text){text, 256}, &id), FC_ERR_DATA,
               "f:9: label of 256 bytes, allowed are 255");
  fc_classes_free(&classes);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(reads_quoted_fields),
      cmocka_unit_test(quotes_are_ordinary_in_tsv),
      cmocka_unit_test(joins_columns_without_a_header),
      cmocka_unit_test(sorts_whole_numbers_by_value),
      cmocka_unit_test(language_model_columns),
      cmocka_unit_test(passes_on_bytes_that_are_not_utf8),
      cmocka_unit_test(tells_what_is_wrong),
      cmocka_unit_test(labels_of_a_fixed_list),
      cmocka_unit_test(too_many_fields_and_classes),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
