/* fc_kernel.h - numeric kernels, f32 unless they say bf16. No MPI, no I/O, no allocation; Local.
 *
 * Every kernel has a plain twin with the suffix _ref and the same signature (double accumulation,
 * no tricks); the tests hold one against the other on odd shapes, and every backward against finite
 * differences of the twin. Matrices are row-major; x (N,I) means N rows of I columns. N counts
 * tokens or samples (64-bit), widths are int. `ld` is the distance between rows in elements.
 * Kernels are single-threaded apart from the products and fc_k_fixed_sum, which use OpenMP threads
 * when they are large and not inside a parallel region. A row's bits depend on the row and the
 * weights alone: neither on how many other rows there are nor on the threads. Sums over rows
 * (weight gradients) do not depend on the threads either. NaN and infinities in an input show up in
 * the output. */
#ifndef FC_KERNEL_H
#define FC_KERNEL_H

#include "fedcell/fc_rng.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Declares a kernel and its reference twin in one line. */
#define FC_KERNEL(name, ...)                                                                       \
  void name(__VA_ARGS__);                                                                          \
  void name##_ref(__VA_ARGS__)

/* ---- products ------------------------------------------------------------------------------- */

/* y = x W^T (+ bias) (+ y if accumulate). x (N,I) ldx, W (O,I) ldw, bias (O) or NULL, y (N,O) ldy.
 */
FC_KERNEL(fc_k_linear_fwd, float *y, int ldy, const float *x, int ldx, const float *W, int ldw,
          const float *bias, int64_t N, int I, int O, bool accumulate);
/* dx = dy W (+ dx if accumulate). */
FC_KERNEL(fc_k_linear_bwd_input, float *dx, int lddx, const float *dy, int lddy, const float *W,
          int ldw, int64_t N, int I, int O, bool accumulate);
/* dW += dy^T x; dbias += column sums of dy. Either may be NULL. */
FC_KERNEL(fc_k_linear_bwd_weight, float *dW, int lddw, float *dbias, const float *dy, int lddy,
          const float *x, int ldx, int64_t N, int I, int O);

/* The adapter path y += s (x A^T) B^T [LoRA (3)], s = alpha/R.
 * x (N,I), A (R,I) lda, B (O,R), y (N,O) ldy; h (N,R) = x A^T is kept for the backward pass. */
FC_KERNEL(fc_k_lora_fwd, float *y, int ldy, float *h, const float *x, const float *A, int lda,
          const float *B, float s, int64_t N, int I, int O, int R);
/* dx += s (dy B) A, dA += s (dy B)^T x, dB += s dy^T h; each may be NULL. dA as A. dh (N,R) is
 * overwritten with s dy B. */
FC_KERNEL(fc_k_lora_bwd, float *dx, float *dA, float *dB, float *dh, const float *dy, int lddy,
          const float *x, const float *h, const float *A, int lda, const float *B, float s,
          int64_t N, int I, int O, int R);

/* ---- row-wise ------------------------------------------------------------------------------- */

/* y = gamma (x - mean)/sqrt(var + eps) + beta; mean, rstd (N) are kept. y may be x. */
FC_KERNEL(fc_k_layernorm_fwd, float *y, float *mean, float *rstd, const float *x,
          const float *gamma, const float *beta, float eps, int64_t N, int C);
/* dx += ..., dgamma, dbeta += ... (either may be NULL). x is the forward input. dx is not dy. */
FC_KERNEL(fc_k_layernorm_bwd, float *dx, float *dgamma, float *dbeta, const float *dy,
          const float *x, const float *gamma, const float *mean, const float *rstd, int64_t N,
          int C);

/* y = gamma x / sqrt(mean(x^2) + eps); rrms (N), the root's reciprocal, is kept. y may be x. */
FC_KERNEL(fc_k_rmsnorm_fwd, float *y, float *rrms, const float *x, const float *gamma, float eps,
          int64_t N, int C);
