/* progress.c - how far a run is: one live line on a terminal, plain lines every so often elsewhere.
 */
#include "app.h"
#include "fedcell/fc_timer.h"
#include <math.h>
#include <string.h>
#include <unistd.h>

void fc_progress_begin(fc_progress *p, bool quiet) {
  *p = (fc_progress){.start_s = fc_wall_time_s(), .live = isatty(STDERR_FILENO), .quiet = quiet};
}

static void time_left(const fc_progress *p, const fc_round_report *r, double now, char *out) {
  int64_t done = r->round - p->first;
  if (done <= 0)
    snprintf(out, FC_HUMAN, "?");
  else
    fc_app_human_time(out, (now - p->start_s) / (double)done * (double)(r->rounds - r->round));
}

static void one_line(const fc_progress *p, const fc_round_report *r, double now, char *line,
                     size_t size) {
  char sim[FC_HUMAN], energy[FC_HUMAN], rate[FC_HUMAN], left[FC_HUMAN];
  time_left(p, r, now, left);
  fc_app_human_time(sim, r->sim_time_s);
  fc_app_human(energy, r->total_energy_j, "J");
  fc_app_human(rate, r->wall_time_s > 0 ? r->tokens / r->wall_time_s : 0.0, "tokens/s");
  int n = snprintf(line, size, "round %lld/%lld", (long long)r->round, (long long)r->rounds);
  if (r->round > 0 && !isnan(r->train_loss))
    n += snprintf(line + n, size - (size_t)n, "  train %.4f", r->train_loss);
  if (!isnan(r->test_loss)) n += snprintf(line + n, size - (size_t)n, "  test %.4f", r->test_loss);
  if (!isnan(r->test_accuracy))
    n += snprintf(line + n, size - (size_t)n, "  accuracy %.2f %%", 100 * r->test_accuracy);
  n += snprintf(line + n, size - (size_t)n, "  simulated %s  %s", sim, energy);
  if (r->tokens > 0) n += snprintf(line + n, size - (size_t)n, "  %s", rate);
  snprintf(line + n, size - (size_t)n, "  %s left", left);
}

void fc_progress_round(void *progress, const fc_round_report *r) {
  fc_progress *p = progress;
  double now = fc_wall_time_s();
  if (!p->begun) {
    /* the clock of the time left starts once the first report has come */
    p->first = r->round;
    p->start_s = now;
    p->begun = true;
  }
  bool last = r->round >= r->rounds, due = now - p->told_s >= (p->live ? 0.2 : 5.0);
  if (p->quiet || !(due || last || r->round == p->first)) return;
  p->told_s = now;
  char line[512];
  one_line(p, r, now, line, sizeof line);
  fc_app_note(p->live ? "\r\033[K%s" : "%s\n", line);
}

void fc_progress_end(fc_progress *p) {
  if (p->live && !p->quiet && p->begun) fc_app_note("\n");
}
