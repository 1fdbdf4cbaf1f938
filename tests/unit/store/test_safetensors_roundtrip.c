/* test_safetensors_roundtrip.c - what is written is read back; half precision becomes f32 exactly;
 * a write that fails leaves the older file alone. */
#include "store_test.h"

#include "fedcell/fc_safetensors.h"
#include <math.h>
#include <signal.h>
#include <sys/resource.h>

static void tensors_come_back(void **state) {
  (void)state;
  const float a[6] = {1.5F, -0.0F, 3e38F, 1e-45F, INFINITY, NAN}, b[1] = {7.0F};
  const fc_safetensor_source sources[] = {
      {"zeta", 2, {2, 3}, a}, {"alpha", 0, {0}, b}, {"empty", 2, {0, 4}, NULL}};
  const char *const metadata[] = {"format", "pt", "Ünï", "\"q\"", NULL};
  fc_safetensors *file = NULL;
  assert_ok(fc_safetensors_write(scratch_path("t"), sources, 3, metadata));
  assert_ok(fc_safetensors_open(scratch_path("t"), &file));
  assert_int_equal(fc_safetensors_count(file), 3);
  assert_string_equal(fc_safetensors_get(file, 0)->name, "alpha");
  assert_string_equal(fc_safetensors_get(file, 1)->name, "empty");
  assert_string_equal(fc_safetensors_get(file, 2)->name, "zeta");
  assert_null(fc_safetensors_find(file, "zet"));
  const fc_safetensor *t = fc_safetensors_find(file, "zeta");
  assert_int_equal(t->dims, 2);
  assert_int_equal(t->shape[0], 2);
  assert_int_equal(t->shape[1], 3);
  float back[6];
  assert_ok(fc_safetensor_read_f32(t, back));
  assert_memory_equal(back, a, sizeof a); /* bit for bit, NaN and -0 too */
  assert_int_equal(fc_safetensor_elements(fc_safetensors_find(file, "alpha")), 1);
  assert_int_equal(fc_safetensor_elements(fc_safetensors_find(file, "empty")), 0);
  fc_safetensors_close(&file);
  assert_null(file);
  fc_safetensors_close(&file); /* accepts NULL */
}

static void data_is_aligned(void **state) {
  (void)state;
  const float x = 1.0F;
  for (int length = 1; length <= 8; length++) {
    char name[16] = "aaaaaaaaaa";
    size_t n = 0;
    name[length] = '\0';
    fc_safetensor_source source = {name, 0, {0}, &x};
    assert_ok(fc_safetensors_write(scratch_path("aligned"), &source, 1, NULL));
    char *bytes = read_bytes(scratch_path("aligned"), &n);
    assert_int_equal((unsigned char)bytes[0] % 8, 0);
    free(bytes);
  }
}

/* A file of one tensor whose elements are all 2^16 patterns of 16 bits. */
static const float *all_patterns(const char *dtype) {
  static float out[65536];
  static unsigned char file[8 + 120 + 2 * 65536 + 1];
  char header[121];
  snprintf(header, sizeof header,
           "{\"x\":{\"dtype\":\"%s\",\"shape\":[65536],\"data_offsets\":[0,131072]}}", dtype);
  size_t length = strlen(header);
  memset(file, 0, 8);
  file[0] = (unsigned char)length;
  memcpy(file + 8, header, length);
  for (size_t i = 0; i < 65536; i++) {
    file[8 + length + 2 * i] = (unsigned char)i;
    file[8 + length + 2 * i + 1] = (unsigned char)(i >> 8);
  }
  fc_safetensors *opened = NULL;
  assert_ok(fc_safetensors_open_memory("16 bits", file, 8 + length + 131072, &opened));
  assert_ok(fc_safetensor_read_f32(fc_safetensors_find(opened, "x"), out));
  fc_safetensors_close(&opened);
  return out;
}

static void every_half_is_exact(void **state) {
  (void)state;
  const float *x = all_patterns("F16");
  for (int i = 0; i < 65536; i++) {
    int exponent = i >> 10 & 31, mantissa = i & 1023;
    double value = exponent == 31  ? (mantissa ? NAN : INFINITY)
                   : exponent == 0 ? ldexp(mantissa, -24)
                                   : ldexp(1024 + mantissa, exponent - 25);
    if (i & 0x8000) value = -value;
    if (isnan(value))
      assert_true(isnan(x[i]));
    else
      assert_true((double)x[i] == value && !signbit(x[i]) == !signbit(value));
  }
}

