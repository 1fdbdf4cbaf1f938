/* provenance.c - what a result file tells about where its numbers come from. */
#include "federation.h"
#include "fedcell/fc_machine.h"
#include "fedcell/fc_timer.h"
#include <math.h>
#include <stdio.h>
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

/* Rank 0's machine and clock: an attribute must be the same on all ranks. */
static void put_machine(fc_federation *fed, fc_store_file *f) {
  machine m;
  memset(&m, 0, sizeof m);
  if (fed->comm->rank == 0) find_machine(&m);
  fc_err err = fc_comm_broadcast(fed->comm, &m, sizeof m, 0);
  if (err != FC_ERR_OK) {
    fc_store_put_failure(f, err);
    return;
  }
  fc_store_put_text(f, "/provenance", "cpu", m.cpu);
  fc_store_put_text(f, "/provenance", "mpi", m.mpi);
  fc_store_put_text(f, "/provenance", "written", m.written);
  fc_store_put_number(f, "/provenance", "ranks", fed->comm->size);
  fc_store_put_number(f, "/provenance", "threads_per_rank", fed->threads.n);
}

/* Resident memory at its peak: the largest rank's, and of all ranks together with the weights that
 * a node's ranks share counted once a node. */
static void put_memory(fc_federation *fed, fc_store_file *f) {
  double own = fc_peak_resident_bytes(), largest = own;
  double shared = (double)fc_weights_share_bytes(fed->task.model, fed->task.is_bf16);
  double counted = own - (fed->comm->node_rank ? shared : 0.0), total = NAN;
  if (fc_exact_sums(fed->comm, &counted, 1, 1, &total) != FC_ERR_OK ||
      fc_comm_max(fed->comm, &largest, 1) != FC_ERR_OK)
    return; /* the file's next put tells of a broken communicator */
  fc_store_put_number(f, "/provenance", "peak_rank_bytes", largest);
  fc_store_put_number(f, "/provenance", "peak_total_bytes", total);
}

void fc_provenance_put(fc_federation *fed, const fc_run_request *request, fc_store_file *f) {
  char *config = NULL;
  fc_err err = fc_agree(fed->comm, fc_config_dump(fed->cfg, &config));
  if (err == FC_ERR_OK)
    fc_store_put_text(f, "/provenance", "config", config);
  else
    fc_store_put_failure(f, err);
  fc_free(config);
  for (size_t i = 0; i < request->n_facts; i++)
    fc_store_put_text(f, "/provenance", request->facts[i].name, request->facts[i].value);
  fc_store_put_text(f, "/provenance", "experiment", fc_config_string(fed->cfg, "experiment"));
  fc_store_put_text(f, "/provenance", "method", fed->method->name);
  const char *size = fc_config_size(fed->cfg);
  if (*size) fc_store_put_text(f, "/provenance", "size", size);
  fc_store_put_number(f, "/provenance", "seed", (double)fed->seed);
  char precision[64] = "f32";
  if (fed->task.is_bf16) snprintf(precision, sizeof precision, "bf16, path %s", fc_k_bf16_path());
  fc_store_put_text(f, "/provenance", "precision", precision);
  put_machine(fed, f);
  put_memory(fed, f);
}
