/* publish.c - temporary file, fsync, rename. Owns the file descriptor and both names. */
#include "publish.h"
#include "fedcell/fc_mem.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

struct fc_publish {
  char *path, *temporary, *folder;
  int fd;
  int64_t reserved; /* bytes */
};

static void destroy(fc_publish **p) {
  if ((*p)->fd >= 0) close((*p)->fd); /* releases the lock */
  fc_free((*p)->path);
  fc_free((*p)->temporary);
  fc_free((*p)->folder);
  fc_free(*p);
  *p = NULL;
}

static fc_err set_names(fc_publish *p, const char *path) {
  const char *slash = strrchr(path, '/');
  size_t length = strlen(path), folder = slash ? (size_t)(slash - path) : 0;
  FC_TRY(fc_alloc(length + 1, 1, &p->path));
  FC_TRY(fc_alloc(length + 32, 1, &p->temporary));
  FC_TRY(fc_alloc(folder + 2, 1, &p->folder));
  memcpy(p->path, path, length);
  snprintf(p->temporary, length + 32, "%s.tmp.%ld", path, (long)getpid());
  if (!slash)
    p->folder[0] = '.';
  else if (folder == 0)
    p->folder[0] = '/';
  else
    memcpy(p->folder, path, folder);
  return FC_ERR_OK;
}

/* Removes the named temporary file unless a living process holds its lock. */
static void remove_if_stale(int folder, const char *name) {
  int fd = openat(folder, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0) return;
  if (flock(fd, LOCK_EX | LOCK_NB) == 0) unlinkat(folder, name, 0);
  close(fd);
}

static void remove_stale(const fc_publish *p) {
  const char *slash = strrchr(p->path, '/'), *base = slash ? slash + 1 : p->path;
  const size_t length = strlen(base);
  DIR *folder = opendir(p->folder);
  if (!folder) return;
  for (const struct dirent *entry; (entry = readdir(folder));) {
    const char *name = entry->d_name;
    if (strncmp(name, base, length) != 0 || strncmp(name + length, ".tmp.", 5) != 0) continue;
    const char *pid = name + length + 5;
    if (*pid && pid[strspn(pid, "0123456789")] == '\0') remove_if_stale(dirfd(folder), name);
  }
  closedir(folder);
}

static fc_err create(fc_publish *p) {
  struct stat status;
  FC_CHECK(p->path[0], IO, "cannot write a file with an empty name");
  FC_CHECK(stat(p->path, &status) != 0 || S_ISREG(status.st_mode), IO,
           "cannot write %s: it is there and is not a regular file", p->path);
  remove_stale(p);
  p->fd = open(p->temporary, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  FC_CHECK(p->fd >= 0, IO, "cannot write %s: folder %s: %s", p->path, p->folder, strerror(errno));
  flock(p->fd, LOCK_EX | LOCK_NB); /* where locks are unknown, nothing is ever taken for stale */
  return FC_ERR_OK;
}

fc_err fc_publish_open(const char *path, fc_publish **out) {
  *out = NULL;
  fc_publish *p = NULL;
  FC_TRY(fc_alloc(1, sizeof *p, &p));
  p->fd = -1;
  fc_err err = set_names(p, path);
  if (err == FC_ERR_OK) err = create(p);
  if (err == FC_ERR_OK)
    *out = p;
  else
    destroy(&p);
  return err;
}

const char *fc_publish_temporary(const fc_publish *p) {
  return p->temporary;
}

fc_err fc_publish_write(fc_publish *p, const void *data, size_t bytes) {
  const char *at = data;
  while (bytes > 0) {
    size_t piece = bytes < ((size_t)1 << 30) ? bytes : (size_t)1 << 30;
    ssize_t n = write(p->fd, at, piece);
    if (n < 0 && errno == EINTR) continue;
    FC_CHECK(n > 0, IO, "cannot write %s: %s", p->path, strerror(n < 0 ? errno : ENOSPC));
    at += n;
    bytes -= (size_t)n;
  }
  return FC_ERR_OK;
}

/* For file systems that cannot reserve blocks. */
static int check_free(const fc_publish *p, int64_t bytes) {
  struct statvfs fs;
  struct stat status;
  if (fstatvfs(p->fd, &fs) != 0 || fstat(p->fd, &status) != 0) return 0; /* nothing known */
  double free_bytes = (double)fs.f_bavail * (double)fs.f_frsize;
  return (double)bytes - (double)status.st_blocks * 512.0 <= free_bytes ? 0 : ENOSPC;
}

fc_err fc_publish_reserve(fc_publish *p, int64_t bytes) {
  if (bytes <= p->reserved) return FC_ERR_OK;
  struct rlimit limit;
  int problem = 0;
  if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY &&
      (rlim_t)bytes > limit.rlim_cur)
    problem = EFBIG;
  /* KEEP_SIZE: the file's length stays what was written; only blocks are set aside. */
  else if (fallocate(p->fd, FALLOC_FL_KEEP_SIZE, 0, bytes) != 0)
    problem =
        errno == EOPNOTSUPP || errno == ENOSYS || errno == EINTR ? check_free(p, bytes) : errno;
  FC_CHECK(problem == 0, IO, "cannot write %s: it needs up to %.1f MB: %s", p->path,
           (double)bytes / 1e6, strerror(problem));
  p->reserved = bytes;
  return FC_ERR_OK;
}

/* Gives back what was reserved beyond the end of the file. File systems differ in which of the two
 * calls does it; both leave the content alone, and only disk space is lost if neither works. */
static void release(const fc_publish *p) {
  struct stat status;
  if (p->reserved == 0 || fstat(p->fd, &status) != 0 || p->reserved <= status.st_size) return;
  bool released = ftruncate(p->fd, status.st_size) == 0;
  released = fallocate(p->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, status.st_size,
                       p->reserved - status.st_size) == 0 ||
             released;
  (void)released;
}

/* The rename itself must survive a power cut too. Some file systems cannot sync folders. */
static fc_err sync_folder(const fc_publish *p) {
  int fd = open(p->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return FC_ERR_OK; /* a folder may be writable and searchable but not readable */
  int failed = fsync(fd) != 0 && errno != EINVAL && errno != ENOTSUP ? errno : 0;
  close(fd);
  FC_CHECK(!failed, IO, "cannot write %s: folder %s: %s", p->path, p->folder, strerror(failed));
  return FC_ERR_OK;
}

static fc_err commit(fc_publish *p) {
  release(p);
  FC_CHECK(fsync(p->fd) == 0, IO, "cannot write %s: %s", p->path, strerror(errno));
  FC_CHECK(rename(p->temporary, p->path) == 0, IO, "cannot write %s: %s", p->path, strerror(errno));
  return sync_folder(p);
}

fc_err fc_publish_commit(fc_publish **p) {
  fc_err err = commit(*p);
  if (err != FC_ERR_OK) unlink((*p)->temporary);
  destroy(p);
  return err;
}

void fc_publish_abandon(fc_publish **p) {
  if (!*p) return;
  unlink((*p)->temporary);
  destroy(p);
}
