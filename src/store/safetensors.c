/* safetensors.c - maps safetensors files and checks all that a header can get wrong.
 *
 * The format: 8 bytes little-endian header length; a JSON object {name: {dtype, shape,
 * data_offsets: [begin, end]}, "__metadata__": {text: text}}; then the data, which the tensors
 * cover without gap or overlap. An opened file owns its maps and the tensors' names; tensors of
 * all shards stand in one list, sorted by name. */
#include "fedcell/fc_safetensors.h"
#include "fedcell/fc_mem.h"
#include "safetensors.h"
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { HEADER_MAX = 100000000 }; /* the format's own limit */

/* ---- one tensor's entry -----------------------------------------------------------------------
 */

typedef struct {
  const char *file; /* for messages */
  const unsigned char *data;
  size_t bytes; /* of the data */
} source;

static fc_err read_dtype(const source *s, const char *name, const json_t *entry, fc_dtype *out) {
  const char *text = json_string_value(json_object_get(entry, "dtype"));
  FC_CHECK(text, DATA, "%s: tensor %s has no dtype", s->file, name);
  FC_CHECK(fc_dtype_find(text, out), DATA, "%s: tensor %s has dtype %.20s, which is not supported",
           s->file, name, text);
  return FC_ERR_OK;
}

static fc_err read_shape(const source *s, const char *name, const json_t *entry, fc_safetensor *t) {
  const json_t *shape = json_object_get(entry, "shape");
  FC_CHECK(json_is_array(shape), DATA, "%s: tensor %s has no shape", s->file, name);
  FC_CHECK(json_array_size(shape) <= FC_MAX_DIMS, DATA,
           "%s: tensor %s has %zu dimensions, at most %d are supported", s->file, name,
           json_array_size(shape), FC_MAX_DIMS);
  t->dims = (int)json_array_size(shape);
  int64_t product = 1; /* also of the dimensions other than 0, so that no later product overflows */
  for (int d = 0; d < t->dims; d++) {
    const json_t *length = json_array_get(shape, (size_t)d);
    t->shape[d] = json_is_integer(length) ? (int64_t)json_integer_value(length) : -1;
    FC_CHECK(t->shape[d] >= 0, DATA, "%s: tensor %s: dimension %d is not a whole number from 0",
             s->file, name, d);
    if (t->shape[d] > 0)
      FC_CHECK(!__builtin_mul_overflow(product, t->shape[d], &product) && product <= INT64_MAX / 8,
               DATA, "%s: tensor %s is too large", s->file, name);
  }
  return FC_ERR_OK;
}

static fc_err read_offsets(const source *s, const char *name, const json_t *entry,
                           fc_safetensor *t) {
  const json_t *offsets = json_object_get(entry, "data_offsets");
  const json_t *begin = json_array_get(offsets, 0), *end = json_array_get(offsets, 1);
  FC_CHECK(json_array_size(offsets) == 2 && json_is_integer(begin) && json_is_integer(end), DATA,
           "%s: tensor %s has no data_offsets [begin, end]", s->file, name);
  int64_t from = (int64_t)json_integer_value(begin), to = (int64_t)json_integer_value(end);
  FC_CHECK(from >= 0 && from <= to, DATA, "%s: tensor %s has data_offsets [%lld, %lld]", s->file,
           name, (long long)from, (long long)to);
  FC_CHECK((uint64_t)to <= s->bytes, DATA,
           "%s: tensor %s ends at byte %lld, but there are %zu bytes of data: truncated?", s->file,
           name, (long long)to, s->bytes);
  int64_t needed = fc_safetensor_elements(t) * (int64_t)fc_dtype_bytes(t->dtype);
  FC_CHECK(to - from == needed, DATA, "%s: tensor %s has %lld bytes, its shape and dtype need %lld",
           s->file, name, (long long)(to - from), (long long)needed);
  t->data = s->data + from;
  t->bytes = (size_t)needed;
  return FC_ERR_OK;
}

static fc_err read_entry(const source *s, const char *name, const json_t *entry, fc_safetensor *t) {
  FC_CHECK(json_is_object(entry), DATA, "%s: tensor %s is not an object", s->file, name);
  FC_TRY(read_dtype(s, name, entry, &t->dtype));
  FC_TRY(read_shape(s, name, entry, t));
  FC_TRY(read_offsets(s, name, entry, t));
  FC_TRY(fc_alloc(strlen(name) + 1, 1, &t->name));
  strcpy(t->name, name);
  return FC_ERR_OK;
}

/* ---- one file's bytes -------------------------------------------------------------------------
 */

static int by_name(const void *a, const void *b) {
  return strcmp(((const fc_safetensor *)a)->name, ((const fc_safetensor *)b)->name);
}

static int by_place(const void *a, const void *b) {
  const fc_safetensor *x = a, *y = b;
  if (x->data != y->data) return (const char *)x->data < (const char *)y->data ? -1 : 1;
  return x->bytes < y->bytes ? -1 : x->bytes > y->bytes; /* empty tensors before what follows */
}

