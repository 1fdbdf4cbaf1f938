/* test_safetensors_malformed.c - every way in which a safetensors file can be wrong has one clear
 * message. */
#include "store_test.h"

#include "fedcell/fc_mem.h"
#include "fedcell/fc_safetensors.h"

/* A file of this header and `n` bytes of data in memory of exactly its size, so that reading past
 * the end is seen by the address sanitizer. */
static fc_err open_parts(const char *header, uint64_t length, size_t n, size_t cut) {
  size_t bytes = 8 + strlen(header) + n - cut;
  unsigned char *file = calloc(bytes ? bytes : 1, 1);
  for (size_t i = 0; i < 8 && i < bytes; i++) file[i] = (unsigned char)(length >> 8 * i);
  for (size_t i = 0; i < strlen(header) && 8 + i < bytes; i++)
    file[8 + i] = (unsigned char)header[i];
  fc_safetensors *opened = NULL;
  fc_err err = fc_safetensors_open_memory("f", file, bytes, &opened);
  if (err == FC_ERR_OK)
    assert_non_null(opened);
  else
    assert_null(opened);
  fc_safetensors_close(&opened);
  free(file);
  return err;
}

static fc_err open_header(const char *header, size_t data) {
  return open_parts(header, strlen(header), data, 0);
}

#define ENTRY(dtype, shape, begin, end)                                                            \
  "{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":[" begin "," end "]}"

static void good_ones(void **state) {
  (void)state;
  assert_ok(open_header("{}", 0));
  assert_ok(open_header("{}      ", 0)); /* padding */
  assert_ok(open_header("{\"a\":" ENTRY("F32", "[2,3]", "0", "24") "}", 24));
  assert_ok(open_header("{\"a\":" ENTRY("I64", "[]", "0", "8") "}", 8)); /* a scalar */
  assert_ok(open_header(
      "{\"a\":" ENTRY("BF16", "[0,5]", "0", "0") ",\"b\":" ENTRY("U8", "[3]", "0", "3") "}", 3));
  assert_ok(open_header("{\"b\":" ENTRY("U8", "[3]", "2", "5") ",\"a\":" ENTRY(
                            "BOOL", "[2]", "0", "2") ",\"__metadata__\":{\"format\":\"pt\"}}",
                        5));
}

static void lengths(void **state) {
  (void)state;
  assert_fails(open_parts("", 0, 0, 1), FC_ERR_DATA,
               "f: 7 bytes are too few for a safetensors file");
  assert_fails(open_parts("", 0, 0, 8), FC_ERR_DATA,
               "f: 0 bytes are too few for a safetensors file");
  assert_fails(open_parts("{}", 0, 0, 0), FC_ERR_DATA, "f: the header does not begin with {");
  assert_fails(open_parts(" {}", 3, 0, 0), FC_ERR_DATA, "f: the header does not begin with {");
  assert_fails(open_parts("{}", 3, 0, 0), FC_ERR_DATA,
               "f: header needs 3 bytes, the file has 2: truncated?");
  assert_fails(open_parts("{}", 100000001, 0, 0), FC_ERR_DATA,
               "f: header length 100000001 is above 100000000: not a safetensors file?");
  assert_fails(open_parts("{}", UINT64_MAX, 0, 0), FC_ERR_DATA,
               "f: header length 18446744073709551615 is above 100000000: not a safetensors file?");
}

static void broken_json(void **state) {
  (void)state;
  assert_fails(open_header("{\"a\":", 0), FC_ERR_DATA,
               "f: header, byte 5: unexpected token near end of file");
  assert_fails(open_header("{} x", 0), FC_ERR_DATA,
               "f: header, byte 4: end of file expected near 'x'");
  assert_fails(open_header("{\"a\":1,\"a\":2}", 0), FC_ERR_DATA,
               "f: header, byte 10: duplicate object key near '\"a\"'");
}

