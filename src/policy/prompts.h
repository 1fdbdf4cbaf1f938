/* prompts.h - what the policy reads and writes, as text.
 *
 * Five templates lie in a folder: system.txt and task.txt (role and objective: the prefix of all
 * prompts of a run), observation.txt (of a round) with a line device.txt for each device, and
 * answer.txt. A name in braces stands for a value; prompts.c has the table. What a state says is
 * rounded to a whole number from 0 to 99, so that it becomes one token: "-" where it is not known,
 * "inf" where it is infinite. Devices count from 1. All Local. */
#ifndef POLICY_PROMPTS_H
#define POLICY_PROMPTS_H

#include "fedcell/fc_config.h"
#include "fedcell/fc_environment.h"

typedef struct fc_prompts fc_prompts;

/* USAGE with file and line for a placeholder that is unknown or has no value in that template. */
fc_err fc_prompts_read(const char *folder, fc_prompts **out);
/* The templates of policy.prompts; empty: the project's own. */
fc_err fc_prompts_of(const fc_config *cfg, fc_prompts **out);
void fc_prompts_destroy(fc_prompts **p); /* accepts NULL */
/* Into an existing folder, as they were read. */
fc_err fc_prompts_write(const fc_prompts *p, const char *folder);
/* Continues `hash` with all templates (fc_hash.h). */
uint64_t fc_prompts_hash(const fc_prompts *p, uint64_t hash);

/* Each text ends with a line's end, but the answer; callers free them with fc_free. */
fc_err fc_prompts_prefix(const fc_prompts *p, const fc_environment_settings *set, char **out);
/* instead: stands for every value of the state but the devices' numbers; NULL: none. */
fc_err fc_prompts_observation(const fc_prompts *p, const fc_environment_settings *set,
                              const fc_fl_state *state, const char *instead, char **out);
fc_err fc_prompts_answer(const fc_prompts *p, const fc_environment_settings *set,
                         const uint8_t *select, char **out);
/* The numbers that a state's values can become, each after a space: for a tokeniser to learn. */
fc_err fc_prompts_numbers(char **out);

/* The i-th placeholder, its meaning; NULL past the end. */
const char *fc_placeholder_name(size_t i);
const char *fc_placeholder_meaning(size_t i);

#endif
