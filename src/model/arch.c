/* arch.c - the transformer families, one row each.
 *
 * GPT-2 [Radford+ 2019], LLaMA [Touvron+ 2023], BERT [Devlin+ 2019], RoBERTa [Liu+ 2019]; module
 * names, epsilons and the wiring of the heads as in the Hugging Face implementations, so that their
 * files load unchanged.
 */
#include "arch.h"
#include <string.h>

#define END                                                                                        \
  { 0, 0, NULL, 0, 0 }

static const fc_arch_module gpt2_trunk[] = {
    {FC_ROLE_TOKEN, FC_MODULE_TABLE, "wte", FC_DIM_VOCAB, FC_DIM_WIDTH},
    {FC_ROLE_POSITION, FC_MODULE_TABLE, "wpe", FC_DIM_POSITIONS, FC_DIM_WIDTH},
    {FC_ROLE_NORM1, FC_MODULE_NORM, "ln_1", FC_DIM_ONE, FC_DIM_WIDTH},
    {FC_ROLE_QKV, FC_MODULE_CONV1D, "attn.c_attn", FC_DIM_QKV, FC_DIM_WIDTH},
    {FC_ROLE_ATTENTION_OUT, FC_MODULE_CONV1D, "attn.c_proj", FC_DIM_WIDTH, FC_DIM_Q},
    {FC_ROLE_NORM2, FC_MODULE_NORM, "ln_2", FC_DIM_ONE, FC_DIM_WIDTH},
    {FC_ROLE_UP, FC_MODULE_CONV1D, "mlp.c_fc", FC_DIM_FFN, FC_DIM_WIDTH},
    {FC_ROLE_DOWN, FC_MODULE_CONV1D, "mlp.c_proj", FC_DIM_WIDTH, FC_DIM_FFN},
    {FC_ROLE_FINAL_NORM, FC_MODULE_NORM, "ln_f", FC_DIM_ONE, FC_DIM_WIDTH},
    END};

static const fc_arch_module gpt2_heads[] = {
    {FC_ROLE_CLASS_OUT, FC_MODULE_LINEAR_NO_BIAS, "score", FC_DIM_LABELS, FC_DIM_WIDTH}, END};

static const fc_arch_module llama_trunk[] = {
    {FC_ROLE_TOKEN, FC_MODULE_TABLE, "embed_tokens", FC_DIM_VOCAB, FC_DIM_WIDTH},
    {FC_ROLE_NORM1, FC_MODULE_RMS_NORM, "input_layernorm", FC_DIM_ONE, FC_DIM_WIDTH},
    {FC_ROLE_QKV, FC_MODULE_LINEAR_NO_BIAS, "self_attn.q_proj", FC_DIM_Q, FC_DIM_WIDTH},
    {FC_ROLE_QKV, FC_MODULE_LINEAR_NO_BIAS, "self_attn.k_proj", FC_DIM_KV, FC_DIM_WIDTH},
    {FC_ROLE_QKV, FC_MODULE_LINEAR_NO_BIAS, "self_attn.v_proj", FC_DIM_KV, FC_DIM_WIDTH},
    {FC_ROLE_ATTENTION_OUT, FC_MODULE_LINEAR_NO_BIAS, "self_attn.o_proj", FC_DIM_WIDTH, FC_DIM_Q},
    {FC_ROLE_NORM2, FC_MODULE_RMS_NORM, "post_attention_layernorm", FC_DIM_ONE, FC_DIM_WIDTH},
    {FC_ROLE_UP, FC_MODULE_LINEAR_NO_BIAS, "mlp.gate_proj", FC_DIM_FFN, FC_DIM_WIDTH},
    {FC_ROLE_UP, FC_MODULE_LINEAR_NO_BIAS, "mlp.up_proj", FC_DIM_FFN, FC_DIM_WIDTH},
    {FC_ROLE_DOWN, FC_MODULE_LINEAR_NO_BIAS, "mlp.down_proj", FC_DIM_WIDTH, FC_DIM_FFN},
    {FC_ROLE_FINAL_NORM, FC_MODULE_RMS_NORM, "norm", FC_DIM_ONE, FC_DIM_WIDTH},
    END};

static const fc_arch_module llama_heads[] = {
    {FC_ROLE_LM_OUT, FC_MODULE_TABLE, "lm_head", FC_DIM_VOCAB, FC_DIM_WIDTH},
    {FC_ROLE_CLASS_OUT, FC_MODULE_LINEAR_NO_BIAS, "score", FC_DIM_LABELS, FC_DIM_WIDTH},
    END};

