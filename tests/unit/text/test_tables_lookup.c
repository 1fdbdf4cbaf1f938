/* The string table and the pair map against plain arrays. */
#include "text_helpers.h"

enum { COUNT = 5000 };

/* Spellings that share beginnings and ends. */
static fc_text spelling(int i, char out[32]) {
  int n = snprintf(out, 32, "%c%d-%d", 'a' + i % 3, i % 71, i * i % 1009);
  return (fc_text){out, (size_t)n};
}

static void test_string_table(void **state) {
  (void)state;
  fc_string_table t = {0};
  char buffer[32], other[32];
  assert_int_equal(fc_string_table_find(&t, TEXT("x")), -1);
  for (int i = 0; i < COUNT; i++) {
    fc_text s = spelling(i, buffer);
    int32_t before = t.n, number, found = fc_string_table_find(&t, s);
    expect_ok(fc_string_table_add(&t, s, &number));
    assert_int_equal(number, found >= 0 ? found : before);
    assert_int_equal(t.n, before + (found < 0));
    assert_int_equal(fc_string_table_find(&t, s), number);
  }
  assert_true(t.n > COUNT / 2 && t.n < COUNT); /* some are new, some are not */
  for (int32_t k = 0; k < t.n; k++) {
    fc_text s = fc_string_table_get(&t, k);
    assert_int_equal(fc_string_table_find(&t, s), k);
    assert_true(s.length <= t.longest);
  }
  assert_int_equal(fc_string_table_find(&t, spelling(COUNT + 1, other)) >= -1, 1);
  assert_int_equal(fc_string_table_find(&t, TEXT("not there")), -1);
  fc_string_table_free(&t);
}

static void test_string_table_takes_any_bytes(void **state) {
  (void)state;
  fc_string_table t = {0};
  int32_t number;
  fc_text strings[] = {TEXT(""), TEXT("\0"), TEXT("\0\0"), TEXT("a\0b"), TEXT("a"), TEXT("\xFF")};
  for (int round = 0; round < 2; round++)
    for (int32_t i = 0; i < 6; i++) {
      expect_ok(fc_string_table_add(&t, strings[i], &number));
      assert_int_equal(number, i);
    }
  assert_int_equal(t.n, 6);
  fc_string_table_free(&t);
}

static void test_pair_map(void **state) {
  (void)state;
  fc_pair_map m = {0};
  assert_int_equal(fc_pair_map_find(&m, 0, 0), -1);
  int32_t there;
  for (int32_t i = 0; i < COUNT; i++) {
    expect_ok(fc_pair_map_add(&m, i % 50, i / 50, i, &there));
    assert_int_equal(there, i);
    expect_ok(fc_pair_map_add(&m, i % 50, i / 50, i + 1, &there));
    assert_int_equal(there, i);
  }
  for (int32_t i = 0; i < COUNT; i++) assert_int_equal(fc_pair_map_find(&m, i % 50, i / 50), i);
  assert_int_equal(fc_pair_map_find(&m, 50, 0), -1);
  assert_int_equal(fc_pair_map_find(&m, 0, COUNT), -1);
  assert_int_equal(m.n, COUNT);
  fc_pair_map_free(&m);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_string_table),
      cmocka_unit_test(test_string_table_takes_any_bytes),
      cmocka_unit_test(test_pair_map),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