static void entries(void **state) {
  (void)state;
  assert_fails(open_header("{\"a\":1}", 0), FC_ERR_DATA, "f: tensor a is not an object");
  assert_fails(open_header("{\"a\":{}}", 0), FC_ERR_DATA, "f: tensor a has no dtype");
  assert_fails(open_header("{\"a\":" ENTRY("F8", "[1]", "0", "1") "}", 1), FC_ERR_DATA,
               "f: tensor a has dtype F8, which is not supported");
  assert_fails(open_header("{\"a\":{\"dtype\":\"F32\"}}", 0), FC_ERR_DATA,
               "f: tensor a has no shape");
  assert_fails(open_header("{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4), FC_ERR_DATA,
               "f: tensor a has no data_offsets [begin, end]");
  assert_fails(open_header("{\"a\":" ENTRY("U8", "[1,1,1,1,1,1,1,1,1]", "0", "1") "}", 1),
               FC_ERR_DATA, "f: tensor a has 9 dimensions, at most 8 are supported");
  assert_fails(open_header("{\"a\":" ENTRY("U8", "[2,-1]", "0", "1") "}", 1), FC_ERR_DATA,
               "f: tensor a: dimension 1 is not a whole number from 0");
  assert_fails(open_header("{\"a\":" ENTRY("U8", "[1.0]", "0", "1") "}", 1), FC_ERR_DATA,
               "f: tensor a: dimension 0 is not a whole number from 0");
  assert_fails(open_header("{\"a\":" ENTRY("F32", "[4294967296,4294967296]", "0", "0") "}", 0),
               FC_ERR_DATA, "f: tensor a is too large");
  assert_fails(open_header("{\"a\":" ENTRY("U8", "[0,4294967296,4294967296]", "0", "0") "}", 0),
               FC_ERR_DATA, "f: tensor a is too large");
  assert_fails(open_header("{\"__metadata__\":{\"a\":1}}", 0), FC_ERR_DATA,
               "f: __metadata__ entry a is not a text");
  assert_fails(open_header("{\"__metadata__\":[]}", 0), FC_ERR_DATA,
               "f: __metadata__ is not an object");
}

static void offsets(void **state) {
  (void)state;
  assert_fails(open_header("{\"a\":" ENTRY("F32", "[2]", "0", "8") "}", 7), FC_ERR_DATA,
               "f: tensor a ends at byte 8, but there are 7 bytes of data: truncated?");
  assert_fails(open_header("{\"a\":" ENTRY("F32", "[2]", "8", "0") "}", 8), FC_ERR_DATA,
               "f: tensor a has data_offsets [8, 0]");
  assert_fails(open_header("{\"a\":" ENTRY("F32", "[2]", "-8", "0") "}", 8), FC_ERR_DATA,
               "f: tensor a has data_offsets [-8, 0]");
  assert_fails(open_header("{\"a\":" ENTRY("F32", "[2]", "0", "4") "}", 4), FC_ERR_DATA,
               "f: tensor a has 4 bytes, its shape and dtype need 8");
  assert_fails(open_header("{\"a\":" ENTRY("F32", "[2]", "0", "9223372036854775807") "}", 8),
               FC_ERR_DATA,
               "f: tensor a ends at byte 9223372036854775807, but there are 8 bytes of data: "
               "truncated?");
  assert_fails(
      open_header("{\"a\":" ENTRY("U8", "[4]", "0", "4") ",\"b\":" ENTRY("U8", "[4]", "3", "7") "}",
                  7),
      FC_ERR_DATA, "f: tensor b overlaps tensor a");
  assert_fails(
      open_header(
          "{\"a\":" ENTRY("U8", "[4]", "0", "4") ",\"b\":" ENTRY("U8", "[4]", "6", "10") "}", 10),
      FC_ERR_DATA, "f: 2 bytes before tensor b belong to no tensor");
  assert_fails(open_header("{\"a\":" ENTRY("U8", "[4]", "0", "4") "}", 5), FC_ERR_DATA,
               "f: 1 bytes at the end belong to no tensor");
  assert_fails(open_header("{}", 5), FC_ERR_DATA, "f: 5 bytes at the end belong to no tensor");
}

/* Whatever byte a good file is cut at, it is refused. */
static void cut_anywhere(void **state) {
  (void)state;
  const char *header = "{\"a\":" ENTRY("F32", "[2]", "0", "8") "}";
  assert_ok(open_parts(header, strlen(header), 8, 0));
  for (size_t cut = 1; cut <= 8 + strlen(header) + 8; cut++)
    assert_int_equal(open_parts(header, strlen(header), 8, cut), FC_ERR_DATA);
}

static void files(void **state) {
  (void)state;
  fc_safetensors *file = NULL;
  write_text(scratch_path("empty"), "");
  mkdir(scratch_path("none"), 0755);
  assert_fails(fc_safetensors_open(scratch_path("absent"), &file), FC_ERR_IO,
               "cannot read %s/absent: No such file or directory");
  assert_fails(fc_safetensors_open(scratch_path("empty"), &file), FC_ERR_DATA,
               "%s/empty: the file is empty");
  assert_fails(fc_safetensors_open(scratch_path("none"), &file), FC_ERR_IO,
               "folder %s/none has neither model.safetensors nor model.safetensors.index.json");
  assert_fails(fc_safetensors_open("/dev/null", &file), FC_ERR_IO,
               "cannot read /dev/null: it is not a regular file");
  assert_null(file);
}

static void write_one(const char *path, const char *name) {
  float x[2] = {1, 2};
  fc_safetensor_source source = {name, 1, {2}, x};
  assert_ok(fc_safetensors_write(path, &source, 1, NULL));
}

static fc_err open_index(const char *text) {
  fc_safetensors *file = NULL;
  write_text(scratch_path("sharded/model.safetensors.index.json"), text);
  fc_err err = fc_safetensors_open(scratch_path("sharded"), &file);
  fc_safetensors_close(&file);
  return err;
}

static void shards(void **state) {
  (void)state;
  mkdir(scratch_path("sharded"), 0755);
  write_one(scratch_path("sharded/1"), "a");
  write_one(scratch_path("sharded/2"), "b");
  write_one(scratch_path("sharded/3"), "a");
  assert_ok(open_index("{\"weight_map\":{\"a\":\"1\",\"b\":\"2\"}}"));
  assert_fails(open_index("{\"weight_map\":"), FC_ERR_DATA,
               "%s/sharded/model.safetensors.index.json:1: unexpected token near end of file");
  assert_fails(open_index("{}"), FC_ERR_DATA,
               "%s/sharded/model.safetensors.index.json: there is no weight_map");
  assert_fails(open_index("{\"weight_map\":{\"a\":\"../1\"}}"), FC_ERR_DATA,
               "%s/sharded/model.safetensors.index.json: tensor a has no shard's file name");
  assert_fails(open_index("{\"weight_map\":{\"a\":\"1\",\"b\":\"4\"}}"), FC_ERR_IO,
               "cannot read %s/sharded/4: No such file or directory");
  assert_fails(
      open_index("{\"weight_map\":{\"a\":\"1\",\"b\":\"1\"}}"), FC_ERR_DATA,
      "%s/sharded/model.safetensors.index.json: the index lists 2 tensors, the shards hold "
      "1");
  assert_fails(open_index("{\"weight_map\":{\"a\":\"1\",\"b\":\"3\"}}"), FC_ERR_DATA,
               "%s/sharded/model.safetensors.index.json: tensor a is in 3, the index says 1");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(good_ones), cmocka_unit_test(lengths), cmocka_unit_test(broken_json),
      cmocka_unit_test(entries),   cmocka_unit_test(offsets), cmocka_unit_test(cut_anywhere),
      cmocka_unit_test(files),     cmocka_unit_test(shards),
  };
  return cmocka_run_group_tests(tests, make_scratch, remove_scratch);
}