/* The tensors follow each other from the first byte of the data to the last. */
static fc_err check_cover(const source *s, fc_safetensor *tensors, size_t n) {
  if (n > 0) qsort(tensors, n, sizeof *tensors, by_place);
  const unsigned char *at = s->data;
  for (size_t i = 0; i < n; i++) {
    const unsigned char *data = tensors[i].data;
    FC_CHECK(data >= at, DATA, "%s: tensor %s overlaps tensor %s", s->file, tensors[i].name,
             tensors[i - 1].name);
    FC_CHECK(data == at, DATA, "%s: %zu bytes before tensor %s belong to no tensor", s->file,
             (size_t)(data - at), tensors[i].name);
    at = data + tensors[i].bytes;
  }
  size_t left = s->bytes - (size_t)(at - s->data);
  FC_CHECK(left == 0, DATA, "%s: %zu bytes at the end belong to no tensor", s->file, left);
  return FC_ERR_OK;
}

static fc_err check_metadata(const source *s, json_t *metadata) {
  const char *key;
  json_t *value;
  if (!metadata) return FC_ERR_OK;
  FC_CHECK(json_is_object(metadata), DATA, "%s: __metadata__ is not an object", s->file);
  json_object_foreach(metadata, key, value) {
    FC_CHECK(json_is_string(value), DATA, "%s: __metadata__ entry %s is not a text", s->file, key);
  }
  return FC_ERR_OK;
}

/* Appends the file's tensors to the list. */
static fc_err read_header(fc_safetensors *file, const source *s, json_t *header) {
  const size_t n = json_object_size(header), before = file->count;
  const char *name;
  json_t *entry;
  FC_TRY(check_metadata(s, json_object_get(header, "__metadata__")));
  FC_TRY(fc_realloc(before + n, sizeof *file->tensors, &file->tensors));
  json_object_foreach(header, name, entry) {
    if (strcmp(name, "__metadata__") == 0) continue;
    FC_TRY(read_entry(s, name, entry, &file->tensors[file->count]));
    file->count++;
  }
  return check_cover(s, file->tensors + before, file->count - before);
}

static fc_err read_bytes(fc_safetensors *file, const char *name, const unsigned char *bytes,
                         size_t size) {
  uint64_t length = 0;
  FC_CHECK(size >= 8, DATA, "%s: %zu bytes are too few for a safetensors file", name, size);
  for (int i = 7; i >= 0; i--) length = length << 8 | bytes[i];
  FC_CHECK(length <= HEADER_MAX, DATA,
           "%s: header length %llu is above %d: not a safetensors file?", name,
           (unsigned long long)length, HEADER_MAX);
  FC_CHECK(length <= size - 8, DATA, "%s: header needs %llu bytes, the file has %zu: truncated?",
           name, (unsigned long long)length, size - 8);
  FC_CHECK(length > 0 && bytes[8] == '{', DATA, "%s: the header does not begin with {", name);
  json_error_t problem;
  json_t *header =
      json_loadb((const char *)bytes + 8, (size_t)length, JSON_REJECT_DUPLICATES, &problem);
  FC_CHECK(header, DATA, "%s: header, byte %d: %s", name, problem.position, problem.text);
  source s = {name, bytes + 8 + length, size - 8 - (size_t)length};
  fc_err err = read_header(file, &s, header);
  json_decref(header);
  return err;
}

/* ---- opening ----------------------------------------------------------------------------------
 */

static fc_err map_file(fc_safetensors *file, const char *path, fc_mapping *out) {
  struct stat status;
  FC_TRY(fc_realloc(file->n_maps + 1, sizeof *file->maps, &file->maps));
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  FC_CHECK(fd >= 0, IO, "cannot read %s: %s", path, strerror(errno));
  bool regular = fstat(fd, &status) == 0 && S_ISREG(status.st_mode);
  size_t bytes = regular ? (size_t)status.st_size : 0;
  void *map = bytes > 0 ? mmap(NULL, bytes, PROT_READ, MAP_PRIVATE, fd, 0) : MAP_FAILED;
  int error_number = errno;
  close(fd);
  FC_CHECK(regular, IO, "cannot read %s: it is not a regular file", path);
  FC_CHECK(bytes > 0, DATA, "%s: the file is empty", path);
  FC_CHECK(map != MAP_FAILED, IO, "cannot read %s: %s", path, strerror(error_number));
  *out = file->maps[file->n_maps++] = (fc_mapping){map, bytes};
  return FC_ERR_OK;
}

static fc_err read_file(fc_safetensors *file, const char *path) {
  fc_mapping m = {0};
  FC_TRY(map_file(file, path, &m));
  return read_bytes(file, path, m.map, m.bytes);
}

/* The index names for every tensor the shard that holds it; the list must be what the shards hold.
 */
