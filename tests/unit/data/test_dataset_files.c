/* Opening datasets from small files: where they are looked for, parts, limits, faults. */
#include "data_test.h"
#include <zlib.h>

static char folder[64];

static int start(void **state) {
  (void)state;
  unsetenv("FEDCELL_DATA");
  strcpy(folder, make_folder());
  return 0;
}

static int stop(void **state) {
  (void)state;
  unsetenv("FEDCELL_DATA");
  return rmdir(folder); /* fails if a test leaves a file behind */
}

static void write_sst2(const char *name, int rows_of_each) {
  char text[8192] = "sentence\tlabel\n";
  for (int i = 0; i < 2 * rows_of_each; i++)
    snprintf(text + strlen(text), sizeof text - strlen(text), "row %d\t%d\n", i, i % 2);
  write_text(folder, name, text);
}

static void train_then_test(void **state) {
  (void)state;
  fc_dataset *ds;
  write_sst2("train.tsv", 10);
  write_text(folder, "dev.tsv", "sentence\tlabel\nnew\t1\n");
  fc_data_settings s = settings_of("sst2", folder);
  assert_ok(fc_dataset_open(&s, 1, &ds));
  assert_int_equal(fc_dataset_task(ds), FC_TASK_CLASSIFY);
  assert_int_equal(fc_dataset_classes(ds), 2);
  assert_string_equal(fc_dataset_class_name(ds, 1), "positive");
  assert_int_equal(fc_dataset_train_count(ds), 20);
  assert_int_equal(fc_dataset_test_count(ds), 1);
  assert_text(fc_dataset_sample(ds, 19).a, "row 19");
  assert_text(fc_dataset_sample(ds, 20).a, "new");
  assert_int_equal(fc_dataset_sample(ds, 20).label, 1);
  fc_dataset_destroy(&ds);
  assert_null(ds);
  fc_dataset_destroy(&ds);
  remove_file(folder, "train.tsv");
  remove_file(folder, "dev.tsv");
}

static void test_fraction_keeps_the_classes_shares(void **state) {
  (void)state;
  fc_dataset *ds, *again, *other;
  write_sst2("train.tsv", 50);
  fc_data_settings s = settings_of("sst2", folder);
  s.test_fraction = 0.2;
  assert_ok(fc_dataset_open(&s, 1, &ds));
  assert_ok(fc_dataset_open(&s, 1, &again));
  assert_ok(fc_dataset_open(&s, 2, &other));
  assert_int_equal(fc_dataset_train_count(ds), 80);
  assert_int_equal(fc_dataset_test_count(ds), 20);
  int positive = 0, differ = 0, seen[100] = {0};
  for (size_t i = 0; i < 100; i++) {
    fc_text a = fc_dataset_sample(ds, i).a, b = fc_dataset_sample(again, i).a;
    assert_int_equal(a.length, b.length);
    assert_memory_equal(a.text, b.text, a.length);
    differ += a.length != fc_dataset_sample(other, i).a.length ||
              memcmp(a.text, fc_dataset_sample(other, i).a.text, a.length) != 0;
    if (i >= 80) positive += fc_dataset_sample(ds, i).label;
    seen[atoi(a.text + 4)]++;
  }
  assert_int_equal(positive, 10);
  assert_true(differ > 10);
  for (int i = 0; i < 100; i++) assert_int_equal(seen[i], 1);
  fc_dataset_destroy(&ds);
  fc_dataset_destroy(&again);
  fc_dataset_destroy(&other);
  s.test_fraction = 0.0;
  assert_fails(fc_dataset_open(&s, 1, &ds), FC_ERR_USAGE,
               "data.test_fraction = 0: must be above 0 and below 1, as dataset sst2 has no test "
               "part of its own");
  assert_null(ds);
  remove_file(folder, "train.tsv");
}

