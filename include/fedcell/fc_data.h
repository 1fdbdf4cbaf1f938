/* fc_data.h - datasets: read or generated, tokenised, split over devices, cut into batches.
 *
 *   fc_dataset_open(&settings, seed, &ds);               // raw samples: train and test
 *   fc_corpus_create(ds, tok, &format, &corpus);         // token ids of every sample, contiguous
 *   // public, test and per device:
 *   fc_split_create(&split_settings, ds, public_fraction, parts_seed, seed, devices, &split);
 *   n = fc_batch_draw(samples, n, batch_size, seed, round, device, iteration, drawn);
 *   fc_batcher_fill(batcher, corpus, tok, drawn, n, loss, masking, &batch);
 *
 * Samples keep the order of the file (or of the generator), train first, then test; a sample is its
 * 32-bit index. Every train sample lies in exactly one of public part and devices. The split is a
 * function of the seed and the labels alone. All Local: every rank holds the dataset. */
#ifndef FC_DATA_H
#define FC_DATA_H

#include "fedcell/fc_batch.h"
#include "fedcell/fc_config.h"
#include "fedcell/fc_err.h"
#include "fedcell/fc_model.h"
#include "fedcell/fc_tokenizer.h"
#include <stddef.h>
#include <stdint.h>

typedef enum {
  FC_TASK_CLASSIFY, /* text a (and b), label */
  FC_TASK_LM,       /* prompt, answer: the loss counts the answer */
  FC_TASK_IMAGE     /* pixels, label */
} fc_task;

typedef struct fc_sample {
  fc_text a, b;          /* CLASSIFY: text, second text (length 0: none); LM: prompt, answer */
  int32_t label;         /* class, or 0 for LM */
  const uint8_t *pixels; /* IMAGE: height*width bytes */
} fc_sample;

typedef struct fc_dataset fc_dataset;

typedef struct {
  const char *dataset; /* name in the table: "sst2", "qnli", "yahoo", "agnews", "gsm8k", "mnist",
                          "jsonl", "csv", or a generator: "generated-sentiment",
                          "generated-topics", "generated-entailment", "generated-problems",
                          "generated-digits" */
  const char *dir;     /* folder of the files; "": FEDCELL_DATA/<dataset>, else FEDCELL_DATA */
  const char *train_file, *test_file; /* "": the dataset's own names; jsonl and csv need them */
  const char *column_a, *column_b, *column_label; /* jsonl, csv: names ("" none) */
  const char *task;                               /* jsonl, csv: "classify" | "lm" */
  double test_fraction;          /* where the dataset has no test part of its own */
  double public_fraction;        /* of train: the server's public part */
  int64_t samples, test_samples; /* generators: how many; readers: at most so many, 0 all (drawn
                                    at random by the seed) */
} fc_data_settings;

extern const fc_option_table fc_data_options; /* data.* */
fc_data_settings fc_data_settings_read(const fc_config *cfg);

const char *fc_dataset_name(size_t i); /* NULL past the end */
const char *fc_dataset_meaning(size_t i);

/* IO for a missing file (with where it was looked for), DATA with file and line for a malformed
 * one. seed matters for generators, sampling and where test_fraction is used. */
fc_err fc_dataset_open(const fc_data_settings *s, uint64_t seed, fc_dataset **out);
void fc_dataset_destroy(fc_dataset **ds);
fc_task fc_dataset_task(const fc_dataset *ds);
size_t fc_dataset_train_count(const fc_dataset *ds);
size_t fc_dataset_test_count(const fc_dataset *ds);
size_t fc_dataset_bytes(const fc_dataset *ds); /* what its samples take in memory */
int fc_dataset_classes(const fc_dataset *ds);  /* 0 for LM */
const char *fc_dataset_class_name(const fc_dataset *ds, int label);
void fc_dataset_image_shape(const fc_dataset *ds, int *height, int *width);
/* index < train + test */
fc_sample fc_dataset_sample(const fc_dataset *ds, size_t index);

/* ---- tokens of all samples --------------------------------------------------------------------
 */

/* How a sample becomes one sequence. Without a frame: a, a line end, b; for LM the tokeniser's eos
 * follows where it has one. */