static fc_err check_index(const char *path, const json_t *shard_of, const fc_safetensors *file,
                          size_t before, const char *shard) {
  for (size_t i = before; i < file->count; i++) {
    const char *said = json_string_value(json_object_get(shard_of, file->tensors[i].name));
    FC_CHECK(said && strcmp(said, shard) == 0, DATA, "%s: tensor %s is in %s, the index says %s",
             path, file->tensors[i].name, shard, said ? said : "nothing of it");
  }
  return FC_ERR_OK;
}

static fc_err read_shards(fc_safetensors *file, const char *folder, const char *path,
                          json_t *shard_of) {
  const char *tensor;
  json_t *value, *done = json_object();
  fc_err err = done ? FC_ERR_OK : fc_fail(FC_ERR_NOMEM, "%s: out of memory", path);
  json_object_foreach(shard_of, tensor, value) {
    const char *shard = json_string_value(value);
    char shard_path[4096];
    if (err != FC_ERR_OK) break;
    if (!shard || !*shard || strchr(shard, '/')) {
      err = fc_fail(FC_ERR_DATA, "%s: tensor %s has no shard's file name", path, tensor);
    } else if (!json_object_get(done, shard)) {
      size_t before = file->count;
      json_object_set_new(done, shard, json_true());
      snprintf(shard_path, sizeof shard_path, "%s/%s", folder, shard);
      err = read_file(file, shard_path);
      if (err == FC_ERR_OK) err = check_index(path, shard_of, file, before, shard);
    }
  }
  json_decref(done);
  FC_TRY(err);
  FC_CHECK(file->count == json_object_size(shard_of), DATA,
           "%s: the index lists %zu tensors, the shards hold %zu", path, json_object_size(shard_of),
           file->count);
  return FC_ERR_OK;
}

static fc_err read_index(fc_safetensors *file, const char *folder, const char *path) {
  json_error_t problem;
  json_t *index = json_load_file(path, JSON_REJECT_DUPLICATES, &problem);
  FC_CHECK(index, DATA, "%s:%d: %s", path, problem.line, problem.text);
  json_t *shard_of = json_object_get(index, "weight_map");
  fc_err err = json_is_object(shard_of) ? read_shards(file, folder, path, shard_of)
                                        : fc_fail(FC_ERR_DATA, "%s: there is no weight_map", path);
  json_decref(index);
  return err;
}

static fc_err read_folder(fc_safetensors *file, const char *folder) {
  char whole[4096], index[4096];
  snprintf(whole, sizeof whole, "%s/model.safetensors", folder);
  snprintf(index, sizeof index, "%s/model.safetensors.index.json", folder);
  if (access(whole, F_OK) == 0) return read_file(file, whole);
  FC_CHECK(access(index, F_OK) == 0, IO,
           "folder %s has neither model.safetensors nor model.safetensors.index.json", folder);
  return read_index(file, folder, index);
}

/* Sorts for fc_safetensors_find; a name may not stand in two shards. */
static fc_err finish(fc_safetensors *file, const char *name) {
  if (file->count > 0) qsort(file->tensors, file->count, sizeof *file->tensors, by_name);
  for (size_t i = 1; i < file->count; i++)
    FC_CHECK(strcmp(file->tensors[i - 1].name, file->tensors[i].name) != 0, DATA,
             "%s: tensor %s stands in two shards", name, file->tensors[i].name);
  return FC_ERR_OK;
}

fc_err fc_safetensors_open(const char *path, fc_safetensors **out) {
  struct stat status;
  *out = NULL;
  FC_CHECK(stat(path, &status) == 0, IO, "cannot read %s: %s", path, strerror(errno));
  fc_safetensors *file = NULL;
  FC_TRY(fc_alloc(1, sizeof *file, &file));
  fc_err err = S_ISDIR(status.st_mode) ? read_folder(file, path) : read_file(file, path);
  if (err == FC_ERR_OK) err = finish(file, path);
  if (err == FC_ERR_OK)
    *out = file;
  else
    fc_safetensors_close(&file);
  return err;
}

fc_err fc_safetensors_open_memory(const char *name, const void *bytes, size_t size,
                                  fc_safetensors **out) {
  *out = NULL;
  fc_safetensors *file = NULL;
  FC_TRY(fc_alloc(1, sizeof *file, &file));
  fc_err err = read_bytes(file, name, bytes, size);
  if (err == FC_ERR_OK) err = finish(file, name);
  if (err == FC_ERR_OK)
    *out = file;
  else
    fc_safetensors_close(&file);
  return err;
}

void fc_safetensors_close(fc_safetensors **file) {
  fc_safetensors *f = *file;
  if (!f) return;
  for (size_t i = 0; i < f->count; i++) fc_free(f->tensors[i].name);
  for (size_t i = 0; i < f->n_maps; i++) munmap(f->maps[i].map, f->maps[i].bytes);
  fc_free(f->tensors);
  fc_free(f->maps);
  fc_free(f);
  *file = NULL;
}
