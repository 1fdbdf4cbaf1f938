/* method_switching.c - several LoRA modules on one frozen encoder; in every round each device
 * trains those it subscribes to, and switches by what earlier rounds have shown [SW, Algorithm 2].
 *
 *   switching          the paper's online algorithm
 *   switching-greedy   minimises this round's term alone, without the participation constraint
 *   switching-oneshot  chooses after the first round, and then stays
 *
 * Every rank holds all modules (fed->theta). What belongs to a device lies on the rank that hosts
 * it; who subscribes to what, at which power and share, goes to all, as rows are trained where
 * there is room. */
#include "switching.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- set-up ---------------------------------------------------------------------------------- */

static void destroy(void *state) {
  fc_switching *s = state;
  if (!s) return;
  fc_success_table_destroy(&s->table);
  fc_free(s->own);
  fc_free(s->drawn_rounds);
  fc_free(s->drawn);
  fc_free(s->batch);
  fc_free(s->ue);
  fc_free(s);
}

/* One module a device, or s_t, round robin: all N as Algorithm 2 prints would break the limit. */
static void start(fc_switching *s) {
  const int N = s->set.modules;
  for (int64_t d = 0; d < s->count; d++)
    for (int n = 0; n < N; n++) {
      int64_t place = (n - (s->first + d) * s->set.most) % N;
      bool chosen = (place < 0 ? place + N : place) < s->set.most;
      s->own[d * N + n] = (fc_subscription){.beta = chosen,
                                            .subscribed = chosen,
                                            .bound = fc_switching_offset(&s->set, 1),
                                            .loss = (double)NAN};
    }
}

static double norm2(const fc_model *model) {
  const float *w = fc_model_weights(model);
  double sum = 0;
  for (size_t i = 0; i < fc_model_weight_count(model); i++) sum += (double)w[i] * (double)w[i];
  return sum;
}

static fc_err prepare(const fc_federation *fed, fc_switching *s) {
  FC_CHECK(fed->task.loss == FC_LOSS_CLASSIFY, USAGE,
           "method %s needs a classification data set: its modules answer together",
           fed->set.method);
  s->set = fc_switching_settings_read(fed);
  s->base_norm2 = norm2(fed->task.model);
  /* before anything is measured: a guess among the classes */
  for (int n = 0; n < s->set.modules; n++)
    s->risk[n] = log(fc_model_get_shape(fed->task.model)->labels);
  fc_comm_share(fc_cell_devices(fed->cell), fed->comm->size, fed->comm->rank, &s->first, &s->count);
  FC_TRY(fc_alloc((size_t)(s->count * s->set.modules), sizeof *s->own, &s->own));
  FC_TRY(fc_alloc((size_t)s->count, sizeof *s->drawn_rounds, &s->drawn_rounds));
  FC_TRY(fc_alloc((size_t)s->set.devices, sizeof *s->drawn, &s->drawn));
  FC_TRY(fc_alloc((size_t)fed->set.local.batch, sizeof *s->batch, &s->batch));
  FC_TRY(fc_alloc((size_t)fmin(s->set.devices, (double)s->count), sizeof *s->ue, &s->ue));
  start(s);
  return fc_success_table_create(s->set.exponent, &s->table);
}

static fc_err create_variant(fc_federation *fed, fc_switching_variant variant, void **state) {
  fc_switching *s = NULL;
  fc_err err = fc_alloc(1, sizeof *s, &s);
  *state = s;
  if (err == FC_ERR_OK) s->variant = variant;
  if (err == FC_ERR_OK) err = prepare(fed, s);
  return fc_agree(fed->comm, err);
}

/* ---- plan ------------------------------------------------------------------------------------ */

static void look_at_device(const fc_federation *fed, int64_t round, uint32_t device, double total,
                           fc_ue *u) {
  fc_profile profile = fc_cell_profile(fed->cell, device);
  fc_channel h = fc_cell_channel(fed->cell, &profile, (uint64_t)round, device);
  size_t samples = 0;
  fc_split_device(fed->task.split, device, &samples);
  *u = (fc_ue){.device = device,
               .samples = (double)samples,
               .share_of_data = (double)samples / total,
               .gain = h.gain_up,
               .interference_w = h.interference_up_w,
               .distance_m = fc_cell_position(fed->cell, (uint64_t)round, device).distance_m,
               .max_power_w = profile.tx_power_w,
               .power_w = profile.tx_power_w,
               .served = true};
}

