/* reward_judge.c - rewards from outside: a command at the other end of a pipe, or a file of scores.
 * Rank 0 asks, as a judge may be one program on one machine; without either the rule stands in. */
#include "fedcell/fc_log.h"
#include "fedcell/fc_mem.h"
#include "fedcell/fc_timer.h"
#include "json_lines.h"
#include "reward.h"
#include <errno.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct {
  const fc_comm *comm;
  const fc_llm *llm;
  const char *command, *file; /* "": none */
  double timeout_s;
  json_t *scores; /* of the file, by key_of; NULL: none */
} judge;

/* ---- a file of scores ------------------------------------------------------------------------ */

/* An answer's place among the scores, with its prompt or without. */
static fc_err key_of(const char *prompt, const char *answer, char **key) {
  return prompt ? fc_format(key, "%s\n\n%s", prompt, answer) : fc_format(key, "%s", answer);
}

static fc_err take_score(void *arg, const char *place, json_t *line) {
  judge *j = arg;
  const char *prompt = json_string_value(json_object_get(line, "prompt"));
  const char *answer = json_string_value(json_object_get(line, "answer"));
  json_t *score = json_object_get(line, "score");
  char *key = NULL;
  FC_CHECK(answer && json_is_number(score), DATA, "%s: needs \"answer\" (text), \"score\" (number)",
           place);
  FC_TRY(key_of(prompt, answer, &key));
  int failed = json_object_set(j->scores, key, score);
  fc_free(key);
  FC_CHECK(!failed, NOMEM, "%s: out of memory", place);
  return FC_ERR_OK;
}

static json_t *find(const judge *j, const char *prompt, const char *answer, fc_err *err) {
  char *key = NULL;
  *err = key_of(prompt, answer, &key);
  json_t *score = key ? json_object_get(j->scores, key) : NULL;
  fc_free(key);
  return score;
}

static fc_err look_up(const judge *j, const char *prompt, const char *answer, double *score) {
  fc_err err = FC_ERR_OK;
  json_t *found = find(j, prompt, answer, &err);
  if (!found && err == FC_ERR_OK) found = find(j, NULL, answer, &err);
  FC_TRY(err);
  FC_CHECK(found, DATA, "%s has no score of the answer \"%s\"", j->file, answer);
  *score = json_number_value(found);
  return FC_ERR_OK;
}

static fc_err by_file(const judge *j, const fc_answers *a, double *score) {
  fc_err err = FC_ERR_OK;
  for (int64_t i = 0; i < a->n && err == FC_ERR_OK; i++) {
    char *prompt = NULL, *answer = NULL;
    err = fc_answer_texts(j->llm, a, i, &prompt, &answer);
    if (err == FC_ERR_OK) err = look_up(j, prompt, answer, &score[i]);
    fc_free(prompt);
    fc_free(answer);
  }
  return err;
}

/* ---- a command ------------------------------------------------------------------------------- */

typedef struct {
  pid_t pid;
  int fd;              /* its input and output */
  const char *text;    /* what it is asked */
  size_t length, sent; /* bytes */
  char line[256];      /* of its output, so far */
  size_t used;
  int64_t asked, got; /* answers */
  double *score;
  double heard_s; /* when it last took or gave something */
} dialogue;

extern char **environ;

/* A process group of its own, so that what it starts itself ends with it. */
static fc_err start(const char *command, dialogue *d) {
  int ends[2];
  char *const words[] = {"sh", "-c", (char *)command, NULL};
  FC_CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0, IO,
           "the judge cannot be started: %s", strerror(errno));
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  posix_spawn_file_actions_init(&actions);
  posix_spawnattr_init(&attributes);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
  posix_spawnattr_setpgroup(&attributes, 0);
  int failed = posix_spawn(&d->pid, "/bin/sh", &actions, &attributes, words, environ);
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  close(ends[1]);
  d->fd = ends[0];
  if (!failed) return FC_ERR_OK;
  close(d->fd);
  return fc_fail(FC_ERR_IO, "the judge cannot be started: %s", strerror(failed));
}

static void finish(dialogue *d) {
  close(d->fd);
  kill(-d->pid, SIGKILL);
  while (waitpid(d->pid, NULL, 0) < 0 && errno == EINTR)
    ;
}

/* Sends what it takes now. One that reads no more may still answer, so that is no failure. */
static void ask(dialogue *d) {
  ssize_t n = send(d->fd, d->text + d->sent, d->length - d->sent, MSG_NOSIGNAL | MSG_DONTWAIT);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  d->sent = n < 0 ? d->length : d->sent + (size_t)n;
  d->heard_s = fc_wall_time_s();
  if (d->sent == d->length) shutdown(d->fd, SHUT_WR);
}

