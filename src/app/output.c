/* output.c - where a run's result goes, looked at before any work is done: a run of hours must not
 * find out at its end that it cannot write. */
#include "app.h"
#include "fedcell/fc_mem.h"
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The usual size goes without saying; another one's results do not stand in its place. */
static fc_err pick_path(const fc_arguments *a, const fc_config *cfg, char *path) {
  const char *size = fc_config_size(cfg), *dash = "-";
  if (strcmp(size, FC_SIZE_DEFAULT) == 0) size = "";
  if (!*size) dash = "";
  int n = a->output ? snprintf(path, FC_PATH_SIZE, "%s", a->output)
                    : snprintf(path, FC_PATH_SIZE, "results/%s%s%s-%s-seed%lld.h5",
                               fc_config_string(cfg, "experiment"), dash, size,
                               fc_config_string(cfg, "federation.method"),
                               (long long)fc_config_int(cfg, "seed"));
  FC_CHECK(n < FC_PATH_SIZE, USAGE, "%s: the path is longer than %d bytes",
           a->output ? "--output" : "experiment", FC_PATH_SIZE - 1);
  return FC_ERR_OK;
}

fc_err fc_output_make_folders(const char *path) {
  char folder[FC_PATH_SIZE];
  struct stat there;
  size_t length = strlen(path);
  FC_CHECK(length < FC_PATH_SIZE, USAGE, "%s: the path is too long", path);
  FC_CHECK(path[length - 1] != '/' && !(stat(path, &there) == 0 && S_ISDIR(there.st_mode)), USAGE,
           "%s is a folder; a result is a file: %s%sOUT.h5", path, path,
           path[length - 1] == '/' ? "" : "/");
  strcpy(folder, path);
  for (char *slash = strchr(folder + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
    *slash = '\0';
    FC_CHECK(mkdir(folder, 0777) == 0 || errno == EEXIST, IO, "%s: cannot make this folder: %s",
             folder, strerror(errno));
    *slash = '/';
  }
  char *slash = strrchr(folder, '/');
  if (slash)
    slash[slash == folder] = '\0'; /* the root keeps its slash */
  else
    strcpy(folder, ".");
  FC_CHECK(access(folder, W_OK | X_OK) == 0, IO, "%s: cannot write results there: %s", folder,
           strerror(errno));
  return FC_ERR_OK;
}

fc_err fc_output_make_folder(const char *folder) {
  char inside[FC_PATH_SIZE];
  int n = snprintf(inside, sizeof inside, "%s/adapter_config.json", folder);
  FC_CHECK(n < FC_PATH_SIZE, USAGE, "%s: the path is too long", folder);
  return fc_output_make_folders(inside);
}

/* Neither results nor the way to them are overwritten unasked. */
static fc_err check_existing(const fc_arguments *a, const char *path, bool *done) {
  char *checkpoint = NULL;
  if (a->overwrite) return FC_ERR_OK;
  bool exists = access(path, F_OK) == 0;
  *done = exists && a->resume;
  if (a->resume) return FC_ERR_OK;
  FC_CHECK(!exists, USAGE, "%s exists; give --overwrite, or another --output", path);
  FC_TRY(fc_checkpoint_path(path, &checkpoint));
  fc_err err = FC_ERR_OK;
  if (access(checkpoint, F_OK) == 0)
    err = fc_fail(FC_ERR_USAGE,
                  "%s is there from a run that did not end; give --resume to continue it, or "
                  "--overwrite to start anew",
                  checkpoint);
  fc_free(checkpoint);
  return err;
}

fc_err fc_output_prepare(const fc_comm *comm, const fc_arguments *a, const fc_config *cfg,
                         char *path, bool *done) {
  *done = false;
  fc_err err = pick_path(a, cfg, path);
  if (err == FC_ERR_OK && comm->rank == 0) {
    err = fc_output_make_folders(path);
    if (err == FC_ERR_OK) err = check_existing(a, path, done);
  }
  FC_TRY(fc_agree(comm, err));
  return fc_comm_broadcast(comm, done, sizeof *done, 0);
}
