/* fc_batch.h - a mini-batch of sequences, packed without padding.
 *
 * The tokens of all sequences follow each other: sequence b owns the rows
 * [start[b], start[b+1]); its positions count from 0. N = start[sequences] rows in all. Row-wise
 * work (products, norms) sees N rows; only attention looks at sequences. Plain data; whoever fills
 * it owns the arrays.
 *
 * Texts with the same beginning may share it, so that it is computed once: it is then sequence 0,
 * and all others go on from its last token. */
#ifndef FC_BATCH_H
#define FC_BATCH_H

#include <stdbool.h>
#include <stdint.h>

enum { FC_TARGET_IGNORE = -1 };

typedef struct {
  int32_t sequences;
  bool shares_first;      /* sequence 0 is the beginning of all others, whose positions go on from
                             it and whose tokens see it (decoders, a single member) */
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
