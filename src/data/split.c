/* split.c - which sample belongs to whom.
 *
 * First the public part is drawn, every class giving its share. The rest is dealt to the devices:
 *   iid        a random order, cut into equal pieces
 *   sizes      the same with Dirichlet(size_alpha) pieces
 *   dirichlet  equal sizes; device k has a mix of classes q_k ~ Dirichlet(alpha C p), p the shares
 *              of the C classes among all (balanced classes: every parameter is alpha), and draws
 *              by it without putting back [Hsu+ 2019], a class that runs short the less.
 *              The devices draw in random order, so leftovers fall on no device in particular.
 *   both       the same with Dirichlet(size_alpha) sizes
 *   shards     sorted by class, cut into shards_per_device shards a device, dealt at random
 *              [McMahan+ 2017]
 * "Dealing" writes an owner for each sample; a counting sort by owner then gives every part its
 * samples in ascending order. What stays: 4 bytes a sample, 8 bytes a device. */
#include "split.h"
#include "dataset.h"
#include "fedcell/fc_mem.h"
#include <assert.h>
#include <float.h>
#include <math.h>
#include <string.h>

struct fc_split {
  uint32_t *sample; /* public | device 0 | device 1 | ... | test; a device: train, then test */
  uint64_t *start;  /* (devices + 1) of the devices in `sample` */
  uint32_t devices;
  size_t test_first, test; /* of the test part in `sample` */
  double device_test_fraction;
};

/* What the ways of dealing share. */
typedef struct {
  const fc_split_settings *s;
  const fc_split_input *in;
  uint64_t parts_seed; /* of the public part */
  uint64_t seed;       /* of everything else */
  uint32_t devices;
  uint32_t *rest; /* (n_rest) samples that are not public, in random order */
  size_t n_rest;
  uint64_t *size;  /* (devices) */
  uint32_t *owner; /* (n) to be filled; `devices`: public */
} deal;

static fc_rng stream(const deal *d, uint64_t stage, uint64_t device) {
  return fc_rng_open(d->seed, FC_RNG_SPLIT, stage, device);
}

static int32_t label_of(const deal *d, uint32_t sample) {
  return d->in->label != NULL ? d->in->label[sample] : 0;
}

/* The first size[0] of the random order to device 0, and so on. */
static fc_err deal_pieces(deal *d) {
  size_t at = 0;
  for (uint32_t k = 0; k < d->devices; k++)
    for (uint64_t i = 0; i < d->size[k]; i++) d->owner[d->rest[at++]] = k;
  assert(at == d->n_rest);
  return FC_ERR_OK;
}

/* Sorts the random order by class, keeping it random within a class. first (classes + 1). */
static fc_err sort_by_class(deal *d, size_t *first) {
  int classes = d->in->classes;
  uint32_t *sorted;
  FC_TRY(fc_alloc(d->n_rest, sizeof *sorted, &sorted));
  memset(first, 0, ((size_t)classes + 1) * sizeof *first);
  for (size_t i = 0; i < d->n_rest; i++) first[label_of(d, d->rest[i]) + 1]++;
  for (int c = 0; c < classes; c++) first[c + 1] += first[c];
  for (size_t i = 0; i < d->n_rest; i++) sorted[first[label_of(d, d->rest[i])]++] = d->rest[i];
  for (int c = classes; c > 0; c--) first[c] = first[c - 1];
  first[0] = 0;
  fc_free(d->rest);
  d->rest = sorted;
  return FC_ERR_OK;
}

/* q (classes) <- Dirichlet(alpha C p) with p = share; classes without samples get 0. By logarithms,
 * as tiny parameters make every single gamma draw underflow. */
