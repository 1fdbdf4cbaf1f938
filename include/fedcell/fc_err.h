/* fc_err.h - how a failure is told.
 *
 * Whatever can fail returns an fc_err. The place that notices the failure calls fc_fail() (mostly
 * through FC_CHECK) with a message for the user: what, which value, what is allowed. Everyone above
 * passes the code on with FC_TRY. Only the application prints the message and exits.
 *
 *   FC_CHECK(rank >= 1, USAGE, "adapter.rank is %d, allowed is 1 to 1024", rank);
 *   FC_TRY(fc_lora_create(shape, key, &lora));
 *
 * FC_CHECK is for what a user can get wrong and is always on; assert() is for our own bugs.
 * The message is kept per thread; the latest one stands. In a parallel region each thread stores
 * its failure in a shared fc_err_carry, and the region's owner raises it afterwards. All Local. */
#ifndef FC_ERR_H
#define FC_ERR_H

#define FC_ERR_LIST(X)                                                                             \
  X(OK, "ok")                                                                                      \
  X(USAGE, "bad option or configuration")                                                          \
  X(DATA, "malformed data")                                                                        \
  X(IO, "file cannot be read or written")                                                          \
  X(NOMEM, "out of memory")                                                                        \
  X(SHAPE, "shapes do not fit")                                                                    \
  X(NUMERIC, "not a finite number")                                                                \
  X(PEER, "another rank failed")                                                                   \
  X(STOPPED, "stopped on request")

typedef enum {
#define FC_ERR_ENUM(id, text) FC_ERR_##id,
  FC_ERR_LIST(FC_ERR_ENUM)
#undef FC_ERR_ENUM
      FC_ERR_COUNT
} fc_err;

enum { FC_ERR_MESSAGE_SIZE = 2048 };

/* One line that names the kind of error, e.g. "malformed data". */
const char *fc_err_text(fc_err e);

/* Exit code of the program: 0 ok, 2 for what the user's input caused (USAGE, DATA, SHAPE),
 * 75 for STOPPED (EX_TEMPFAIL: requeue me), 1 for the rest. */
int fc_err_exit_code(fc_err e);

/* Records the message of this thread and returns e, so that `return fc_fail(...)` reads well. */
fc_err fc_fail(fc_err e, const char *format, ...) __attribute__((format(printf, 2, 3)));

#ifdef __clang_analyzer__
/* The static analyser does not see into fc_fail: told that what it returns is what it is given. */
#define fc_fail(e, ...) ((void)(fc_fail)((e), __VA_ARGS__), (e))
#endif

/* The latest message of this thread; "" if none. Borrowed, valid until the next fc_fail. */
const char *fc_err_message(void);

/* A failure on its way out of a parallel region. Zero-initialise; the first failure stays. */
typedef struct {
  fc_err err;
  char message[FC_ERR_MESSAGE_SIZE];
} fc_err_carry;

/* Thread-safe. Stores e with this thread's message if e is a failure and none is stored yet. */
void fc_err_carry_put(fc_err_carry *carry, fc_err e);
/* On the owning thread: makes the stored failure this thread's own and returns it. */
fc_err fc_err_carry_raise(const fc_err_carry *carry);

#define FC_CHECK(cond, ID, ...)                                                                    \
  do {                                                                                             \
    if (!(cond)) return fc_fail(FC_ERR_##ID, __VA_ARGS__);                                         \
  } while (0)

#define FC_TRY(call)                                                                               \
  do {                                                                                             \
    fc_err fc_e_ = (call);                                                                         \
    if (fc_e_ != FC_ERR_OK) return fc_e_;                                                          \
  } while (0)

/* As FC_TRY in a function that must clean up: keeps the code in `err` and jumps to `label`. */
#define FC_TRY_GOTO(err, call, label)                                                              \
  do {                                                                                             \
    (err) = (call);                                                                                \
    if ((err) != FC_ERR_OK) goto label;                                                            \
  } while (0)

#endif
