/* sample.h - the next token of a text. Not for other rooms. */
#ifndef FC_MODEL_SAMPLE_H
#define FC_MODEL_SAMPLE_H

#include "fedcell/fc_generate.h"

typedef struct {
  double probability;
  int32_t token;
} fc_candidate;

/* Of finite logits (V), as the settings say; `position` and `id` name the draw. scratch (V). */
int32_t fc_sample_token(const fc_generate_settings *s, const float *logits, int V, int64_t position,
                        uint64_t id, fc_candidate *scratch);
/* Whether the token ends a text. */
bool fc_sample_stops(const fc_generate_settings *s, int32_t token);

#endif
