/* fc_batch.h - a mini-batch of sequences, packed without padding.
 *
 * The tokens of all sequences follow each other: sequence b owns the rows
 * [start[b], start[b+1]); its positions count from 0. N = start[sequences] rows in all. Row-wise
 * work (products, norms) sees N rows; only attention looks at sequences. Plain data; whoever fills
 * it owns the arrays. */
#ifndef FC_BATCH_H
#define FC_BATCH_H

#include <stdint.h>

enum { FC_TARGET_IGNORE = -1 };

typedef struct {
  int32_t sequences;
  const int64_t *start;   /* (sequences + 1) */
  const int32_t *tokens;  /* (N) */
  const float *inputs;    /* (N, width) in place of the tokens' embeddings (positions are added as
                             ever); NULL: the tokens. tokens are then not looked at */
  const int32_t *types;   /* (N) token types, NULL: all 0 */
  const int32_t *targets; /* token losses: (N) the token to predict AT this row (already shifted
                             for causal LM), or FC_TARGET_IGNORE; may be NULL */
  const int32_t *labels;  /* classification: (sequences); may be NULL */
} fc_batch;

#endif
