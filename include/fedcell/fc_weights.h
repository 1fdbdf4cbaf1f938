/* fc_weights.h - base models on disk and in the node's memory.
 *
 *   fc_weights_read_shape(folder, labels, &shape);      // config.json
 *   fc_model_create(&shape, &model);
 *   fc_weights_share(comm, model, NULL, fill, arg, &shared);   // once per node, read-only
 *
 * A model folder is Hugging Face's: config.json, model.safetensors, tokeniser files. In its place
 * read_shape and read take a model file of llama2.c. */
#ifndef FC_WEIGHTS_H
#define FC_WEIGHTS_H

#include "fedcell/fc_comm.h"
#include "fedcell/fc_err.h"
#include "fedcell/fc_model.h"
#include "fedcell/fc_safetensors.h"

/* Local. Fills the shape from config.json (gpt2, llama, bert, roberta keys; "fedcell_pooling" of
 * ours). DATA names the key that is missing, out of range or asks for what is not implemented.
 * `labels`: classes of the head; 0 none, and an encoder brings the masked-LM head that its file
 * has; negative: as config.json says. */
fc_err fc_weights_read_shape(const char *folder, int labels, fc_model_shape *shape);
/* Local. Reads all tensors into `weights` (blob of the model). Missing classification head tensors
 * are initialised from seed (logged); any other missing or misshapen tensor is SHAPE with its name,
 * the shape found and the one needed. */
fc_err fc_weights_read(const fc_model *model, const char *folder, uint64_t seed, float *weights);
/* Local. Writes config.json and model.safetensors with Hugging Face names, in file layout (GPT-2's
 * Conv1D transposed back), so that transformers opens the folder. The folder must exist. */
fc_err fc_weights_write(const fc_model *model, const float *weights, const char *folder);
/* The same with the weights as F32, F16 or BF16. */
fc_err fc_weights_write_as(const fc_model *model, const float *weights, fc_dtype dtype,
                           const char *folder);

/* Weights of a node: one read-only mapping that its ranks share. */
typedef struct fc_shared_weights fc_shared_weights;
/* Collective. The node's first rank fills a temporary packed file (in `scratch`, NULL: TMPDIR or
 * /tmp) by calling fill(arg, weights); all map it read-only, then it is unlinked, so nothing is
 * left behind even after a kill. Sets it as the model's weights; with_panels: the file also holds
 * their bf16 panels, which are set too. */
fc_err fc_weights_share(const fc_comm *comm, fc_model *model, const char *scratch, bool with_panels,
                        fc_err (*fill)(void *arg, float *weights), void *arg,
                        fc_shared_weights **out);
/* Collective. The node's first rank changes the weights in place by change(arg, weights) while all
 * others wait; their panels are packed anew. No other rank may read them meanwhile. */
fc_err fc_weights_change(const fc_comm *comm, fc_shared_weights *shared, fc_model *model,
                         fc_err (*change)(void *arg, float *weights), void *arg);
/* Local. What the file takes. */
size_t fc_weights_share_bytes(const fc_model *model, bool with_panels);
void fc_weights_unshare(fc_shared_weights **shared);

#endif