static fc_err read_line(dialogue *d) {
  char *end = NULL;
  d->line[d->used] = '\0';
  d->used = 0;
  double value = strtod(d->line, &end);
  FC_CHECK(end != d->line && end[strspn(end, " \t\r")] == '\0' && isfinite(value), DATA,
           "the judge wrote \"%s\" in place of the reward of answer %lld of %lld", d->line,
           (long long)d->got + 1, (long long)d->asked);
  d->score[d->got++] = value;
  return FC_ERR_OK;
}

static fc_err hear(dialogue *d) {
  char piece[4096];
  ssize_t n = recv(d->fd, piece, sizeof piece, MSG_DONTWAIT);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return FC_ERR_OK;
  d->heard_s = fc_wall_time_s();
  for (ssize_t i = 0; i < n && d->got < d->asked; i++) {
    if (piece[i] == '\n')
      FC_TRY(read_line(d));
    else if (d->used < sizeof d->line - 1)
      d->line[d->used++] = piece[i];
  }
  FC_CHECK(n > 0 || d->got == d->asked, IO, "the judge ended after %lld of %lld rewards",
           (long long)d->got, (long long)d->asked);
  return FC_ERR_OK;
}

static fc_err talk(dialogue *d, double timeout_s) {
  d->heard_s = fc_wall_time_s();
  while (d->got < d->asked) {
    struct pollfd p = {.fd = d->fd, .events = POLLIN};
    if (d->sent < d->length) p.events |= POLLOUT;
    double left_s = timeout_s - (fc_wall_time_s() - d->heard_s);
    int ready = left_s > 0 ? poll(&p, 1, (int)fmin(1 + 1e3 * left_s, 1e9)) : 0;
    if (ready < 0 && errno == EINTR) continue;
    FC_CHECK(left_s > 0, IO,
             "the judge has been silent for %g s (reward.judge_timeout_s) after %lld of %lld "
             "rewards",
             timeout_s, (long long)d->got, (long long)d->asked);
    if (p.revents & POLLOUT && d->sent < d->length) ask(d);
    if (p.revents & (POLLIN | POLLHUP | POLLERR)) FC_TRY(hear(d));
  }
  return FC_ERR_OK;
}

/* Appends {"prompt": ..., "answer": ...} to the lines. */
static fc_err write_request(const fc_llm *llm, const fc_answers *a, int64_t i, fc_json_text *text) {
  char *prompt = NULL, *answer = NULL;
  fc_err err = fc_answer_texts(llm, a, i, &prompt, &answer);
  const char *const names[] = {"prompt", "answer"}, *const values[] = {prompt, answer};
  if (err == FC_ERR_OK) err = fc_json_text_add(text, names, values, 2);
  fc_free(prompt);
  fc_free(answer);
  return err;
}

static fc_err by_command(const judge *j, const fc_answers *a, double *score) {
  fc_json_text text = {0};
  dialogue d = {.asked = a->n, .score = score};
  fc_err err = FC_ERR_OK;
  for (int64_t i = 0; i < a->n && err == FC_ERR_OK; i++) err = write_request(j->llm, a, i, &text);
  d.text = text.bytes;
  d.length = text.n;
  if (err == FC_ERR_OK) err = start(j->command, &d);
  if (err == FC_ERR_OK) {
    err = talk(&d, j->timeout_s);
    finish(&d);
  }
  fc_free(text.bytes);
  return err;
}

/* ---- the source ------------------------------------------------------------------------------ */

static void judge_destroy(void *own) {
  judge *j = own;
  if (j) json_decref(j->scores);
  fc_free(j);
}

static fc_err judge_create(const fc_reward_context *c, void **own) {
  judge *j = NULL;
  FC_TRY(fc_alloc(1, sizeof *j, &j));
  *j = (judge){.comm = c->comm,
               .llm = c->llm,
               .command = fc_config_string(c->cfg, "reward.judge"),
               .file = fc_config_string(c->cfg, "reward.judge_scores"),
               .timeout_s = fc_config_real(c->cfg, "reward.judge_timeout_s")};
  *own = j;
  if (!*j->command && !*j->file)
    fc_log(FC_LOG_WARNING, "no judge is named (reward.judge): the rule stands in for it");
  if (*j->command || !*j->file) return FC_ERR_OK;
  j->scores = json_object();
  FC_CHECK(j->scores, NOMEM, "out of memory");
  return fc_json_lines_read(j->file, take_score, j);
}

static fc_err judge_score(void *own, const fc_answers *a, double *score) {
  const judge *j = own;
  fc_err err = FC_ERR_OK;
  if (j->comm->rank == 0) {
    if (*j->command)
      err = by_command(j, a, score);
    else if (j->scores)
      err = by_file(j, a, score);
    else
      memcpy(score, a->rule, (size_t)a->n * sizeof *score);
  }
  FC_TRY(fc_agree(j->comm, err));
  return fc_comm_broadcast(j->comm, score, (size_t)a->n * sizeof *score, 0);
}

const fc_reward_source fc_reward_by_judge = {
    .name = "judge", .create = judge_create, .destroy = judge_destroy, .score = judge_score};
