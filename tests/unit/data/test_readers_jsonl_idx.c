/* jsonl and idx readers: what they accept, and what they say of what they don't. */
#include "data_test.h"
#include "readers.h"

static const fc_table_format lm = {
    .task = FC_TASK_LM, .column_a = "question", .column_b = "answer", .column_label = ""};
static const fc_table_format classify = {
    .task = FC_TASK_CLASSIFY, .column_a = "text", .column_b = "", .column_label = "label"};

static fc_rows rows;
static fc_classes classes;

static int start(void **state) {
  (void)state;
  rows = (fc_rows){0};
  classes = (fc_classes){0};
  return 0;
}

static int stop(void **state) {
  (void)state;
  fc_rows_free(&rows);
  fc_classes_free(&classes);
  return 0;
}

static fc_err read_json(const fc_table_format *format, const char *text) {
  fc_source src = {.name = "f", .size = strlen(text)};
  assert_ok(fc_alloc(src.size, 1, &src.bytes));
  memcpy(src.bytes, text, src.size);
  fc_err err = fc_read_jsonl(&src, format, &rows, &classes);
  fc_source_free(&src);
  return err;
}

static fc_text text_a(size_t i) {
  return (fc_text){rows.arena + rows.row[i].offset, rows.row[i].a_bytes};
}

static fc_text text_b(size_t i) {
  return (fc_text){rows.arena + rows.row[i].offset + rows.row[i].a_bytes, rows.row[i].b_bytes};
}

static void reads_prompts_and_answers(void **state) {
  (void)state;
  assert_ok(read_json(&lm, "{\"question\": \"Janet\\u2019s?\", \"answer\": \"a\\n#### 1\"}\r\n"
                           "  \r\n"
                           "{\"answer\": \"b\", \"extra\": [1], \"question\": \"\"}"));
  assert_int_equal(rows.n, 2);
  assert_text(text_a(0), "Janet\xE2\x80\x99s?");
  assert_text(text_b(0), "a\n#### 1");
  assert_text(text_a(1), "");
  assert_text(text_b(1), "b");
}

static void labels_of_every_kind(void **state) {
  (void)state;
  assert_ok(read_json(&classify, "{\"text\":\"a\",\"label\":12}\n"
                                 "{\"text\":\"b\",\"label\":\"joy\"}\n"
                                 "{\"text\":\"c\",\"label\":true}\n"
                                 "{\"text\":\"d\",\"label\":\"12\"}\n"
                                 "{\"text\":\"e\",\"label\":-2}\n"));
  fc_classes_settle(&classes, &rows);
  const int expected[] = {1, 2, 3, 1, 0};
  for (int i = 0; i < 5; i++) assert_int_equal(rows.row[i].label, expected[i]);
  assert_string_equal(classes.item[3].name, "true");
}

static void tells_what_is_wrong_in_json(void **state) {
  (void)state;
  assert_fails(read_json(&lm, ""), FC_ERR_DATA, "f: empty file");
  assert_fails(read_json(&lm, "\n\n"), FC_ERR_DATA, "f: no samples");
  assert_fails(read_json(&lm, "{\"question\":\"a\",\"answer\":\"b\"}\n{\"question\":\"a\""),
               FC_ERR_DATA, "f:2: not json (column 15): '}' expected near end of file");
  assert_fails(read_json(&lm, "\n[1]"), FC_ERR_DATA, "f:2: not a json object");
  assert_fails(read_json(&lm, "{\"question\":\"a\"}"), FC_ERR_DATA, "f:1: \"answer\" is missing");
  assert_fails(read_json(&lm, "{\"question\":\"a\",\"answer\":\"\"}"), FC_ERR_DATA,
               "f:1: \"answer\" is empty");
  assert_fails(read_json(&lm, "{\"question\":7,\"answer\":\"\"}"), FC_ERR_DATA,
               "f:1: \"question\" is not a text");
  assert_fails(read_json(&classify, "{\"text\":\"a\"}"), FC_ERR_DATA,
               "f:1: the label \"label\" is missing");
  assert_fails(read_json(&classify, "{\"text\":\"a\",\"label\":0.5}"), FC_ERR_DATA,
               "f:1: the label \"label\" is neither a text nor a whole number");
  assert_fails(read_json(&classify, "{\"text\":\"\",\"label\":1}"), FC_ERR_DATA,
               "f:1: \"text\" is empty");
  /* json is UTF-8 by definition; the words behind the colon are jansson's */
  assert_int_equal(read_json(&classify, "\n{\"text\":\"caf\xE9\",\"label\":1}"), FC_ERR_DATA);
  assert_non_null(strstr(fc_err_message(), "f:2: not json (column "));
  assert_non_null(strstr(fc_err_message(), "unable to decode byte 0xe9"));
}

