/* fc_model.h - one transformer, described by an architecture table.
 *
 * An fc_model is a shape, the table of its weight tensors (one f32 blob, offsets in it) and a
 * borrowed pointer to that blob, which all ranks of a node share read-only. What is trained is a
 * separate flat vector theta. Usage:
 *
 *   fc_model_create(&shape, &model);
 *   fc_model_set_weights(model, weights);               // borrowed, fc_model_weight_count() floats
 *   fc_trainable_create(model, &spec, &tr);             // LoRA factors, head, or whole tensors
 *   fc_work_create(model, tr, max_rows, max_sequences, max_length, &work);   // one per thread
 *   fc_model_grad(work, theta, &batch, FC_LOSS_CLASSIFY, dtheta, &result);
 *
 * The forward and backward pass follow the table; a new family is one entry in arch.c and its
 * tensor names. All Local; an fc_work belongs to one thread, fc_model is read-only after
 * set_weights and may be shared. */
#ifndef FC_MODEL_H
#define FC_MODEL_H

#include "fedcell/fc_batch.h"
#include "fedcell/fc_err.h"
#include "fedcell/fc_kernel.h"
#include "fedcell/fc_rng.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The linear layers of a block, in the order of computation. QKV is one product whose rows are
 * Q, then K, then V; an adapter may act on a part of its rows (BERT's `query`) or on all of them
 * (GPT-2's `c_attn`). */
typedef enum {
  FC_SLOT_QKV,
  FC_SLOT_ATTENTION_OUT,
  FC_SLOT_UP,
  FC_SLOT_DOWN,
  FC_SLOT_COUNT
} fc_slot;

typedef struct fc_arch fc_arch;                  /* the table's row type; arch.c */
const fc_arch *fc_arch_find(const char *family); /* "gpt2", "llama", ...; NULL if unknown */
const char *fc_arch_name(size_t i);              /* the i-th family; NULL past the end */
const char *fc_arch_meaning(size_t i);
bool fc_arch_is_causal(const fc_arch *arch);

/* What the classification head sees: the sequence's first token (of a decoder the last one, as
 * transformers does), or the mean of all. */
typedef enum { FC_POOL_FIRST, FC_POOL_MEAN } fc_pool;

/* LLaMA-3's stretch of the rotary positions' wavelengths beyond the length of pretraining: long
 * ones times `factor`, those below original_positions/high_freq_factor as they are. factor 0: none.
 */
typedef struct {
  float factor, low_freq_factor, high_freq_factor;
  int original_positions;
} fc_rope_scaling;

typedef struct {
  const fc_arch *arch;
  int layers, width, heads, kv_heads, ffn, vocab, positions, types;
  int labels;   /* classes of the classification head, 0: none */
  bool lm_head; /* masked-LM head of encoders (decoders always have theirs) */
  fc_pool pool;
  float norm_eps;
  bool untied_head; /* a decoder's LM head has a table of its own (llama) */
  float rope_theta; /* rotary positions (llama): the longest wavelength is about 2 pi rope_theta */
  fc_rope_scaling rope_scaling;
} fc_model_shape;
/* Fills what is 0 (types, norm_eps, rope_theta as the family has them, kv_heads = heads, ffn = 4
 * width) and checks the rest: SHAPE. */
fc_err fc_model_shape_check(fc_model_shape *shape);

typedef struct {
  char name[112]; /* as in Hugging Face files: "bert.encoder.layer.0.attention.self.query.weight" */
  int64_t rows, cols;         /* (O,I) for weights of linear layers; vectors have rows = 1 */
  size_t offset;              /* floats into the blob */
  int layer;                  /* block, -1 outside */
  bool is_head;               /* classification head: newly initialised when the file has none */
  bool is_transposed_in_file; /* GPT-2's Conv1D is stored (I,O) */
} fc_tensor;

typedef struct fc_model fc_model;
fc_err fc_model_create(const fc_model_shape *shape, fc_model **out);
void fc_model_destroy(fc_model **model); /* accepts NULL; leaves *model == NULL */
const fc_model_shape *fc_model_get_shape(const fc_model *model);
size_t fc_model_weight_count(const fc_model *model);
/* Tensors in blob order, without gaps; Q, K and V of a block follow each other directly. */
const fc_tensor *fc_model_tensors(const fc_model *model, size_t *n);
/* NULL if there is none of that name. Names may carry or lack the family's prefix ("bert."). */
const fc_tensor *fc_model_find_tensor(const fc_model *model, const char *name);
void fc_model_set_weights(fc_model *model, const float *weights); /* borrowed */
const float *fc_model_weights(const fc_model *model);
/* Panels for products in bf16 (fc_kernel.h) of the linear layers of the blocks and of the LM head,
 * each W and W^T: 4 bytes a weight. What is trained whole stays in f32, and so do embeddings,
 * norms and the classification head. */
size_t fc_model_panel_count(const fc_model *model); /* elements */
void fc_model_pack(const fc_model *model, fc_bf16 *panels);
void fc_model_set_panels(fc_model *model, const fc_bf16 *panels); /* borrowed; NULL: f32 */
const fc_bf16 *fc_model_get_panels(const fc_model *model);
/* Initialises as the family's reference does (normal 0.02, GPT-2's residual scaling, norms 1/0);
 * only the tensors with is_head if heads_only. */
void fc_model_init_weights(const fc_model *model, uint64_t seed, bool heads_only, float *weights);

/* ---- what is trained --------------------------------------------------------------------------
 */

typedef struct {
  const char *const *targets; /* PEFT's target_modules: "query", "c_attn", ...; "all-linear" */
  size_t n_targets;
  int lora_rank;               /* R */
  float alpha;                 /* scale alpha/R */
  float dropout;               /* on the adapter's input, training only */
  int first_block, next_block; /* limits all of the above and below as fc_scope does; 0, 0: none */
  const char *const *saved;    /* PEFT's modules_to_save: whole modules trained as they are:
                                  "classifier", "pooler", a tensor's or module's name;
                                  "head": the whole classification head; "all" */
  size_t n_saved;
} fc_trainable_spec;

typedef struct {
  char name[144];     /* as PEFT names it, e.g. "base_model.model.bert...query.lora_A.weight" */
  int64_t rows, cols; /* lora_A (R,I), lora_B (O,R), else the tensor's */
  size_t offset;      /* floats into theta */
  int tensor; /* index of the weight tensor it adapts or replaces; of c_attn the fused one */
  char kind;  /* 'A', 'B', or 'W' for a whole tensor */
} fc_trainable_part;

typedef struct fc_trainable fc_trainable;
/* USAGE if a target or saved module matches nothing (with the names that exist), or rank is out of
 * range. A name matches as in PEFT: it is the module's or ends it after a dot; for `saved` also any
 * module around the tensor. A layer both adapted and saved is trained whole, without adapter. An
 * empty spec is allowed: theta has no floats. */
fc_err fc_trainable_create(const fc_model *model, const fc_trainable_spec *spec,
                           fc_trainable **out);
void fc_trainable_destroy(fc_trainable **t);
size_t fc_trainable_count(const fc_trainable *t); /* floats of theta */
const fc_trainable_part *fc_trainable_parts(const fc_trainable *t, size_t *n);
/* As in the spec; rank 0 if nothing has an adapter. */
typedef struct {
  int rank;
  float alpha, dropout;
} fc_lora_settings;
fc_lora_settings fc_trainable_lora(const fc_trainable *t);
/* A Kaiming-uniform(a = sqrt 5) as PEFT, B zero, whole tensors copied from the model's weights. */
void fc_trainable_init(const fc_trainable *t, uint64_t seed, float *theta);
/* weights (blob) <- the model's weights with theta merged in: W + s B A, replaced tensors. */
void fc_trainable_merge(const fc_trainable *t, const float *theta, float *weights);

/* ---- pruned views -----------------------------------------------------------------------------
 *
 * A pruned model is no copy: fc_model_reorder has put the most important heads and neurons of a
 * block first, and a view is how many of each count. */

/* Of one block: its first `heads` groups of heads (shape.kv_heads groups; where keys are not shared
 * a group is one head) and its first `neurons` neurons of the MLP (of shape.ffn), 1 or more each.
 */
typedef struct {
  int heads, neurons;
} fc_block_view;

/* What a device works on. All zero: the whole model, and all that its trainable trains. */
typedef struct {
  const fc_block_view *view; /* (layers), NULL: whole; borrowed */
  /* Only what lies in the blocks [first_block, next_block) is trained, and, where next_block is the
   * number of layers, what follows them; the backward pass ends there. Values are theta's
   * everywhere. 0, 0: all. */
  int first_block, next_block;
} fc_scope;

/* How many floats of theta the scope trains; they begin at *first. */
size_t fc_trainable_window(const fc_trainable *t, const fc_scope *scope, size_t *first);

/* FLOP of one forward and of one backward pass per token at this sequence length, counted from the
 * architecture: 2 FLOP per weight and token; backward activation gradients down to the deepest
 * trained layer; weight gradients only where trained. */
typedef struct {
  double forward_flop, backward_flop;
} fc_flop_count;
typedef struct {
  double sequence_length;
  bool with_lm_loss;                    /* the LM head, else the classification head */
  bool without_attention, without_head; /* leave out attention's scores, the head */
} fc_flop_request;
/* scope NULL: whole. */
fc_flop_count fc_trainable_flop(const fc_trainable *t, const fc_scope *scope,
                                const fc_flop_request *request);
/* Everything included, of the whole model. */
fc_flop_count fc_trainable_flop_per_token(const fc_trainable *t, double sequence_length,
                                          bool with_lm_loss);
/* Weights (with biases and norms) of the blocks [first, next); view NULL: whole. */
size_t fc_model_block_weights(const fc_model *model, const fc_block_view *view, int first,
                              int next);

/* Importance of every group of heads and every neuron without data: squared norms of the weights
 * that it is made of. heads (layers, kv_heads), neurons (layers, ffn), overwritten. With data:
 * fc_model_importance. */
void fc_model_weight_importance(const fc_model *model, double *heads, double *neurons);
/* Puts the heads and neurons of the blocks [first, next) in order of falling importance (equal ones
 * keep theirs) in `weights` (blob); the model's function stays. */
fc_err fc_model_reorder(const fc_model *model, int first, int next, const double *heads,
                        const double *neurons, float *weights);

/* ---- computing --------------------------------------------------------------------------------
 */

typedef enum {
  FC_LOSS_CAUSAL_LM, /* batch.targets; decoders */
  FC_LOSS_MASKED_LM, /* batch.targets; encoders with lm_head */
  FC_LOSS_CLASSIFY   /* batch.labels */
} fc_loss_kind;

typedef struct {
  double loss_sum; /* of -log p over counted targets */
  int64_t count;   /* targets that were not ignored */
  int64_t correct; /* argmax equals target */
} fc_loss_result;

/* For forward passes alone (far smaller); for training with all activations that the backward pass
 * needs; or with the blocks' inputs alone, from which the backward pass computes the rest again:
 * the same bits for a fraction of the memory. That is one more forward pass: with adapters, whose
 * backward pass costs about as much as the forward one, up to half more work; a third where all
 * weights are trained. */
typedef enum {
  FC_WORK_FORWARD,
  FC_WORK_TRAIN,
  FC_WORK_RECOMPUTE,
  FC_WORK_IMPORTANCE /* recomputes; all blocks are gone through though nothing is trained */
} fc_work_kind;

typedef struct fc_work fc_work; /* activations and scratch of one thread, one slab */
/* max_rows tokens, max_sequences sequences, none longer than max_length. t may be NULL: the model
 * as it is, theta is not looked at. Activations are kept only from the deepest trained block
 * upwards. */
fc_err fc_work_create(const fc_model *model, const fc_trainable *t, int64_t max_rows,
                      int max_sequences, int max_length, fc_work_kind kind, fc_work **out);
void fc_work_destroy(fc_work **work);
/* Bytes that fc_work_create would take: for `fedcell check`. */
size_t fc_work_bytes(const fc_model *model, const fc_trainable *t, int64_t max_rows,
                     int max_sequences, int max_length, fc_work_kind kind);

/* Forward only: adds to *result. NUMERIC if the loss is not finite; DATA if a token or label is out
 * of range, SHAPE if the batch exceeds the workspace or a sequence the model's positions. */
fc_err fc_model_loss(fc_work *work, const float *theta, const fc_batch *batch, fc_loss_kind kind,
                     fc_loss_result *result);
/* Forward and backward: dtheta += d(mean loss over counted targets)/d theta. `dropout_rng` gives
 * the adapter dropout's masks (each adapter draws its own from the stream's next word, so hand in
 * another round, device or position at every step); ignored when dropout is 0. After a failure
 * dtheta is undefined. A batch without any target changes nothing and is no failure. */
fc_err fc_model_grad(fc_work *work, const float *theta, const fc_batch *batch, fc_loss_kind kind,
                     fc_rng dropout_rng, float *dtheta, fc_loss_result *result);

/* One device of a cohort: the next `sequences` of the batch are its own, computed with its theta.
 */
typedef struct {
  int32_t sequences;             /* 1 or more */
  const fc_trainable *trainable; /* NULL: the workspace's. Trains the same tensors, with an adapter
                                    rank up to its rank */
  const float *theta;
  fc_scope scope;
  fc_rng dropout;        /* as above */
  float *dtheta;         /* added to: gradient of the mean over the device's own targets */
  fc_loss_result result; /* added to */
} fc_member;
/* fc_model_grad of n devices at once: the tokens of all go through the frozen weights in one
 * product, each device's factors act on its own rows. What a device gets has the same bits as if
 * it were alone. The members' sequences add up to the batch's (SHAPE). After a failure *failed
 * (may be NULL) is the member that it comes from, -1 if the batch is at fault. */
fc_err fc_model_cohort_grad(fc_work *work, fc_member *members, int n, const fc_batch *batch,
                            fc_loss_kind kind, int *failed);
/* fc_model_loss of n devices at once, each with its own theta and view. */
fc_err fc_model_cohort_loss(fc_work *work, fc_member *members, int n, const fc_batch *batch,
                            fc_loss_kind kind, int *failed);
/* heads (layers, kv_heads), neurons (layers, ffn) += the squared derivative of each sequence's mean
 * loss with respect to a mask on the output of each group of heads and each neuron: the Fisher
 * score of [Kwon+ 2022]. The work is of kind FC_WORK_IMPORTANCE; errors as fc_model_loss. */
fc_err fc_model_importance(fc_work *work, const fc_batch *batch, fc_loss_kind kind, double *heads,
                           double *neurons);

/* Learning from another model instead of from targets [FedBiOT; Hinton+ 2015]:
 *   hidden_weight mean((h*-h)^2)/mean(h*^2)
 *   + kl_weight mean over rows of KL(softmax z* || softmax z),
 * h*, h (N,C): inputs of the teacher's and the student's blocks named here (of the same width; a
 * block beyond the last: what goes into the final norm); z*, z: logits, for CLASSIFY one row a
 * sequence, else one a token. Targets and labels are not looked at. A term of weight 0 is not
 * computed, nor what it alone needs. */
typedef struct {
  fc_work *teacher; /* of its model, of any kind, as large as the student's */
  const float *teacher_theta;
  int teacher_block, student_block; /* 0 to the number of layers */
  float hidden_weight, kl_weight;
} fc_distillation;
typedef struct {
  double hidden_sum, kl_sum; /* of (h*-h)^2/mean(h*^2) over elements, of KL over rows */
  int64_t elements, rows;
} fc_distill_result;
/* member->dtheta += the gradient of the above by the student's theta; adds to *result (and not to
 * member->result). The whole batch is the member's. `student` is of a kind for training. USAGE if a
 * block is out of range, SHAPE if the two models' widths, vocabularies or labels differ, NUMERIC if
 * a term is not finite; else as fc_model_cohort_grad. */
fc_err fc_model_distill_grad(fc_work *student, fc_member *member, const fc_batch *batch,
                             fc_loss_kind kind, const fc_distillation *d,
                             fc_distill_result *result);
/* Logits: (sequences, labels) for CLASSIFY, (N, vocab) else. For tests and generation. */
fc_err fc_model_logits(fc_work *work, const float *theta, const fc_batch *batch, fc_loss_kind kind,
                       float *logits);
fc_err fc_model_view_logits(fc_work *work, const float *theta, const fc_block_view *view,
                            const fc_batch *batch, fc_loss_kind kind, float *logits);

/* ---- other losses than those above -------------------------------------------------------------
 *
 * For policies, value heads and models of trajectories: the caller sees what the model gives of a
 * batch and says how its loss depends on that. */

/* What fc_model_hook_grad shows and asks for. Row r is the batch's row r; targets are the rows
 * whose batch.targets is not FC_TARGET_IGNORE, in order (none where batch.targets is NULL). */
typedef struct {
  int64_t rows;
  const float *hidden; /* (rows, width): the final norm's output */
  float *dhidden;      /* (rows, width) zeroed: d loss/d hidden beside that through `weight`; NULL:
                          forward only */
  int64_t n;
  const int64_t *row;     /* (n) row of each target */
  const double *log_prob; /* (n) ln p(target) */
  const double *entropy;  /* (n) -sum p ln p over the vocabulary */
  float *weight;          /* (n) zeroed: d loss/d(-log_prob); NULL: forward only */
} fc_head_view;
/* Called once between the forward and the backward pass, also of an empty batch; a failure ends the
 * call with it. The workspace is in use. */
typedef fc_err fc_head_hook(void *arg, const fc_head_view *view);

/* A decoder's forward and backward pass with the caller's own loss: dtheta += its gradient. dinputs
 * (rows, width): overwritten with the gradient by batch.inputs, or by the tokens' embeddings; the
 * workspace must keep all blocks, so either something in the first one is trained or it is of kind
 * FC_WORK_IMPORTANCE (USAGE). Either may be NULL; both: forward only, without dropout. The LM head
 * is computed for rows with a target alone, a second time in the backward pass. NUMERIC if a hidden
 * state, a log_prob or what the hook asks for is not finite; else as fc_model_grad. */
fc_err fc_model_hook_grad(fc_work *work, const float *theta, const fc_batch *batch,
                          fc_head_hook *hook, void *arg, fc_rng dropout_rng, float *dtheta,
                          float *dinputs);

#endif
