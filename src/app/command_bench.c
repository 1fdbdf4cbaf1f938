/* command_bench.c - fedcell bench: how fast the program's own parts are on this machine, each
 * beside what the machine can do at most, measured in the same run. */
#include "bench.h"
#include <string.h>

static const struct {
  const char *name, *meaning;
  fc_err (*run)(fc_bench *b);
} benchmarks[] = {
    {"aggregate", "the weighted mean of devices' adapters, beside reading memory",
     fc_bench_aggregate},
    {"gemm", "matrix products of GPT-2's shapes in f32 and bf16, beside oneDNN's and the peak",
     fc_bench_gemm},
    {"generate", "greedy generation with kept keys and values, beside reading memory",
     fc_bench_generate},
    {"machine", "the machine's own limits: memory, and multiply-adds", fc_bench_machine},
    {"rollout", "answers of a policy to prompts with a shared prefix, beside whole prompts",
     fc_bench_rollout},
    {"train", "training steps of many devices on one frozen decoder, beside a plain product",
     fc_bench_train},
};
enum { BENCHMARKS = sizeof benchmarks / sizeof benchmarks[0] };

const char *fc_bench_name(size_t i) {
  return i < BENCHMARKS ? benchmarks[i].name : NULL;
}

const char *fc_bench_meaning(size_t i) {
  return i < BENCHMARKS ? benchmarks[i].meaning : NULL;
}

static fc_err no_benchmark(const char *name) {
  char names[256] = "";
  for (size_t i = 0; i < BENCHMARKS; i++) {
    size_t used = strlen(names);
    snprintf(names + used, sizeof names - used, "%s%s", i ? ", " : "", benchmarks[i].name);
  }
  return fc_fail(FC_ERR_USAGE, "bench %s: allowed are %s", name, names);
}

static fc_err run(const fc_comm *comm, const fc_arguments *a, size_t i) {
  fc_bench *b = NULL;
  size_t n_facts = 0;
  const fc_fact *facts = fc_app_facts(a, &n_facts);
  fc_err err = fc_bench_create(comm, benchmarks[i].name, a, facts, n_facts, &b);
  if (err == FC_ERR_OK) err = benchmarks[i].run(b);
  if (err == FC_ERR_OK) err = fc_bench_show(b, a->json);
  fc_bench_destroy(&b);
  return err;
}

/* Further ranks would wait busily and take the cores that are being measured. */
fc_err fc_command_bench(const fc_comm *comm, const fc_arguments *a) {
  FC_CHECK(comm->size == 1, USAGE, "bench measures one process: start it on one rank, not %d",
           comm->size);
  for (size_t i = 0; i < BENCHMARKS; i++)
    if (strcmp(benchmarks[i].name, a->operand) == 0) return run(comm, a, i);
  return no_benchmark(a->operand);
}
