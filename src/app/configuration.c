/* configuration.c - from a file, --size and --set to a configuration that all ranks hold alike. */
#include "app.h"
#include "fedcell/fc_mem.h"
#include "fedcell/fc_policy.h"
#include "fedcell/fc_store.h"
#include <errno.h>
#include <string.h>

/* Far beyond any configuration: whoever names a data file by mistake is told so at once. */
enum { TEXT_MAX = 64 << 20 };

static fc_err read_whole(const char *path, char **text, int64_t *length) {
  FILE *f = fopen(path, "rb");
  FC_CHECK(f, IO, "%s: cannot be read: %s", path, strerror(errno));
  fc_err err = FC_ERR_OK;
  size_t n = 0, room = 0;
  do {
    room = room ? 2 * room : 65536;
    FC_TRY_GOTO(err, fc_realloc(room, 1, text), done);
    n += fread(*text + n, 1, room - n, f);
  } while (n == room && n <= TEXT_MAX);
  if (ferror(f)) err = fc_fail(FC_ERR_IO, "%s: cannot be read: %s", path, strerror(errno));
  if (n > TEXT_MAX)
    err = fc_fail(FC_ERR_USAGE, "%s: larger than 64 MiB: not a configuration", path);
  *length = (int64_t)n;
done:
  fclose(f);
  return err;
}

/* Collective. Rank 0's bytes on all ranks; *text has room for one more. */
static fc_err share_text(const fc_comm *comm, char **text, int64_t *length) {
  FC_TRY(fc_comm_broadcast(comm, length, sizeof *length, 0));
  fc_err err = comm->rank == 0 ? FC_ERR_OK : fc_alloc((size_t)*length + 1, 1, text);
  FC_TRY(fc_agree(comm, err));
  return fc_comm_broadcast(comm, *text, (size_t)*length, 0);
}

fc_err fc_shared_text(const fc_comm *comm, const char *path, char **text, size_t *length) {
  int64_t n = 0;
  fc_err err = comm->rank == 0 ? read_whole(path, text, &n) : FC_ERR_OK;
  FC_TRY(fc_agree(comm, err));
  FC_TRY(share_text(comm, text, &n));
  *length = (size_t)n;
  return FC_ERR_OK;
}

fc_err fc_arguments_config(const fc_comm *comm, const fc_arguments *a, fc_config **out) {
  size_t n = 0, length = 0;
  const fc_option_table *tables = fc_policy_tables(&n);
  char *text = NULL;
  fc_err err = fc_shared_text(comm, a->operand, &text, &length);
  if (err != FC_ERR_OK) goto done;
  err = fc_config_create(tables, n, out);
  if (err == FC_ERR_OK) err = fc_config_load_text(*out, a->operand, text, length, a->size);
  if (err == FC_ERR_OK) {
    for (size_t i = 0; i < a->sets; i++) fc_config_set(*out, a->set[i]);
    err = fc_config_finish(*out);
  }
  err = fc_agree(comm, err);
done:
  fc_free(text);
  return err;
}

fc_err fc_result_config_read(const char *path, fc_config **out) {
  fc_store_reader *file = NULL;
  char *text = NULL;
  size_t n = 0;
  const fc_option_table *tables = fc_policy_tables(&n);
  fc_err err = fc_store_open(path, &file);
  if (err == FC_ERR_OK) err = fc_store_get_text(file, "/provenance", "config", &text);
  if (err == FC_ERR_OK) err = fc_config_create(tables, n, out);
  if (err == FC_ERR_OK) err = fc_config_load_text(*out, path, text, strlen(text), NULL);
  if (err == FC_ERR_OK) err = fc_config_finish(*out);
  fc_store_close(&file);
  fc_free(text);
  return err;
}

fc_err fc_result_config(const fc_comm *comm, const char *path, fc_config **out) {
  return fc_agree(comm, fc_result_config_read(path, out));
}
