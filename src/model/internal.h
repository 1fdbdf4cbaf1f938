/* internal.h - what the files of the model room share: the built model, the trained parts and the
 * workspace. Shapes in comments: N rows (tokens), C width, F inner width of the MLP, V vocabulary,
 * R adapter rank, M rows that reach a head. */
#ifndef FC_MODEL_INTERNAL_H
#define FC_MODEL_INTERNAL_H

#include "arch.h"
#include "fedcell/fc_model.h"

/* ---- the model (model.c) ---------------------------------------------------------------------
 */

/* Tensors are named by their index in the model's table; NONE where a module has no such tensor. */
enum { FC_TENSOR_NONE = -1 };

/* Stages number the places where parameters act, in the order of computation: what is trained at
 * stage s needs the backward pass down to s and no further. */
typedef struct {
  int weight, bias;
  int stage;
} fc_norm;

typedef struct {
  int weight, bias;
  int row, rows; /* of the product's output */
} fc_piece;

/* What a block can be pruned by: groups of heads, neurons of the MLP. */
typedef enum { FC_UNIT_NONE, FC_UNIT_HEADS, FC_UNIT_NEURONS } fc_unit;

/* Rows of a product: [row, row + rows), of a tensor of piece `piece`; the same rows of the layer's
 * weights begin at `from`, which is `row` unless something before was pruned away. */
typedef struct {
  int piece, from, row, rows;
} fc_strip;

/* y = x W^T + b, W (out,in) made of pieces that lie one after the other. n_pieces 0: absent.
 * Pruning (view.c) keeps the first of its units: `units` equal parts either of `in`, or of each of
 * its bands, which are Q, K and V, gate and up, or the pieces. */
typedef struct {
  int in, out, n_pieces, stage;
  fc_piece piece[FC_ARCH_MAX_PIECES];
  int layer; /* -1: of a head */
  fc_unit unit;
  int units;    /* 1 where nothing is pruned */
  bool cuts_in; /* else what is pruned are rows */
  int n_bands;
  fc_strip band[FC_ARCH_MAX_PIECES];
  bool has_panels;         /* in the model's, if it has any (panels.c) */
  size_t panels, panels_t; /* of W and W^T: where in them */
} fc_linear;

typedef struct {
  fc_norm norm[2]; /* of the attention and of the MLP sublayer */
  fc_linear slot[FC_SLOT_COUNT];
} fc_block;

/* Both heads: rows of the trunk -> [dense -> act] -> [norm] -> out. */
typedef struct {
  fc_linear dense;
  fc_act act;
  fc_norm norm;
  fc_linear out; /* of the LM head: the token table or its own, and the head's bias */
} fc_head;

typedef struct {
  int stage;
  bool is_adaptable; /* weight of a linear layer: an adapter may act on it */
  float init_std;    /* 0: constant init_value */
  float init_value;
} fc_tensor_info;

struct fc_model {
  fc_model_shape shape;
  fc_tensor *tensors;   /* (n_tensors) */
  fc_tensor_info *info; /* (n_tensors) */
  int n_tensors;
  size_t weight_count;
  const float *weights; /* borrowed */
  size_t panel_count;
  const fc_bf16 *panels; /* borrowed; NULL: products in f32 */
  int token, position, type;
  fc_norm embed_norm, final_norm; /* weight NONE: absent */
  fc_block *blocks;               /* (layers) */
  fc_head class_head, lm_head;
  int head_stage; /* the heads' first stage: what lies below is the trunk */
};

/* Gives every linear layer its units and bands (view.c). */
void fc_model_place_units(fc_model *model);
/* Gives every linear layer of the blocks and the LM head its place in the panels (panels.c). */
void fc_model_place_panels(fc_model *model);
/* Groups of heads or neurons of a whole block; 1 of NONE. */
int fc_model_units(const fc_model *model, fc_unit unit);
/* Of attention with the first `groups` groups of heads. */
fc_attention_shape fc_model_attention_shape(const fc_model *model, int groups);
/* Angle per position of a head's pair of elements `pair`, with the shape's scaling (rope.c). */
double fc_model_rope_frequency(const fc_model_shape *shape, int pair);
/* table (positions, head width): what fc_k_rope_fwd takes. */
void fc_model_rope_table(const fc_model_shape *shape, int positions, float *table);
/* The block a stage lies in: 0 for the embeddings, `layers` or more for what follows the blocks. */
int fc_model_block_of_stage(int stage);
/* The first stage of a block. */
int fc_model_first_stage(int layer);

/* ---- pruned views (view.c) --------------------------------------------------------------------
 */

