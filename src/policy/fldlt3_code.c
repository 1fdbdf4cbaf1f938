/* fldlt3_code.c - states as rows of numbers, rows of numbers as choices. */
#include "fedcell/fc_mem.h"
#include "fldlt3.h"
#include <math.h>

int fc_fldlt3_states(int devices) {
  return FC_FLDLT3_OF_DEVICE * devices + FC_FLDLT3_KINDS - FC_FLDLT3_OF_DEVICE;
}

int fc_fldlt3_actions(int devices) {
  return 3 * devices;
}

/* ---- states ---------------------------------------------------------------------------------- */

/* What hardly varied in the recordings, where a tool allocates, may vary much where this agent
 * does: no number becomes so large that it drowns the others. */
static const double LEAST_DEVIATION = 0.1, LARGEST = 5;

/* NaN stays. */
static double within(double x, double least, double most) {
  return x < least ? least : x > most ? most : x;
}

/* Of energies: a device that cannot meet the deadline has infinity. */
static double log_energy(double energy_j) {
  return log(within(energy_j, 1e-9, 1e3));
}

/* x (7 N + 2), not standardised. */
static void look(const fc_fl_state *s, int64_t rounds, double *x) {
  for (int n = 0; n < s->devices; n++) {
    *x++ = log(within(s->samples[n], 1, 1e18));
    *x++ = log(s->gain[n]);
    *x++ = 1e-9 * s->f_max_hz[n];
    *x++ = log(s->p_max_w[n]);
    *x++ = s->loss[n];
    *x++ = log_energy(s->com_j[n]);
    *x++ = log_energy(s->cmp_j[n]);
  }
  *x++ = s->accuracy;
  *x = (double)s->round / (double)rounds;
}

/* Of number i of a state. */
static int kind_of(int devices, int i) {
  const int of_devices = FC_FLDLT3_OF_DEVICE * devices;
  return i < of_devices ? i % FC_FLDLT3_OF_DEVICE : FC_FLDLT3_OF_DEVICE + i - of_devices;
}

/* Running moments: *mean, and in *squares the sum of squared gaps, of n values with x the n-th. */
static void add(double x, int64_t n, double *mean, double *squares) {
  const double gap = x - *mean;
  *mean += gap / (double)n;
  *squares += gap * (x - *mean);
}

static fc_err fit(const fc_scenario *s, const fc_trajectories *t, fc_fl_state *state, double *x,
                  fc_fldlt3_code *c) {
  const int S = fc_fldlt3_states(c->devices);
  int64_t seen[FC_FLDLT3_KINDS] = {0};
  for (int i = 0; i < t->n; i++)
    for (int64_t round = 1; round <= t->rounds; round++) {
      FC_TRY(fc_trajectories_state(t, s, i, round, state));
      look(state, c->rounds, x);
      for (int k = 0; k < S; k++) {
        const int kind = kind_of(c->devices, k);
        add(x[k], ++seen[kind], &c->mean[kind], &c->deviation[kind]);
      }
    }
  for (int kind = 0; kind < FC_FLDLT3_KINDS; kind++) {
    const double deviation = sqrt(c->deviation[kind] / (double)seen[kind]);
    FC_CHECK(isfinite(deviation), NUMERIC, "the recorded states' deviation %d is %g", kind,
             deviation);
    c->deviation[kind] = within(deviation, LEAST_DEVIATION, INFINITY);
  }
  return FC_ERR_OK;
}

fc_err fc_fldlt3_code_fit(const fc_scenario *s, const fc_trajectories *t, int64_t rounds,
                          fc_fldlt3_code *c) {
  fc_fl_state *state = NULL;
  double *x = NULL;
  *c = (fc_fldlt3_code){.devices = fc_scenario_settings(s)->devices, .rounds = rounds};
  FC_CHECK(t->n >= 1, DATA, "there are no trajectories to standardise states by");
  fc_err err = fc_fl_state_create(s, &state);
  if (err == FC_ERR_OK) err = fc_alloc((size_t)fc_fldlt3_states(c->devices), sizeof *x, &x);
  if (err == FC_ERR_OK) err = fit(s, t, state, x, c);
  fc_free(x);
  fc_fl_state_destroy(&state);
  return err;
}

fc_err fc_fldlt3_encode(const fc_fldlt3_code *c, const fc_fl_state *state, double *room, float *x) {
  const int S = fc_fldlt3_states(c->devices);
  look(state, c->rounds, room);
  for (int i = 0; i < S; i++) {
    const int kind = kind_of(c->devices, i);
    x[i] = (float)within((room[i] - c->mean[kind]) / c->deviation[kind], -LARGEST, LARGEST);
    FC_CHECK(isfinite(x[i]), NUMERIC, "number %d of the state before round %lld is %g", i,
             (long long)state->round, room[i]);
  }
  return FC_ERR_OK;
}

/* ---- choices --------------------------------------------------------------------------------- */

/* [-1, 1] to (0, max]: nothing at all would take forever. */
static double part(double max, float action) {
  const double least = 1e-3;
  return max * within(least + (1 - least) * (1 + (double)action) / 2, least, 1);
}

void fc_fldlt3_decide(const fc_fl_state *state, const float *action, fc_choice *choice) {
  const int N = state->devices;
  int selected = 0, largest = 0;
  for (int n = 0; n < N; n++) {
    choice->select[n] = action[n] > 0;
    selected += choice->select[n];
    if (action[n] > action[largest]) largest = n;
    choice->power_w[n] = part(state->p_max_w[n], action[N + n]);
    choice->frequency_hz[n] = part(state->f_max_hz[n], action[2 * N + n]);
  }
  if (selected == 0) choice->select[largest] = 1;
  choice->invalid = false;
}