static void draw_mix(fc_rng *rng, double alpha, int classes, const double *share, double *q) {
  double top = -DBL_MAX, sum = 0.0;
  for (int c = 0; c < classes; c++) {
    q[c] = share[c] > 0.0 ? fc_rng_log_gamma(rng, alpha * classes * share[c]) : -INFINITY;
    if (q[c] > top) top = q[c];
  }
  for (int c = 0; c < classes; c++) sum += q[c] = exp(q[c] - top);
  for (int c = 0; c < classes; c++) q[c] /= sum;
}

typedef struct {
  size_t *first, *next; /* (classes + 1) where the classes begin in rest; the next one to deal */
  double *share, *mix;  /* (classes) */
  uint32_t *visit;      /* (devices) */
} mixer;

/* How much class c is wanted. A class of which less is left than its share of all is drawn less:
 * so none is used up long before the others, and the last devices are not left with odd mixes. */
static double weight(const mixer *m, int c, bool dry) {
  double left = (double)(m->first[c + 1] - m->next[c]);
  if (left <= 0.0) return 0.0;
  return dry ? left : m->mix[c] * left / m->share[c];
}

/* A class by the device's mix; if none of its classes has samples left, by what is left. */
static int draw_class(fc_rng *rng, int classes, const mixer *m) {
  double total = 0.0;
  for (int c = 0; c < classes; c++) total += weight(m, c, false);
  bool dry = !(total > 1e-12);
  if (dry)
    for (int c = 0; c < classes; c++) total += weight(m, c, true);
  double u = fc_rng_uniform(rng) * total;
  int chosen = -1;
  for (int c = 0; c < classes && (chosen < 0 || u >= 0.0); c++) {
    double w = weight(m, c, dry);
    if (w <= 0.0) continue;
    chosen = c;
    u -= w;
  }
  assert(chosen >= 0);
  return chosen;
}

static fc_err deal_by_mix(deal *d, mixer *m) {
  int classes = d->in->classes;
  FC_TRY(sort_by_class(d, m->first));
  for (int c = 0; c < classes; c++) {
    m->next[c] = m->first[c];
    m->share[c] = (double)(m->first[c + 1] - m->first[c]) / (double)d->n_rest;
  }
  for (uint32_t k = 0; k < d->devices; k++) m->visit[k] = k;
  fc_rng order = stream(d, FC_SPLIT_VISIT, 0);
  fc_rng_shuffle(&order, m->visit, d->devices);
  for (uint32_t i = 0; i < d->devices; i++) {
    uint32_t k = m->visit[i];
    fc_rng rng = stream(d, FC_SPLIT_MIX, k);
    draw_mix(&rng, d->s->alpha, classes, m->share, m->mix);
    for (uint64_t j = 0; j < d->size[k]; j++) {
      int c = draw_class(&rng, classes, m);
      d->owner[d->rest[m->next[c]++]] = k;
    }
  }
  return FC_ERR_OK;
}

static fc_err deal_dirichlet(deal *d) {
  mixer m = {0};
  size_t classes = (size_t)d->in->classes;
  fc_err err = FC_ERR_OK;
  FC_TRY_GOTO(err, fc_alloc(classes + 1, sizeof *m.first, &m.first), done);
  FC_TRY_GOTO(err, fc_alloc(classes + 1, sizeof *m.next, &m.next), done);
  FC_TRY_GOTO(err, fc_alloc(classes, sizeof *m.share, &m.share), done);
  FC_TRY_GOTO(err, fc_alloc(classes, sizeof *m.mix, &m.mix), done);
  FC_TRY_GOTO(err, fc_alloc(d->devices, sizeof *m.visit, &m.visit), done);
  err = deal_by_mix(d, &m);
done:
  fc_free(m.first);
  fc_free(m.next);
  fc_free(m.share);
  fc_free(m.mix);
  fc_free(m.visit);
  return err;
}