/* BERT and RoBERTa name their trunks alike. */
static const fc_arch_module encoder_trunk[] = {
    {FC_ROLE_TOKEN, FC_MODULE_TABLE, "embeddings.word_embeddings", FC_DIM_VOCAB, FC_DIM_WIDTH},
    {FC_ROLE_POSITION, FC_MODULE_TABLE, "embeddings.position_embeddings", FC_DIM_POSITIONS,
     FC_DIM_WIDTH},
    {FC_ROLE_TYPE, FC_MODULE_TABLE, "embeddings.token_type_embeddings", FC_DIM_TYPES, FC_DIM_WIDTH},
    {FC_ROLE_EMBED_NORM, FC_MODULE_NORM, "embeddings.LayerNorm", FC_DIM_ONE, FC_DIM_WIDTH},
    {FC_ROLE_QKV, FC_MODULE_LINEAR, "attention.self.query", FC_DIM_Q, FC_DIM_WIDTH},
    {FC_ROLE_QKV, FC_MODULE_LINEAR, "attention.self.key", FC_DIM_KV, FC_DIM_WIDTH},
    {FC_ROLE_QKV, FC_MODULE_LINEAR, "attention.self.value", FC_DIM_KV, FC_DIM_WIDTH},
    {FC_ROLE_ATTENTION_OUT, FC_MODULE_LINEAR, "attention.output.dense", FC_DIM_WIDTH, FC_DIM_Q},
    {FC_ROLE_NORM1, FC_MODULE_NORM, "attention.output.LayerNorm", FC_DIM_ONE, FC_DIM_WIDTH},
    {FC_ROLE_UP, FC_MODULE_LINEAR, "intermediate.dense", FC_DIM_FFN, FC_DIM_WIDTH},
    {FC_ROLE_DOWN, FC_MODULE_LINEAR, "output.dense", FC_DIM_WIDTH, FC_DIM_FFN},
    {FC_ROLE_NORM2, FC_MODULE_NORM, "output.LayerNorm", FC_DIM_ONE, FC_DIM_WIDTH},
    END};

static const fc_arch_module bert_heads[] = {
    {FC_ROLE_CLASS_DENSE, FC_MODULE_LINEAR, "bert.pooler.dense", FC_DIM_WIDTH, FC_DIM_WIDTH},
    {FC_ROLE_CLASS_OUT, FC_MODULE_LINEAR, "classifier", FC_DIM_LABELS, FC_DIM_WIDTH},
    {FC_ROLE_LM_DENSE, FC_MODULE_LINEAR, "cls.predictions.transform.dense", FC_DIM_WIDTH,
     FC_DIM_WIDTH},
    {FC_ROLE_LM_NORM, FC_MODULE_NORM, "cls.predictions.transform.LayerNorm", FC_DIM_ONE,
     FC_DIM_WIDTH},
    {FC_ROLE_LM_BIAS, FC_MODULE_BIAS, "cls.predictions", FC_DIM_ONE, FC_DIM_VOCAB},
    END};

static const fc_arch_module roberta_heads[] = {
    {FC_ROLE_CLASS_DENSE, FC_MODULE_LINEAR, "classifier.dense", FC_DIM_WIDTH, FC_DIM_WIDTH},
    {FC_ROLE_CLASS_OUT, FC_MODULE_LINEAR, "classifier.out_proj", FC_DIM_LABELS, FC_DIM_WIDTH},
    {FC_ROLE_LM_DENSE, FC_MODULE_LINEAR, "lm_head.dense", FC_DIM_WIDTH, FC_DIM_WIDTH},
    {FC_ROLE_LM_NORM, FC_MODULE_NORM, "lm_head.layer_norm", FC_DIM_ONE, FC_DIM_WIDTH},
    {FC_ROLE_LM_BIAS, FC_MODULE_BIAS, "lm_head", FC_DIM_ONE, FC_DIM_VOCAB},
    END};

