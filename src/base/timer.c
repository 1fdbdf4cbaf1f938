/* timer.c - wall clock, CPU time, peak resident memory. */
#include "fedcell/fc_timer.h"
#include <sys/resource.h>
#include <time.h>

static double seconds(clockid_t clock) {
  struct timespec t;
  clock_gettime(clock, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

double fc_wall_time_s(void) {
  return seconds(CLOCK_MONOTONIC);
}

double fc_cpu_time_s(void) {
  return seconds(CLOCK_PROCESS_CPUTIME_ID);
}

double fc_peak_resident_bytes(void) {
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return 1024.0 * (double)usage.ru_maxrss; /* Linux counts in KiB */
}
