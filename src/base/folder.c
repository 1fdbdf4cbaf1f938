/* folder.c - folders that are written aside and renamed, so that one of the final name is whole. */
#include "fedcell/fc_folder.h"
#include "fedcell/fc_mem.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

fc_err fc_folder_make_parents(const char *path) {
  char *copy = NULL;
  FC_TRY(fc_format(&copy, "%s", path));
  fc_err err = FC_ERR_OK;
  for (char *slash = strchr(copy + 1, '/'); slash && err == FC_ERR_OK;
       slash = strchr(slash + 1, '/')) {
    *slash = '\0';
    if (mkdir(copy, 0777) != 0 && errno != EEXIST)
      err = fc_fail(FC_ERR_IO, "%s: cannot make this folder: %s", copy, strerror(errno));
    *slash = '/';
  }
  fc_free(copy);
  return err;
}

void fc_folder_remove(const char *folder) {
  DIR *dir = opendir(folder);
  if (!dir) return;
  for (struct dirent *entry; (entry = readdir(dir));)
    unlinkat(dirfd(dir), entry->d_name, 0); /* which leaves "." and ".." alone */
  closedir(dir);
  rmdir(folder);
}

/* For all who may read the cache: mkdtemp's own mode is for the owner alone. */
static fc_err make_aside(char *aside) {
  FC_TRY(fc_folder_make_parents(aside));
  FC_CHECK(mkdtemp(aside), IO, "%s: cannot make this folder: %s", aside, strerror(errno));
  mode_t mask = umask(0);
  umask(mask);
  FC_CHECK(chmod(aside, 0777 & ~mask) == 0, IO, "%s: %s", aside, strerror(errno));
  return FC_ERR_OK;
}

fc_err fc_folder_begin(const char *final, char **aside) {
  FC_TRY(fc_format(aside, "%s.tmp.XXXXXX", final));
  fc_err err = make_aside(*aside);
  if (err == FC_ERR_OK) return FC_ERR_OK;
  fc_free(*aside);
  *aside = NULL;
  return err;
}

fc_err fc_folder_publish(char **aside, const char *final, bool replace) {
  fc_err err = FC_ERR_OK;
  if (replace) fc_folder_remove(final);
  if (rename(*aside, final) != 0 && errno != EEXIST && errno != ENOTEMPTY)
    err = fc_fail(FC_ERR_IO, "%s: cannot be renamed to %s: %s", *aside, final, strerror(errno));
  fc_folder_drop(aside); /* nothing there after the rename */
  return err;
}

void fc_folder_drop(char **aside) {
  if (!*aside) return;
  fc_folder_remove(*aside);
  fc_free(*aside);
  *aside = NULL;
}
