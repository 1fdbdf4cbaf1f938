/* store_machine.c - on what machine, and when, a file was written. */
#include "fedcell/fc_machine.h"
#include "fedcell/fc_store.h"
#include <string.h>
#include <time.h>

enum { TEXT_SIZE = 256 };
typedef struct {
  char cpu[TEXT_SIZE], mpi[MPI_MAX_LIBRARY_VERSION_STRING], written[TEXT_SIZE];
} machine;

static void find_machine(machine *m) {
  int length = 0;
  fc_machine_cpu(m->cpu, sizeof m->cpu);
  MPI_Get_library_version(m->mpi, &length);
  m->mpi[strcspn(m->mpi, ",\n")] = '\0';
  time_t now = time(NULL);
  struct tm utc;
  gmtime_r(&now, &utc);
  strftime(m->written, sizeof m->written, "%Y-%m-%dT%H:%M:%SZ", &utc);
}

void fc_store_put_machine(fc_store_file *f, const fc_comm *comm) {
  machine m;
  memset(&m, 0, sizeof m);
  if (comm->rank == 0) find_machine(&m); /* an attribute must be the same on all ranks */
  fc_err err = fc_comm_broadcast(comm, &m, sizeof m, 0);
  if (err != FC_ERR_OK) {
    fc_store_put_failure(f, err);
    return;
  }
  fc_store_put_text(f, "/provenance", "cpu", m.cpu);
  fc_store_put_text(f, "/provenance", "mpi", m.mpi);
  fc_store_put_text(f, "/provenance", "written", m.written);
  fc_store_put_number(f, "/provenance", "ranks", comm->size);
}
