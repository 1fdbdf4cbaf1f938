/* match.h - which tensors a user's names mean, as PEFT's target_modules and modules_to_save do. */
#ifndef FC_MODEL_MATCH_H
#define FC_MODEL_MATCH_H

#include "internal.h"

/* PEFT's rule for adapters: the module is named `target`, or ends with "." + target. "all-linear":
 * every linear layer of the blocks. */
bool fc_match_target(const fc_model *model, int tensor, const char *target);
/* The tensor, or a module it lies in, is named `saved` or ends with "." + saved. "head": the whole
 * classification head; "all": all. */
bool fc_match_saved(const fc_model *model, int tensor, const char *saved);

/* USAGE with the names that exist. */
fc_err fc_match_fail_target(const fc_model *model, const char *target);
fc_err fc_match_fail_saved(const fc_model *model, const char *saved);

#endif