/* The round's devices, and of those hosted here what the radio is like. */
static void draw(const fc_federation *fed, fc_switching *s, int64_t round) {
  double total = 0;
  s->n = (uint32_t)s->set.devices;
  fc_plan_draw(fed, round, s->n, s->drawn);
  for (uint32_t i = 0; i < s->n; i++) {
    size_t samples = 0;
    fc_split_device(fed->task.split, s->drawn[i], &samples);
    total += (double)samples;
  }
  s->ue_first = s->ue_count = 0;
  for (uint32_t i = 0; i < s->n; i++) {
    if (s->drawn[i] < s->first) s->ue_first++;
    if (s->drawn[i] < s->first || s->drawn[i] >= s->first + s->count) continue;
    look_at_device(fed, round, s->drawn[i], fmax(total, 1), &s->ue[s->ue_count++]);
  }
}

/* What all ranks need to know of a device. */
typedef struct {
  double trains; /* bit n: module n */
  double power_w, share;
} decision;
enum { DECISION_NUMBERS = sizeof(decision) / sizeof(double) };

/* The bits of one summand that is not zero are the sum's. */
fc_err fc_switching_tell_all(const fc_federation *fed, double *x, size_t n) {
  int64_t *bits = NULL;
  fc_err err = fc_agree(fed->comm, fc_alloc(n, sizeof *bits, &bits));
  if (err == FC_ERR_OK) {
    memcpy(bits, x, n * sizeof *bits);
    err = fc_comm_sum_i64(fed->comm, bits, n);
    memcpy(x, bits, n * sizeof *bits);
  }
  fc_free(bits);
  return err;
}

static void decisions_here(const fc_switching *s, decision *all) {
  for (uint32_t i = 0; i < s->ue_count; i++) {
    const fc_ue *u = &s->ue[i];
    decision *d = &all[s->ue_first + i];
    unsigned mask = 0;
    for (int n = 0; n < s->set.modules && u->served; n++)
      mask |= (unsigned)fc_switching_own(s, u)[n].subscribed << n;
    *d = (decision){.trains = mask, .power_w = u->power_w, .share = u->share};
  }
}

/* A participant for each device that is served and its modules, in the order of the devices. */
static fc_err list_participants(fc_federation *fed, const fc_switching *s, const decision *all,
                                fc_round *round) {
  size_t most = (size_t)s->n * (size_t)s->set.most;
  FC_TRY(fc_alloc(most, sizeof *round->all, &round->all));
  for (uint32_t i = 0; i < s->n; i++)
    for (int n = 0; n < s->set.modules; n++) {
      if (!((unsigned)all[i].trains >> n & 1)) continue;
      size_t samples = 0;
      fc_split_device(fed->task.split, s->drawn[i], &samples);
      round->all[round->n++] = (fc_participant){.device = s->drawn[i],
                                                .module = n,
                                                .samples = (double)samples,
                                                .power_w = all[i].power_w,
                                                .bandwidth_hz = all[i].share * s->set.bandwidth_hz};
    }
  return fc_plan_share_out(fed, round);
}

static fc_err plan(fc_federation *fed, fc_round *round) {
  fc_switching *s = fed->method_state;
  decision *all = NULL;
  draw(fed, s, round->number);
  FC_TRY(fc_switching_allocate(fed, s, round));
  fc_err err = fc_agree(fed->comm, fc_alloc(s->n, sizeof *all, &all));
  if (err == FC_ERR_OK) {
    decisions_here(s, all);
    err = fc_switching_tell_all(fed, &all->trains, DECISION_NUMBERS * (size_t)s->n);
  }
  if (err == FC_ERR_OK) err = fc_agree(fed->comm, list_participants(fed, s, all, round));
  fc_free(all);
  return err;
}

/* ---- what it costs, and who arrives ---------------------------------------------------------- */

/* Computing energy as [SW (4)] has it, and delivery by the closed form where it is drawn. */
static void settle(const fc_federation *fed, const fc_round *round, fc_participant *p) {
  const fc_switching *s = fed->method_state;
  fc_cost *c = &p->cost;
  c->compute_j = fc_switching_compute_j(fed, &s->set, p->samples);
  c->energy_j = c->compute_j + c->uplink_j;
  if (!s->set.is_drawn) return;
  uint64_t stream = (uint64_t)p->module << 32 | p->device;
  fc_rng rng = fc_rng_open(fed->seed, FC_RNG_OUTAGE, (uint64_t)round->number, stream);
  double needed_s = fc_switching_exchange_s(&p->load, c);
  double distance_m = fc_cell_position(fed->cell, (uint64_t)round->number, p->device).distance_m;
  double success = 0, share = p->bandwidth_hz / s->set.bandwidth_hz;
  /* the table covers what a cell can ask for; beyond it, what cannot be computed does not arrive */
  if (fc_switching_success(s, distance_m, p->power_w, share, &success) != FC_ERR_OK) success = 0;
  c->delivered = needed_s <= s->set.deadline_s && fc_rng_uniform(&rng) < success;
}

