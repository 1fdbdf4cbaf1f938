/* Rewards from outside the environment: judges that answer, hang, die or write rubbish; files of
 * scores; a model of preferences and its ranked pairs. */
#include "json_lines.h"
#include "train_fixture.h"
#include "fedcell/fc_timer.h"

static ground g;

/* What the source that the settings name gives these answers. */
static fc_err score_with(const char *settings, double *score) {
  fc_config *cfg = train_config(g.folder, settings);
  fc_llm *llm = NULL;
  fc_reward *r = NULL;
  OK(fc_llm_load(cfg, g.warm, g.scenario, &llm));
  fc_answers a = make_answers(&g, llm);
  const fc_reward_context c = {comm, cfg, g.scenario, g.t, llm};
  fc_err err = fc_reward_create(&c, &r);
  if (err == FC_ERR_OK) err = fc_reward_learn(r, NULL);
  if (err == FC_ERR_OK) err = fc_reward_score(r, &a, score);
  fc_reward_destroy(&r);
  fc_answers_destroy(&a);
  fc_llm_destroy(&llm);
  fc_config_destroy(&cfg);
  return err;
}

static void write_file(const char *name, const char *text, char path[128]) {
  snprintf(path, 128, "%s/%s", g.folder, name);
  FILE *f = fopen(path, "w");
  assert_non_null(f);
  assert_true(fputs(text, f) >= 0);
  assert_int_equal(fclose(f), 0);
}

static const char *with_file(const char *format, const char *path) {
  static char settings[256];
  snprintf(settings, sizeof settings, format, path);
  return settings;
}

/* ---- judges ---------------------------------------------------------------------------------- */

#define JUDGE "reward.source=judge\nreward.judge_timeout_s=5\nreward.judge="

static void the_rule_stands_in(void **state) {
  (void)state;
  double score[ANSWERS];
  OK(score_with("reward.source=rule", score));
  for (int i = 0; i < ANSWERS; i++) assert_true(score[i] == 0.1 * i);
  OK(score_with("reward.source=judge", score));
  for (int i = 0; i < ANSWERS; i++) assert_true(score[i] == 0.1 * i);
}

/* It reads whole requests, one a line, in order: the numbers of characters of its input lines. */
static void a_judge_answers(void **state) {
  (void)state;
  double score[ANSWERS], lines[ANSWERS];
  OK(score_with(JUDGE "awk '{ print NR, \"\" }'", lines));
  for (int i = 0; i < ANSWERS; i++) assert_true(lines[i] == i + 1);
  char script[128], settings[256];
  write_file(
      "judge.py",
      "import json, sys\n"
      "for line in sys.stdin:\n"
      "  x = json.loads(line)\n"
      "  assert x['prompt'].startswith('Choose') and len(x) == 2\n"
      "  print(len(x['answer'].partition(':')[2].split(',')) - ('Answer:' not in x['answer']))\n",
      script);
  snprintf(settings, sizeof settings, JUDGE "/usr/bin/python3 %s", script);
  OK(score_with(settings, score));
  for (int i = 0; i < ANSWERS - 1; i++) assert_true(score[i] == number(i));
  assert_true(score[ANSWERS - 1] == 0);
}

static void bad_judges_are_told(void **state) {
  (void)state;
  double score[ANSWERS];
  assert_fails(score_with(JUDGE "head -n 3 | sed 's/.*/1/'", score), FC_ERR_IO,
               "the judge ended after 3 of 12 rewards");
  assert_fails(score_with(JUDGE "exit 1", score), FC_ERR_IO,
               "the judge ended after 0 of 12 rewards");
  assert_fails(score_with(JUDGE "no-such-judge 2> /dev/null", score), FC_ERR_IO,
               "the judge ended after 0 of 12 rewards");
  assert_fails(score_with(JUDGE "echo 0.5; echo good", score), FC_ERR_DATA,
               "the judge wrote \"good\" in place of the reward of answer 2 of 12");
  assert_fails(score_with(JUDGE "echo 0.5 0.6", score), FC_ERR_DATA,
               "the judge wrote \"0.5 0.6\" in place of the reward of answer 1 of 12");
  assert_fails(score_with(JUDGE "echo nan", score), FC_ERR_DATA,
               "the judge wrote \"nan\" in place of the reward of answer 1 of 12");
  assert_fails(score_with(JUDGE "echo", score), FC_ERR_DATA,
               "the judge wrote \"\" in place of the reward of answer 1 of 12");
}

