/* utf8.c - UTF-8 decoding with replacement, encoding, white space. */
#include "utf8.h"
#include <string.h>

/* What may follow a first byte beyond ASCII: number of continuation bytes and the range of the
 * second byte, which excludes overlong forms, surrogates and what lies beyond U+10FFFF [Unicode 15,
 * table 3-7]. All later bytes are 80..BF. */
typedef struct {
  uint8_t first_low, first_high, following, second_low, second_high, payload_mask;
} utf8_form;

static const utf8_form forms[] = {
    {0xC2, 0xDF, 1, 0x80, 0xBF, 0x1F}, {0xE0, 0xE0, 2, 0xA0, 0xBF, 0x0F},
    {0xE1, 0xEC, 2, 0x80, 0xBF, 0x0F}, {0xED, 0xED, 2, 0x80, 0x9F, 0x0F},
    {0xEE, 0xEF, 2, 0x80, 0xBF, 0x0F}, {0xF0, 0xF0, 3, 0x90, 0xBF, 0x07},
    {0xF1, 0xF3, 3, 0x80, 0xBF, 0x07}, {0xF4, 0xF4, 3, 0x80, 0x8F, 0x07},
};

static const utf8_form *form_of(uint8_t first) {
  for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++)
    if (first >= forms[i].first_low && first <= forms[i].first_high) return &forms[i];
  return NULL;
}

int32_t fc_utf8_next(const char *text, size_t n, size_t *at) {
  uint8_t first = (uint8_t)text[(*at)++];
  if (first < 0x80) return first;
  const utf8_form *form = form_of(first);
  if (!form) return -1;
  int32_t code_point = first & form->payload_mask;
  for (int i = 0; i < form->following; i++) {
    if (*at >= n) return -1;
    uint8_t byte = (uint8_t)text[*at];
    uint8_t low = i == 0 ? form->second_low : 0x80, high = i == 0 ? form->second_high : 0xBF;
    if (byte < low || byte > high) return -1;
    code_point = code_point << 6 | (byte & 0x3F);
    (*at)++;
  }
  return code_point;
}

size_t fc_utf8_put(int32_t code_point, char out[FC_UTF8_MAX]) {
  uint32_t c = (uint32_t)code_point;
  if (c < 0x80) {
    out[0] = (char)c;
    return 1;
  }
  size_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
  static const uint8_t lead[] = {0, 0, 0xC0, 0xE0, 0xF0};
  for (size_t i = n - 1; i > 0; i--, c >>= 6) out[i] = (char)(0x80 | (c & 0x3F));
  out[0] = (char)(lead[n] | c);
  return n;
}

/* Length of the pure ASCII start of the text. */
static size_t ascii_prefix(const char *text, size_t n) {
  size_t i = 0;
  for (uint64_t eight; i + sizeof eight <= n; i += sizeof eight) {
    memcpy(&eight, text + i, sizeof eight);
    if (eight & UINT64_C(0x8080808080808080)) break;
  }
  while (i < n && (uint8_t)text[i] < 0x80) i++;
  return i;
}

bool fc_utf8_is_valid(const char *text, size_t n) {
  for (size_t i = 0; i < n;) {
    i += ascii_prefix(text + i, n - i);
    if (i < n && fc_utf8_next(text, n, &i) < 0) return false;
  }
  return true;
}

fc_err fc_utf8_repair(fc_text text, fc_buffer *scratch, fc_text *out) {
  *out = text;
  if (fc_utf8_is_valid(text.text, text.length)) return FC_ERR_OK;
  scratch->size = 0;
  for (size_t i = 0; i < text.length;) {
    size_t begin = i;
    if (fc_utf8_next(text.text, text.length, &i) >= 0)
      FC_TRY(fc_buffer_add(scratch, text.text + begin, i - begin));
    else
      FC_TRY(fc_buffer_add(scratch, "\xEF\xBF\xBD", 3)); /* U+FFFD */
  }
  *out = (fc_text){scratch->data, scratch->size};
  return FC_ERR_OK;
}

bool fc_utf8_is_space(int32_t c) {
  if (c <= 0x20) return c == 0x20 || (c >= 0x09 && c <= 0x0D);
  if (c < 0x1680) return c == 0x85 || c == 0xA0;
  return c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F ||
         c == 0x205F || c == 0x3000;
}
