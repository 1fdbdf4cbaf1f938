/* Any text as a policy's answer: no crash; what is read names devices in range, at least one, and
 * an invalid answer none. The first byte is the number of devices. */
#include "fedcell/fc_llm.h"
#include <stdlib.h>
#include <string.h>

static void require(int condition) {
  if (!condition) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size == 0) return 0;
  int devices = 1 + data[0], named = 0;
  uint8_t select[257];
  char *text = malloc(size);
  require(text != NULL);
  memcpy(text, data + 1, size - 1);
  text[size - 1] = '\0';
  memset(select, 7, sizeof select);
  bool valid = fc_answer_read(text, devices, select);
  for (int n = 0; n < devices; n++) {
    require(select[n] <= 1);
    named += select[n];
  }
  require(valid == (named > 0));
  require(select[devices] == 7);
  free(text);
  return 0;
}