/* dx += ..., dgamma += ... (may be NULL). x is the forward input. dx is not dy. */
FC_KERNEL(fc_k_rmsnorm_bwd, float *dx, float *dgamma, const float *dy, const float *x,
          const float *gamma, const float *rrms, int64_t N, int C);

typedef enum { FC_ACT_GELU_TANH, FC_ACT_GELU_ERF, FC_ACT_TANH, FC_ACT_RELU } fc_act;
/* y = act(x) over n elements; y may be x. */
FC_KERNEL(fc_k_act_fwd, float *y, const float *x, fc_act act, int64_t n);
/* dx = dy act'(x); dx may be dy. x is the forward input. */
FC_KERNEL(fc_k_act_bwd, float *dx, const float *dy, const float *x, fc_act act, int64_t n);

/* y (N,F) = silu(gate) up of x (N,2F) = gate, up side by side. */
FC_KERNEL(fc_k_swiglu_fwd, float *y, const float *x, int64_t N, int F);
/* dx (N,2F) is overwritten. x is the forward input. */
FC_KERNEL(fc_k_swiglu_bwd, float *dx, const float *dy, const float *x, int64_t N, int F);

/* Inverted dropout: y = x * keep / (1 - p); the mask is a function of (rng, element), so that the
 * backward pass calls the same again on dy with the same rng. p = 0 copies; p is taken to 1/65536.
 * y may be x. */
FC_KERNEL(fc_k_dropout, float *y, const float *x, float p, fc_rng rng, int64_t n);

/* x (N,C) = token[tokens] + position[row - start + offset] + type[types or 0]. `position` and
 * `type` may be NULL. tokens NULL: token (N,C) has each row's own. */
FC_KERNEL(fc_k_embed_fwd, float *x, const int32_t *tokens, const int32_t *types,
          const int64_t *start, int sequences, const float *token, const float *position,
          const float *type, int position_offset, int C);
/* d* += ...; each of dtoken, dposition, dtype may be NULL; dtoken is where tokens is. */
FC_KERNEL(fc_k_embed_bwd, float *dtoken, float *dposition, float *dtype, const float *dx,
          const int32_t *tokens, const int32_t *types, const int64_t *start, int sequences,
          int position_offset, int C);

/* ---- bf16 products ----------------------------------------------------------------------------
 *
 * Frozen weights are packed once into panels of bfloat16; a product rounds its input on the way and
 * accumulates in f32. The panels of a (O,I) matrix are [O/16][I/32][16][16][2], padded with zeros:
 * element (o,i) lies at panel o/16, block i/32, pair (i%32)/2, column o%16, i%2. That is the tile
 * layout of AMX, and a prefix of outputs or inputs is a view of it.
 *
 * Paths: "amx", "avx512bf16" and "plain" (any CPU). The best one that CPU and system allow is
 * picked at the first use; the environment variable FEDCELL_KERNEL names another (one that cannot
 * run here gives the next in this order, an unknown name is ignored: ask fc_k_bf16_path). The bits
 * differ between paths; on one path a row's bits depend on the row and the weights alone. All round
 * to nearest even and keep NaN and infinities; denormals may become zero. */
typedef uint16_t fc_bf16;

/* The path in use. */
const char *fc_k_bf16_path(void);
/* The i-th path of this build, best first, whether it can run here or not; NULL past the end. */
const char *fc_k_bf16_path_name(int i);
/* Takes another; false (and nothing changes) where it is unknown or cannot run here. For tests and
 * benchmarks, while no product runs. */
bool fc_k_bf16_use_path(const char *path);
/* Is the path in use faster than f32 products? */
bool fc_k_bf16_is_fast(void);

