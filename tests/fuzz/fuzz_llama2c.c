/* Any bytes as a file of llama2.c, a model (first byte even) or a tokeniser (odd): no crash, no
 * leak; it is refused with a message, or every weight has its place, and text comes back as it was.
 */
#include "../../src/store/llama2c.h"
#include "../../src/text/llama2c_tokenizer.h"
#include "fedcell/fc_mem.h"
#include <stdlib.h>
#include <string.h>

static void require(int condition) {
  if (!condition) abort();
}

static void try_model(const uint8_t *bytes, size_t size) {
  fc_model_shape shape;
  fc_model *model = NULL;
  float *weights = NULL;
  fc_err err = fc_llama2c_parse_shape("fuzz", bytes, size, 0, &shape);
  if (err != FC_ERR_OK) {
    require(err == FC_ERR_DATA && strncmp(fc_err_message(), "fuzz: ", 6) == 0);
    return;
  }
  require(fc_model_create(&shape, &model) == FC_ERR_OK);
  size_t n = fc_model_weight_count(model);
  require(n <= size / sizeof(float));
  require(fc_alloc(n, sizeof *weights, &weights) == FC_ERR_OK);
  err = fc_llama2c_parse_weights(model, "fuzz", bytes, weights);
  require(err == FC_ERR_OK || err == FC_ERR_NUMERIC);
  fc_free(weights);
  fc_model_destroy(&model);
}

static void try_tokenizer(const uint8_t *bytes, size_t size) {
  static const char text[] = "Once upon a time, \xC3\xA9\xF0\x9F\x98\x80\xFF\n";
  fc_text_file file = {"fuzz", {(const char *)bytes, size}};
  fc_tokenizer *tok = NULL;
  fc_tokens ids = {0};
  char *back = NULL;
  fc_err err = fc_llama2c_tokenizer_parse(&file, &tok);
  if (err != FC_ERR_OK) {
    require(err == FC_ERR_DATA && !tok && strncmp(fc_err_message(), "fuzz: ", 6) == 0);
    return;
  }
  require(fc_tokenizer_encode(tok, text, sizeof text - 1, &ids) == FC_ERR_OK);
  for (size_t i = 0; i < ids.n; i++)
    require(ids.id[i] >= 0 && ids.id[i] < fc_tokenizer_vocab_size(tok));
  require(fc_tokenizer_decode(tok, ids.id, ids.n, &back) == FC_ERR_OK);
  fc_free(back);
  fc_tokens_free(&ids);
  fc_tokenizer_destroy(&tok);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
  if (size == 0) return 0;
  (bytes[0] % 2 ? try_tokenizer : try_model)(bytes + 1, size - 1);
  return 0;
}
