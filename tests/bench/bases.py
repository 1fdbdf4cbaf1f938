"""What compare.py works on: random bases and LoRA adapters as folders of transformers and PEFT, and tokens."""

import peft
import torch
import transformers

from torch_side import ALPHA, RANK

# GPT-2's architecture; name: layers, width, heads, vocabulary, positions
SIZES = {
    "d64": (2, 64, 4, 4096, 128),
    "d256": (4, 256, 8, 4096, 128),
    "gpt2": (12, 768, 12, 50257, 1024),  # GPT-2 124M
}
WORDS = 500  # tokens are drawn from the first ones: the same come back, so that there is something to learn


def gpt2_model(size):
    layers, width, heads, vocab, positions = SIZES[size]
    config = transformers.GPT2Config(n_layer=layers, n_embd=width, n_head=heads, vocab_size=vocab, n_positions=positions, resid_pdrop=0.0,
                                     embd_pdrop=0.0, attn_pdrop=0.0, bos_token_id=0, eos_token_id=0, initializer_range=width**-0.5)
    return transformers.GPT2LMHeadModel(config)


# LLaMA's; name: layers, width, heads, heads of keys, inner width, vocabulary
LLAMA_SIZES = {
    "llama-d64": (5, 64, 8, 4, 172, 512),  # the shape of stories260K
    "policy": (6, 192, 6, 2, 512, 1024),  # a small policy
}


def llama_model(size):
    layers, width, heads, kv_heads, ffn, vocab = LLAMA_SIZES[size]
    config = transformers.LlamaConfig(num_hidden_layers=layers, hidden_size=width, num_attention_heads=heads, num_key_value_heads=kv_heads,
                                      intermediate_size=ffn, vocab_size=vocab, max_position_embeddings=512, bos_token_id=0, eos_token_id=0,
                                      tie_word_embeddings=True, initializer_range=width**-0.5)
    return transformers.LlamaForCausalLM(config)


def make(size, folder):
    """Weights that keep the activations' variance, so that what is compared depends on all of them. Returns the model."""
    torch.manual_seed(1)
    model = llama_model(size) if size in LLAMA_SIZES else gpt2_model(size)
    model.save_pretrained(folder, safe_serialization=True)
    return model


def make_adapter(model, folder):
    """On c_attn. B is random too: a gradient of A would else be zero in the first step."""
    config = peft.LoraConfig(r=RANK, lora_alpha=ALPHA, lora_dropout=0.0, target_modules=["c_attn"], fan_in_fan_out=True, task_type="CAUSAL_LM")
    wrapped = peft.get_peft_model(model, config)
    with torch.no_grad():
        for name, p in wrapped.named_parameters():
            if "lora_" in name:
                p.copy_(torch.randn(p.shape) * (0.5 if "lora_A" in name else 0.1) * p.shape[-1] ** -0.5)
    wrapped.save_pretrained(folder)


def make_tokens(*shape):
    return torch.randint(WORDS, shape, generator=torch.Generator().manual_seed(2))
