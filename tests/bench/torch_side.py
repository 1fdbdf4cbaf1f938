"""The PyTorch side of compare.py: LoRA training of many devices, one after the other, on one resident GPT-2.

    A  PlainLoop  nothing but what the work needs: GPT-2 written out, each c_attn with two small matrices beside it
    B  PeftLoop   the same loop over transformers' GPT-2 in peft.get_peft_model

Both take each device's adapter, make a fresh AdamW, take the steps on the device's batch with all logits and their cross entropy, and keep
the adapter. Only the adapter has gradients. `PRECISIONS` names how the frozen weights and activations are kept; adapter and optimiser are f32.
"""

import contextlib
import pathlib

import peft
import torch
import torch.nn.functional as F
import transformers
from safetensors.torch import load_file

RANK, ALPHA = 8, 16
# f32; bf16: weights and activations in bfloat16; autocast: f32 weights, cast where PyTorch's table says so
PRECISIONS = ("f32", "bf16", "autocast")


def make_optimizer(parameters, learning_rate):
    """AdamW without decay: fused where this PyTorch has it for the CPU."""
    settings = {"lr": learning_rate, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.0}
    try:
        return torch.optim.AdamW(parameters, fused=True, **settings)
    except (RuntimeError, TypeError):
        return torch.optim.AdamW(parameters, **settings)


def attention(q, k, v):
    """Causal, (batch, heads, length, width of a head)."""
    if hasattr(F, "scaled_dot_product_attention"):
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)
    length = q.shape[-2]
    future = torch.ones(length, length, dtype=torch.bool).triu(1)
    scores = (q @ k.transpose(-1, -2)) * q.shape[-1] ** -0.5
    return scores.masked_fill(future, float("-inf")).softmax(-1) @ v


class Loop:
    """Tokens (devices, batch, length); `initial`: name -> weight, the adapter that every device begins with. The device's adapter is in
    `parameters` while it trains; set by the two loops below, with `loss_of` (tokens of a batch -> loss)."""

    def __init__(self, precision, tokens, steps, learning_rate):
        self.tokens, self.steps, self.learning_rate = tokens, steps, learning_rate
        self.autocast = precision == "autocast"

    def context(self):
        return torch.autocast("cpu", dtype=torch.bfloat16) if self.autocast else contextlib.nullcontext()

    @staticmethod
    def cross_entropy(logits, batch):
        """In f32: a loss in bf16 has two digits."""
        return F.cross_entropy(logits.flatten(0, 1).float(), batch[:, 1:].flatten())

    def run(self):
        """All devices from their first state; returns the mean loss over the devices before each step."""
        losses = []
        for batch, adapter in zip(self.tokens, self.adapters()):
            self.take(adapter)
            optimizer = make_optimizer(self.parameters, self.learning_rate)
            for _ in range(self.steps):
                optimizer.zero_grad(set_to_none=True)
                with self.context():
                    loss = self.loss_of(batch)
                loss.backward()
                optimizer.step()
                losses.append(loss.detach())
            self.keep(adapter)
        return torch.stack(losses).double().reshape(-1, self.steps).mean(0).tolist()

    def adapters(self):
        """Every device's own, as its first state."""
        return ({name: weight.clone() for name, weight in self.initial.items()} for _ in range(len(self.tokens)))


class PlainLoop(Loop):
    def __init__(self, folder, adapter, precision, *work):
        super().__init__(precision, *work)
        self.dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        config = transformers.GPT2Config.from_pretrained(folder)
        self.heads, self.layers, self.eps = config.n_head, config.n_layer, config.layer_norm_epsilon
        self.initial = load_file(pathlib.Path(adapter) / "adapter_model.safetensors")
        self.weights = {}
        for name, w in load_file(pathlib.Path(folder) / "model.safetensors").items():
            is_product = w.dim() == 2 and ".h." in name  # Conv1D keeps (in, out); products take (out, in)
            self.weights[name.removeprefix("transformer.")] = (w.t() if is_product else w).contiguous().to(self.dtype)
        self.lora = {name: w.clone().requires_grad_() for name, w in self.initial.items()}
        self.parameters = list(self.lora.values())

    def take(self, adapter):
        with torch.no_grad():
            for name, weight in adapter.items():
                self.lora[name].copy_(weight)

    def keep(self, adapter):
        with torch.no_grad():
            for name, weight in adapter.items():
                weight.copy_(self.lora[name])

    def norm(self, x, name):
        return F.layer_norm(x, x.shape[-1:], self.weights[name + ".weight"], self.weights[name + ".bias"], self.eps)

    def product(self, x, name):
        return F.linear(x, self.weights[name + ".weight"], self.weights[name + ".bias"])

    def attend(self, x, layer):
        qkv = self.product(x, f"{layer}.attn.c_attn")
        a, b = (self.lora[f"base_model.model.transformer.{layer}.attn.c_attn.lora_{f}.weight"].to(self.dtype) for f in "AB")
        qkv = qkv + F.linear(F.linear(x, a), b) * (ALPHA / RANK)
        q, k, v = (t.unflatten(-1, (self.heads, -1)).transpose(1, 2) for t in qkv.chunk(3, -1))
        return self.product(attention(q, k, v).transpose(1, 2).flatten(2), f"{layer}.attn.c_proj")

    def loss_of(self, batch):
        x = F.embedding(batch, self.weights["wte.weight"]) + self.weights["wpe.weight"][: batch.shape[1]]
        for layer in (f"h.{i}" for i in range(self.layers)):
            x = x + self.attend(self.norm(x, f"{layer}.ln_1"), layer)
            h = F.gelu(self.product(self.norm(x, f"{layer}.ln_2"), f"{layer}.mlp.c_fc"), approximate="tanh")
            x = x + self.product(h, f"{layer}.mlp.c_proj")
        return self.cross_entropy(F.linear(self.norm(x, "ln_f")[:, :-1], self.weights["wte.weight"]), batch)


class PeftLoop(Loop):
    def __init__(self, folder, adapter, precision, *work):
        super().__init__(precision, *work)
        base = transformers.GPT2LMHeadModel.from_pretrained(folder)
        if precision == "bf16":
            base = base.to(torch.bfloat16)
        self.model = peft.PeftModel.from_pretrained(base, adapter, is_trainable=True)
        for p in self.model.parameters():
            if p.requires_grad:
                p.data = p.data.float()  # older releases of PEFT make the adapter of the base's type
        self.model.train()  # as users do; all dropout is 0
        self.initial = {name: w.clone() for name, w in peft.get_peft_model_state_dict(self.model).items()}
        self.parameters = [p for p in self.model.parameters() if p.requires_grad]

    def take(self, adapter):
        peft.set_peft_model_state_dict(self.model, adapter)

    def keep(self, adapter):
        for name, weight in peft.get_peft_model_state_dict(self.model).items():
            adapter[name].copy_(weight)

    def loss_of(self, batch):
        return self.cross_entropy(self.model(input_ids=batch, use_cache=False).logits[:, :-1], batch)


def has_fast_bf16():
    """Whether this PyTorch's oneDNN multiplies bf16 on this CPU at all."""
    try:
        return torch.backends.mkldnn.is_available() and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    except (AttributeError, RuntimeError):
        return False


def onednn_version():
    lines = [line for line in torch.__config__.show().splitlines() if "MKL-DNN" in line]
    return lines[0].split(" v")[1].split()[0] if lines else "none"


def cpu_capability():
    """What PyTorch's own kernels were chosen for."""
    lines = [line for line in torch.__config__.show().splitlines() if "CPU capability" in line]
    return lines[0].split()[-1] if lines else "unknown"