/* ---- idx -------------------------------------------------------------------------------------*/

static const char two_images[] = "\0\0\x08\x03\0\0\0\x02\0\0\0\x02\0\0\0\x03"
                                 "abcdefABCDEF";
static const char two_labels[] = "\0\0\x08\x01\0\0\0\x02\x09\0";

static fc_err read_pair(const char *images, size_t n_images, const char *labels, size_t n_labels) {
  int height = 0, width = 0;
  fc_source a = {.name = "images", .size = n_images}, b = {.name = "labels", .size = n_labels};
  assert_ok(fc_alloc(n_images, 1, &a.bytes));
  assert_ok(fc_alloc(n_labels, 1, &b.bytes));
  memcpy(a.bytes, images, n_images);
  memcpy(b.bytes, labels, n_labels);
  fc_err err = fc_read_idx(&a, &b, 10, &rows, &height, &width);
  if (err == FC_ERR_OK) {
    assert_int_equal(height, 2);
    assert_int_equal(width, 3);
  }
  fc_source_free(&a);
  fc_source_free(&b);
  return err;
}

static void reads_images_and_labels(void **state) {
  (void)state;
  assert_ok(read_pair(two_images, 28, two_labels, 10));
  assert_int_equal(rows.n, 2);
  assert_text(text_a(1), "ABCDEF");
  assert_int_equal(rows.row[0].label, 9);
  assert_int_equal(rows.row[1].label, 0);
}

static fc_err read_changed(size_t byte, char value, size_t n_images, size_t n_labels) {
  char images[32], labels[16];
  memcpy(images, two_images, sizeof two_images);
  memcpy(labels, two_labels, sizeof two_labels);
  if (byte < 28)
    images[byte] = value;
  else
    labels[byte - 28] = value;
  return read_pair(images, n_images, labels, n_labels);
}

static void tells_what_is_wrong_in_idx(void **state) {
  (void)state;
  assert_fails(read_changed(3, 1, 28, 10), FC_ERR_DATA,
               "images: byte 0: magic number 0x00000801, expected 0x00000803 (idx images)");
  assert_fails(read_changed(28 + 2, 9, 28, 10), FC_ERR_DATA,
               "labels: byte 0: magic number 0x00000901, expected 0x00000801 (idx labels)");
  assert_fails(read_changed(0, 0, 27, 10), FC_ERR_DATA,
               "images: byte 27: the file ends here, its header promises 28 bytes");
  assert_fails(read_changed(11, 1, 28, 10), FC_ERR_DATA,
               "images: byte 22: 6 bytes after the last sample");
  assert_fails(read_changed(0, 0, 12, 10), FC_ERR_DATA,
               "images: byte 12: the file ends within its header");
  assert_fails(read_changed(0, 0, 3, 10), FC_ERR_DATA,
               "images: byte 3: the file ends within its header");
  assert_fails(read_changed(7, 0, 16, 10), FC_ERR_DATA, "images: no samples");
  assert_fails(read_changed(8, 1, 28, 10), FC_ERR_DATA,
               "images: byte 8: side of 16777218 pixels, allowed is 1 to 4096");
  assert_fails(read_changed(15, 0, 28, 10), FC_ERR_DATA,
               "images: byte 12: side of 0 pixels, allowed is 1 to 4096");
  assert_fails(read_changed(4, (char)0xFF, 28, 10), FC_ERR_DATA,
               "images: byte 28: the file ends here, its header promises 25669140508 bytes");
  assert_fails(read_changed(28 + 7, 1, 28, 9), FC_ERR_DATA,
               "labels: byte 4: 1 labels, but images has 2 images");
  assert_fails(read_changed(28 + 9, 10, 28, 10), FC_ERR_DATA,
               "labels: byte 9: label 10, allowed is 0 to 9");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(reads_prompts_and_answers, start, stop),
      cmocka_unit_test_setup_teardown(labels_of_every_kind, start, stop),
      cmocka_unit_test_setup_teardown(tells_what_is_wrong_in_json, start, stop),
      cmocka_unit_test_setup_teardown(reads_images_and_labels, start, stop),
      cmocka_unit_test_setup_teardown(tells_what_is_wrong_in_idx, start, stop),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