typedef struct {
  bool frame; /* encoders: [cls] a [sep] (b [sep]); RoBERTa pairs have two seps */
  bool double_sep;
  bool use_types; /* token types 0/1 for a/b (BERT) */
  int max_length; /* longer sequences are cut: the longer of a, b first; LM keeps the answer's
                     beginning and cuts the prompt's beginning */
} fc_sequence_format;

typedef struct fc_corpus fc_corpus;
fc_err fc_corpus_create(const fc_dataset *ds, const fc_tokenizer *tok,
                        const fc_sequence_format *format, fc_corpus **out);
void fc_corpus_destroy(fc_corpus **c);
size_t fc_corpus_bytes(const fc_corpus *c);
/* Tokens of a sample (borrowed), its length, where the second part (b, or the LM's answer) begins:
 * its length if there is none. length and second may be NULL. */
const int32_t *fc_corpus_tokens(const fc_corpus *c, size_t sample, int *length, int *second);
int32_t fc_corpus_label(const fc_corpus *c, size_t sample);
int fc_corpus_longest(const fc_corpus *c);

/* Arrays that an fc_batch points to; sized once, filled again and again. */
typedef struct fc_batcher fc_batcher;
fc_err fc_batcher_create(int max_sequences, int64_t max_rows, fc_batcher **out);
void fc_batcher_destroy(fc_batcher **b);
/* The batch of these samples in this order; borrowed until the next call. Labels, types and, by
 * kind, targets are filled: CAUSAL_LM: next token, prompt ignored (whole sequence where there is no
 * answer); MASKED_LM: 15 % of the tokens, 80/10/10 as BERT, drawn from `masking`, specials never.
 */
fc_err fc_batcher_fill(fc_batcher *b, const fc_corpus *c, const fc_tokenizer *tok,
                       const uint32_t *samples, int n, fc_loss_kind kind, fc_rng masking,
                       const fc_batch **out);
/* The same of several devices' samples one after the other, each part masked from its own stream as
 * if it were alone. */
typedef struct {
  const uint32_t *samples;
  int n;
  fc_rng masking;
} fc_batch_part;
fc_err fc_batcher_fill_parts(fc_batcher *b, const fc_corpus *c, const fc_tokenizer *tok,
                             const fc_batch_part *parts, int n_parts, fc_loss_kind kind,
                             const fc_batch **out);

/* ---- split over devices -----------------------------------------------------------------------
 */

typedef struct {
  const char *split; /* "iid", "dirichlet" (labels), "sizes" (Dirichlet over sizes), "both",
                        "shards" (McMahan) */
  double alpha, size_alpha;
  int shards_per_device;
  int64_t min_samples;         /* every device gets at least so many (taken from the largest) */
  double device_test_fraction; /* of each device's samples, kept as its own test part */
} fc_split_settings;
extern const fc_option_table fc_split_options; /* data.split, data.alpha, ... */
fc_split_settings fc_split_settings_read(const fc_config *cfg);

typedef struct fc_split fc_split; /* 4 bytes a sample and 8 a device */
/* The public part follows parts_seed, everything else seed: runs of different seeds may share the
 * public part. USAGE if there are fewer samples than the devices need. */
fc_err fc_split_create(const fc_split_settings *s, const fc_dataset *ds, double public_fraction,
                       uint64_t parts_seed, uint64_t seed, uint32_t devices, fc_split **out);
void fc_split_destroy(fc_split **s);
size_t fc_split_bytes(const fc_split *s);
/* Ascending sample indices; borrowed. */
const uint32_t *fc_split_device(const fc_split *s, uint32_t device, size_t *n);
const uint32_t *fc_split_device_test(const fc_split *s, uint32_t device, size_t *n);
const uint32_t *fc_split_public(const fc_split *s, size_t *n);
const uint32_t *fc_split_test(const fc_split *s, size_t *n);

/* Which of a device's n samples form mini-batch number `iteration` of `round`: epochs over a
 * shuffled order, a new one each epoch; every epoch has each sample once, so a batch that spans two
 * epochs may hold a sample twice. With n < batch a batch is one epoch. A function of (seed, round,
 * device, iteration), O(batch) work. Returns how many. */
int fc_batch_draw(const uint32_t *samples, size_t n, int batch, uint64_t seed, uint64_t round,
                  uint64_t device, int64_t iteration, uint32_t *out);

#endif