/* A linear layer of which the first `kept` units are left. */
typedef struct {
  int in, out, n;
  fc_strip strip[FC_ARCH_MAX_PIECES]; /* as few as can be */
} fc_cut;

fc_cut fc_linear_cut(const fc_linear *l, int kept);
/* Kept of a block that is viewed so; view NULL: all. */
int fc_view_units(const fc_model *model, const fc_block_view *view, int layer, fc_unit unit);
/* view (layers) or NULL: SHAPE if one of it is out of range. */
fc_err fc_view_check(const fc_model *model, const fc_block_view *view);

/* ---- trained parts (trainable.c) -------------------------------------------------------------
 */

struct fc_trainable {
  const fc_model *model; /* borrowed */
  fc_trainable_part *parts;
  int n_parts;
  size_t count; /* floats of theta */
  int *whole;   /* (n_tensors) part that replaces the tensor, or -1 */
  int *adapter; /* (n_tensors) number of the tensor's adapter, or -1 */
  int *lora_a;  /* (n_adapters) its lora_A part; lora_B is the next one */
  int n_adapters;
  int lora_rank;
  float alpha, scale, dropout; /* scale = alpha/R */
  int lowest_stage;            /* of all trained tensors; INT_MAX if none is trained */
};

/* Accept t NULL: nothing is trained. */
int fc_trainable_whole(const fc_trainable *t, int tensor);
int fc_trainable_adapter(const fc_trainable *t, int tensor);
/* Of what the scope trains; NULL: of all. */
int fc_trainable_lowest_stage(const fc_trainable *t, const fc_scope *scope);
/* Whether the scope trains the tensor, if anything does. */
bool fc_scope_trains(const fc_scope *scope, const fc_model *model, int tensor);
/* Whether a gradient of the linear layer's weights (whole or adapter) needs its input. */
bool fc_trainable_has_linear(const fc_trainable *t, const fc_linear *linear);
/* Whether one of the linear layer's tensors is trained whole. */
bool fc_trainable_has_whole(const fc_trainable *t, const fc_linear *linear);
/* Whether `t` trains the tensors that `of` trains, in the same way, with at most its rank. */
bool fc_trainable_fits(const fc_trainable *t, const fc_trainable *of);

/* ---- keys and values kept while generating (cache.c) -----------------------------------------
 */

typedef struct {
  int sequences, capacity;
  float *kv;       /* (layers, sequences) keys, values: fc_cache_floats */
  int32_t *length; /* (sequences) tokens kept */
  int32_t *slot;   /* (sequences) which of them the batch's i-th sequence is */
} fc_cache;

size_t fc_cache_floats(const fc_model *model, int sequences, int capacity);
/* The first n keys and values of a sequence of the same model; it may be the same. */
void fc_cache_copy(const fc_model *model, fc_cache *to, int32_t to_slot, const fc_cache *from,
                   int32_t from_slot, int n);

/* ---- the workspace (work.c) ------------------------------------------------------------------
 */

/* A sublayer, attention or MLP: with the norm first, out = sum = x + f(norm(x)), in = norm(x);
 * with the norm last, out = norm(sum), sum = x + f(x), in = x. */
typedef struct {
  float *x, *in, *sum, *out; /* (N,C) */
  float *mean, *rstd;        /* (N) */
} fc_sublayer_work;

typedef struct {
  fc_sublayer_work sub[2];
  float *qkv;       /* (N, Q + 2 KV), rotated */
  float *lse;       /* (N, heads) */
  float *attention; /* (N,C) */
  float *up, *act;  /* (N, F or, gated, 2F) and (N,F), before and after the activation */
} fc_block_work;

/* One device of the call's cohort. */
typedef struct {
  const fc_trainable *trainable; /* may be NULL */
  const float *theta;
  fc_scope scope;
  float *dtheta; /* NULL: no gradient */
  uint64_t dropout_seed;
} fc_work_member;

struct fc_work {
  const fc_model *model;
  const fc_trainable *trainable; /* may be NULL; of the highest adapter rank of all members */
  bool training, recomputes;
  int64_t max_rows;
  int max_sequences, max_length;
  int lowest_stage; /* that the backward pass can have to go down to */
  int first_kept;   /* first block whose activations are kept for the backward pass */

  /* forward */
  float *embedded;                /* (N,C) before the embedding norm */
  float *x;                       /* (N,C) into the first block */
  float *embed_mean, *embed_rstd; /* (N) */
  fc_block_work *blocks;          /* (layers) */
  float *trunk_out;               /* (N,C) out of the last block */
  float *hidden;                  /* (N,C) after the final norm: what the heads see */
  float *final_mean, *final_rstd;
  float **h; /* (n_adapters) each (N,R): x A^T; forward only: products share theirs */
  float *attention_scratch;
  float *rope; /* (longest sequence, head width), NULL: no rotary positions */

