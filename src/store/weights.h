/* weights.h - what the weight files of this room share. */
#ifndef FC_STORE_WEIGHTS_H
#define FC_STORE_WEIGHTS_H

#include "fedcell/fc_safetensors.h"
#include "fedcell/fc_weights.h"

/* Local. A model that is one file: llama2.c's. */
bool fc_weights_is_file(const char *path);
/* Local. Writes config.json; dtype: that of the weights. */
fc_err fc_weights_write_shape(const fc_model_shape *shape, fc_dtype dtype, const char *folder);
/* Local. A text file that appears whole or not at all. */
fc_err fc_weights_write_text(const char *path, const char *text);

/* Local. w (rows,cols) <- a tensor of a file, which must have the shape that `t` has in files:
 * SHAPE, NUMERIC name `where` and the tensor. scratch: as many floats as `t` has, if it is
 * transposed in files. */
fc_err fc_weights_read_tensor(const char *where, const fc_tensor *t, const fc_safetensor *found,
                              float *scratch, float *w);
/* Local. What writing `w` in the shape of files takes: shape and data; of a tensor that is
 * transposed in files the data lie in *scratch, which moves on. The name is t's. */
void fc_weights_fill_source(const fc_tensor *t, const float *w, float **scratch,
                            fc_safetensor_source *source);

#endif
