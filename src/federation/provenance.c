/* provenance.c - what a result file tells about where its numbers come from. */
#include "federation.h"
#include "fedcell/fc_timer.h"
#include <math.h>
#include <stdio.h>

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
  fc_store_put_machine(f, p->comm);
  fc_store_put_number(f, "/provenance", "threads_per_rank", p->threads);
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
