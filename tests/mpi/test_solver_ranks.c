/* test_solver_ranks.c - every solver gives each rank its part of the answer that one rank gets, bit
 * for bit. RANKS: 1 2 4 */
#include "mpi_test.h"

#include "fedcell/fc_mem.h"
#include "fedcell/fc_problem.h"

static const struct {
  const char *solver, *text;
} problems[] = {
    {"altd", "{\"generate\":{\"seed\":1,\"count\":10}}"}, /* some miss the deadline */
    {"altd", "{\"generate\":{\"seed\":1,\"count\":101,\"p_max_w\":20},\"method\":\"altd\"}"},
    {"altd", "{\"generate\":{\"seed\":1,\"count\":101,\"p_max_w\":20},\"bandwidth\":\"optimal\"}"},
    {"bandwidth", "{\"generate\":{\"seed\":1,\"count\":1}}"},
    {"bandwidth", "{\"generate\":{\"seed\":2,\"count\":1001}}"},
    {"bandwidth", "{\"generate\":{\"seed\":2,\"count\":3,\"signal_w\":0}}"},
    {"deft", "{\"generate\":{\"seed\":1,\"count\":1}}"}, /* too little memory */
    {"deft", "{\"generate\":{\"seed\":2,\"count\":101}}"},
    {"deft",
     "{\"generate\":{\"seed\":2,\"count\":101},\"method\":\"crunch\",\"bandwidth\":\"equal\"}"},
    {"deft", "{\"generate\":{\"seed\":3,\"count\":7},\"method\":\"exact\"}"},
    {"jcpba", "{\"generate\":{\"seed\":1,\"count\":1}}"},
    {"jcpba", "{\"generate\":{\"seed\":2,\"count\":1001}}"},
    {"jcpba", "{\"generate\":{\"seed\":2,\"count\":1001},\"method\":\"bcd\"}"},
    {"jcpba", "{\"generate\":{\"seed\":3,\"count\":777},\"work\":{\"emulator_flop\":0}}"},
    {"jcpba", "{\"generate\":{\"seed\":3,\"count\":77},\"pruning\":{\"mean_max\":0.01}}"},
    {"split", "{\"generate\":{\"seed\":1,\"count\":1}}"},
    {"split", "{\"generate\":{\"seed\":2,\"count\":101},\"latency_queue\":30}"},
    {"split", "{\"generate\":{\"seed\":2,\"count\":51,\"participation_queue\":{\"uniform\":[0,3]}},"
              "\"budget\":\"participation\",\"deadline_s\":2}"},
    {"split", "{\"generate\":{\"seed\":2,\"count\":51,\"energy_queue\":{\"exponential\":5},"
              "\"tx_power_w\":0.2,\"compute_energy_j\":{\"uniform\":[0,1]}},"
              "\"budget\":\"energy\",\"deadline_s\":3}"},
    {"split",
     "{\"generate\":{\"seed\":2,\"count\":3},\"budget\":\"participation\",\"deadline_s\":0.01}"},
    {"jcpba",
     "{\"generate\":{\"seed\":4,\"count\":100,\"memory_bytes\":{\"uniform\":[3.8e9,4.2e9]}}}"},
};
enum { PROBLEMS = sizeof problems / sizeof problems[0] };

/* *own: of the problem, this rank's rows; it borrows the columns. */
static void share(const fc_solver *solver, void *whole, void *own, int64_t *first) {
  memcpy(own, whole, solver->problem_bytes);
  fc_rows_here *rows = own;
  fc_comm_share(rows->n, comm->size, comm->rank, first, &rows->n);
  rows->first = *first;
  for (int i = 0; solver->input[i].path; i++) {
    double **column = fc_field_column(&solver->input[i], own);
    if (column && *column) *column += *first;
  }
}

