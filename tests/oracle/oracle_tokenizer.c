/* oracle_tokenizer.c - fedcell's tokenisers for test_tokenizer_parity.py.
 *
 *   oracle_tokenizer encode PATH [KIND]    texts on stdin, ids on stdout: one line a text
 *   oracle_tokenizer decode PATH [KIND]    the other way, one "length NEWLINE text NEWLINE" each
 *   oracle_tokenizer learn SIZE FOLDER     learns a BPE from the texts on stdin, saves it
 *
 * Texts come one a line, or, with -r as the first argument, as records "length NEWLINE bytes",
 * which can hold any byte. Exit code 1 with a message when anything fails. */
#include "fedcell/fc_mem.h"
#include "fedcell/fc_tokenizer.h"
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
  bool records;
  char *text;
  size_t capacity;
} input;

/* The next text and its length; -1 at the end. */
static ssize_t next_text(input *in) {
  ssize_t n = getline(&in->text, &in->capacity, stdin);
  if (n > 0 && in->text[n - 1] == '\n') n--;
  if (n < 0 || !in->records) return n;
  size_t length = strtoull(in->text, NULL, 10);
  if (length + 1 > in->capacity) {
    in->capacity = length + 1;
    in->text = realloc(in->text, in->capacity);
  }
  if (!in->text || fread(in->text, 1, length, stdin) != length) return -1;
  return (ssize_t)length;
}

static fc_err encode(const fc_tokenizer *tok, input *in) {
  fc_tokens ids = {0};
  for (ssize_t n; (n = next_text(in)) >= 0;) {
    ids.n = 0;
    FC_TRY(fc_tokenizer_encode(tok, in->text, (size_t)n, &ids));
    for (size_t i = 0; i < ids.n; i++) printf(i ? " %d" : "%d", ids.id[i]);
    putchar('\n');
  }
  fc_tokens_free(&ids);
  return FC_ERR_OK;
}

static fc_err decode(const fc_tokenizer *tok, input *in) {
  fc_tokens ids = {0};
  while (next_text(in) >= 0) {
    ids.n = 0;
    char *rest = in->text;
    for (char *at = in->text;; at = rest) {
      int32_t id = (int32_t)strtol(at, &rest, 10);
      if (rest == at) break;
      FC_TRY(fc_tokens_push(&ids, id));
    }
    char *text;
    FC_TRY(fc_tokenizer_decode(tok, ids.id, ids.n, &text));
    printf("%zu\n%s\n", strlen(text), text);
    fc_free(text);
  }
  fc_tokens_free(&ids);
  return FC_ERR_OK;
}

static fc_err learn(int vocab_size, const char *folder, input *in) {
  fc_text *texts = NULL;
  size_t n = 0;
  for (ssize_t length; (length = next_text(in)) >= 0;) {
    char *copy = NULL;
    FC_TRY(fc_realloc(n + 1, sizeof *texts, &texts));
    FC_TRY(fc_alloc((size_t)length, 1, &copy));
    memcpy(copy, in->text, (size_t)length);
    texts[n++] = (fc_text){copy, (size_t)length};
  }
  fc_tokenizer *tok;
  FC_TRY(fc_tokenizer_learn_bpe(texts, n, vocab_size, &tok));
  FC_TRY(fc_tokenizer_save(tok, folder));
  fc_tokenizer_destroy(&tok);
  for (size_t i = 0; i < n; i++) fc_free((void *)(uintptr_t)texts[i].text);
  fc_free(texts);
  return FC_ERR_OK;
}

static fc_err run(int argc, char **argv, input *in) {
  FC_CHECK(argc >= 3, USAGE,
           "usage: oracle_tokenizer [-r] encode|decode PATH [KIND] | learn SIZE "
           "FOLDER");
  if (strcmp(argv[1], "learn") == 0) {
    FC_CHECK(argc == 4, USAGE, "usage: oracle_tokenizer [-r] learn SIZE FOLDER");
    return learn(atoi(argv[2]), argv[3], in);
  }
  fc_tokenizer *tok;
  FC_TRY(fc_tokenizer_load(argv[2], argc > 3 ? argv[3] : NULL, &tok));
  fc_err err = strcmp(argv[1], "decode") == 0 ? decode(tok, in) : encode(tok, in);
  fc_tokenizer_destroy(&tok);
  return err;
}

int main(int argc, char **argv) {
  input in = {.records = argc > 1 && strcmp(argv[1], "-r") == 0};
  fc_err err = run(argc - in.records, argv + in.records, &in);
  free(in.text);
  if (err != FC_ERR_OK) fprintf(stderr, "%s: %s\n", fc_err_text(err), fc_err_message());
  return err == FC_ERR_OK ? 0 : 1;
}
