/* bpe_file.c - the files of a byte-level BPE: vocab.json (or encoder.json), an object of names and
 * ids, and merges.txt (or vocab.bpe), two names a line, the most wanted first. */
#include "bpe.h"
#include "fedcell/fc_mem.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- vocab.json ------------------------------------------------------------------------------ */

/* The line of `"key":` in the file, 0 where the file spells the key in another way. */
static size_t line_of_key(const fc_text_file *file, const char *key) {
  size_t line = 0;
  json_t *string = json_string(key);
  static const size_t spellings[] = {0, JSON_ENSURE_ASCII};
  for (size_t s = 0; s < 2 && !line; s++) {
    char *quoted = json_dumps(string, JSON_ENCODE_ANY | spellings[s]);
    if (!quoted) continue;
    const char *text = file->content.text;
    const char *found = memmem(text, file->content.length, quoted, strlen(quoted));
    for (const char *c = text; found && c <= found; c++) line += c == text || c[-1] == '\n';
    free(quoted);
  }
  json_decref(string);
  return line;
}

static fc_err bad_id(const fc_text_file *file, const char *key, const char *problem) {
  size_t line = line_of_key(file, key);
  fc_text shown = {key, strlen(key)};
  if (!line) line = 1; /* spelt with escapes of its own; such files are one line */
  return fc_fail(FC_ERR_DATA, "%s:%zu: token \"%.*s\" %s", file->name, line, fc_shown(shown), key,
                 problem);
}

static fc_err bad_id_range(const fc_text_file *file, const char *key, json_int_t id, size_t n) {
  char problem[120];
  snprintf(problem, sizeof problem,
           "has id %" JSON_INTEGER_FORMAT ", but %zu tokens need the ids 0 to %zu", id, n, n - 1);
  return bad_id(file, key, problem);
}

/* key_of[id] for the ids 0 ... n-1, each exactly once. Keys are the JSON object's. */
static fc_err order_keys(const fc_text_file *file, json_t *root, const char **key_of) {
  size_t n = json_object_size(root);
  const char *key;
  json_t *value;
  json_object_foreach(root, key, value) {
    if (!json_is_integer(value)) return bad_id(file, key, "has an id that is no integer");
    json_int_t id = json_integer_value(value);
    if (id < 0 || (uint64_t)id >= n) return bad_id_range(file, key, id, n);
    if (key_of[id]) {
      char problem[160];
      fc_text other = {key_of[id], strlen(key_of[id])};
      snprintf(problem, sizeof problem, "has id %" JSON_INTEGER_FORMAT ", which \"%.*s\" has too",
               id, fc_shown(other), other.text);
      return bad_id(file, key, problem);
    }
    key_of[id] = key;
  }
  return FC_ERR_OK;
}

static fc_err add_names(const char *const *key_of, size_t n, fc_string_table *names) {
  for (size_t id = 0; id < n; id++) {
    int32_t number;
    FC_TRY(fc_string_table_add(names, (fc_text){key_of[id], strlen(key_of[id])}, &number));
  }
  return FC_ERR_OK;
}

static fc_err parse_vocabulary(const fc_text_file *file, fc_string_table *names) {
  json_t *root = NULL;
  const char **key_of = NULL;
  FC_TRY(fc_text_file_json(file, &root));
  size_t n = json_object_size(root);
  fc_err err = n ? FC_ERR_OK : fc_fail(FC_ERR_DATA, "%s:1: the vocabulary is empty", file->name);
  if (err == FC_ERR_OK) err = fc_alloc(n, sizeof *key_of, &key_of);
  if (err == FC_ERR_OK) err = order_keys(file, root, key_of);
  if (err == FC_ERR_OK) err = add_names(key_of, n, names);
  fc_free(key_of);
  json_decref(root);
  return err;
}

/* ---- merges.txt ------------------------------------------------------------------------------ */

typedef struct {
  const fc_text_file *file;
  size_t line; /* from 1 */
  bool has_version;
} merge_place;

