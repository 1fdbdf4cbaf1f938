/* err.c - error codes, their texts, and the message of the thread's latest failure. */
#include "fedcell/fc_err.h"
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static _Thread_local char message[FC_ERR_MESSAGE_SIZE];
static pthread_mutex_t carry_lock = PTHREAD_MUTEX_INITIALIZER;

const char *fc_err_text(fc_err e) {
  static const char *const texts[] = {
#define FC_ERR_TEXT(id, text) text,
      FC_ERR_LIST(FC_ERR_TEXT)
#undef FC_ERR_TEXT
  };
  return e < FC_ERR_COUNT ? texts[e] : "unknown error";
}

int fc_err_exit_code(fc_err e) {
  switch (e) {
  case FC_ERR_OK:
    return 0;
  case FC_ERR_USAGE:
  case FC_ERR_DATA:
  case FC_ERR_SHAPE:
    return 2;
  case FC_ERR_STOPPED:
    return 75;
  default:
    return 1;
  }
}

/* In brackets: for the static analyser fc_fail is a macro. */
fc_err(fc_fail)(fc_err e, const char *format, ...) {
  /* A message may quote the previous one, so it is built aside first. */
  char next[FC_ERR_MESSAGE_SIZE];
  va_list args;
  va_start(args, format);
  vsnprintf(next, sizeof next, format, args);
  va_end(args);
  memcpy(message, next, sizeof message);
  return e;
}

const char *fc_err_message(void) {
  return message;
}

void fc_err_carry_put(fc_err_carry *carry, fc_err e) {
  if (e == FC_ERR_OK) return;
  pthread_mutex_lock(&carry_lock);
  if (carry->err == FC_ERR_OK) {
    carry->err = e;
    memcpy(carry->message, message, sizeof message);
  }
  pthread_mutex_unlock(&carry_lock);
}

fc_err fc_err_carry_raise(const fc_err_carry *carry) {
  return carry->err == FC_ERR_OK ? FC_ERR_OK : fc_fail(carry->err, "%s", carry->message);
}
