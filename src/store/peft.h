/* peft.h - what the PEFT files of this room share: names. */
#ifndef FC_STORE_PEFT_H
#define FC_STORE_PEFT_H

#include "fedcell/fc_peft.h"
#include <stdbool.h>

/* What stands before the base model's own names in adapter_model.safetensors. */
#define FC_PEFT_PREFIX "base_model.model."

enum { FC_PEFT_NAME = 160, FC_PEFT_PATH = 4096 };

/* Length of the module's name in a tensor's name: "...query.weight" without ".weight". */
size_t fc_peft_module_length(const char *tensor);
/* Whether the first n characters of name are `wanted` or end with "." + wanted. */
bool fc_peft_ends_with(const char *name, size_t n, const char *wanted);
/* Whether the tensor lies in a module that is named `module` or ends with "." + module. */
bool fc_peft_lies_in(const char *tensor, const char *module);

/* What is adapted and what is saved whole, per tensor of the model. */
typedef struct {
  const fc_model *model;
  const fc_trainable *trainable;
  const fc_tensor *tensors; /* (n) */
  size_t n;
  int *whole;    /* (n) part that replaces the tensor, or -1 */
  bool *adapted; /* (n) */
  bool *block;   /* (layers) does the block have an adapter? */
  /* Some blocks have adapters, all of them on the same modules, and some have none: the blocks go
   * into layers_to_transform, and the modules' names without them into target_modules. */
  bool by_blocks;
} fc_peft_marks;
fc_err fc_peft_marks_create(const fc_model *model, const fc_trainable *t, fc_peft_marks *out);
void fc_peft_marks_destroy(fc_peft_marks *marks);

/* The shortest ending of the name of an adapted tensor's module that no module ends with which is
 * not adapted: PEFT's target_modules then mean the very same layers. By blocks, modules of other
 * blocks do not count, and outside of the blocks it is the whole name. Points into the tensor's
 * name, *n characters. */
const char *fc_peft_target(const fc_peft_marks *marks, size_t tensor, size_t *n);

/* Whether the model's output weights are the token table itself: then PEFT's lm_head, which is its
 * own copy of them, has to hold the same. */
bool fc_peft_output_is_tied(const fc_model *model);

#endif
