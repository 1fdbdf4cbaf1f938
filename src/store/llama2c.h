/* llama2c.h - models in the file format of llama2.c: one file, f32, RoPE on neighbouring elements.
 * All Local. Messages begin with the file's name; a malformed file is DATA. */
#ifndef FC_STORE_LLAMA2C_H
#define FC_STORE_LLAMA2C_H

#include "fedcell/fc_model.h"

/* `labels`: classes of the head, as fc_weights_read_shape has them. The file's size must be what
 * its header says. */
fc_err fc_llama2c_parse_shape(const char *name, const void *bytes, size_t size, int labels,
                              fc_model_shape *shape);
/* bytes: a file that fc_llama2c_parse_shape has accepted, of this model. Heads of a classifier are
 * left as they are. NUMERIC for a weight that is not finite. */
fc_err fc_llama2c_parse_weights(const fc_model *model, const char *name, const void *bytes,
                                float *weights);

/* The same from a file; IO if it cannot be read. */
fc_err fc_llama2c_read_shape(const char *path, int labels, fc_model_shape *shape);
/* SHAPE if the model is not the file's. */
fc_err fc_llama2c_read(const fc_model *model, const char *path, float *weights);

#endif
