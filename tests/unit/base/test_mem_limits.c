/* Memory is counted, limited, zeroed and aligned; errors keep their message and exit code. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include "fedcell/fc_err.h"
#include "fedcell/fc_mem.h"
#include <string.h>

static void blocks_are_counted_zeroed_aligned(void **state) {
  (void)state;
  size_t before = fc_mem_current_bytes();
  char *p = NULL;
  assert_int_equal(fc_alloc(100, 3, &p), FC_ERR_OK);
  assert_int_equal((uintptr_t)p % FC_MEM_ALIGNMENT, 0);
  for (int i = 0; i < 300; i++) assert_int_equal(p[i], 0);
  assert_int_equal(fc_mem_current_bytes() - before, 300);
  assert_true(fc_mem_peak_bytes() >= before + 300);
  memset(p, 7, 300);
  assert_int_equal(fc_realloc(200, 3, &p), FC_ERR_OK);
  assert_int_equal(p[299], 7);
  assert_int_equal(p[300], 0);
  fc_free(p);
  assert_int_equal(fc_mem_current_bytes(), before);
}

static void overflow_and_limit_are_refused(void **state) {
  (void)state;
  char *p = (char *)1;
  assert_int_equal(fc_alloc(SIZE_MAX / 2, 3, &p), FC_ERR_NOMEM);
  assert_null(p);
  fc_mem_set_limit_bytes(fc_mem_current_bytes() + 1000);
  assert_int_equal(fc_alloc(1001, 1, &p), FC_ERR_NOMEM);
  assert_non_null(strstr(fc_err_message(), "would pass the limit"));
  assert_int_equal(fc_alloc(1000, 1, &p), FC_ERR_OK);
  fc_free(p);
  fc_mem_set_limit_bytes(0);
}

static void slab_hands_out_in_order(void **state) {
  (void)state;
  fc_slab *slab = NULL;
  assert_int_equal(fc_slab_create(fc_slab_round(10) + fc_slab_round(70), &slab), FC_ERR_OK);
  char *a = fc_slab_take(slab, 10), *b = fc_slab_take(slab, 70);
  assert_int_equal(b - a, 64);
  fc_slab_reset(slab);
  assert_ptr_equal(fc_slab_take(slab, 1), a);
  fc_slab_destroy(&slab);
  assert_null(slab);
  fc_slab_destroy(&slab);
}

static fc_err checks(int value) {
  FC_CHECK(value >= 1, USAGE, "value is %d, allowed is 1 or more", value);
  return FC_ERR_OK;
}

static void failures_keep_message_and_code(void **state) {
  (void)state;
  assert_int_equal(checks(1), FC_ERR_OK);
  assert_int_equal(checks(-3), FC_ERR_USAGE);
  assert_string_equal(fc_err_message(), "value is -3, allowed is 1 or more");
  assert_int_equal(fc_fail(FC_ERR_IO, "file: %s", fc_err_message()), FC_ERR_IO);
  assert_string_equal(fc_err_message(), "file: value is -3, allowed is 1 or more");
  assert_int_equal(fc_err_exit_code(FC_ERR_OK), 0);
  assert_int_equal(fc_err_exit_code(FC_ERR_DATA), 2);
  assert_int_equal(fc_err_exit_code(FC_ERR_STOPPED), 75);
  assert_int_equal(fc_err_exit_code(FC_ERR_NOMEM), 1);
}

static void carry_keeps_the_first(void **state) {
  (void)state;
  fc_err_carry carry = {0};
  fc_err_carry_put(&carry, FC_ERR_OK);
  assert_int_equal(fc_err_carry_raise(&carry), FC_ERR_OK);
  fc_err_carry_put(&carry, fc_fail(FC_ERR_DATA, "first"));
  fc_err_carry_put(&carry, fc_fail(FC_ERR_IO, "second"));
  assert_int_equal(fc_err_carry_raise(&carry), FC_ERR_DATA);
  assert_string_equal(fc_err_message(), "first");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(blocks_are_counted_zeroed_aligned),
      cmocka_unit_test(overflow_and_limit_are_refused),
      cmocka_unit_test(slab_hands_out_in_order),
      cmocka_unit_test(failures_keep_message_and_code),
      cmocka_unit_test(carry_keeps_the_first),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
