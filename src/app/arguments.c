/* arguments.c - options of the subcommands, and the configuration they lead to. */
#include "app.h"
#include "fedcell/fc_mem.h"
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

static const struct option options[] = {
    {"set", required_argument, NULL, 's'},    {"size", required_argument, NULL, 'z'},
    {"output", required_argument, NULL, 'o'}, {"resume", no_argument, NULL, 'r'},
    {"overwrite", no_argument, NULL, 'w'},    {"again", no_argument, NULL, 'a'},
    {"json", no_argument, NULL, 'j'},         {"format", required_argument, NULL, 'f'},
    {"ranks", required_argument, NULL, 'n'},  {"threads", required_argument, NULL, 't'},
    {"quiet", no_argument, NULL, 'q'},        {NULL, 0, NULL, 0}};

/* Is the word one of those in the space-separated list? */
static bool lists(const char *list, const char *word) {
  size_t length = strlen(word);
  for (const char *at = list; (at = strstr(at, word)); at += length)
    if ((at == list || at[-1] == ' ') && (at[length] == ' ' || at[length] == '\0')) return true;
  return false;
}

static fc_err read_count(const char *name, const char *text, int *out) {
  char *end = NULL;
  errno = 0;
  long value = strtol(text, &end, 10);
  FC_CHECK(!errno && *text && !*end && value >= 1 && value <= 1000000, USAGE,
           "--%s %s: must be a whole number from 1 to 1000000", name, text);
  *out = (int)value;
  return FC_ERR_OK;
}

static fc_err take(fc_arguments *a, int letter) {
  switch (letter) {
  case 's':
    FC_CHECK(a->sets < FC_SETS_MAX, USAGE, "--set: at most %d of them", FC_SETS_MAX);
    a->set[a->sets++] = optarg;
    return FC_ERR_OK;
  case 'z':
    a->size = optarg;
    return FC_ERR_OK;
  case 'o':
    a->output = optarg;
    return FC_ERR_OK;
  case 'f':
    a->format = optarg;
    return FC_ERR_OK;
  case 'r':
    a->resume = true;
    return FC_ERR_OK;
  case 'w':
    a->overwrite = true;
    return FC_ERR_OK;
  case 'a':
    a->again = true;
    return FC_ERR_OK;
  case 'j':
    a->json = true;
    return FC_ERR_OK;
  case 'q':
    a->quiet = true;
    return FC_ERR_OK;
  case 'n':
    return read_count("ranks", optarg, &a->ranks);
  default:
    return read_count("threads", optarg, &a->threads);
  }
}

fc_err fc_arguments_read(int argc, char **argv, const char *allowed, const char *file_name,
                         fc_arguments *a) {
  *a = (fc_arguments){0};
  optind = 0; /* start anew: the program's own name and the command came first */
  opterr = 0;
  int letter, index = 0;
  while ((letter = getopt_long(argc, argv, ":", options, &index)) != -1) {
    FC_CHECK(letter != ':', USAGE, "%s %s: needs a value", argv[0], argv[optind - 1]);
    FC_CHECK(letter != '?' && lists(allowed, options[index].name), USAGE,
             "%s: no option %s; see fedcell --help", argv[0], argv[optind - 1]);
    FC_TRY(take(a, letter));
  }
  FC_CHECK(argc - optind == 1, USAGE, "%s: needs one %s, got %d; see fedcell --help", argv[0],
           file_name, argc - optind);
  a->file = argv[optind];
  return FC_ERR_OK;
}

static fc_err read_whole(const char *path, char **text, int64_t *length) {
  FILE *f = fopen(path, "rb");
  FC_CHECK(f, IO, "%s: cannot be read: %s", path, strerror(errno));
  fc_err err = FC_ERR_OK;
  size_t n = 0, room = 0;
  do {
    room = room ? 2 * room : 65536;
    FC_TRY_GOTO(err, fc_realloc(room, 1, text), done);
    n += fread(*text + n, 1, room - n, f);
  } while (n == room);
  if (ferror(f)) err = fc_fail(FC_ERR_IO, "%s: cannot be read: %s", path, strerror(errno));
  *length = (int64_t)n;
done:
  fclose(f);
  return err;
}

fc_err fc_arguments_config(const fc_comm *comm, const fc_arguments *a, fc_config **out) {
  size_t n = 0;
  const fc_option_table *tables = fc_federation_tables(&n);
  char *text = NULL;
  int64_t length = 0;
  fc_err err = comm->rank == 0 ? read_whole(a->file, &text, &length) : FC_ERR_OK;
  FC_TRY_GOTO(err, fc_agree(comm, err), done);
  FC_TRY_GOTO(err, fc_comm_broadcast(comm, &length, sizeof length, 0), done);
  if (comm->rank != 0) err = fc_alloc((size_t)length + 1, 1, &text);
  FC_TRY_GOTO(err, fc_agree(comm, err), done);
  FC_TRY_GOTO(err, fc_comm_broadcast(comm, text, (size_t)length, 0), done);
  err = fc_config_create(tables, n, out);
  if (err == FC_ERR_OK) err = fc_config_load_text(*out, a->file, text, (size_t)length, a->size);
  for (size_t i = 0; i < a->sets && err == FC_ERR_OK; i++) fc_config_set(*out, a->set[i]);
  err = fc_agree(comm, err);
done:
  fc_free(text);
  return err;
}
