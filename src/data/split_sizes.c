/* split_sizes.c - how many samples each device gets, and a stratified draw (see split.h). */
#include "dataset.h"
#include "fedcell/fc_mem.h"
#include "split.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* Largest remainders: share (n), summing to 1, of `total`, as whole numbers that sum to it. The
 * devices whose exact number was cut most get one more; ties go to the lower number. */
typedef struct {
  double lost;
  uint32_t index;
} remainder_of;

static int most_lost_first(const void *a, const void *b) {
  const remainder_of *x = a, *y = b;
  if (x->lost != y->lost) return x->lost > y->lost ? -1 : 1;
  return (x->index > y->index) - (x->index < y->index);
}

static fc_err apportion(const double *share, uint64_t total, uint32_t n, uint64_t *size) {
  remainder_of *r;
  uint64_t given = 0;
  FC_TRY(fc_alloc(n, sizeof *r, &r));
  for (uint32_t k = 0; k < n; k++) {
    double exact = share[k] * (double)total;
    size[k] = (uint64_t)exact;
    if (size[k] > total - given) size[k] = total - given; /* rounding of the shares' sum */
    given += size[k];
    r[k] = (remainder_of){exact - (double)size[k], k};
  }
  qsort(r, n, sizeof *r, most_lost_first);
  for (uint32_t k = 0; given < total; k = (k + 1) % n, given++) size[r[k].index]++;
  fc_free(r);
  return FC_ERR_OK;
}

static uint64_t above(const uint64_t *size, uint32_t n, uint64_t level) {
  uint64_t sum = 0;
  for (uint32_t k = 0; k < n; k++)
    if (size[k] > level) sum += size[k] - level;
  return sum;
}

/* Raises everybody to `least`; what that takes comes off the largest, which are cut to a common
 * level (found by halving), the lowest numbers keeping one more where it does not divide. */
static void raise_small(uint64_t *size, uint32_t n, uint64_t least) {
  uint64_t need = 0, low = least, high = least;
  for (uint32_t k = 0; k < n; k++) {
    if (size[k] < least) {
      need += least - size[k];
      size[k] = least;
    }
    if (size[k] > high) high = size[k];
  }
  if (need == 0) return;
  while (low < high) { /* the highest level with above(level) >= need */
    uint64_t middle = high - (high - low) / 2;
    if (above(size, n, middle) >= need)
      low = middle;
    else
      high = middle - 1;
  }
  uint64_t spare = above(size, n, low) - need;
  for (uint32_t k = 0; k < n; k++) {
    if (size[k] <= low) continue;
    size[k] = low + (spare > 0 ? 1 : 0);
    if (spare > 0) spare--;
  }
  assert(spare == 0);
}

fc_err fc_split_sizes(double alpha, int64_t min_samples, uint64_t total, fc_rng *rng,
                      uint32_t devices, uint64_t *size) {
  uint64_t least = min_samples > 0 ? (uint64_t)min_samples : 0;
  FC_CHECK(
      least <= total / devices, USAGE,
      "%lu devices with data.min_samples = %lld each need %.0f samples, but only %llu are left "
      "for them",
      (unsigned long)devices, (long long)min_samples, (double)least * devices,
      (unsigned long long)total);
  if (alpha <= 0.0) {
    for (uint32_t k = 0; k < devices; k++) size[k] = total / devices + (k < total % devices);
    return FC_ERR_OK;
  }
  double *share;
  FC_TRY(fc_alloc(devices, sizeof *share, &share));
  fc_rng_dirichlet(rng, alpha, devices, share);
  fc_err err = apportion(share, total, devices, size);
  fc_free(share);
  FC_TRY(err);
  raise_small(size, devices, least);
  return FC_ERR_OK;
}

fc_err fc_pick_stratified(const int32_t *label, size_t n, int classes, size_t k, fc_rng *rng,
                          uint8_t *out) {
  uint32_t groups = label == NULL || classes < 1 ? 1 : (uint32_t)classes;
  double *share = NULL;
  uint64_t *need = NULL, *left = NULL; /* to pick, and not yet seen, of each class */
  fc_err err = FC_ERR_OK;
  assert(k <= n);
  memset(out, 0, n);
  if (n == 0) return FC_ERR_OK;
  FC_TRY_GOTO(err, fc_alloc(groups, sizeof *share, &share), done);
  FC_TRY_GOTO(err, fc_alloc(groups, sizeof *need, &need), done);
  FC_TRY_GOTO(err, fc_alloc(groups, sizeof *left, &left), done);
  for (size_t i = 0; i < n; i++) left[groups == 1 ? 0 : label[i]]++;
  for (uint32_t c = 0; c < groups; c++) share[c] = (double)left[c] / (double)n;
  FC_TRY_GOTO(err, apportion(share, k, groups, need), done);
  for (size_t i = 0; i < n; i++) { /* selection sampling [Knuth2, 3.4.2 S], a class at a time */
    uint32_t c = groups == 1 ? 0 : (uint32_t)label[i];
    if (fc_rng_below(rng, left[c]--) >= need[c]) continue;
    need[c]--;
    out[i] = 1;
  }
done:
  fc_free(share);
  fc_free(need);
  fc_free(left);
  return err;
}