/* One that says nothing, though it may read; and one whose child would outlive it. */
static void a_judge_that_hangs_is_ended(void **state) {
  (void)state;
  double score[ANSWERS], start = fc_wall_time_s();
  const char *const message =
      "the judge has been silent for 0.2 s (reward.judge_timeout_s) after %d of 12 rewards";
  const char *const commands[] = {"sleep 600", "cat > /dev/null; sleep 600 & wait",
                                  "echo 1; sleep 600"};
  for (int i = 0; i < 3; i++) {
    char settings[256], expected[128];
    snprintf(settings, sizeof settings,
             "reward.source=judge\nreward.judge_timeout_s=0.2\nreward.judge=%s", commands[i]);
    snprintf(expected, sizeof expected, message, i == 2);
    assert_fails(score_with(settings, score), FC_ERR_IO, expected);
  }
  assert_true(fc_wall_time_s() - start < 60);
}

/* More than a socket holds, both ways at once. */
static void long_batches_do_not_block(void **state) {
  (void)state;
  fc_config *cfg = train_config(g.folder, JUDGE "sed 's/.*/0.25                                /'");
  fc_llm *llm = NULL;
  fc_reward *r = NULL;
  enum { MANY = 20000 };
  OK(fc_llm_load(cfg, g.warm, g.scenario, &llm));
  fc_answers few = make_answers(&g, llm), a;
  OK(fc_answers_create(llm, (fc_episodes){MANY, 1}, &a));
  for (int i = 0; i < MANY; i++) {
    memcpy(a.prompt + i * a.prompt_max, few.prompt, (size_t)a.prompt_max * sizeof *a.prompt);
    memcpy(a.answer + i * a.answer_max, few.answer, (size_t)a.answer_max * sizeof *a.answer);
    a.prompt_n[i] = few.prompt_n[0];
    a.answer_n[i] = few.answer_n[0];
  }
  const fc_reward_context c = {comm, cfg, g.scenario, g.t, llm};
  OK(fc_reward_create(&c, &r));
  OK(fc_reward_score(r, &a, a.reward));
  for (int i = 0; i < MANY; i++) assert_true(a.reward[i] == 0.25);
  fc_reward_destroy(&r);
  fc_answers_destroy(&few);
  fc_answers_destroy(&a);
  fc_llm_destroy(&llm);
  fc_config_destroy(&cfg);
}

static void a_file_of_scores(void **state) {
  (void)state;
  double score[ANSWERS];
  char text[2048] = "", path[128];
  size_t used = 0;
  for (int i = 0; i < ANSWERS - 1; i++) { /* as the template writes them */
    char list[64] = "";
    for (int d = 0; d < DEVICES; d++)
      if (chosen(i) >> d & 1)
        snprintf(list + strlen(list), sizeof list - strlen(list), "%s%d", *list ? ", " : "", d + 1);
    used += (size_t)snprintf(text + used, sizeof text - used,
                             "{\"answer\": \"Answer: %s\", \"score\": %d}\n", list, i * i);
  }
  write_file("scores.jsonl", text, path);
  const char *settings = "reward.source=judge\nreward.judge_scores=%s";
  assert_int_equal(score_with(with_file(settings, path), score), FC_ERR_DATA);
  const char *missing = strstr(fc_err_message(), "scores.jsonl has no score of the answer \"");
  assert_non_null(missing); /* the last one: whatever its first token says */
  missing = strchr(missing, '"') + 1;
  snprintf(text + used, sizeof text - used, "\n{\"answer\": \"%.*s\", \"score\": -1}\n",
           (int)strcspn(missing, "\""), missing);
  write_file("scores.jsonl", text, path);
  OK(score_with(with_file(settings, path), score));
  for (int i = 0; i < ANSWERS - 1; i++) assert_true(score[i] == i * i);
  assert_true(score[ANSWERS - 1] == -1);
  write_file("bad.jsonl", "{\"answer\": \"Answer: 1\", \"score\": 1}\n{\"answer\": 3}\n", path);
  char expected[256];
  snprintf(expected, sizeof expected, "%s:2: needs \"answer\" (text), \"score\" (number)", path);
  assert_fails(score_with(with_file("reward.source=judge\nreward.judge_scores=%s", path), score),
               FC_ERR_DATA, expected);
}