static void at_most_so_many_samples(void **state) {
  (void)state;
  fc_dataset *ds, *other;
  write_sst2("train.tsv", 40);
  write_sst2("dev.tsv", 10);
  fc_data_settings s = settings_of("sst2", folder);
  s.samples = 30;
  s.test_samples = 50; /* more than there are */
  assert_ok(fc_dataset_open(&s, 3, &ds));
  assert_ok(fc_dataset_open(&s, 4, &other));
  assert_int_equal(fc_dataset_train_count(ds), 30);
  assert_int_equal(fc_dataset_test_count(ds), 20);
  int last = -1, differ = 0;
  for (size_t i = 0; i < 30; i++) {
    fc_sample sample = fc_dataset_sample(ds, i);
    int number = atoi(sample.a.text + 4);
    assert_true(number > last && number < 80);
    assert_int_equal(sample.label, number % 2);
    last = number;
    differ += number != atoi(fc_dataset_sample(other, i).a.text + 4);
  }
  assert_true(differ > 0);
  fc_dataset_destroy(&ds);
  fc_dataset_destroy(&other);
  remove_file(folder, "train.tsv");
  remove_file(folder, "dev.tsv");
}

static void own_files_with_named_columns(void **state) {
  (void)state;
  fc_dataset *ds;
  write_text(folder, "a.csv", "id,words,mood\n1,\"x, y\",sad\n2,z,glad\n3,v,glad\n");
  write_text(folder, "b.csv", "mood,words\nglad,w\n");
  write_text(folder, "c.jsonl", "{\"mood\": \"angry\", \"words\": \"w\"}\n");
  fc_data_settings s = settings_of("csv", folder);
  s.train_file = "a.csv";
  s.test_file = "b.csv";
  s.column_a = "words";
  s.column_label = "mood";
  assert_ok(fc_dataset_open(&s, 1, &ds));
  assert_string_equal(fc_dataset_class_name(ds, 0), "glad");
  assert_string_equal(fc_dataset_class_name(ds, 1), "sad");
  assert_text(fc_dataset_sample(ds, 0).a, "x, y");
  assert_int_equal(fc_dataset_sample(ds, 0).label, 1);
  assert_int_equal(fc_dataset_sample(ds, 3).label, 0);
  fc_dataset_destroy(&ds);

  char message[256];
  write_text(folder, "b.csv", "mood,words\nangry,w\n");
  snprintf(message, sizeof message, "%s/b.csv:2: unknown label \"angry\"; known are glad, sad",
           folder);
  assert_fails(fc_dataset_open(&s, 1, &ds), FC_ERR_DATA, message);
  s.dataset = "jsonl";
  s.train_file = "c.jsonl";
  s.test_file = "";
  assert_fails(fc_dataset_open(&s, 1, &ds), FC_ERR_DATA,
               "dataset jsonl has 1 sample, too few for a train and a test part");
  s.train_file = "";
  assert_fails(fc_dataset_open(&s, 1, &ds), FC_ERR_USAGE,
               "data.dataset jsonl needs data.train_file");
  s.train_file = "c.jsonl";
  s.test_file = "d.jsonl";
  snprintf(message, sizeof message,
           "the files of dataset jsonl were not found; looked for %s/d.jsonl (and the same with "
           ".gz). Set data.dir to their folder, or the environment variable FEDCELL_DATA to that "
           "folder's parent",
           folder);
  assert_fails(fc_dataset_open(&s, 1, &ds), FC_ERR_IO, message);
  s.task = "guess";
  s.test_file = "";
  assert_fails(fc_dataset_open(&s, 1, &ds), FC_ERR_USAGE,
               "data.task = guess: must be classify or lm");
  remove_file(folder, "a.csv");
  remove_file(folder, "b.csv");
  remove_file(folder, "c.jsonl");
}

static void looks_where_it_is_told(void **state) {
  (void)state;
  char message[512];
  fc_dataset *ds;
  fc_data_settings s = settings_of("sst2", "");
  assert_fails(
      fc_dataset_open(&s, 1, &ds), FC_ERR_IO,
      "the files of dataset sst2 were looked for nowhere: set data.dir to their folder, or "
      "the environment variable FEDCELL_DATA to that folder's parent");
  setenv("FEDCELL_DATA", folder, 1);
  snprintf(message, sizeof message,
           "the files of dataset sst2 were not found; looked for %s/sst2/train.tsv, %s/train.tsv "
           "(and the same with .gz). Set data.dir to their folder, or the environment variable "
           "FEDCELL_DATA to that folder's parent",
           folder, folder);
  assert_fails(fc_dataset_open(&s, 1, &ds), FC_ERR_IO, message);
  write_sst2("train.tsv", 5);
  assert_ok(fc_dataset_open(&s, 1, &ds));
  fc_dataset_destroy(&ds);
  s.dir = "/nowhere"; /* the option counts alone */
  assert_fails(fc_dataset_open(&s, 1, &ds), FC_ERR_IO,
               "the files of dataset sst2 were not found; looked for /nowhere/train.tsv (and the "
               "same with .gz). Set data.dir to their folder, or the environment variable "
               "FEDCELL_DATA to that folder's parent");
  s.dataset = "sst3";
  assert_fails(fc_dataset_open(&s, 1, &ds), FC_ERR_USAGE, "data.dataset = sst3: no such dataset");
  remove_file(folder, "train.tsv");
}

