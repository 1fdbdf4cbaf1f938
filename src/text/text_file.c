/* text_file.c - reading and writing vocabulary files. */
#include "text_file.h"
#include "fedcell/fc_mem.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

fc_err fc_path_join(const char *folder, const char *name, char out[FC_PATH_SIZE]) {
  int n = snprintf(out, FC_PATH_SIZE, "%s/%s", folder, name);
  FC_CHECK(n >= 0 && n < FC_PATH_SIZE, IO, "the path of %s is longer than %d characters", name,
           FC_PATH_SIZE - 1);
  return FC_ERR_OK;
}

bool fc_path_is_folder(const char *path) {
  struct stat s;
  return stat(path, &s) == 0 && S_ISDIR(s.st_mode);
}

bool fc_path_is_file(const char *path) {
  struct stat s;
  return stat(path, &s) == 0 && !S_ISDIR(s.st_mode);
}

static fc_err read_all(FILE *f, const char *path, fc_buffer *b) {
  char chunk[1 << 16];
  size_t n = 0;
  while ((n = fread(chunk, 1, sizeof chunk, f)) > 0) FC_TRY(fc_buffer_add(b, chunk, n));
  FC_CHECK(!ferror(f), IO, "%s: cannot be read: %s", path, strerror(errno));
  return FC_ERR_OK;
}

fc_err fc_text_file_read(const char *path, fc_text_file *out) {
  *out = (fc_text_file){.name = path};
  FILE *f = fopen(path, "rb");
  FC_CHECK(f, IO, "%s: cannot be opened: %s", path, strerror(errno));
  fc_buffer b = {0};
  fc_err err = read_all(f, path, &b);
  fclose(f);
  if (err != FC_ERR_OK)
    fc_buffer_free(&b);
  else
    out->content = (fc_text){b.data, b.size};
  return err;
}

void fc_text_file_free(fc_text_file *file) {
  fc_free((void *)(uintptr_t)file->content.text);
  *file = (fc_text_file){0};
}

static fc_err write_all(const char *path, fc_text content) {
  FILE *f = fopen(path, "wb");
  FC_CHECK(f, IO, "%s: cannot be created: %s", path, strerror(errno));
  int failure = 0;
  if (content.length && fwrite(content.text, 1, content.length, f) != content.length)
    failure = errno;
  if (fclose(f) != 0 && !failure) failure = errno; /* a full disk may show only here */
  FC_CHECK(!failure, IO, "%s: cannot be written: %s", path, strerror(failure));
  return FC_ERR_OK;
}

fc_err fc_text_file_write(const char *folder, const char *name, fc_text content) {
  char path[FC_PATH_SIZE], partial[FC_PATH_SIZE + 32];
  FC_TRY(fc_path_join(folder, name, path));
  snprintf(partial, sizeof partial, "%s.partial-%ld", path, (long)getpid());
  fc_err err = write_all(partial, content);
  if (err == FC_ERR_OK && rename(partial, path) != 0)
    err = fc_fail(FC_ERR_IO, "%s: cannot be written: %s", path, strerror(errno));
  if (err != FC_ERR_OK) (void)remove(partial);
  return err;
}

bool fc_text_file_line(const fc_text_file *file, size_t *at, fc_text *line) {
  if (*at >= file->content.length) return false;
  const char *begin = file->content.text + *at;
  size_t left = file->content.length - *at;
  const char *newline = memchr(begin, '\n', left);
  size_t length = newline ? (size_t)(newline - begin) : left;
  *at += length + (newline ? 1 : 0);
  if (length > 0 && begin[length - 1] == '\r') length--;
  *line = (fc_text){begin, length};
  return true;
}

fc_err fc_text_file_json(const fc_text_file *file, json_t **out) {
  json_error_t e = {.line = 1};
  const char *text = file->content.length ? file->content.text : "";
  *out = json_loadb(text, file->content.length, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &e);
  FC_CHECK(*out, DATA, "%s:%d: %s", file->name, e.line > 0 ? e.line : 1, e.text);
  if (json_is_object(*out)) return FC_ERR_OK;
  json_decref(*out);
  *out = NULL;
  return fc_fail(FC_ERR_DATA, "%s:1: expected a JSON object", file->name);
}

int fc_shown(fc_text s) {
  return s.length < 60 ? (int)s.length : 60;
}