static const fc_arch families[] = {
    {
        .name = "gpt2",
        .meaning = "decoder: norm before each sublayer, learned positions, tied head",
        .prefix = "transformer.",
        .block = "h.",
        .causal = true,
        .pre_norm = true,
        .pool_last = true,
        .scaled_residual_init = true,
        .activation = FC_ACT_GELU_TANH,
        .norm_eps = 1e-5F,
        .trunk = gpt2_trunk,
        .heads = gpt2_heads,
    },
    {
        .name = "llama",
        .meaning = "decoder: RMS norms, rotary positions, gated MLP, grouped key and value heads",
        .prefix = "model.",
        .block = "layers.",
        .causal = true,
        .pre_norm = true,
        .pool_last = true,
        .grouped_kv = true,
        .gated = true,
        .own_lm_table = true,
        .norm_eps = 1e-6F,
        .rope_theta = 10000.0F,
        .trunk = llama_trunk,
        .heads = llama_heads,
    },
    {
        .name = "bert",
        .meaning = "encoder: norm after each sublayer, token types, pooler and classifier",
        .prefix = "bert.",
        .block = "encoder.layer.",
        .activation = FC_ACT_GELU_ERF,
        .class_activation = FC_ACT_TANH,
        .lm_activation = FC_ACT_GELU_ERF,
        .types = 2,
        .norm_eps = 1e-12F,
        .trunk = encoder_trunk,
        .heads = bert_heads,
    },
    {
        .name = "roberta",
        .meaning = "encoder: as bert, positions from 2, two-layer classification head",
        .prefix = "roberta.",
        .block = "encoder.layer.",
        .activation = FC_ACT_GELU_ERF,
        .class_activation = FC_ACT_TANH,
        .lm_activation = FC_ACT_GELU_ERF,
        .position_offset = 2,
        .types = 1,
        .norm_eps = 1e-5F,
        .trunk = encoder_trunk,
        .heads = roberta_heads,
    },
};
enum { N_FAMILIES = sizeof families / sizeof families[0] };

const fc_arch *fc_arch_find(const char *family) {
  for (size_t i = 0; i < N_FAMILIES; i++) {
    if (strcmp(families[i].name, family) == 0) return &families[i];
  }
  return NULL;
}

const char *fc_arch_name(size_t i) {
  return i < N_FAMILIES ? families[i].name : NULL;
}

const char *fc_arch_meaning(size_t i) {
  return i < N_FAMILIES ? families[i].meaning : NULL;
}

bool fc_arch_is_causal(const fc_arch *arch) {
  return arch->causal;
}

bool fc_arch_is_block_role(fc_role role) {
  return role >= FC_ROLE_NORM1 && role <= FC_ROLE_DOWN;
}

int fc_arch_block_order(const fc_arch *arch, fc_role role) {
  static const fc_role pre[FC_ARCH_BLOCK_ROLES] = {
      FC_ROLE_NORM1, FC_ROLE_QKV, FC_ROLE_ATTENTION_OUT, FC_ROLE_NORM2, FC_ROLE_UP, FC_ROLE_DOWN};
  static const fc_role post[FC_ARCH_BLOCK_ROLES] = {
      FC_ROLE_QKV, FC_ROLE_ATTENTION_OUT, FC_ROLE_NORM1, FC_ROLE_UP, FC_ROLE_DOWN, FC_ROLE_NORM2};
  const fc_role *order = arch->pre_norm ? pre : post;
  int i = 0;
  while (i < FC_ARCH_BLOCK_ROLES - 1 && order[i] != role) i++;
  return i;
}

int fc_arch_dim(const fc_model_shape *s, fc_dim dim) {
  int head_width = s->width / s->heads;
  switch (dim) {
  case FC_DIM_ONE:
    return 1;
  case FC_DIM_WIDTH:
    return s->width;
  case FC_DIM_Q:
    return s->heads * head_width;
  case FC_DIM_KV:
    return s->kv_heads * head_width;
  case FC_DIM_QKV:
    return (s->heads + 2 * s->kv_heads) * head_width;
  case FC_DIM_FFN:
    return s->ffn;
  case FC_DIM_VOCAB:
    return s->vocab;
  case FC_DIM_POSITIONS:
    return s->positions;
  case FC_DIM_TYPES:
    return s->types;
  case FC_DIM_LABELS:
    return s->labels;
  }
  return 0;
}

bool fc_arch_has_role(const fc_model_shape *s, fc_role role) {
  switch (role) {
  case FC_ROLE_TYPE:
    return s->types > 0;
  case FC_ROLE_CLASS_DENSE:
  case FC_ROLE_CLASS_OUT:
    return s->labels > 0;
  case FC_ROLE_LM_DENSE:
  case FC_ROLE_LM_NORM:
  case FC_ROLE_LM_BIAS:
    return s->lm_head;
  case FC_ROLE_LM_OUT:
    return s->untied_head;
  default:
    return true;
  }
}