  /* head: M <= N rows */
  float *pooled, *dense, *dense_act, *normed; /* (M,C) */
  float *head_mean, *head_rstd;               /* (M) */
  float *logits;                              /* (sequences, labels) */
  float *lm_scratch;
  float *scale;               /* (M) of the loss in its device's mean */
  float *loss;                /* (M) */
  double *log_prob, *entropy; /* (M) of an LM head */
  int32_t *best;              /* (M) */
  int32_t *targets;           /* (M) */
  int64_t *rows;              /* (M) row of the batch each came from */

  /* backward */
  float *d, *t;              /* (N,C) gradient on its way down, and a second one */
  float *gap;                /* (N,C) of hidden states from a teacher's, then its gradient; that of
                                the hidden states in a hook's loss */
  float *dqkv;               /* (N, Q + 2 KV) */
  float *dup, *dact;         /* as up and act; the same array where not gated */
  float **dh;                /* (FC_ARCH_MAX_PIECES) each (N,R) */
  fc_lora_term *terms;       /* (members, FC_ARCH_MAX_PIECES) of one bf16 product */
  float *dropped, *ddropped; /* (N, widest adapted input) with adapter dropout */
  double *mask_gradient;     /* (units of a block) of kind FC_WORK_IMPORTANCE */

  /* one call */
  const fc_batch *batch;
  fc_work_member *members; /* (n_members), room for max_sequences */
  int n_members;
  int32_t *first_sequence; /* (n_members + 1) of each member, in the batch */
  int64_t *bounds;         /* (n_members + 1) member j owns the rows [bounds[j], bounds[j+1]) */
  int64_t *head_bounds;    /* the same of the rows that reach the head */
  int64_t *span_start;     /* (sequences + 1) rows of a span where its sequences begin */
  int64_t n_rows;          /* N */
  fc_cache *cache;         /* borrowed; NULL: every batch stands alone */
  float *dinputs;          /* (N,C) the caller's, or NULL */
  bool backward, dropping;
  int goal;                /* stage of the lowest that any member trains: the backward pass's end */
  double *head_importance; /* (layers, kv_heads) added to in the backward pass, or NULL */
  double *neuron_importance; /* (layers, ffn) */
  bool watching;             /* search for the first activation that is not finite */
  char found[64];            /* where it was found */
};

/* ---- the beginning of a call (compute.c) ------------------------------------------------------
 */

/* Checks everything and makes the call's state; w->n_rows is 0 for an empty batch. */
fc_err fc_work_begin(fc_work *w, const fc_batch *batch, fc_loss_kind kind, bool with_targets);
/* The whole batch is one device's, or that of n. */
void fc_work_join_alone(fc_work *w, const float *theta);
fc_err fc_work_join(fc_work *w, const fc_member *members, int n, int *failed);
int32_t fc_batch_sequence_of(const fc_batch *b, int64_t row);
/* Fails with the loss of head row i, which is member j's; sequences count from the member's first
 * one. Runs forward once more to find where it begins: this is the end of the run, time is no
 * matter. */
fc_err fc_work_fail_not_finite(fc_work *w, fc_loss_kind kind, int j, int64_t i);

/* ---- steps of the passes ---------------------------------------------------------------------
 */

/* The tensor's values: the member's theta where it is trained whole, the model's otherwise. */
const float *fc_work_tensor(const fc_work *w, const fc_work_member *m, int tensor);
/* Its place in the member's dtheta, NULL if it is not trained whole or out of scope. */
float *fc_work_gradient(const fc_work_member *m, int tensor);
/* Whether anything below this stage is trained, so that the gradient must go on. */
bool fc_work_goes_below(const fc_work *w, int stage);
/* Neighbours in the cohort that keep the same units of a block: their rows are one matrix, with
 * rows as long as what they keep. The rows of all spans lie one behind the other, so that an array
 * with `size` floats a unit has the span's at before * size. */
typedef struct {
  int j, next;      /* members [j, next) */
  int64_t first, N; /* rows of the batch */
  int kept;         /* units */
  int64_t before;   /* rows times units of the members before */
} fc_span;

/* Goes to the next span: for (fc_span s = {0}; fc_work_next_span(...);). Of single members if
 * `alone`. bounds: w->bounds or w->head_bounds. (view.c) */
bool fc_work_next_span(const fc_work *w, int layer, fc_unit unit, bool alone, const int64_t *bounds,
                       fc_span *s);