/* ---- what the round has shown ---------------------------------------------------------------- */

/* Collective. The training losses to where their devices are hosted. */
static fc_err note_losses(const fc_federation *fed, fc_switching *s, const fc_round *round) {
  double *own = NULL, *all = NULL;
  fc_err err = fc_alloc(round->count, sizeof *own, &own);
  if (err == FC_ERR_OK) err = fc_alloc(round->n, sizeof *all, &all);
  FC_TRY_GOTO(err, fc_agree(fed->comm, err), done);
  for (uint32_t i = 0; i < round->count; i++) {
    const fc_loss_result *r = &round->all[round->first + i].loss;
    own[i] = r->count > 0 ? r->loss_sum / (double)r->count : (double)NAN;
  }
  FC_TRY_GOTO(err, fc_plan_gather(fed, round, own, all), done);
  for (uint32_t i = 0; i < round->n; i++) {
    int64_t d = (int64_t)round->all[i].device - s->first;
    if (d >= 0 && d < s->count) s->own[d * s->set.modules + round->all[i].module].loss = all[i];
  }
done:
  fc_free(own);
  fc_free(all);
  return err;
}

static fc_err decide_here(const fc_federation *fed, fc_switching *s, const fc_round *round) {
  bool stays = s->variant.last_round > 0 && round->number > s->variant.last_round;
  for (uint32_t i = 0; i < s->ue_count; i++) {
    const fc_ue *u = &s->ue[i];
    fc_subscription *own = fc_switching_own(s, u);
    s->drawn_rounds[u->device - s->first]++;
    for (int n = 0; n < s->set.modules; n++) own[n].rounds += own[n].subscribed;
    if (stays) continue;
    fc_rng rng =
        fc_rng_open(fed->seed, FC_RNG_SELECTION, (uint64_t)round->number, 1 + (uint64_t)u->device);
    FC_TRY(fc_switching_decide(&s->set, &s->variant, &u->seen, fc_rng_uniform(&rng), own));
  }
  return FC_ERR_OK;
}

/* Collective. The most that a device's mean subscription to a module lacks [SW (7d)]. */
static fc_err note_shortfall(const fc_federation *fed, const fc_switching *s, fc_round *round) {
  const int N = s->set.modules;
  double most = 0;
  for (int64_t d = 0; d < s->count; d++)
    for (int n = 0; n < N && s->drawn_rounds[d] > 0; n++)
      most = fmax(most, s->set.participation - s->own[d * N + n].rounds / s->drawn_rounds[d]);
  FC_TRY(fc_comm_max(fed->comm, &most, 1));
  round->notes.participation_shortfall = most;
  return FC_ERR_OK;
}

static fc_err server(fc_federation *fed, fc_round *round) {
  fc_switching *s = fed->method_state;
  FC_TRY(fc_aggregate_mean(fed, round));
  FC_TRY(fc_switching_record(fed, s, round));
  FC_TRY(note_losses(fed, s, round));
  FC_TRY(fc_agree(fed->comm, decide_here(fed, s, round)));
  return note_shortfall(fed, s, round);
}

/* ---- checkpoints: a row for each device and module ------------------------------------------- */

static const fc_column columns[] = {
    {"subscribed", "", "1: the device trains the module in the next round", FC_COLUMN_U8},
    {"beta", "", "subscription before rounding", FC_COLUMN_F64},
    {"dual", "", "multiplier of the participation constraint", FC_COLUMN_F64},
    {"bound", "", "B of the round before", FC_COLUMN_F64},
    {"loss", "nat", "training loss when it last was subscribed", FC_COLUMN_F64},
    {"rounds", "", "rounds in which it was subscribed", FC_COLUMN_F64},
    {"drawn", "", "rounds in which the device was drawn", FC_COLUMN_F64},
};
enum { COLUMNS = sizeof columns / sizeof columns[0] };

static fc_err fill_table(const fc_switching *s, fc_table *t) {
  const int N = s->set.modules;
  for (int64_t i = 0; i < s->count * N; i++) {
    const fc_subscription *o = &s->own[i];
    const double row[COLUMNS] = {
        o->subscribed, o->beta, o->dual, o->bound, o->loss, o->rounds, s->drawn_rounds[i / N]};
    FC_TRY(fc_table_append(t, s->first * N + i, row));
  }
  return FC_ERR_OK;
}

static const char *numbered(char *name, size_t size, const char *what, int n) {
  snprintf(name, size, "%s_%d", what, n);
  return name;
}

