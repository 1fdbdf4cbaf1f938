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
static void put_machine(const fc_provenance *p, fc_store_file *f) {
  machine m;
  memset(&m, 0, sizeof m);
  if (p->comm->rank == 0) find_machine(&m);
  fc_err err = fc_comm_broadcast(p->comm, &m, sizeof m, 0);
  if (err != FC_ERR_OK) {
    fc_store_put_failure(f, err);
    return;
  }
  fc_store_put_text(f, "/provenance", "cpu", m.cpu);
  fc_store_put_text(f, "/provenance", "mpi", m.mpi);
  fc_store_put_text(f, "/provenance", "written", m.written);
  fc_store_put_number(f, "/provenance", "ranks", p->comm->size);
  fc_store_put_number(f, "/provenance", "threads_per_rank", p->threads);
}

/* Resident memory at its peak: the largest rank's, and of all ranks together with what a node's
 * ranks share counted once a node. */
static void put_memory(const fc_provenance *p, fc_store_file *f) {
  double own = fc_peak_resident_bytes(), largest = own;
  double counted = own - (p->comm->node_rank ? p->shared_bytes : 0.0), total = NAN;
  if (fc_exact_sums(p->comm, &counted, 1, 1, &total) != FC_ERR_OK ||
      fc_comm_max(p->comm, &largest, 1) != FC_ERR_OK)
    return; /* the file's next put tells of a broken communicator */
  fc_store_put_number(f, "/provenance", "peak_rank_bytes", largest);
  fc_store_put_number(f, "/provenance", "peak_total_bytes", total);
}

void fc_result_put_provenance(const fc_provenance *p, fc_store_file *f) {
  char *config = NULL;
  fc_err err = fc_agree(p->comm, fc_config_dump(p->cfg, &config));
  if (err == FC_ERR_OK)
    fc_store_put_text(f, "/provenance", "config", config);
  else
    fc_store_put_failure(f, err);
  fc_free(config);
  for (size_t i = 0; i < p->n_facts; i++)
    fc_store_put_text(f, "/provenance", p->facts[i].name, p->facts[i].value);
  fc_store_put_text(f, "/provenance", "experiment", fc_config_string(p->cfg, "experiment"));
  fc_store_put_text(f, "/provenance", p->kind, p->name);
  const char *size = fc_config_size(p->cfg);
  if (*size) fc_store_put_text(f, "/provenance", "size", size);
  fc_store_put_number(f, "/provenance", "seed", (double)p->seed);
  fc_store_put_text(f, "/provenance", "precision", p->precision);
  put_machine(p, f);
  put_memory(p, f);
}

void fc_provenance_put(fc_federation *fed, const fc_run_request *request, fc_store_file *f) {
  char precision[64] = "f32";
  if (fed->task.is_bf16) snprintf(precision, sizeof precision, "bf16, path %s", fc_k_bf16_path());
  fc_result_put_provenance(&(fc_provenance){.comm = fed->comm,
                                            .cfg = fed->cfg,
                                            .facts = request->facts,
                                            .n_facts = request->n_facts,
                                            .kind = "method",
                                            .name = fed->method->name,
                                            .seed = fed->seed,
                                            .precision = precision,
                                            .threads = fed->threads.n,
                                            .shared_bytes = (double)fc_weights_share_bytes(
                                                fed->task.model, fed->task.is_bf16)},
                           f);
}
