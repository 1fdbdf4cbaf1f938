/* oracle_weights.c - fedcell's model folders for test_weights_parity.py.
 *
 *   oracle_weights write FAMILY LABELS LM_HEAD FOLDER    a random model into FOLDER
 *   oracle_weights write FAMILY LABELS LM_HEAD FOLDER DTYPE        the same, as torch's DTYPE
 *   oracle_weights read LABELS FOLDER                    reads FOLDER
 *
 * Both put the model's tensors into FOLDER/tensors.safetensors as fedcell holds them: (rows, cols),
 * linear layers (out, in). Exit code 1 with a message when anything fails. */
#include "fedcell/fc_mem.h"
#include "fedcell/fc_safetensors.h"
#include "fedcell/fc_weights.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Small, and all sizes different, so that no transposition goes unseen. */
static fc_model_shape small_shape(const char *family, int labels, bool lm_head) {
  return (fc_model_shape){.arch = fc_arch_find(family),
                          .layers = 3,
                          .width = 24,
                          .heads = 4,
                          .ffn = 40,
                          .vocab = 61,
                          .positions = 20,
                          .labels = labels,
                          .lm_head = lm_head};
}

static fc_err dump(const fc_model *model, const float *weights, const char *folder) {
  size_t n = 0;
  char path[4096];
  fc_safetensor_source *sources = NULL;
  const fc_tensor *tensors = fc_model_tensors(model, &n);
  FC_TRY(fc_alloc(n, sizeof *sources, &sources));
  for (size_t i = 0; i < n; i++)
    sources[i] = (fc_safetensor_source){.name = tensors[i].name,
                                        .dims = 2,
                                        .shape = {tensors[i].rows, tensors[i].cols},
                                        .data = weights + tensors[i].offset};
  snprintf(path, sizeof path, "%s/tensors.safetensors", folder);
  fc_err err = fc_safetensors_write(path, sources, n, NULL);
  fc_free(sources);
  return err;
}

/* dtype: to write with; NULL: read. */
static fc_err with_model(fc_model_shape *shape, const char *folder, const fc_dtype *dtype) {
  fc_model *model = NULL;
  float *weights = NULL;
  FC_TRY(fc_model_shape_check(shape));
  FC_TRY(fc_model_create(shape, &model));
  fc_err err = fc_alloc(fc_model_weight_count(model), sizeof *weights, &weights);
  if (err == FC_ERR_OK && dtype) {
    fc_rng rng = fc_rng_open(7, FC_RNG_TEST, 0, 0);
    for (size_t i = 0; i < fc_model_weight_count(model); i++)
      weights[i] = (float)fc_rng_normal(&rng);
    err = fc_weights_write_as(model, weights, *dtype, folder);
  } else if (err == FC_ERR_OK) {
    err = fc_weights_read(model, folder, 1, weights);
  }
  if (err == FC_ERR_OK) err = dump(model, weights, folder);
  fc_free(weights);
  fc_model_destroy(&model);
  return err;
}

static fc_err run(int argc, char **argv) {
  fc_model_shape shape;
  fc_dtype dtype = FC_DTYPE_F32;
  if ((argc == 6 || argc == 7) && strcmp(argv[1], "write") == 0) {
    FC_CHECK(argc == 6 || fc_dtype_of_torch(argv[6], &dtype), USAGE, "no dtype %s", argv[6]);
    shape = small_shape(argv[2], atoi(argv[3]), atoi(argv[4]) != 0);
    return with_model(&shape, argv[5], &dtype);
  }
  FC_CHECK(argc == 4 && strcmp(argv[1], "read") == 0, USAGE, "wrong arguments");
  FC_TRY(fc_weights_read_shape(argv[3], atoi(argv[2]), &shape));
  return with_model(&shape, argv[3], NULL);
}

int main(int argc, char **argv) {
  fc_err err = run(argc, argv);
  if (err != FC_ERR_OK) fprintf(stderr, "oracle_weights: %s\n", fc_err_message());
  return err != FC_ERR_OK;
}
