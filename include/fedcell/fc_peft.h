/* fc_peft.h - adapters as folders of the PEFT library: adapter_config.json and
 * adapter_model.safetensors.
 *
 *   fc_peft_write(model, trainable, theta, FC_LOSS_CLASSIFY, NULL, "out/adapter");
 *   fc_peft_read(model, trainable, "out/adapter", theta);
 *
 * A written folder opens with peft.PeftModel.from_pretrained on the same base and gives the same
 * logits, with one exception: transformers' classification heads see the first (of a decoder the
 * last) token, never the mean of all (FC_POOL_MEAN). All Local. */
#ifndef FC_PEFT_H
#define FC_PEFT_H

#include "fedcell/fc_err.h"
#include "fedcell/fc_model.h"

/* Writes both files into `folder`, which must exist; the configuration last. Tensors trained whole
 * stand under modules_to_save; where only some blocks have adapters (adapter.last_blocks),
 * layers_to_transform lists them; with FC_LOSS_CLASSIFY the whole classification head does, as PEFT
 * always keeps it with the adapter, so the model's weights must be set. base: what the
 * configuration names as the base model; NULL: none. USAGE for what PEFT cannot express: no adapter
 * at all, a module that is not a leaf, an adapter inside of a module that is trained whole. */
fc_err fc_peft_write(const fc_model *model, const fc_trainable *t, const float *theta,
                     fc_loss_kind kind, const char *base, const char *folder);

/* Fills theta, which holds its initial values: a tensor that is trained whole here and is not in
 * the file keeps its value. The file must have the rank, the alpha and the very layers of `t`, and
 * nothing that `t` does not train, unless it equals the model's weight. Features that change the
 * computation and are not implemented (use_rslora, use_dora, bias, rank_pattern, ...) are DATA.
 * DATA and SHAPE name what was found and what is needed. */
fc_err fc_peft_read(const fc_model *model, const fc_trainable *t, const char *folder, float *theta);

#endif
