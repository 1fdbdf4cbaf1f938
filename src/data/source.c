/* source.c - a file in memory: plain or gzip (see readers.h). */
#include "readers.h"
#include "fedcell/fc_log.h"
#include "fedcell/fc_mem.h"
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>

enum { PIECE = 1 << 26 }; /* gzread takes an int */

static fc_err read_failed(const char *path, gzFile file) {
  int code;
  const char *text = gzerror(file, &code);
  FC_CHECK(code != Z_ERRNO, IO, "%s: %s", path, strerror(errno));
  FC_CHECK(code != Z_BUF_ERROR, DATA, "%s: truncated gzip file (byte %lld of the packed data)",
           path, (long long)gzoffset(file));
  return fc_fail(FC_ERR_DATA, "%s: damaged gzip file near byte %lld of the packed data: %s", path,
                 (long long)gzoffset(file), text);
}

/* gzread passes plain files through unchanged. */
static fc_err read_all(const char *path, gzFile file, size_t expected, fc_source *src) {
  size_t capacity = expected + 1; /* one more, so that the end is seen without growing */
  FC_TRY(fc_alloc(capacity, 1, &src->bytes));
  for (;;) {
    size_t room = capacity - src->size;
    if (room == 0) {
      FC_TRY(fc_realloc(capacity + capacity / 2 + PIECE, 1, &src->bytes));
      capacity += capacity / 2 + PIECE;
      room = capacity - src->size;
    }
    int got = gzread(file, src->bytes + src->size, room > PIECE ? PIECE : (unsigned)room);
    if (got < 0) return read_failed(path, file);
    if (got == 0) break;
    src->size += (size_t)got;
  }
  /* A stream that stops in the middle is told only by the error state at its end. */
  int code;
  gzerror(file, &code);
  if (code != Z_OK && code != Z_STREAM_END) return read_failed(path, file);
  FC_CHECK(src->size > 0, DATA, "%s: empty file", path);
  return FC_ERR_OK;
}

fc_err fc_source_read(const char *path, fc_source *out) {
  *out = (fc_source){.name = path};
  struct stat st;
  FC_CHECK(stat(path, &st) == 0, IO, "%s: %s", path, strerror(errno));
  FC_CHECK(!S_ISDIR(st.st_mode), IO, "%s: is a folder, not a file", path);
  gzFile file = gzopen(path, "rb");
  FC_CHECK(file != NULL, IO, "%s: %s", path, strerror(errno ? errno : ENOMEM));
  gzbuffer(file, 1 << 17);
  fc_err err = read_all(path, file, (size_t)st.st_size, out);
  gzclose(file);
  if (err != FC_ERR_OK) fc_source_free(out);
  return err;
}

void fc_source_free(fc_source *src) {
  fc_free(src->bytes);
  *src = (fc_source){0};
}

/* Bytes of the UTF-8 sequence at s (at most n), 0 if it is not one [Unicode, table 3-7]. */
static size_t utf8_length(const unsigned char *s, size_t n) {
  if (s[0] < 0x80) return 1;
  size_t length = s[0] >= 0xF0 ? 4 : s[0] >= 0xE0 ? 3 : 2;
  if (s[0] < 0xC2 || s[0] > 0xF4 || n < length) return 0;
  unsigned char low = 0x80, high = 0xBF; /* of the second byte */
  if (s[0] == 0xE0) low = 0xA0;
  if (s[0] == 0xED) high = 0x9F;
  if (s[0] == 0xF0) low = 0x90;
  if (s[0] == 0xF4) high = 0x8F;
  if (s[1] < low || s[1] > high) return 0;
  for (size_t i = 2; i < length; i++)
    if ((s[i] & 0xC0) != 0x80) return 0;
  return length;
}

void fc_source_check_text(const fc_source *src) {
  size_t line = 1;
  for (size_t i = 0; i < src->size;) {
    size_t length = utf8_length((const unsigned char *)src->bytes + i, src->size - i);
    if (length == 0) {
      fc_log(FC_LOG_WARNING,
             "%s:%zu: not UTF-8 (perhaps in more lines); the bytes are kept and count as the "
             "replacement character",
             src->name, line);
      return;
    }
    if (src->bytes[i] == '\n') line++;
    i += length;
  }
}