/* Elements of the panels of a (O,I) matrix. Best aligned to 64 bytes. */
size_t fc_k_bf16_panels(int O, int I);
/* Panels of W (O,I) ldw, for y = x W^T. */
void fc_k_bf16_pack(fc_bf16 *panels, const float *W, int ldw, int O, int I);
/* Panels of W^T, an (I,O) matrix, for dx = dy W. */
void fc_k_bf16_pack_transposed(fc_bf16 *panels, const float *W, int ldw, int O, int I);
/* The panels of the view that begins at output o (a multiple of 16) and input i (of 32) of panels
 * that were packed `panel_I` inputs wide, and keep that width. */
const fc_bf16 *fc_k_bf16_at(const fc_bf16 *panels, int panel_I, int o, int i);

/* y[row..row+rows)[column..column+columns) += s h B^T [LoRA (3)], in f32. h (rows,R); B (columns,R)
 * has element (o,r) at B[o B_o + r B_r], so that A serves the backward pass (dx += s dh A) with
 * B_o = 1, B_r = I. */
typedef struct {
  int64_t row, rows;
  int column, columns;
  const float *h, *B;
  int R, B_o, B_r;
  float s;
} fc_lora_term;

/* What a product adds to its sums and does with them while they are in the first caches. */
typedef struct {
  bool accumulate;   /* y += instead of y = */
  const float *bias; /* (O) or NULL */
  int terms;         /* adapters: any number, on any rows and columns (of several devices, of some
                        of the outputs only); where they overlap, in this order */
  const fc_lora_term *term;
  float *act_out; /* (N,O) ldy = act(y), not y itself; or NULL. y keeps what comes before */
  fc_act act;
} fc_bf16_epilogue;

/* y = bf16(x) W^T, and what `e` (NULL: nothing) adds. x (N,I) ldx, y (N,O) ldy. `panel_I` is the
 * width that the panels were packed with; I <= panel_I and O are those of the view and may end
 * anywhere (weights just beyond I are multiplied by zero, so they must be finite). */
FC_KERNEL(fc_k_linear_bf16, float *y, int ldy, const float *x, int ldx, const fc_bf16 *panels,
          int panel_I, int64_t N, int I, int O, const fc_bf16_epilogue *e);

/* ---- attention ------------------------------------------------------------------------------ */

typedef struct {
  int heads, kv_heads; /* kv_heads divides heads */
  int head_width;      /* dh */
  bool causal;
  bool shares_first; /* causal: all other sequences go on from sequence 0 and see its keys too */
} fc_attention_shape;

/* Floats of scratch for sequences of at most T tokens, a shared beginning included: O(tile * T),
 * not O(T * T). */
size_t fc_k_attention_scratch(fc_attention_shape s, int64_t T);
/* out (N, heads*dh) = softmax(Q K^T / sqrt(dh)) V within each sequence. qkv (N, (heads+2 kv_heads)
 * dh) holds Q, K, V side by side. lse (N,heads), the log-sum-exp of each score row, is kept. */
FC_KERNEL(fc_k_attention_fwd, float *out, float *lse, const float *qkv, const int64_t *start,
          int sequences, fc_attention_shape s, float *scratch);
/* dqkv (N, ...) is overwritten. `out` and `lse` come from the forward pass; probabilities are
 * computed anew tile by tile. */
FC_KERNEL(fc_k_attention_bwd, float *dqkv, const float *dout, const float *qkv, const float *out,
          const float *lse, const int64_t *start, int sequences, fc_attention_shape s,
          float *scratch);

/* Rotary positions, in place: the first `heads` heads of each row of x (N, ...) ld are turned by
 * the angles of table[row - start], (T, width): width/2 cosines, then as many sines; element j
 * pairs with j + width/2. A sequence that does not begin at position 0 gives table + first * width.
 */
FC_KERNEL(fc_k_rope_fwd, float *x, int ld, const float *table, const int64_t *start, int sequences,
          int heads, int width);
/* dx becomes the gradient before the rotation. */
FC_KERNEL(fc_k_rope_bwd, float *dx, int ld, const float *table, const int64_t *start, int sequences,
          int heads, int width);