static size_t count_fields(fc_text line) {
  size_t fields = 0;
  for (size_t i = 0; i < line.length; i++)
    fields += line.text[i] != ' ' && (i == 0 || line.text[i - 1] == ' ');
  return fields;
}

static fc_err find_name(const merge_place *p, const fc_bpe *bpe, fc_text name, int32_t *id) {
  *id = fc_string_table_find(&bpe->names, name);
  FC_CHECK(*id >= 0, DATA, "%s:%zu: \"%.*s\" is not in the vocabulary", p->file->name, p->line,
           fc_shown(name), name.text);
  return FC_ERR_OK;
}

/* The id of the merge's result. */
static fc_err find_joined(const merge_place *p, const fc_bpe *bpe, fc_text left, fc_text right,
                          int32_t *id) {
  fc_buffer joined = {0};
  fc_err err = fc_buffer_add(&joined, left.text, left.length);
  if (err == FC_ERR_OK) err = fc_buffer_add(&joined, right.text, right.length);
  if (err == FC_ERR_OK) err = find_name(p, bpe, (fc_text){joined.data, joined.size}, id);
  fc_buffer_free(&joined);
  return err;
}

static fc_err add_merge(const merge_place *p, fc_text line, fc_bpe *bpe, fc_pair_map *seen) {
  const char *space = memchr(line.text, ' ', line.length);
  size_t fields = count_fields(line);
  FC_CHECK(fields == 2 && space && space != line.text && space[1] != ' ' &&
               line.text[line.length - 1] != ' ',
           DATA, "%s:%zu: expected two tokens with one space between them, found %zu field%s",
           p->file->name, p->line, fields, fields == 1 ? "" : "s");
  fc_text left = {line.text, (size_t)(space - line.text)};
  fc_text right = {space + 1, line.length - left.length - 1};
  fc_bpe_merge m;
  FC_TRY(find_name(p, bpe, left, &m.left));
  FC_TRY(find_name(p, bpe, right, &m.right));
  FC_TRY(find_joined(p, bpe, left, right, &m.result));
  FC_CHECK(bpe->merge_count < INT32_MAX, DATA, "%s:%zu: too many merges", p->file->name, p->line);
  int32_t rank = (int32_t)bpe->merge_count, there;
  FC_TRY(fc_pair_map_add(seen, m.left, m.right, rank, &there));
  FC_CHECK(there == rank, DATA, "%s:%zu: the merge of line %zu again", p->file->name, p->line,
           (size_t)there + 1 + p->has_version);
  FC_TRY(fc_grow(bpe->merge_count + 1, sizeof *bpe->merges, &bpe->merge_capacity, &bpe->merges));
  bpe->merges[bpe->merge_count++] = m;
  return FC_ERR_OK;
}

static bool is_version_line(fc_text line) {
  static const char version[] = "#version";
  return line.length >= sizeof version - 1 && memcmp(line.text, version, sizeof version - 1) == 0;
}

static fc_err parse_merges(const fc_text_file *file, fc_bpe *bpe, fc_pair_map *seen) {
  merge_place p = {.file = file};
  fc_text line;
  for (size_t at = 0; fc_text_file_line(file, &at, &line);) {
    p.line++;
    if (p.line == 1 && is_version_line(line)) {
      p.has_version = true;
      continue;
    }
    if (line.length == 0 && at >= file->content.length) break; /* an empty last line */
    FC_TRY(add_merge(&p, line, bpe, seen));
  }
  return FC_ERR_OK;
}

/* ---- both ------------------------------------------------------------------------------------ */

fc_err fc_bpe_parse(const fc_text_file *vocabulary, const fc_text_file *merges,
                    fc_tokenizer **out) {
  *out = NULL;
  fc_bpe bpe = {0};
  fc_pair_map seen = {0};
  fc_err err = parse_vocabulary(vocabulary, &bpe.names);
  if (err == FC_ERR_OK) err = parse_merges(merges, &bpe, &seen);
  fc_pair_map_free(&seen);
  if (err == FC_ERR_OK) return fc_bpe_finish(&bpe, vocabulary->name, out);
  fc_bpe_free(&bpe);
  return err;
}