static void every_bfloat_is_exact(void **state) {
  (void)state;
  const float *x = all_patterns("BF16");
  for (int i = 0; i < 65536; i++) {
    int exponent = i >> 7 & 255, mantissa = i & 127;
    double value = exponent == 255 ? (mantissa ? NAN : INFINITY)
                   : exponent == 0 ? ldexp(mantissa, -133)
                                   : ldexp(128 + mantissa, exponent - 134);
    if (i & 0x8000) value = -value;
    if (isnan(value))
      assert_true(isnan(x[i]));
    else
      assert_true((double)x[i] == value && !signbit(x[i]) == !signbit(value));
  }
}

static const float *written_and_read(fc_dtype dtype, const float *x, int n) {
  static float back[65536];
  const fc_safetensor_source source = {"x", 1, {n}, x};
  fc_safetensors *file = NULL;
  assert_ok(fc_safetensors_write_as(scratch_path("rounded"), dtype, &source, 1, NULL));
  assert_ok(fc_safetensors_open(scratch_path("rounded"), &file));
  const fc_safetensor *t = fc_safetensors_find(file, "x");
  assert_true(t->dtype == dtype && t->bytes == 2 * (size_t)n);
  assert_ok(fc_safetensor_read_f32(t, back));
  fc_safetensors_close(&file);
  return back;
}

/* Between each number of 16 bits and the next one: a quarter, half (to the even one), three. */
static void writing_rounds_to_nearest_even(void **state) {
  (void)state;
  static const struct {
    const char *name;
    fc_dtype dtype;
    int finite; /* patterns of the positive finite numbers */
  } types[] = {{"F16", FC_DTYPE_F16, 0x7C00}, {"BF16", FC_DTYPE_BF16, 0x7F80}};
  static float exact[65536], x[65536];
  for (int t = 0; t < 2; t++) {
    memcpy(exact, all_patterns(types[t].name), sizeof exact);
    const float *back = written_and_read(types[t].dtype, exact, 65536);
    for (int i = 0; i < 65536; i++)
      assert_true(isnan(exact[i])
                      ? isnan(back[i])
                      : memcmp(&back[i], &exact[i], sizeof *back) == 0 || isinf(exact[i]));
    const int n = types[t].finite - 1;
    for (int quarter = 1; quarter < 4; quarter++)
      for (int sign = -1; sign <= 1; sign += 2) {
        for (int i = 0; i < n; i++)
          x[i] = (float)(sign * (exact[i] + 0.25 * quarter * ((double)exact[i + 1] - exact[i])));
        back = written_and_read(types[t].dtype, x, n);
        for (int i = 0; i < n; i++) {
          /* bfloat16's subnormals are too fine for f32 to have a quarter between them */
          if (types[t].dtype == FC_DTYPE_BF16 && i < 0x80) continue;
          int up = quarter > 2 || (quarter == 2 && i % 2);
          assert_true(back[i] == (float)sign * exact[i + up]);
        }
      }
  }
}

static void what_f16_cannot_hold_is_refused(void **state) {
  (void)state;
  static float x[20000];
  const fc_safetensor_source source = {"w", 1, {20000}, x};
  x[17000] = 65519.996F; /* the last number that rounds down to 65504 */
  x[3] = -INFINITY;      /* is there too */
  assert_ok(fc_safetensors_write_as(scratch_path("f16"), FC_DTYPE_F16, &source, 1, NULL));
  x[17000] = -65520.0F;
  assert_fails(fc_safetensors_write_as(scratch_path("f16"), FC_DTYPE_F16, &source, 1, NULL),
               FC_ERR_DATA, "tensor w: element 17000 is -65520, which float16 cannot hold");
  assert_ok(fc_safetensors_write_as(scratch_path("f16"), FC_DTYPE_BF16, &source, 1, NULL));
  x[17000] = 3.4e38F; /* rounds to infinity in bfloat16 */
  assert_fails(fc_safetensors_write_as(scratch_path("f16"), FC_DTYPE_BF16, &source, 1, NULL),
               FC_ERR_DATA, "tensor w: element 17000 is 3.4e+38, which bfloat16 cannot hold");
}