static fc_err deal_shards(deal *d) {
  uint64_t per = (uint64_t)d->s->shards_per_device, shards = per * d->devices;
  uint64_t least = d->n_rest / shards * per;
  FC_CHECK(shards <= UINT32_MAX && least >= (uint64_t)d->s->min_samples, USAGE,
           "data.split shards: %zu samples in %llu shards leave a device %llu samples, but "
           "data.min_samples is %lld; use fewer devices or a smaller data.shards_per_device",
           d->n_rest, (unsigned long long)shards, (unsigned long long)least,
           (long long)d->s->min_samples);
  size_t *first;
  uint32_t *shard = NULL;
  FC_TRY(fc_alloc((size_t)d->in->classes + 1, sizeof *first, &first));
  fc_err err = sort_by_class(d, first);
  fc_free(first);
  FC_TRY(err);
  FC_TRY(fc_alloc(shards, sizeof *shard, &shard));
  for (uint64_t i = 0; i < shards; i++) shard[i] = (uint32_t)(i / per); /* its device */
  fc_rng rng = stream(d, FC_SPLIT_MIX, 0);
  fc_rng_shuffle(&rng, shard, shards);
  for (uint64_t i = 0; i < shards; i++) {
    size_t from = (size_t)(i * d->n_rest / shards), to = (size_t)((i + 1) * d->n_rest / shards);
    for (size_t j = from; j < to; j++) d->owner[d->rest[j]] = shard[i];
  }
  fc_free(shard);
  return FC_ERR_OK;
}

static const struct {
  const char *name;
  bool labels;        /* needs them */
  bool unequal_sizes; /* Dirichlet(size_alpha) */
  fc_err (*deal)(deal *d);
} ways[] = {{"iid", false, false, deal_pieces},
            {"dirichlet", true, false, deal_dirichlet},
            {"sizes", false, true, deal_pieces},
            {"both", true, true, deal_dirichlet},
            {"shards", true, false, deal_shards}};
enum { WAYS = sizeof ways / sizeof *ways };

const char *fc_split_name(size_t i) {
  return i < WAYS ? ways[i].name : NULL;
}

/* ---- from owners to parts --------------------------------------------------------------------*/

static size_t test_part(const fc_split *s, uint64_t n) {
  uint64_t k = (uint64_t)(s->device_test_fraction * (double)n);
  return n == 0 ? 0 : (size_t)(k < n ? k : n - 1); /* at least one to train with */
}

/* Counting sort by owner; samples of a part come out ascending. */
static void collect(fc_split *s, const deal *d, size_t public_n) {
  uint64_t *next = s->start; /* becomes the starts shifted by one, and is shifted back below */
  size_t at_public = 0;
  memset(next, 0, ((size_t)s->devices + 1) * sizeof *next);
  for (size_t i = 0; i < d->in->n; i++)
    if (d->owner[i] < s->devices) next[d->owner[i] + 1]++;
  next[0] = public_n;
  for (uint32_t k = 0; k < s->devices; k++) next[k + 1] += next[k];
  for (size_t i = 0; i < d->in->n; i++) {
    uint32_t k = d->owner[i];
    if (k < s->devices)
      s->sample[next[k]++] = (uint32_t)i;
    else
      s->sample[at_public++] = (uint32_t)i;
  }
  memmove(s->start + 1, s->start, (size_t)s->devices * sizeof *s->start);
  s->start[0] = public_n;
  s->test_first = d->in->n;
  s->test = d->in->test;
  for (size_t i = 0; i < d->in->test; i++) s->sample[d->in->n + i] = (uint32_t)(d->in->n + i);
}

/* Within each device: its train samples first, then its test part, both ascending. `scratch` holds
 * the samples of the largest device. */
static void part_devices(fc_split *s, uint64_t seed, uint32_t *scratch) {
  for (uint32_t k = 0; k < s->devices; k++) {
    uint32_t *own = s->sample + s->start[k];
    size_t n = (size_t)(s->start[k + 1] - s->start[k]), need = test_part(s, n), kept = 0, put = 0;
    if (need == 0) continue;
    fc_rng rng = fc_rng_open(seed, FC_RNG_SPLIT, FC_SPLIT_DEVICE_TEST, k);
    for (size_t i = 0; i < n; i++) { /* selection sampling [Knuth2, 3.4.2 S] */
      if (fc_rng_below(&rng, n - i) < need - put)
        scratch[put++] = own[i];
      else
        own[kept++] = own[i];
    }
    memcpy(own + kept, scratch, put * sizeof *own);
  }
}

