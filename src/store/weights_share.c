/* weights_share.c - one read-only copy of the weights for all ranks of a node.
 *
 * The copy is a temporary file that the node's first rank fills and all map shared: pages of one
 * file exist once in memory, need no /dev/shm, and can be written back under memory pressure. Its
 * name is removed as soon as every rank has it open, before it is filled, so that nothing is left
 * behind whatever happens. */
#include "fedcell/fc_mem.h"
#include "fedcell/fc_weights.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { PATH_SIZE = 4096 };

struct fc_shared_weights {
  int fd;
  void *map;
  size_t bytes;
  size_t panels; /* where the bf16 panels begin, in bytes; 0: there are none */
};

/* ---- the file, on the node's first rank --------------------------------------------------------
 */

/* A hole in the file would end a rank that writes to the map with SIGBUS once the disk is full, so
 * the blocks are reserved first. */
static fc_err reserve(int fd, const char *folder, size_t bytes) {
  struct statvfs fs;
  FC_CHECK(fstatvfs(fd, &fs) == 0, IO, "scratch folder %s: %s", folder, strerror(errno));
  double free_bytes = (double)fs.f_bavail * (double)fs.f_frsize;
  FC_CHECK((double)bytes <= free_bytes, IO,
           "scratch folder %s has %.1f MB free, the shared base weights need %.1f MB: set "
           "model.scratch or TMPDIR to another folder",
           folder, free_bytes / 1e6, (double)bytes / 1e6);
  int problem = posix_fallocate(fd, 0, (off_t)bytes);
  FC_CHECK(problem == 0, IO, "scratch folder %s: cannot reserve %.1f MB for the base weights: %s",
           folder, (double)bytes / 1e6, strerror(problem));
  return FC_ERR_OK;
}

static fc_err create_file(fc_shared_weights *w, const char *scratch, char *path) {
  const char *folder = scratch ? scratch : getenv("TMPDIR");
  if (!folder || !*folder) folder = "/tmp";
  int length = snprintf(path, PATH_SIZE, "%s/fedcell-weights-XXXXXX", folder);
  if (length < 0 || length >= PATH_SIZE) {
    path[0] = '\0';
    return fc_fail(FC_ERR_IO, "the name of the scratch folder is too long");
  }
  w->fd = mkstemp(path);
  if (w->fd < 0) {
    path[0] = '\0';
    return fc_fail(FC_ERR_IO, "scratch folder %s: %s", folder, strerror(errno));
  }
  return reserve(w->fd, folder, w->bytes);
}

/* ---- all ranks ---------------------------------------------------------------------------------
 */

static fc_err open_file(fc_shared_weights *w, const char *path) {
  if (w->fd < 0) w->fd = open(path, O_RDONLY | O_CLOEXEC);
  FC_CHECK(w->fd >= 0, IO, "cannot read %s: %s", path, strerror(errno));
  return FC_ERR_OK;
}

static fc_err map_file(fc_shared_weights *w, int protection) {
  if (w->map) munmap(w->map, w->bytes);
  w->map = mmap(NULL, w->bytes, protection, MAP_SHARED, w->fd, 0);
  if (w->map != MAP_FAILED) return FC_ERR_OK;
  w->map = NULL;
  return fc_fail(FC_ERR_NOMEM, "cannot map %.1f MB of base weights: %s", (double)w->bytes / 1e6,
                 strerror(errno));
}

/* After this every rank has the file open and its name is gone. */
static fc_err open_everywhere(const fc_comm *comm, fc_shared_weights *w, const char *scratch) {
  char path[PATH_SIZE] = "";
  fc_err err = FC_ERR_OK;
  if (comm->node_rank == 0) err = create_file(w, scratch, path);
  err = fc_agree(comm, err);
  if (err == FC_ERR_OK) {
    MPI_Bcast(path, sizeof path, MPI_CHAR, 0, comm->node);
    err = fc_agree(comm, open_file(w, path));
  }
  if (comm->node_rank == 0 && path[0]) unlink(path);
  return err;
}

static void set_model(const fc_shared_weights *w, fc_model *model) {
  fc_model_set_weights(model, w->map);
  fc_model_set_panels(model, w->panels ? (const fc_bf16 *)((char *)w->map + w->panels) : NULL);
}

static fc_err fill_file(const fc_comm *comm, fc_shared_weights *w, fc_model *model,
                        fc_err (*fill)(void *arg, float *weights), void *arg) {
  if (comm->node_rank != 0) return FC_ERR_OK;
  FC_TRY(map_file(w, PROT_READ | PROT_WRITE));
  FC_TRY(fill(arg, w->map));
  if (!w->panels) return FC_ERR_OK;
  fc_model_set_weights(model, w->map);
  fc_model_pack(model, (fc_bf16 *)((char *)w->map + w->panels));
  return FC_ERR_OK;
}

/* The panels begin on a page of their own. */
static size_t panels_begin(const fc_model *model) {
  const size_t page = 4096, bytes = fc_model_weight_count(model) * sizeof(float);
  return (bytes + page - 1) / page * page;
}

size_t fc_weights_share_bytes(const fc_model *model, bool with_panels) {
  if (!with_panels) return fc_model_weight_count(model) * sizeof(float);
  return panels_begin(model) + fc_model_panel_count(model) * sizeof(fc_bf16);
}

fc_err fc_weights_share(const fc_comm *comm, fc_model *model, const char *scratch, bool with_panels,
                        fc_err (*fill)(void *arg, float *weights), void *arg,
                        fc_shared_weights **out) {
  fc_shared_weights *w = NULL;
  *out = NULL;
  fc_err err = fc_agree(comm, fc_alloc(1, sizeof *w, &w));
  if (err != FC_ERR_OK) {
    fc_free(w); /* another rank has none */
    return err;
  }
  w->fd = -1;
  w->bytes = fc_weights_share_bytes(model, with_panels);
  w->panels = with_panels ? panels_begin(model) : 0;
  err = open_everywhere(comm, w, scratch);
  if (err == FC_ERR_OK) err = fc_agree(comm, fill_file(comm, w, model, fill, arg));
  if (err == FC_ERR_OK) err = fc_agree(comm, map_file(w, PROT_READ));
  if (err != FC_ERR_OK) {
    fc_weights_unshare(&w);
    return err;
  }
  set_model(w, model);
  *out = w;
  return FC_ERR_OK;
}

static fc_err change_map(fc_shared_weights *w, fc_model *model,
                         fc_err (*change)(void *arg, float *weights), void *arg) {
  FC_TRY(map_file(w, PROT_READ | PROT_WRITE));
  set_model(w, model); /* the change may read what it changes */
  FC_TRY(change(arg, w->map));
  if (w->panels) fc_model_pack(model, (fc_bf16 *)((char *)w->map + w->panels));
  return map_file(w, PROT_READ);
}

fc_err fc_weights_change(const fc_comm *comm, fc_shared_weights *w, fc_model *model,
                         fc_err (*change)(void *arg, float *weights), void *arg) {
  fc_err err = FC_ERR_OK;
  FC_TRY(fc_agree(comm, FC_ERR_OK)); /* nobody reads any more */
  if (comm->node_rank == 0) err = change_map(w, model, change, arg);
  if (w->map) set_model(w, model);
  return fc_agree(comm, err);
}

void fc_weights_unshare(fc_shared_weights **shared) {
  fc_shared_weights *w = *shared;
  if (!w) return;
  if (w->map) munmap(w->map, w->bytes);
  if (w->fd >= 0) close(w->fd);
  fc_free(w);
  *shared = NULL;
}