static void other_types_are_refused(void **state) {
  (void)state;
  const char *header = "{\"x\":{\"dtype\":\"I64\",\"shape\":[1],\"data_offsets\":[0,8]}}";
  unsigned char bytes[8 + 100] = {0};
  float out;
  fc_safetensors *file = NULL;
  bytes[0] = (unsigned char)strlen(header);
  memcpy(bytes + 8, header, strlen(header));
  assert_ok(fc_safetensors_open_memory("f", bytes, 16 + strlen(header), &file));
  assert_fails(fc_safetensor_read_f32(fc_safetensors_find(file, "x"), &out), FC_ERR_DATA,
               "tensor x has dtype I64, needed is F32, F16 or BF16");
  fc_safetensors_close(&file);
}

static void shards_open_as_one(void **state) {
  (void)state;
  const float x[4] = {1, 2, 3, 4};
  const fc_safetensor_source sources[] = {{"a", 1, {2}, x}, {"b", 1, {2}, x + 2}};
  fc_safetensors *file = NULL;
  float back[2];
  mkdir(scratch_path("model"), 0755);
  assert_ok(fc_safetensors_write(scratch_path("model/one.safetensors"), &sources[0], 1, NULL));
  assert_ok(fc_safetensors_write(scratch_path("model/two.safetensors"), &sources[1], 1, NULL));
  write_text(scratch_path("model/model.safetensors.index.json"),
             "{\"metadata\":{\"total_size\":16},"
             "\"weight_map\":{\"b\":\"two.safetensors\",\"a\":\"one.safetensors\"}}");
  assert_ok(fc_safetensors_open(scratch_path("model"), &file));
  assert_int_equal(fc_safetensors_count(file), 2);
  assert_ok(fc_safetensor_read_f32(fc_safetensors_find(file, "b"), back));
  assert_true(back[0] == 3.0F && back[1] == 4.0F);
  fc_safetensors_close(&file);
}

static void a_failed_write_changes_nothing(void **state) {
  (void)state;
  static float x[50000];
  const fc_safetensor_source small = {"x", 1, {5}, x}, big = {"x", 1, {50000}, x};
  const fc_safetensor_source twice[] = {small, small};
  size_t before = 0, after = 0;
  assert_ok(fc_safetensors_write(scratch_path("kept"), &small, 1, NULL));
  char *old = read_bytes(scratch_path("kept"), &before);
  signal(SIGXFSZ, SIG_IGN);
  struct rlimit limit = {10000, RLIM_INFINITY};
  assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
  fc_err err = fc_safetensors_write(scratch_path("kept"), &big, 1, NULL);
  limit.rlim_cur = RLIM_INFINITY;
  setrlimit(RLIMIT_FSIZE, &limit);
  assert_fails(err, FC_ERR_IO, "cannot write %s/kept: it needs up to 0.2 MB: File too large");
  assert_fails(fc_safetensors_write(scratch_path("kept"), twice, 2, NULL), FC_ERR_DATA,
               "tensor x is given twice");
  char *there = getcwd(NULL, 0);
  assert_int_equal(chdir(scratch), 0);
  err = fc_safetensors_write("no/where", &small, 1, NULL);
  assert_int_equal(chdir(there), 0);
  free(there);
  assert_fails(err, FC_ERR_IO, "cannot write no/where: folder no: No such file or directory");
  char *now = read_bytes(scratch_path("kept"), &after);
  assert_int_equal(before, after);
  assert_memory_equal(old, now, before);
  free(old);
  free(now);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(tensors_come_back),
      cmocka_unit_test(data_is_aligned),
      cmocka_unit_test(every_half_is_exact),
      cmocka_unit_test(every_bfloat_is_exact),
      cmocka_unit_test(writing_rounds_to_nearest_even),
      cmocka_unit_test(what_f16_cannot_hold_is_refused),
      cmocka_unit_test(other_types_are_refused),
      cmocka_unit_test(shards_open_as_one),
      cmocka_unit_test(a_failed_write_changes_nothing),
  };
  return cmocka_run_group_tests(tests, make_scratch, remove_scratch);
}
