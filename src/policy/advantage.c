/* advantage.c - how much better than expected an answer was: GRPO's normalised returns
 * [TELLM (30)], PPO's generalised advantage estimation [Schulman+ 2016, (16)]. */
#include "objective.h"
#include <math.h>
#include <string.h>

static fc_err check_finite(fc_episodes of, const double *x, const char *what) {
  for (int e = 0; e < of.episodes; e++)
    for (int64_t t = 0; t < of.rounds; t++)
      FC_CHECK(isfinite(x[e * of.rounds + t]), NUMERIC, "the %s of episode %d in round %lld is %g",
               what, e, (long long)(t + 1), x[e * of.rounds + t]);
  return FC_ERR_OK;
}

typedef struct {
  double mean, deviation;
} moments;

/* Of n values `stride` apart. Two passes, so that equal values have deviation 0 up to rounding. */
static moments moments_of(const double *x, int64_t n, int64_t stride) {
  moments m = {0};
  double squares = 0;
  for (int64_t i = 0; i < n; i++) m.mean += x[i * stride] / (double)n;
  for (int64_t i = 0; i < n; i++) {
    double gap = x[i * stride] - m.mean;
    squares += gap * gap;
  }
  m.deviation = sqrt(squares / (double)n);
  return m;
}

static bool all_alike(fc_episodes of, const double *x) {
  for (int e = 1; e < of.episodes; e++)
    if (x[e * of.rounds] != x[0]) return false;
  return true;
}

/* One round of all episodes. */
static bool normalise_round(fc_episodes of, const double *reward, bool divide, double *normalised) {
  bool alike = all_alike(of, reward);
  moments m = moments_of(reward, of.episodes, of.rounds);
  double unit = divide ? m.deviation + 1e-6 : 1.0;
  for (int e = 0; e < of.episodes; e++) {
    int64_t i = e * of.rounds;
    normalised[i] = alike ? 0.0 : (reward[i] - m.mean) / unit;
  }
  return alike;
}

fc_err fc_advantage_group(fc_episodes of, const double *reward, bool divide, double gamma,
                          double *advantage, uint8_t *alike) {
  FC_TRY(check_finite(of, reward, "reward"));
  for (int64_t t = 0; t < of.rounds; t++)
    alike[t] = normalise_round(of, reward + t, divide, advantage + t);
  for (int e = 0; e < of.episodes; e++) {
    double *a = advantage + e * of.rounds;
    for (int64_t t = of.rounds - 2; t >= 0; t--) a[t] += gamma * a[t + 1];
  }
  return FC_ERR_OK;
}

fc_err fc_advantage_gae(fc_episodes of, const double *reward, const double *value, double gamma,
                        double lambda, double *advantage, double *returns) {
  FC_TRY(check_finite(of, reward, "reward"));
  FC_TRY(check_finite(of, value, "value"));
  for (int e = 0; e < of.episodes; e++) {
    double next_value = 0, next_advantage = 0;
    for (int64_t i = (e + 1) * of.rounds - 1; i >= e * of.rounds; i--) {
      double delta = reward[i] + gamma * next_value - value[i];
      advantage[i] = next_advantage = delta + gamma * lambda * next_advantage;
      next_value = value[i];
      returns[i] = advantage[i] + value[i];
    }
  }
  return FC_ERR_OK;
}

void fc_advantage_normalise(double *x, int64_t n) {
  moments m = moments_of(x, n, 1);
  for (int64_t i = 0; i < n; i++) x[i] = (x[i] - m.mean) / (m.deviation + 1e-8);
}

int64_t fc_advantage_keep(fc_episodes of, const double *advantage, uint8_t *keep) {
  int64_t kept = 0;
  for (int64_t t = 0; t < of.rounds; t++) {
    bool teaches = !all_alike(of, advantage + t);
    for (int e = 0; e < of.episodes; e++) keep[e * of.rounds + t] = teaches;
    if (teaches) kept += of.episodes;
  }
  return kept;
}
