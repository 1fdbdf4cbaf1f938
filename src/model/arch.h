/* arch.h - the architecture table's row: all that tells one transformer family from another.
 *
 * A family is a list of modules (embedding tables, linear layers, norms) with the names they have
 * in Hugging Face files and the role each plays, plus a few facts on how the roles are wired. The
 * forward and backward pass know roles only. Constant data; nobody owns anything. */
#ifndef FC_ARCH_H
#define FC_ARCH_H

#include "fedcell/fc_model.h"

/* What a module does. Roles NORM1 to DOWN repeat in every block. */
typedef enum {
  FC_ROLE_TOKEN,    /* embedding tables: their sum is the input */
  FC_ROLE_POSITION, /* learned positions */
  FC_ROLE_TYPE,     /* token types (segments) */
  FC_ROLE_EMBED_NORM,
  FC_ROLE_NORM1, /* the attention sublayer's norm: before it or after its residual sum */
  FC_ROLE_QKV,
  FC_ROLE_ATTENTION_OUT,
  FC_ROLE_NORM2, /* the MLP sublayer's norm */
  FC_ROLE_UP,
  FC_ROLE_DOWN,
  FC_ROLE_FINAL_NORM,
  FC_ROLE_CLASS_DENSE, /* classification head: optional dense layer, then the classes */
  FC_ROLE_CLASS_OUT,
  FC_ROLE_LM_DENSE, /* masked-LM head: dense layer and norm before the tied decoder */
  FC_ROLE_LM_NORM,
  FC_ROLE_LM_BIAS,
  FC_ROLE_LM_OUT, /* the decoder's own table where it is not the token table */
  FC_ROLE_COUNT
} fc_role;

typedef enum {
  FC_MODULE_TABLE,  /* weight (rows,cols), looked up */
  FC_MODULE_LINEAR, /* weight (rows,cols) and bias (rows) */
  FC_MODULE_LINEAR_NO_BIAS,
  FC_MODULE_CONV1D,   /* a linear layer that files store as (cols,rows) */
  FC_MODULE_NORM,     /* weight and bias (cols) */
  FC_MODULE_RMS_NORM, /* weight (cols): a norm without bias is by root mean square */
  FC_MODULE_BIAS      /* bias (cols) alone */
} fc_module_kind;

/* Sizes by name; fc_arch_dim gives the number. */
typedef enum {
  FC_DIM_ONE,
  FC_DIM_WIDTH,
  FC_DIM_Q,   /* heads * head width */
  FC_DIM_KV,  /* kv_heads * head width */
  FC_DIM_QKV, /* Q + 2 KV */
  FC_DIM_FFN,
  FC_DIM_VOCAB,
  FC_DIM_POSITIONS,
  FC_DIM_TYPES,
  FC_DIM_LABELS
} fc_dim;

/* Consecutive modules of one role are the pieces of one product (query, key, value): their weights
 * lie in the blob next to each other, then their biases. */
typedef struct {
  fc_role role;
  fc_module_kind kind;
  const char *name; /* trunk modules without the family's prefix (and block number) */
  fc_dim rows, cols;
} fc_arch_module;

enum { FC_ARCH_MAX_PIECES = 3, FC_ARCH_BLOCK_ROLES = 6 };

struct fc_arch {
  const char *name, *meaning;
  const char *prefix; /* of the trunk's tensor names, with the dot: "bert." */
  const char *block;  /* between prefix and block number, with the dot: "encoder.layer." */
  bool causal;
  bool pre_norm;             /* x + f(norm(x)); otherwise norm(x + f(x)) */
  bool pool_last;            /* FC_POOL_FIRST of a decoder: the last token has seen all others */
  bool grouped_kv;           /* kv_heads may be less than heads */
  bool gated;                /* UP is gate and up, DOWN's input silu(gate) up */
  bool own_lm_table;         /* the shape may ask for an untied head */
  bool scaled_residual_init; /* ATTENTION_OUT and DOWN start at 0.02/sqrt(2 layers) */
  fc_act activation;
  fc_act class_activation; /* after CLASS_DENSE */
  fc_act lm_activation;    /* after LM_DENSE */
  int position_offset;     /* first row of the position table that is used */
  int types;               /* token types where the shape does not say */
  float norm_eps;
  float rope_theta;                    /* of the family's first models; 0: no rotary positions */
  const fc_arch_module *trunk, *heads; /* lists that end with a NULL name */
};

bool fc_arch_is_block_role(fc_role role);
/* Position of a role within a block in the order of computation, 0 to FC_ARCH_BLOCK_ROLES - 1. */
int fc_arch_block_order(const fc_arch *arch, fc_role role);
int fc_arch_dim(const fc_model_shape *shape, fc_dim dim);
/* Whether a model of this shape has modules of this role (a head only when asked for). */
bool fc_arch_has_role(const fc_model_shape *shape, fc_role role);

#endif
