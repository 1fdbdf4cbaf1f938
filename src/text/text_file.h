/* text_file.h - whole files in and out, and their lines. Messages begin with "file:line:" (or
 * "file:" where no line is to blame). All Local. */
#ifndef FC_TEXT_TEXT_FILE_H
#define FC_TEXT_TEXT_FILE_H

#include "buffer.h"
#include "fedcell/fc_tokenizer.h"
#include <jansson.h>
#include <stdbool.h>

/* A file in memory under the name that messages call it by. Parsers take this, so that they can be
 * fed from memory too. */
typedef struct {
  const char *name; /* borrowed */
  fc_text content; /* borrowed or, from fc_text_file_read, owned by the caller: fc_text_file_free */
} fc_text_file;

enum { FC_PATH_SIZE = 4096 };
/* folder/name into out; IO if that is too long. */
fc_err fc_path_join(const char *folder, const char *name, char out[FC_PATH_SIZE]);
bool fc_path_is_folder(const char *path);
bool fc_path_is_file(const char *path);

/* path is kept as the file's name. */
fc_err fc_text_file_read(const char *path, fc_text_file *out);
void fc_text_file_free(fc_text_file *file);
/* Replaces folder/name as a whole: another reader sees the old content or the new. */
fc_err fc_text_file_write(const char *folder, const char *name, fc_text content);

/* The next line without its "\n" or "\r\n"; false at the end. *at starts as 0. */
bool fc_text_file_line(const fc_text_file *file, size_t *at, fc_text *line);
/* DATA with file and line for text that is no JSON, or whose root is no object. */
fc_err fc_text_file_json(const fc_text_file *file, json_t **out);

/* For "%.*s" in messages: a text's length, cut where it would flood the line. */
int fc_shown(fc_text s);

#endif
