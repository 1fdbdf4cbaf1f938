/* fc_timer.h - the wall clock. Never mixed with the simulated clock (sim_time_s). Local. */
#ifndef FC_TIMER_H
#define FC_TIMER_H

/* Monotonic seconds since an arbitrary start. */
double fc_wall_time_s(void);
/* CPU seconds of this process, all threads. */
double fc_cpu_time_s(void);
/* Largest resident set of this process so far, bytes (getrusage). */
double fc_peak_resident_bytes(void);

#endif
