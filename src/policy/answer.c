/* answer.c - which devices an answer names.
 *
 * Any words around a list of numbers will do. What could be something else than a device's number
 * makes the whole answer invalid: a sign, a decimal point, a range, an exponent, a unit. */
#include "fedcell/fc_llm.h"
#include <ctype.h>
#include <string.h>

static bool is_letter(char c) {
  return isalpha((unsigned char)c) || c == '_' || (unsigned char)c >= 0x80;
}

static bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

/* Whether the digits [first, next) can be a number of a list. */
static bool stands_alone(const char *text, const char *first, const char *next) {
  bool is_signed = first > text && strchr("+-", first[-1]) != NULL;
  bool is_fraction = first > text + 1 && first[-1] == '.' && is_digit(first[-2]);
  bool is_range = *next == '-' || *next == '+';
  return !is_signed && !is_fraction && !is_range && !is_letter(*next);
}

/* Past `devices` for any larger number. */
static int number_of(const char *first, const char *next, int devices) {
  int64_t x = 0;
  for (; first < next && x <= devices; first++) x = 10 * x + (*first - '0');
  return (int)x;
}

static bool read_list(const char *text, int devices, uint8_t *select) {
  int named = 0;
  for (const char *c = text; *c;) {
    const char *first = c;
    while (is_digit(*c)) c++;
    if (c == first) {
      c++;
      continue;
    }
    int device = number_of(first, c, devices);
    if (!stands_alone(text, first, c) || device < 1 || device > devices) return false;
    if (select[device - 1]) return false;
    select[device - 1] = 1;
    named++;
  }
  return named > 0;
}

bool fc_answer_read(const char *text, int devices, uint8_t *select) {
  memset(select, 0, (size_t)devices);
  bool valid = read_list(text, devices, select);
  if (!valid) memset(select, 0, (size_t)devices);
  return valid;
}
