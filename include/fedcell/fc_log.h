/* fc_log.h - what a room tells the user without printing.
 *
 * Rooms call fc_log(); only the application decides where it goes (rank 0's stderr, nothing on
 * other ranks). Without a sink messages are dropped, which suits tests. Local, thread-safe. */
#ifndef FC_LOG_H
#define FC_LOG_H

typedef enum { FC_LOG_DEBUG, FC_LOG_INFO, FC_LOG_WARNING } fc_log_level;
typedef void (*fc_log_sink)(fc_log_level level, const char *message);

void fc_log_set_sink(fc_log_sink sink);
void fc_log(fc_log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