static void requests_are_json(void **state) {
  (void)state;
  fc_json_text t = {0};
  const char *const names[] = {"prompt", "answer"}, *const values[] = {"a \"b\"\n\xff", "\xc3\xa9"};
  OK(fc_json_text_add(&t, names, values, 2));
  json_t *x = json_loadb(t.bytes, t.n, 0, NULL);
  assert_non_null(x);
  assert_true(t.bytes[t.n - 1] == '\n' && !memchr(t.bytes, '\n', t.n - 1));
  assert_string_equal(json_string_value(json_object_get(x, "prompt")), "a \"b\"\n\xEF\xBF\xBD");
  assert_string_equal(json_string_value(json_object_get(x, "answer")), "\xc3\xa9");
  json_decref(x);
  fc_free(t.bytes);
}

/* ---- the model of preferences ---------------------------------------------------------------- */

/* The fewer devices, the better. */
static void rank_by_number(void) {
  const fc_trajectories *t = g.t;
  for (int64_t i = 0; i < (int64_t)t->n * t->rounds; i++) {
    t->reward[i] = 0;
    for (int d = 0; d < DEVICES; d++) t->reward[i] -= t->selected[i * DEVICES + d];
  }
}

static void a_model_learns_the_ranks(void **state) {
  (void)state;
  double score[ANSWERS], again[ANSWERS];
  const char *settings = "reward.source=model\nreward.pairs=400\nreward.epochs=4\n"
                         "reward.learning_rate=2e-3\nreward.batch=16";
  rank_by_number();
  OK(score_with(settings, score));
  int right = 0, pairs = 0;
  for (int i = 0; i < ANSWERS - 1; i++)
    for (int j = 0; j < ANSWERS - 1; j++) {
      if (number(i) >= number(j)) continue;
      pairs++;
      right += score[i] > score[j];
    }
  assert_true(right > 0.85 * pairs);
  OK(score_with(settings, again));
  assert_memory_equal(score, again, sizeof score);
}

static void rankings_are_read(void **state) {
  (void)state;
  double score[ANSWERS];
  char path[128], expected[256];
  const char *const model = "reward.source=model\nreward.epochs=20\nreward.learning_rate=2e-3\n"
                            "reward.batch=4\nreward.ranking=%s";
  char text[4096] = "";
  size_t used = 0;
  for (int i = 0; i < 16; i++)
    used += (size_t)snprintf(text + used, sizeof text - used,
                             "{\"prompt\": \"Choose %d\", \"chosen\": \"Answer: %d\", "
                             "\"rejected\": \"Answer: 1, 2, %d\"}\n",
                             i, 1 + i % 6, 3 + i % 4);
  write_file("pairs.jsonl", text, path);
  OK(score_with(with_file(model, path), score));
  for (int i = 0; i < ANSWERS - 1; i++)
    for (int j = 0; j < ANSWERS - 1; j++)
      if (number(i) == 2 && number(j) == 5) assert_true(score[i] > score[j]);
  write_file("bad.jsonl", "{\"prompt\": \"x\", \"chosen\": \"y\"}\n", path);
  snprintf(expected, sizeof expected, "%s:1: needs \"prompt\", \"chosen\" and \"rejected\" (texts)",
           path);
  assert_fails(score_with(with_file(model, path), score), FC_ERR_DATA, expected);
  write_file("bad.jsonl", "[1]\n", path);
  snprintf(expected, sizeof expected, "%s:1: no JSON object", path);
  assert_fails(score_with(with_file(model, path), score), FC_ERR_DATA, expected);
  write_file("bad.jsonl", "\n", path);
  snprintf(expected, sizeof expected, "%s: a reward model needs two ranked pairs, there are 0",
           path);
  assert_fails(score_with(with_file(model, path), score), FC_ERR_DATA, expected);
}