/* Adds the squared mask gradients of each sequence from an array of units' outputs y and its
 * gradient d, where the call asks for them (importance.c). */
void fc_importance_add(fc_work *w, int layer, fc_unit unit, const float *d, const float *y);
/* w->d and w->t change places. */
void fc_work_swap_gradients(fc_work *w);
/* While searching: notes the first array that holds something not finite. layer -1: none. */
void fc_work_watch(fc_work *w, const char *what, int layer, const float *x, int64_t n);

/* The layers (linear.c) act on the rows of all members; `bounds` (n_members + 1), w->bounds or
 * w->head_bounds, tells whose is which. N = bounds[n_members].
 * y (+)= linear(x) with its adapters. x (N,in), y (N,out). */
void fc_linear_fwd(fc_work *w, const fc_linear *l, float *y, const float *x, const int64_t *bounds,
                   bool accumulate);
/* y = linear(x) with its adapters, then act_out = act(y) while y is near; act_out may be y. */
void fc_linear_act_fwd(fc_work *w, const fc_linear *l, float *y, float *act_out, fc_act act,
                       const float *x, const int64_t *bounds);
/* Gradients of the linear layer's trained parts; dx (+)= ... unless dx is NULL. */
void fc_linear_bwd(fc_work *w, const fc_linear *l, float *dx, const float *dy, const float *x,
                   const int64_t *bounds, bool accumulate);
void fc_norm_fwd(fc_work *w, const fc_norm *n, float *y, float *mean, float *rstd, const float *x,
                 const int64_t *bounds);
/* dx += ...; dx is not dy. */
void fc_norm_bwd(fc_work *w, const fc_norm *n, float *dx, const float *dy, const float *x,
                 const float *mean, const float *rstd, const int64_t *bounds);

/* batch -> w->hidden (trunk.c). */
void fc_trunk_fwd(fc_work *w);
/* The same in two steps: to the input of block `to` (the number of layers: that of the final norm),
 * and from there on. */
void fc_trunk_fwd_to(fc_work *w, int to);
void fc_trunk_fwd_from(fc_work *w, int from);
/* (N,C) between the two steps: what goes into the block. */
const float *fc_trunk_at(const fc_work *w, int layer);
/* Tokens of the batch's sequence that were read before: 0 without a cache. */
int64_t fc_cache_past(const fc_work *w, int32_t sequence);
/* fc_k_attention_fwd that keeps the batch's keys and values and looks at those kept before. With
 * last_only `out` has one row for each sequence, that of its last token. */
void fc_cache_attention(fc_work *w, int layer, float *out, const float *qkv, bool last_only);
/* The batch has been read. */
void fc_cache_advance(fc_work *w);
/* Logits (sequences, vocab) after each sequence's last token; the cache advances (compute.c). */
fc_err fc_model_next_logits(fc_work *w, const float *theta, const fc_batch *batch, float *logits);

/* w->d, the gradient of w->hidden, -> dtheta. */
void fc_trunk_bwd(fc_work *w);
/* The same in two steps; between them w->d is the gradient of the input of block `to`, from which
 * the second goes on unless the first returns false: nothing is trained below. */
bool fc_trunk_bwd_to(fc_work *w, int to);
void fc_trunk_bwd_from(fc_work *w, int from);

/* Rows of the hidden states that the loss looks at, into w->pooled and w->targets (head.c).
 * Returns M. */
int64_t fc_head_gather(fc_work *w, fc_loss_kind kind);
/* Writes all logits of the loss kind. */
void fc_head_logits(fc_work *w, fc_loss_kind kind, float *logits);
/* Of each sequence's last token alone, by the LM head: the rows that a pass with a cache ends with.
 */
void fc_head_last_logits(fc_work *w, float *logits);
/* Loss and best of M gathered rows, all with a target. With dtheta also the head's gradients of the
 * mean loss and, if anything in the trunk is trained (true is returned), w->d. */
bool fc_head_loss(fc_work *w, fc_loss_kind kind, int64_t M);
/* ln p and entropy of M gathered rows, all with a target, by the LM head; w->loss = -ln p. */
void fc_head_log_prob(fc_work *w, int64_t M);
/* From w->scale, the gradient of -ln p of the same rows, and w->gap, that of the hidden states, the
 * head's gradients and w->d. False if it ends in the head. */
bool fc_head_hook_bwd(fc_work *w, int64_t M);
/* The same of the divergence from the teacher's logits, weight times its mean over all rows:
 * w->loss of all rows that the loss kind has (*M), whatever their targets. */
bool fc_head_distill(fc_work *w, fc_work *teacher, fc_loss_kind kind, float weight, int64_t *M);

#endif