/* Causal attention of a text that goes on: out (n, heads*dh) of the queries q (n, ...) ldq to past
 * + n keys and values, which hold their own too. They lie as they are read: k in panels of so many
 * keys, (panels, kv_heads*dh, FC_K_KEY_PANEL), whose last one may be partly anything; v (kv_heads,
 * capacity, dh). The rows are fc_k_attention_fwd's of the whole text, bit for bit. Scratch as
 * there, of past + n tokens. */
enum { FC_K_KEY_PANEL = 32 };
FC_KERNEL(fc_k_attention_after, float *out, const float *q, int ldq, const float *k, const float *v,
          int64_t capacity, int64_t past, int64_t n, fc_attention_shape s, float *scratch);

/* ---- images -------------------------------------------------------------------------------------
 *
 * x (n,H,W,C): n samples, a pixel's channels side by side. */

enum { FC_K_WINDOW = 5 }; /* of a convolution that keeps the image's size: padding 2 */

/* y (n H W, 5 5 C): each pixel's window of x, zero beyond the image; then a convolution is the
 * product of y with weights (C_out, 5 5 C). */
FC_KERNEL(fc_k_unfold, float *y, const float *x, int64_t n, int H, int W, int C);
/* dx += the adjoint: every element of dy goes where it came from. */
FC_KERNEL(fc_k_fold, float *dx, const float *dy, int64_t n, int H, int W, int C);
/* y (n, H/2, W/2, C) = the largest of 2 x 2 pixels, H and W even; at: which of them, counted along
 * the rows, the first of equals. NaN counts as the largest. */
FC_KERNEL(fc_k_maxpool_fwd, float *y, uint8_t *at, const float *x, int64_t n, int H, int W, int C);
/* dx (n,H,W,C) is overwritten. */
FC_KERNEL(fc_k_maxpool_bwd, float *dx, const float *dy, const uint8_t *at, int64_t n, int H, int W,
          int C);

/* ---- losses -----------------------------------------------------------------------------------
 */

/* Cross entropy of logits (N,V) against targets (N), FC_TARGET_IGNORE skipped. loss (N): -log p, 0
 * where ignored; best (N): argmax, lowest index of equals (NaN is never the largest); dlogits (N,V)
 * = scale (softmax - onehot), 0 where ignored. dlogits, best may be NULL; dlogits may be logits. */
FC_KERNEL(fc_k_xent, float *loss, int32_t *best, float *dlogits, const float *logits,
          const int32_t *targets, float scale, int64_t N, int V);

/* The (tied) head's table; where it has panels its products run in bf16. */
typedef struct {
  const float *W, *bias;            /* (V,C), (V) or NULL */
  const fc_bf16 *panels, *panels_t; /* of W and of W^T, both or none */
} fc_lm_table;

/* Floats of scratch for fc_k_lm_head. */
size_t fc_k_lm_head_scratch(int64_t N, int C, int V);
/* Product with the head and cross entropy in one, in chunks of words, so that (N,V) logits are
 * never stored: logits = x W^T + bias. x (N,C); scale (N), one a row: rows of several devices may
 * share the product. loss as above; best too, but -1 where ignored, since ignored rows cost nothing
 * here. dx (N,C) is overwritten, dW (V,C) and dbias are added to; each of dx, dW, dbias, best may
 * be NULL (dx NULL: forward only). The twin takes W, not the panels. */
FC_KERNEL(fc_k_lm_head, float *loss, int32_t *best, float *dx, float *dW, float *dbias,
          const float *x, const fc_lm_table *table, const int32_t *targets, const float *scale,
          int64_t N, int C, int V, float *scratch);

/* Floats of scratch for fc_k_lm_log_prob. */
size_t fc_k_lm_log_prob_scratch(int64_t N, int V);
/* log_prob (N) = ln p(target), entropy (N) = -sum p ln p over the vocabulary, by the same head in
 * the same way; all rows have a target. No gradient: that of a sum of -weight log_prob is
 * fc_k_lm_head's with scale = weight. */
