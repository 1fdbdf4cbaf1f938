/* The warm start on several ranks: all get the weights that one rank alone learns, and a failure of
 * one is a failure of all.
 * RANKS: 1 2 3 */
#include "mpi_test.h"
#include "fedcell/fc_data.h"
#include "fedcell/fc_hash.h"
#include "fedcell/fc_llm.h"
#include "fedcell/fc_rng.h"
#include <math.h>

enum { DEVICES = 4, ROUNDS = 5, TRAJECTORIES = 6 };

static const char *const sets[] = {
    "data.dataset=generated-digits",
    "data.samples=600",
    "data.test_samples=100",
    "data.public_fraction=0",
    "environment.devices=4",
    "environment.rounds=5",
    "environment.select_min=1",
    "policy.layers=1",
    "policy.width=32",
    "policy.heads=2",
    "policy.ffn=48",
    "policy.precision=f32",
    "warm_up.steps=4",
    "warm_up.batch=7",
    "warm_up.micro_batch=2",
    "warm_up.validate_every=2",
    "warm_up.held_out=0.34",
};

typedef struct {
  fc_config *cfg;
  fc_scenario *scenario;
  fc_trajectories *t;
  fc_llm *llm;
} policy;

static void make_up(fc_trajectories *t) {
  fc_rng rng = fc_rng_open(2, FC_RNG_TEST, 0, 0);
  for (int i = 0; i < t->n; i++) t->by_tool[i] = 1, t->episode[i] = (fc_episode){1, (uint64_t)i};
  for (int64_t i = 0; i < t->n * (t->rounds + 1) * t->devices * FC_STATISTICS; i++)
    t->statistics[i] = fc_rng_uniform(&rng);
  for (int64_t i = 0; i < t->n * t->rounds * t->devices; i++)
    t->served[i] = t->selected[i] = fc_rng_uniform(&rng) < 0.5;
}

static policy open_policy(void) {
  static const fc_option seed[] = {
      {"data.seed", FC_OPT_INT, "", "1", 0, 1e9, NULL, "as the run's table has it"}};
  static fc_option_table tables[7];
  const fc_option_table here[] = {
      FC_OPTION_TABLE("run", seed), fc_data_options,   fc_split_options,  fc_environment_options,
      fc_evaluation_options,        fc_policy_options, fc_warm_up_options};
  policy p = {0};
  memcpy(tables, here, sizeof tables);
  assert_ok(fc_config_create(tables, 7, &p.cfg));
  for (size_t i = 0; i < sizeof sets / sizeof *sets; i++) fc_config_set(p.cfg, sets[i]);
  assert_ok(fc_config_finish(p.cfg));
  assert_ok(fc_scenario_create(p.cfg, FC_TRAINING, &p.scenario));
  assert_ok(fc_trajectories_create(p.scenario, TRAJECTORIES, &p.t));
  make_up(p.t);
  assert_ok(fc_llm_create(p.cfg, p.scenario, p.t, &p.llm));
  return p;
}

static void close_policy(policy *p) {
  fc_llm_destroy(&p->llm);
  fc_trajectories_destroy(&p->t);
  fc_scenario_destroy(&p->scenario);
  fc_config_destroy(&p->cfg);
}

static void keep(void *arg, const fc_warm_report *r) {
  fc_warm_report *kept = arg;
  *kept = *r;
}

static uint64_t learn(const fc_comm *over, fc_warm_report *last) {
  policy p = open_policy();
  const fc_warm_request request = {.on_step = keep, .arg = last};
  assert_ok(fc_llm_warm_up(over, p.cfg, p.scenario, p.t, &request, p.llm));
  const fc_model *m = fc_llm_model(p.llm);
  uint64_t hash =
      fc_hash_bytes(FC_HASH_START, fc_model_weights(m), fc_model_weight_count(m) * sizeof(float));
  close_policy(&p);
  return hash;
}

static void ranks_do_not_matter(void **state) {
  (void)state;
  fc_comm alone = *comm;
  fc_warm_report together = {0}, single = {0};
  alone.world = alone.node = alone.end = MPI_COMM_SELF;
  alone.rank = alone.node_rank = 0;
  alone.size = alone.node_size = 1;
  assert_true(learn(comm, &together) == learn(&alone, &single));
  assert_int_equal(together.step, 4);
  assert_true(together.loss == single.loss);
  assert_true(together.validation_loss == single.validation_loss); /* not NaN */
  assert_true(together.validation_valid == single.validation_valid);
}

/* The last rank alone has nothing to learn from. */
static void all_ranks_fail_together(void **state) {
  (void)state;
  policy p = open_policy();
  const fc_warm_request request = {0};
  if (comm->rank == comm->size - 1) memset(p.t->by_tool, 0, TRAJECTORIES);
  assert_fails(fc_llm_warm_up(comm, p.cfg, p.scenario, p.t, &request, p.llm), FC_ERR_USAGE,
               "the warm start has nothing to learn from: 0 of 6 trajectories have answers of "
               "warm_up.teacher = tool, warm_up.held_out = 0.34 of them are kept for validation");
  close_policy(&p);
}

static int run_all(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(ranks_do_not_matter),
                                     cmocka_unit_test(all_ranks_fail_together)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(int argc, char **argv) {
  return mpi_test_main(argc, argv, run_all);
}
