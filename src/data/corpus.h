/* corpus.h - what is behind an fc_corpus. Internal to the data room. */
#ifndef FC_DATA_CORPUS_H
#define FC_DATA_CORPUS_H

#include "fedcell/fc_data.h"

struct fc_corpus {
  int32_t *tokens;
  int64_t *start;  /* (samples + 1) of each sample in tokens */
  int32_t *second; /* (samples) where b begins, from the sample's start; its length: no b */
  int32_t *label;  /* (samples) */
  size_t samples;
  int longest;
  fc_task task;
  bool use_types;
};

#endif