static void qnli_without_a_train_file(void **state) {
  (void)state;
  fc_dataset *ds;
  char text[4096] = "index\tquestion\tsentence\tlabel\n";
  for (int i = 0; i < 20; i++)
    snprintf(text + strlen(text), sizeof text - strlen(text), "%d\tq \"%d?\ts %d\t%sentailment\n",
             i, i, i, i % 2 ? "not_" : "");
  write_text(folder, "dev.tsv", text);
  fc_data_settings s = settings_of("qnli", folder);
  assert_ok(fc_dataset_open(&s, 1, &ds));
  assert_int_equal(fc_dataset_train_count(ds), 18);
  assert_int_equal(fc_dataset_test_count(ds), 2);
  fc_dataset_destroy(&ds);
  write_text(folder, "train.tsv", text);
  assert_ok(fc_dataset_open(&s, 1, &ds));
  assert_int_equal(fc_dataset_train_count(ds), 20);
  assert_int_equal(fc_dataset_test_count(ds), 20);
  assert_text(fc_dataset_sample(ds, 1).a, "q \"1?");
  assert_text(fc_dataset_sample(ds, 1).b, "s 1");
  assert_int_equal(fc_dataset_sample(ds, 1).label, 1);
  fc_dataset_destroy(&ds);
  remove_file(folder, "train.tsv");
  remove_file(folder, "dev.tsv");
}

static void published_csv_forms(void **state) {
  (void)state;
  fc_dataset *ds;
  write_text(folder, "train.csv",
             "\"3\",\"Wall St.\",\"Bears \"\"claw\"\" back\"\n"
             "\"1\",\"Vote\",\"Results\"\n");
  write_text(folder, "test.csv", "\"4\",\"Chips\",\"Smaller\"\n");
  fc_data_settings s = settings_of("agnews", folder);
  assert_ok(fc_dataset_open(&s, 1, &ds));
  assert_string_equal(fc_dataset_class_name(ds, fc_dataset_sample(ds, 0).label), "Business");
  assert_text(fc_dataset_sample(ds, 0).a, "Wall St. Bears \"claw\" back");
  assert_string_equal(fc_dataset_class_name(ds, fc_dataset_sample(ds, 2).label), "Sci/Tech");
  fc_dataset_destroy(&ds);
  write_text(folder, "train.csv", "\"10\",\"Who?\",\"\",\"He\\nis\"\n\"11\",\"a\",\"b\",\"c\"\n");
  s.dataset = "yahoo";
  char message[256];
  snprintf(message, sizeof message,
           "%s/train.csv:2: unknown label \"11\"; known are 1, 2, 3, 4, 5, 6, 7, 8, 9, 10", folder);
  assert_fails(fc_dataset_open(&s, 1, &ds), FC_ERR_DATA, message);
  remove_file(folder, "train.csv");
  remove_file(folder, "test.csv");
}

/* ---- gzip and idx ----------------------------------------------------------------------------*/

static size_t write_gz(const char *name, const void *bytes, size_t n) {
  char path[256];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  gzFile file = gzopen(path, "wb");
  assert_non_null(file);
  assert_int_equal(gzwrite(file, bytes, (unsigned)n), n);
  assert_int_equal(gzclose(file), Z_OK);
  FILE *packed = fopen(path, "rb");
  fseek(packed, 0, SEEK_END);
  size_t size = (size_t)ftell(packed);
  fclose(packed);
  return size;
}