FC_KERNEL(fc_k_lm_log_prob, double *log_prob, double *entropy, const float *x,
          const fc_lm_table *table, const int32_t *targets, int64_t N, int C, int V,
          float *scratch);

/* Learning from a teacher's logits [Hinton+ 2015]: loss (N) = KL(softmax teacher || softmax
 * logits), 0 for equal rows; dlogits (N,V) = scale (softmax logits - softmax teacher). A word that
 * the teacher forbids (-inf) adds nothing, one that the student alone forbids makes the loss
 * infinite. dlogits may be NULL or logits. */
FC_KERNEL(fc_k_kl, float *loss, float *dlogits, const float *logits, const float *teacher,
          float scale, int64_t N, int V);

/* Floats of scratch for fc_k_lm_distill. */
size_t fc_k_lm_distill_scratch(int64_t N, int V);
/* Products with both heads and fc_k_kl in one, in chunks of words as fc_k_lm_head. x, x_teacher
 * (N,C); tables as there. dx (N,C) is overwritten, dW (V,C) and dbias are added to; each may be
 * NULL (dx NULL: forward only). */
FC_KERNEL(fc_k_lm_distill, float *loss, float *dx, float *dW, float *dbias, const float *x,
          const float *x_teacher, const fc_lm_table *table, const fc_lm_table *teacher, float scale,
          int64_t N, int C, int V, float *scratch);

/* ---- optimisers and vectors ---------------------------------------------------------------------
 */

/* AdamW [Loshchilov+Hutter 2019, Alg. 2], as torch.optim.AdamW: decoupled decay first, then the
 * bias-corrected step. step counts from 1. */
typedef struct {
  float learning_rate, beta1, beta2, eps, weight_decay;
} fc_adamw;
FC_KERNEL(fc_k_adamw, float *w, float *m, float *v, const float *dw, fc_adamw o, int64_t step,
          int64_t n);
/* SGD as torch.optim.SGD: g = dw + decay w; v = momentum v + g (v = g at step 1); w -= lr v.
 * v may be NULL when momentum is 0. */
typedef struct {
  float learning_rate, momentum, weight_decay;
} fc_sgd;
FC_KERNEL(fc_k_sgd, float *w, float *v, const float *dw, fc_sgd o, int64_t step, int64_t n);

/* Sum of squares in double over fixed blocks (independent of threads). */
double fc_k_sum_squares(const float *x, int64_t n);
/* x *= a. */
FC_KERNEL(fc_k_scale, float *x, float a, int64_t n);
/* y += a x. */
FC_KERNEL(fc_k_axpy, float *y, float a, const float *x, int64_t n);
/* Index of the first element that is not finite, or n. */
int64_t fc_k_first_not_finite(const float *x, int64_t n);
/* Largest |x|, or |x - y|; NaN if any is NaN. */
float fc_k_max_abs(const float *x, int64_t n);
float fc_k_max_abs_difference(const float *x, const float *y, int64_t n);

/* ---- fixed point --------------------------------------------------------------------------------
 */

/* sum (n) += sum over the N rows of llrint(weight[row] (x[row] - base) scale), x (N,n) ldx, base
 * (n) or NULL; rows of weight 0 are not looked at. Exact in any order of rows and calls; the caller
 * picks the scale (a power of two) so that no sum overflows: |sum| < 2^63. What is added must be
 * finite (an integer cannot say NaN): see fc_k_max_abs_difference. Uses OpenMP threads when large,
 * as the products do. */
FC_KERNEL(fc_k_fixed_sum, int64_t *sum, const float *x, int64_t ldx, const float *base,
          const double *weight, int64_t N, double scale, int64_t n);
/* x = sum / scale. */
FC_KERNEL(fc_k_fixed_get, float *x, const int64_t *sum, double scale, int64_t n);

#endif
