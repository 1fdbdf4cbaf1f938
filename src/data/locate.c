/* locate.c - where the files of a dataset are (see dataset.h). */
#include "dataset.h"
#include "fedcell/fc_log.h"
#include "fedcell/fc_mem.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PLACES = 3, LIST_SIZE = 1536 };

typedef struct {
  char *folder[PLACES];
  size_t n;
  char looked[LIST_SIZE]; /* every path that was tried, for the message */
} search;

static fc_err find_folders(const fc_data_settings *s, search *f) {
  if (s->dir[0] != '\0') return fc_format(&f->folder[f->n++], "%s", s->dir);
  const char *root = getenv("FEDCELL_DATA");
  if (root != NULL && root[0] != '\0') {
    FC_TRY(fc_format(&f->folder[f->n++], "%s/%s", root, s->dataset));
    FC_TRY(fc_format(&f->folder[f->n++], "%s", root));
  }
  if (s->train_file[0] != '\0') FC_TRY(fc_format(&f->folder[f->n++], "."));
  return FC_ERR_OK;
}

/* folder/name or folder/name.gz, whichever is there; *out NULL if none. */
static fc_err try_name(search *f, const char *folder, const char *name, char **out) {
  static const char *const endings[] = {"", ".gz"};
  bool absolute = name[0] == '/';
  *out = NULL;
  for (size_t i = 0; i < 2; i++) {
    FC_TRY(
        fc_format(out, "%s%s%s%s", absolute ? "" : folder, absolute ? "" : "/", name, endings[i]));
    if (access(*out, F_OK) == 0) return FC_ERR_OK;
    size_t used = strlen(f->looked);
    if (i == 0 && used + strlen(*out) + 3 < sizeof f->looked)
      snprintf(f->looked + used, sizeof f->looked - used, "%s%s", used ? ", " : "", *out);
    fc_free(*out);
    *out = NULL;
  }
  return FC_ERR_OK;
}

/* The first of the names that is there; `wanted` (the user's) replaces the dataset's own. */
static fc_err try_names(search *f, const char *folder, const char *wanted, const char *const *names,
                        const char **chosen, char **out) {
  const char *const only[FC_FILE_NAMES] = {wanted};
  if (wanted[0] != '\0') names = only;
  *out = NULL;
  for (size_t i = 0; i < FC_FILE_NAMES && names[i] != NULL && *out == NULL; i++) {
    FC_TRY(try_name(f, folder, names[i], out));
    *chosen = wanted[0] != '\0' ? wanted : names[i];
  }
  return FC_ERR_OK;
}

static fc_err not_found(const fc_data_settings *s, const search *f) {
  if (f->n == 0)
    return fc_fail(FC_ERR_IO,
                   "the files of dataset %s were looked for nowhere: set data.dir to their folder, "
                   "or the environment variable FEDCELL_DATA to that folder's parent",
                   s->dataset);
  return fc_fail(FC_ERR_IO,
                 "the files of dataset %s were not found; looked for %s (and the same with .gz). "
                 "Set data.dir to their folder, or the environment variable FEDCELL_DATA to that "
                 "folder's parent",
                 s->dataset, f->looked);
}

static fc_err locate(const fc_data_settings *s, const fc_dataset_kind *kind, search *f,
                     fc_data_files *out) {
  const char *folder = NULL, *train_name = "", *test_name = "";
  FC_CHECK(!kind->by_user || s->train_file[0] != '\0', USAGE,
           "data.dataset %s needs data.train_file", s->dataset);
  FC_TRY(find_folders(s, f));
  bool absolute = s->train_file[0] == '/';
  if (absolute && f->n == 0) FC_TRY(fc_format(&f->folder[f->n++], "."));
  for (size_t i = 0; i < f->n && out->train == NULL; i++) {
    folder = f->folder[i];
    FC_TRY(try_names(f, folder, s->train_file, kind->train, &train_name, &out->train));
  }
  if (out->train == NULL) return not_found(s, f);
  f->looked[0] = '\0';
  if (s->test_file[0] == '\0' && kind->test[0] == NULL) return FC_ERR_OK;
  FC_TRY(try_names(f, folder, s->test_file, kind->test, &test_name, &out->test));
  if (s->test_file[0] != '\0') return out->test != NULL ? FC_ERR_OK : not_found(s, f);
  if (out->test != NULL && strcmp(out->test, out->train) == 0) { /* QNLI's dev.tsv is both */
    fc_free(out->test);
    out->test = NULL;
  }
  return FC_ERR_OK;
}

fc_err fc_data_locate(const fc_data_settings *s, const fc_dataset_kind *kind, fc_data_files *out) {
  search f = {.n = 0};
  *out = (fc_data_files){0};
  fc_err err = locate(s, kind, &f, out);
  for (size_t i = 0; i < f.n; i++) fc_free(f.folder[i]);
  if (err != FC_ERR_OK) fc_data_files_free(out);
  return err;
}

void fc_data_files_free(fc_data_files *files) {
  fc_free(files->train);
  fc_free(files->test);
  *files = (fc_data_files){0};
}