static void save(fc_federation *fed, fc_store_file *f) {
  const fc_switching *s = fed->method_state;
  fc_table *t = NULL;
  char name[32];
  fc_err err = fc_table_create(columns, COLUMNS, &t);
  if (err == FC_ERR_OK) err = fill_table(s, t);
  err = fc_agree(fed->comm, err);
  if (err == FC_ERR_OK)
    fc_store_put_table(f, "/state/switching", t);
  else
    fc_store_put_failure(f, err);
  fc_table_destroy(&t);
  for (int n = 0; n < s->set.modules; n++) {
    fc_store_put_number(f, "/state", numbered(name, sizeof name, "past", n), s->past[n]);
    fc_store_put_number(f, "/state", numbered(name, sizeof name, "risk", n), s->risk[n]);
  }
}

static fc_err load_table(fc_switching *s, const fc_store_reader *r, fc_table *t) {
  const int N = s->set.modules;
  FC_TRY(fc_store_get_table(r, "/state/switching", s->first * N, s->count * N, t));
  for (int64_t i = 0; i < s->count * N; i++) {
    double row[COLUMNS];
    for (size_t c = 0; c < COLUMNS; c++) row[c] = fc_table_get(t, (size_t)i, c);
    s->own[i] = (fc_subscription){.subscribed = row[0] != 0,
                                  .beta = row[1],
                                  .dual = row[2],
                                  .bound = row[3],
                                  .loss = row[4],
                                  .rounds = row[5]};
    s->drawn_rounds[i / N] = row[6];
  }
  return FC_ERR_OK;
}

static fc_err load(fc_federation *fed, const fc_store_reader *r) {
  fc_switching *s = fed->method_state;
  fc_table *t = NULL;
  char name[32];
  fc_err err = fc_table_create(columns, COLUMNS, &t);
  if (err == FC_ERR_OK) err = load_table(s, r, t);
  fc_table_destroy(&t);
  for (int n = 0; n < s->set.modules && err == FC_ERR_OK; n++) {
    err = fc_store_get_number(r, "/state", numbered(name, sizeof name, "past", n), &s->past[n]);
    if (err == FC_ERR_OK)
      err = fc_store_get_number(r, "/state", numbered(name, sizeof name, "risk", n), &s->risk[n]);
  }
  return err;
}

/* ---- the table ------------------------------------------------------------------------------- */

/* Rows, their trained copies and records beyond one a device, and what is kept of each device. */
static fc_err more_bytes(const fc_federation *fed, int ranks, int threads, double *rank_bytes,
                         double *node_bytes) {
  (void)threads;
  const fc_config *cfg = fed->cfg;
  uint32_t devices = fc_cell_devices(fed->cell);
  double drawn = (double)fc_participants_per_round(&fed->set, devices);
  double more = drawn * (double)(fc_config_int(cfg, "switching.max_subscriptions") - 1);
  double of_a_row = (double)fed->P * sizeof(float) + (double)fed->set.rounds * FC_RECORD_BYTES;
  double of_a_device = fed->set.modules * sizeof(fc_subscription) + sizeof(double);
  *rank_bytes = more * sizeof(fc_participant) + ceil(more / ranks) * of_a_row +
                ceil((double)devices / ranks) * of_a_device + drawn * sizeof(fc_ue);
  *node_bytes = 0;
  return FC_ERR_OK;
}

#define METHOD_OF(id, title, text, ...)                                                            \
  static fc_err create_##id(fc_federation *fed, void **state) {                                    \
    return create_variant(fed, (fc_switching_variant){__VA_ARGS__}, state);                        \
  }                                                                                                \
  const fc_method fc_method_##id = {.name = (title),                                               \
                                    .meaning = (text),                                             \
                                    .uses_radio = true,                                            \
                                    .create = create_##id,                                         \
                                    .destroy = destroy,                                            \
                                    .plan = plan,                                                  \
                                    .train = fc_train_from_global,                                 \
                                    .settle = settle,                                              \
                                    .server = server,                                              \
                                    .evaluate = fc_evaluate_ensemble,                              \
                                    .save = save,                                                  \
                                    .load = load,                                                  \
                                    .check = fc_switching_check,                                   \
                                    .more_bytes = more_bytes,                                      \
                                    .modules = fc_switching_modules}

METHOD_OF(switching, "switching",
          "several LoRA modules side by side; each device switches between them by a bound of the "
          "risk, its energy and participation",
          .looks_back = true);
METHOD_OF(switching_greedy, "switching-greedy",
          "as switching, each device minimising this round's term alone", .looks_back = false);
METHOD_OF(switching_oneshot, "switching-oneshot",
          "as switching, each device choosing once, after the first round", .looks_back = true,
          .last_round = 1);
