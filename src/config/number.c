/* number.c - decimal text to int64 and double and back. One grammar for all numbers of a
 * configuration: [+-] digits [. digits] [e [+-] digits]; no hexadecimal, no underscores, no nan or
 * inf. The program stays in the "C" locale, so strtod and printf use a point. */
#include "config_private.h"
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char DIGITS[] = "0123456789";

/* The parts of a number; digits (before and after the point) are read in place. */
typedef struct {
  bool is_negative;
  const char *whole, *fraction;
  size_t n_whole, n_fraction;
  long exponent;
} decimal;

/* The exponent, saturated far beyond any number we can hold. False: no digits. */
static bool read_exponent(const char **s, long *out) {
  bool is_negative = **s == '-';
  if (**s == '-' || **s == '+') ++*s;
  if (!isdigit((unsigned char)**s)) return false;
  long e = 0;
  for (; isdigit((unsigned char)**s); ++*s) {
    if (e < 1000000000L) e = 10 * e + (**s - '0');
  }
  *out = is_negative ? -e : e;
  return true;
}

static bool read_decimal(const char *s, decimal *d) {
  memset(d, 0, sizeof *d);
  d->is_negative = *s == '-';
  if (*s == '-' || *s == '+') s++;
  d->whole = s;
  d->n_whole = strspn(s, DIGITS);
  s += d->n_whole;
  d->fraction = s;
  if (*s == '.') {
    d->fraction = ++s;
    d->n_fraction = strspn(s, DIGITS);
    s += d->n_fraction;
  }
  if (d->n_whole + d->n_fraction == 0) return false;
  if (*s == 'e' || *s == 'E') {
    s++;
    if (!read_exponent(&s, &d->exponent)) return false;
  }
  return *s == '\0';
}

static int digit_at(const decimal *d, size_t i) {
  return (i < d->n_whole ? d->whole[i] : d->fraction[i - d->n_whole]) - '0';
}

static bool is_zero(const decimal *d) {
  for (size_t i = 0; i < d->n_whole + d->n_fraction; i++) {
    if (digit_at(d, i) != 0) return false;
  }
  return true;
}

/* In integers from end to end: a detour over double would round beyond 2^53. */
fc_number_result fc_number_int(const char *text, int64_t *out) {
  decimal d;
  *out = 0;
  if (!read_decimal(text, &d)) return FC_NUMBER_NONE;
  if (is_zero(&d)) return FC_NUMBER_OK;
  size_t n = d.n_whole + d.n_fraction;
  long shift = d.exponent - (long)d.n_fraction; /* value = all digits * 10^shift */
  for (; shift < 0; shift++, n--) {
    if (n == 0 || digit_at(&d, n - 1) != 0) return FC_NUMBER_NOT_WHOLE;
  }
  int64_t value = 0;
  size_t n_all = n + (size_t)shift;
  for (size_t i = 0; i < n_all; i++) {
    int digit = i < n ? digit_at(&d, i) : 0;
    if (__builtin_mul_overflow(value, (int64_t)10, &value) ||
        __builtin_add_overflow(value, (int64_t)(d.is_negative ? -digit : digit), &value)) {
      return FC_NUMBER_TOO_LARGE; /* at the 20th digit at the latest, however long the text */
    }
  }
  *out = value;
  return FC_NUMBER_OK;
}

fc_number_result fc_number_real(const char *text, double *out) {
  decimal d;
  *out = 0.0;
  if (!read_decimal(text, &d)) return FC_NUMBER_NONE;
  double x = strtod(text, NULL);
  if (!isfinite(x)) return FC_NUMBER_TOO_LARGE;
  if (x == 0.0 && !is_zero(&d)) return FC_NUMBER_TOO_SMALL;
  *out = x;
  return FC_NUMBER_OK;
}

void fc_number_write(double x, char buf[FC_NUMBER_SIZE]) {
  for (int digits = 6; digits <= 17; digits++) {
    snprintf(buf, FC_NUMBER_SIZE, "%.*g", digits, x);
    if (strtod(buf, NULL) == x) break;
  }
  /* YAML 1.1 readers take 1e+09 for text; 1.0e+09 is a number to all. */
  char *e = strchr(buf, 'e');
  if (e && !memchr(buf, '.', (size_t)(e - buf))) {
    memmove(e + 2, e, strlen(e) + 1);
    memcpy(e, ".0", 2);
  }
}