static fc_err finish(fc_split *s, const deal *d, size_t public_n) {
  collect(s, d, public_n);
  if (s->device_test_fraction <= 0.0) return FC_ERR_OK;
  uint64_t largest = 0;
  for (uint32_t k = 0; k < s->devices; k++)
    if (s->start[k + 1] - s->start[k] > largest) largest = s->start[k + 1] - s->start[k];
  uint32_t *scratch;
  FC_TRY(fc_alloc(largest, sizeof *scratch, &scratch));
  part_devices(s, d->seed, scratch);
  fc_free(scratch);
  return FC_ERR_OK;
}

/* ---- create ----------------------------------------------------------------------------------*/

static fc_err pick_public(deal *d, size_t public_n) {
  uint8_t *in_public;
  FC_TRY(fc_alloc(d->in->n, 1, &in_public));
  fc_rng rng = fc_rng_open(d->parts_seed, FC_RNG_PARTS, FC_PARTS_PUBLIC, 0);
  fc_err err =
      fc_pick_stratified(d->in->label, d->in->n, d->in->classes, public_n, &rng, in_public);
  d->n_rest = 0;
  for (size_t i = 0; err == FC_ERR_OK && i < d->in->n; i++) {
    d->owner[i] = d->devices;
    if (!in_public[i]) d->rest[d->n_rest++] = (uint32_t)i;
  }
  fc_free(in_public);
  return err;
}

static fc_err divide(fc_split *s, deal *d, size_t way, double public_fraction) {
  size_t public_n = (size_t)(public_fraction * (double)d->in->n + 0.5);
  FC_TRY(pick_public(d, public_n));
  fc_rng rng = stream(d, FC_SPLIT_ORDER, 0);
  fc_rng_shuffle(&rng, d->rest, d->n_rest);
  rng = stream(d, FC_SPLIT_SIZES, 0);
  FC_TRY(fc_split_sizes(ways[way].unequal_sizes ? d->s->size_alpha : 0.0, d->s->min_samples,
                        d->n_rest, &rng, d->devices, d->size));
  FC_TRY(ways[way].deal(d));
  return finish(s, d, public_n);
}

static fc_err check(const fc_split_settings *s, const fc_split_input *in, double public_fraction,
                    uint32_t devices, size_t *way) {
  for (*way = 0; *way < WAYS && strcmp(ways[*way].name, s->split) != 0;) ++*way;
  FC_CHECK(*way < WAYS, USAGE, "data.split = %s: must be iid, dirichlet, sizes, both or shards",
           s->split);
  FC_CHECK(
      !ways[*way].labels || in->classes > 0, USAGE,
      "data.split = %s divides by labels, and this dataset has none; allowed are iid and sizes",
      s->split);
  FC_CHECK(devices >= 1, USAGE, "population.devices is 0, must be at least 1");
  FC_CHECK(public_fraction >= 0.0 && public_fraction < 1.0, USAGE,
           "data.public_fraction = %g: must be 0 or more and below 1", public_fraction);
  FC_CHECK(s->device_test_fraction >= 0.0 && s->device_test_fraction < 1.0, USAGE,
           "data.device_test_fraction = %g: must be 0 or more and below 1",
           s->device_test_fraction);
  FC_CHECK(s->alpha > 0.0 || !ways[*way].labels || ways[*way].deal == deal_shards, USAGE,
           "data.alpha = %g: must be above 0", s->alpha);
  FC_CHECK(s->size_alpha > 0.0 || !ways[*way].unequal_sizes, USAGE,
           "data.size_alpha = %g: must be above 0", s->size_alpha);
  FC_CHECK(s->shards_per_device >= 1 || ways[*way].deal != deal_shards, USAGE,
           "data.shards_per_device = %d: must be at least 1", s->shards_per_device);
  FC_CHECK(in->n + in->test < UINT32_MAX, DATA, "%zu samples, allowed are %lu", in->n + in->test,
           (unsigned long)UINT32_MAX - 1);
  return FC_ERR_OK;
}