/* merges.txt, or GPT-2's own vocab.bpe where only that is there. */
static fc_err merges_path(const char *folder, char path[FC_PATH_SIZE]) {
  FC_TRY(fc_path_join(folder, "vocab.bpe", path));
  char usual[FC_PATH_SIZE];
  FC_TRY(fc_path_join(folder, "merges.txt", usual));
  if (fc_path_is_file(usual) || !fc_path_is_file(path)) memcpy(path, usual, sizeof usual);
  return FC_ERR_OK;
}

fc_err fc_bpe_load(const char *folder, const char *path, fc_tokenizer **out) {
  char merges_name[FC_PATH_SIZE];
  FC_TRY(merges_path(folder, merges_name));
  fc_text_file vocabulary = {0}, merges = {0};
  fc_err err = fc_text_file_read(path, &vocabulary);
  if (err == FC_ERR_OK) err = fc_text_file_read(merges_name, &merges);
  if (err == FC_ERR_OK) err = fc_bpe_parse(&vocabulary, &merges, out);
  fc_text_file_free(&vocabulary);
  fc_text_file_free(&merges);
  return err;
}

static fc_err add_text(fc_buffer *b, const char *text) {
  return fc_buffer_add(b, text, strlen(text));
}

/* Appends a name as JSON writes it. */
static fc_err add_quoted(fc_buffer *b, fc_text name) {
  json_t *string = json_stringn(name.text, name.length);
  char *quoted = string ? json_dumps(string, JSON_ENCODE_ANY) : NULL;
  json_decref(string);
  FC_CHECK(quoted, NOMEM, "out of memory for vocab.json");
  fc_err err = add_text(b, quoted);
  free(quoted);
  return err;
}

static fc_err write_vocabulary(const fc_bpe *bpe, fc_buffer *b) {
  for (int32_t id = 0; id < bpe->names.n; id++) {
    char number[32];
    snprintf(number, sizeof number, ": %d", id);
    FC_TRY(add_text(b, id ? ",\n " : "{\n "));
    FC_TRY(add_quoted(b, fc_string_table_get(&bpe->names, id)));
    FC_TRY(add_text(b, number));
  }
  return add_text(b, "\n}\n");
}

static fc_err write_merges(const fc_bpe *bpe, fc_buffer *b) {
  FC_TRY(add_text(b, "#version: 0.2\n"));
  for (size_t i = 0; i < bpe->merge_count; i++) {
    fc_text left = fc_string_table_get(&bpe->names, bpe->merges[i].left);
    fc_text right = fc_string_table_get(&bpe->names, bpe->merges[i].right);
    FC_TRY(fc_buffer_add(b, left.text, left.length));
    FC_TRY(add_text(b, " "));
    FC_TRY(fc_buffer_add(b, right.text, right.length));
    FC_TRY(add_text(b, "\n"));
  }
  return FC_ERR_OK;
}

/* For transformers' AutoTokenizer; our reader knows the special tokens by their names. */
static const char config_format[] = "{\"tokenizer_class\": \"%s\", \"add_prefix_space\": false}\n";

fc_err fc_bpe_save(const fc_tokenizer *tok, const char *folder) {
  char config[128];
  snprintf(config, sizeof config, config_format,
           tok->specials.cls >= 0 ? "RobertaTokenizer" : "GPT2Tokenizer");
  fc_buffer vocabulary = {0}, merges = {0};
  fc_err err = write_vocabulary(tok->model, &vocabulary);
  if (err == FC_ERR_OK) err = write_merges(tok->model, &merges);
  if (err == FC_ERR_OK)
    err = fc_text_file_write(folder, "vocab.json", (fc_text){vocabulary.data, vocabulary.size});
  if (err == FC_ERR_OK)
    err = fc_text_file_write(folder, "merges.txt", (fc_text){merges.data, merges.size});
  if (err == FC_ERR_OK)
    err = fc_text_file_write(folder, "tokenizer_config.json", (fc_text){config, strlen(config)});
  fc_buffer_free(&vocabulary);
  fc_buffer_free(&merges);
  return err;
}