/* Fields of this rank's solution against those of the whole. */
static void compare(const fc_solver *solver, void *whole, void *own, int64_t first, int64_t n) {
  const fc_answer *a = whole, *b = own;
  assert_int_equal(a->status, b->status);
  assert_string_equal(a->reason, b->reason);
  for (int i = 0; solver->output[i].path && a->status == FC_OPTIMAL; i++) {
    const fc_solver_field *f = &solver->output[i];
    double **all = fc_field_column(f, whole), **mine = fc_field_column(f, own);
    if (all && n > 0) assert_memory_equal(*all + first, *mine, (size_t)n * sizeof **mine);
    if (!all) assert_memory_equal((char *)whole + f->offset, (char *)own + f->offset, 8);
  }
}

static void ranks_agree_with_one(void **state) {
  (void)state;
  const fc_reduction over = fc_comm_reduction(comm);
  for (int i = 0; i < PROBLEMS; i++) {
    const fc_solver *solver = fc_solver_find(problems[i].solver);
    void *problem = NULL, *alone = NULL, *shared = NULL, *own = NULL;
    int64_t first = 0;
    assert_non_null(solver);
    assert_ok(
        fc_problem_parse(solver, "test", problems[i].text, strlen(problems[i].text), &problem));
    assert_ok(fc_alloc(1, solver->problem_bytes, &own));
    assert_ok(fc_solution_create(solver, ((fc_rows_here *)problem)->n, &alone));
    assert_ok(solver->solve(problem, NULL, alone));
    share(solver, problem, own, &first);
    int64_t n = ((fc_rows_here *)own)->n;
    assert_ok(fc_solution_create(solver, n, &shared));
    assert_ok(solver->solve(own, &over, shared));
    compare(solver, alone, shared, first, n);
    fc_solution_destroy(solver, &alone);
    fc_solution_destroy(solver, &shared);
    fc_problem_destroy(solver, &problem);
    fc_free(own);
  }
}

/* What only one rank lacks, all ranks are told. */
static void a_lack_of_memory_on_one_rank_is_everyones(void **state) {
  (void)state;
  const fc_reduction over = fc_comm_reduction(comm);
  const double one = 1;
  double pruning = 0, bandwidth = 0;
  fc_jcpba_problem p = {{1, comm->rank}, &one, &one, &one, &one, &one, .noise_power_w = 1};
  fc_jcpba_solution s = {.pruning = &pruning, .bandwidth_hz = &bandwidth};
  if (comm->rank == 0) fc_mem_fail_at(1);
  fc_err err = fc_jcpba_solve(&p, &over, &s);
  fc_mem_fail_at(0);
  assert_int_equal(err, comm->rank == 0 ? FC_ERR_NOMEM : FC_ERR_PEER);
}

/* Also where every rank solves the whole: whichever allocation fails, nobody waits for ever. */
static void a_lack_of_memory_where_all_solve_the_whole(void **state) {
  (void)state;
  const fc_reduction over = fc_comm_reduction(comm);
  const double one = 1, much = 1e3;
  double first_block = 0, blocks = 0, bandwidth = 0;
  fc_deft_problem p = {{1, comm->rank},
                       &one,
                       &one,
                       &one,
                       &much,
                       .bandwidth_hz = 1,
                       .blocks = 3,
                       .forward_flop_per_block = 1,
                       .upload_bits_per_block = 1};
  fc_deft_solution s = {.first_block = &first_block, .blocks = &blocks, .bandwidth_hz = &bandwidth};
  fc_err err = FC_ERR_NOMEM;
  size_t at = 0;
  while (err != FC_ERR_OK && at < 20) {
    at++;
    fc_mem_fail_at(comm->rank == 0 ? at : 0);
    err = fc_deft_solve(&p, &over, &s);
    fc_mem_fail_at(0);
    if (err != FC_ERR_OK) assert_int_equal(err, comm->rank == 0 ? FC_ERR_NOMEM : FC_ERR_PEER);
  }
  assert_true(at > 5 && at < 20);
}

static int run(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(ranks_agree_with_one),
      cmocka_unit_test(a_lack_of_memory_on_one_rank_is_everyones),
      cmocka_unit_test(a_lack_of_memory_where_all_solve_the_whole),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(int argc, char **argv) {
  return mpi_test_main(argc, argv, run);
}