fc_err fc_split_labels(const fc_split_settings *s, const fc_split_input *in, double public_fraction,
                       uint64_t parts_seed, uint64_t seed, uint32_t devices, fc_split **out) {
  size_t way;
  fc_split *made = NULL;
  deal d = {.s = s, .in = in, .parts_seed = parts_seed, .seed = seed, .devices = devices};
  fc_err err = FC_ERR_OK;
  *out = NULL;
  FC_TRY(check(s, in, public_fraction, devices, &way));
  FC_TRY_GOTO(err, fc_alloc(1, sizeof *made, &made), done);
  made->devices = devices;
  made->device_test_fraction = s->device_test_fraction;
  FC_TRY_GOTO(err, fc_alloc(in->n + in->test, sizeof *made->sample, &made->sample), done);
  FC_TRY_GOTO(err, fc_alloc((size_t)devices + 1, sizeof *made->start, &made->start), done);
  FC_TRY_GOTO(err, fc_alloc(in->n, sizeof *d.rest, &d.rest), done);
  FC_TRY_GOTO(err, fc_alloc(in->n, sizeof *d.owner, &d.owner), done);
  FC_TRY_GOTO(err, fc_alloc(devices, sizeof *d.size, &d.size), done);
  err = divide(made, &d, way, public_fraction);
done:
  fc_free(d.rest);
  fc_free(d.owner);
  fc_free(d.size);
  if (err != FC_ERR_OK) fc_split_destroy(&made);
  *out = made;
  return err;
}

fc_err fc_split_create(const fc_split_settings *s, const fc_dataset *ds, double public_fraction,
                       uint64_t parts_seed, uint64_t seed, uint32_t devices, fc_split **out) {
  int32_t *label;
  *out = NULL;
  FC_TRY(fc_alloc(ds->train, sizeof *label, &label));
  for (size_t i = 0; i < ds->train; i++) label[i] = ds->rows.row[i].label;
  fc_split_input in = {
      .label = label, .n = ds->train, .test = ds->test, .classes = (int)ds->classes.n};
  fc_err err = fc_split_labels(s, &in, public_fraction, parts_seed, seed, devices, out);
  fc_free(label);
  return err;
}

void fc_split_destroy(fc_split **s) {
  if (*s == NULL) return;
  fc_free((*s)->sample);
  fc_free((*s)->start);
  fc_free(*s);
  *s = NULL;
}

size_t fc_split_bytes(const fc_split *s) {
  return sizeof *s + (s->test_first + s->test) * sizeof *s->sample +
         ((size_t)s->devices + 1) * sizeof *s->start;
}

const uint32_t *fc_split_device(const fc_split *s, uint32_t device, size_t *n) {
  assert(device < s->devices);
  uint64_t all = s->start[device + 1] - s->start[device];
  *n = (size_t)all - test_part(s, all);
  return s->sample + s->start[device];
}

const uint32_t *fc_split_device_test(const fc_split *s, uint32_t device, size_t *n) {
  assert(device < s->devices);
  uint64_t all = s->start[device + 1] - s->start[device];
  *n = test_part(s, all);
  return s->sample + s->start[device + 1] - *n;
}

const uint32_t *fc_split_public(const fc_split *s, size_t *n) {
  *n = (size_t)s->start[0];
  return s->sample;
}

const uint32_t *fc_split_test(const fc_split *s, size_t *n) {
  *n = s->test;
  return s->sample + s->test_first;
}
