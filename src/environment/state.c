/* state.c - memory of states and services: a struct and its arrays in one allocation. */
#include "environment.h"
#include "fedcell/fc_mem.h"
#include <math.h>
#include <stddef.h>
#include <string.h>

static const size_t state_arrays[] = {
    offsetof(fc_fl_state, gain),       offsetof(fc_fl_state, com_j),
    offsetof(fc_fl_state, cmp_j),      offsetof(fc_fl_state, loss),
    offsetof(fc_fl_state, local_loss), offsetof(fc_fl_state, alignment),
    offsetof(fc_fl_state, same_sign),  offsetof(fc_fl_state, loss_rms)};
static const size_t service_arrays[] = {
    offsetof(fc_service, frequency_hz), offsetof(fc_service, power_w),
    offsetof(fc_service, bandwidth_hz), offsetof(fc_service, device_time_s),
    offsetof(fc_service, com_j),        offsetof(fc_service, cmp_j)};
enum {
  STATE_ARRAYS = sizeof state_arrays / sizeof *state_arrays,
  SERVICE_ARRAYS = sizeof service_arrays / sizeof *service_arrays
};

static double **array_at(void *owner, size_t offset) {
  return (double **)((char *)owner + offset);
}

/* A struct of `bytes`, n doubles for each of its `arrays`, and `tail` bytes, which *end points to.
 */
static fc_err create(size_t bytes, const size_t *offset, int arrays, size_t n, size_t tail,
                     void **out, double **end) {
  char *memory;
  const size_t head = fc_slab_round(bytes);
  *out = NULL;
  FC_TRY(fc_alloc(head + (size_t)arrays * n * sizeof(double) + tail, 1, &memory));
  double *at = (double *)(memory + head);
  for (int i = 0; i < arrays; i++, at += n) *array_at(memory, offset[i]) = at;
  *out = memory;
  if (end) *end = at;
  return FC_ERR_OK;
}

fc_err fc_fl_state_create(const fc_scenario *s, fc_fl_state **out) {
  void *made;
  *out = NULL;
  FC_TRY(create(sizeof **out, state_arrays, STATE_ARRAYS, (size_t)s->set.devices, 0, &made, NULL));
  *out = made;
  (*out)->devices = s->set.devices;
  (*out)->f_max_hz = s->f_max_hz;
  (*out)->p_max_w = s->p_max_w;
  (*out)->samples = s->samples;
  fc_fl_state_no_participants(*out);
  return FC_ERR_OK;
}

void fc_fl_state_destroy(fc_fl_state **state) {
  fc_free(*state);
  *state = NULL;
}

void fc_fl_state_no_participants(fc_fl_state *state) {
  for (int n = 0; n < state->devices; n++)
    state->local_loss[n] = state->alignment[n] = state->same_sign[n] = state->loss_rms[n] = NAN;
}

void fc_fl_state_copy(fc_fl_state *to, const fc_fl_state *from) {
  fc_fl_state arrays = *to; /* keeps its own */
  *to = *from;
  for (int i = 0; i < STATE_ARRAYS; i++) {
    double *own = *array_at(&arrays, state_arrays[i]);
    memcpy(own, *array_at(to, state_arrays[i]), (size_t)from->devices * sizeof *own);
    *array_at(to, state_arrays[i]) = own;
  }
}

fc_err fc_service_create(int devices, fc_service **out) {
  void *made;
  double *end;
  const size_t n = (size_t)devices;
  *out = NULL;
  FC_TRY(create(sizeof **out, service_arrays, SERVICE_ARRAYS, n, n, &made, &end));
  *out = made;
  (*out)->takes_part = (uint8_t *)end;
  return FC_ERR_OK;
}

void fc_service_destroy(fc_service **s) {
  fc_free(*s);
  *s = NULL;
}