static void mnist_plain_and_packed(void **state) {
  (void)state;
  fc_dataset *ds;
  const char images[] = "\0\0\x08\x03\0\0\0\x02\0\0\0\x02\0\0\0\x02"
                        "abcdEFGH";
  const char labels[] = "\0\0\x08\x01\0\0\0\x02\x07\x03";
  write_gz("train-images-idx3-ubyte.gz", images, 24);
  write_gz("train-labels-idx1-ubyte.gz", labels, 10);
  write_bytes(folder, "t10k-images.idx3-ubyte", images, 24);
  write_bytes(folder, "t10k-labels.idx1-ubyte", labels, 10);
  fc_data_settings s = settings_of("mnist", folder);
  assert_ok(fc_dataset_open(&s, 1, &ds));
  int height, width;
  fc_dataset_image_shape(ds, &height, &width);
  assert_int_equal(height, 2);
  assert_int_equal(width, 2);
  assert_int_equal(fc_dataset_train_count(ds), 2);
  assert_memory_equal(fc_dataset_sample(ds, 3).pixels, "EFGH", 4);
  assert_int_equal(fc_dataset_sample(ds, 3).label, 3);
  fc_dataset_destroy(&ds);
  remove_file(folder, "train-labels-idx1-ubyte.gz");
  char message[256];
  snprintf(message, sizeof message, "%s/train-labels-idx1-ubyte.gz: No such file or directory",
           folder);
  assert_fails(fc_dataset_open(&s, 1, &ds), FC_ERR_IO, message);
  remove_file(folder, "train-images-idx3-ubyte.gz");
  remove_file(folder, "t10k-images.idx3-ubyte");
  remove_file(folder, "t10k-labels.idx1-ubyte");
}

static void truncated_and_damaged_gzip(void **state) {
  (void)state;
  fc_dataset *ds;
  char text[20000] = "sentence\tlabel\n", packed[20000], path[128], message[256];
  for (int i = 0; i < 1000; i++)
    snprintf(text + strlen(text), sizeof text - strlen(text), "row %d\t%d\n", i * 7919, i % 2);
  size_t size = write_gz("train.tsv.gz", text, strlen(text));
  snprintf(path, sizeof path, "%s/train.tsv.gz", folder);
  fc_data_settings s = settings_of("sst2", folder);
  assert_ok(fc_dataset_open(&s, 1, &ds));
  fc_dataset_destroy(&ds);

  FILE *file = fopen(path, "rb");
  assert_int_equal(fread(packed, 1, sizeof packed, file), size);
  fclose(file);
  write_bytes(folder, "train.tsv.gz", packed, size / 2);
  snprintf(message, sizeof message, "%s: truncated gzip file (byte %zu of the packed data)", path,
           size / 2);
  assert_fails(fc_dataset_open(&s, 1, &ds), FC_ERR_DATA, message);
  write_bytes(folder, "train.tsv.gz", packed, size - 4); /* only the trailing sum is cut */
  assert_int_equal(fc_dataset_open(&s, 1, &ds), FC_ERR_DATA);
  packed[size / 2] ^= 0x55;
  write_bytes(folder, "train.tsv.gz", packed, size);
  assert_int_equal(fc_dataset_open(&s, 1, &ds), FC_ERR_DATA);
  snprintf(message, sizeof message, "%s: damaged gzip file near byte", path);
  assert_int_equal(strncmp(fc_err_message(), message, strlen(message)), 0);
  write_bytes(folder, "train.tsv.gz", "", 0);
  snprintf(message, sizeof message, "%s: empty file", path);
  assert_fails(fc_dataset_open(&s, 1, &ds), FC_ERR_DATA, message);
  remove_file(folder, "train.tsv.gz");
}

static void a_folder_is_not_a_file(void **state) {
  (void)state;
  fc_dataset *ds;
  fc_data_settings s = settings_of("csv", "/");
  s.train_file = folder;
  char message[256];
  snprintf(message, sizeof message, "%s: is a folder, not a file", folder);
  assert_fails(fc_dataset_open(&s, 1, &ds), FC_ERR_IO, message);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(train_then_test, start, stop),
      cmocka_unit_test_setup_teardown(test_fraction_keeps_the_classes_shares, start, stop),
      cmocka_unit_test_setup_teardown(at_most_so_many_samples, start, stop),
      cmocka_unit_test_setup_teardown(own_files_with_named_columns, start, stop),
      cmocka_unit_test_setup_teardown(looks_where_it_is_told, start, stop),
      cmocka_unit_test_setup_teardown(qnli_without_a_train_file, start, stop),
      cmocka_unit_test_setup_teardown(published_csv_forms, start, stop),
      cmocka_unit_test_setup_teardown(mnist_plain_and_packed, start, stop),
      cmocka_unit_test_setup_teardown(truncated_and_damaged_gzip, start, stop),
      cmocka_unit_test_setup_teardown(a_folder_is_not_a_file, start, stop),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