static void rewards_alike_rank_nothing(void **state) {
  (void)state;
  double score[ANSWERS];
  memset(g.t->reward, 0, (size_t)g.t->n * (size_t)g.t->rounds * sizeof *g.t->reward);
  assert_fails(score_with("reward.source=model", score), FC_ERR_DATA,
               "the recorded trajectories: a reward model needs two ranked pairs, there are 0");
}

static void stop_it(void *arg, const fc_train_report *r) {
  volatile sig_atomic_t *stop = arg;
  (void)r;
  *stop = 1;
}

/* Learned once: a training that goes on takes it from the checkpoint, whatever pairs there are. */
static void a_checkpoint_has_the_model(void **state) {
  (void)state;
  char path[128];
  snprintf(path, sizeof path, "%s/reward.ckpt.h5", g.folder);
  const char *settings = "reward.source=model\nreward.pairs=60\ngrpo.iterations=2\n"
                         "grpo.checkpoint_every=1";
  volatile sig_atomic_t stop = 1;
  fc_train_request request = {.algorithm = "grpo", .checkpoint = path, .stop = &stop};
  rank_by_number();
  trained whole = train_in_toy(comm, &g, "grpo", settings);
  OK(whole.err);
  trained t = train_with(comm, &g, &request, settings, open_toy, g.scenario);
  assert_fails(t.err, FC_ERR_STOPPED, "stopped on request while the reward model was learned");
  drop_trained(&t);
  stop = 0;
  request.on_iteration = stop_it;
  request.arg = (void *)&stop;
  t = train_with(comm, &g, &request, settings, open_toy, g.scenario);
  assert_fails(t.err, FC_ERR_STOPPED,
               "stopped on request after iteration 1 of 2 of training with rewards");
  drop_trained(&t);
  stop = 0;
  memset(g.t->reward, 0, (size_t)g.t->n * (size_t)g.t->rounds * sizeof *g.t->reward);
  t = train_with(comm, &g, &request, settings, open_toy, g.scenario);
  OK(t.err);
  assert_same_training(&t, &whole);
  drop_trained(&t);
  drop_trained(&whole);
}

static int make_all(void **state) {
  char folder[64];
  (void)state;
  make_scratch(folder);
  g = make_ground(comm, folder);
  return 0;
}

static int drop_all(void **state) {
  (void)state;
  drop_scratch(g.folder);
  drop_ground(&g);
  return 0;
}

static int run_all(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_rule_stands_in),         cmocka_unit_test(a_judge_answers),
      cmocka_unit_test(bad_judges_are_told),        cmocka_unit_test(a_judge_that_hangs_is_ended),
      cmocka_unit_test(long_batches_do_not_block),  cmocka_unit_test(a_file_of_scores),
      cmocka_unit_test(requests_are_json),          cmocka_unit_test(a_model_learns_the_ranks),
      cmocka_unit_test(rankings_are_read),          cmocka_unit_test(rewards_alike_rank_nothing),
      cmocka_unit_test(a_checkpoint_has_the_model),
  };
  return cmocka_run_group_tests(tests, make_all, drop_all);
}

int main(int argc, char **argv) {
  return one_rank_main(argc, argv, run_all);
}
