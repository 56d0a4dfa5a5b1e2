"""Three families of transformers' models: what they call our parameters and settings, and which of ours they hold.

No torch: the pipeline reads a model's config.json long before it loads weights. Our fused query/key/value matrix and
our padded vocabulary are cut into their tensors by rows; GPT-1 and GPT-2 store linear layers as `Conv1D`, the transpose
of torch's `Linear`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from pretrain.architecture import ModelSettings

HEAD = "lm_head"


class Stored(NamedTuple):
    """A tensor of transformers: its name, without the layout's prefix, and how many rows of our parameter it has."""

    name: str
    rows: int


@dataclass(frozen=True)
class Layout:
    """One of transformers' model classes."""

    model_type: str
    architecture: str
    prefix: str  # of every parameter but the head; released GPT-2 files lack it
    blocks: str
    parts: dict[str, tuple[str, ...]]  # our part -> theirs; where several, their rows follow each other in ours
    conv1d: bool  # linear layers are stored transposed
    keys: dict[str, str]  # our setting -> its key in config.json
    fixed: dict[str, Any]  # our setting -> the only value that this class can hold
    activation_key: str
    activations: dict[str, str]  # its name here -> ours; the first is the one we write
    bias_keys: tuple[str, ...]  # none: linear layers have biases
    dropout_keys: tuple[str, ...]
    buffers: tuple[str, ...]  # ends of names that older versions stored and that are no parameters
    switches: dict[str, Any]  # options that our model lacks -> the value that leaves them out
    absent: dict[str, Any] = field(default_factory=dict)  # our setting -> this class's default, where not ours

    def stored(self, name: str, rows: int, model: ModelSettings, vocab_size: int) -> list[Stored]:
        """Where the first rows of our parameter `name`, which has `rows` of them, are kept.

        >>> LLAMA.stored("blocks.3.mlp.up.weight", 8, ModelSettings(), 300)
        [Stored(name='layers.3.mlp.up_proj.weight', rows=8)]
        """
        part, kind = name.rsplit(".", 1)
        if part in ("embedding", "head"):
            rows = vocab_size
        before = ""
        if part.startswith("blocks."):
            _, number, part = part.split(".", 2)
            before = f"{self.blocks}.{number}."
        names = [f"{before}{theirs}.{kind}" for theirs in self.parts[part]]
        if len(names) == 1:
            return [Stored(names[0], rows)]
        heads = (model.n_heads, model.kv_heads, model.kv_heads)
        return [Stored(name, count * model.head_width) for name, count in zip(names, heads, strict=True)]

    def transposed(self, name: str) -> bool:
        """Whether our parameter `name` is stored transposed."""
        return self.conv1d and name.startswith("blocks.") and name.endswith(".weight") and "norm" not in name

    def written(self, name: str) -> str:
        """The whole name of a stored tensor."""
        return name if name.startswith(HEAD) else self.prefix + name

    def obstacles(self, model: ModelSettings) -> list[str]:
        """The settings of a model that this class cannot hold, as they would stand in a config."""
        names = [name for name, value in self.fixed.items() if getattr(model, name) != value]
        if model.activation not in self.activations.values():
            names.append("activation")
        if "n_kv_heads" not in self.keys and model.kv_heads != model.n_heads:
            names.append("n_kv_heads")
        if "d_ff" not in self.keys and model.ff_width != 4 * model.d_model:
            names.append("d_ff")
        return [f"model.{name} = {json.dumps(getattr(model, name))}" for name in names]

    def config(self, model: ModelSettings, vocab_size: int) -> dict[str, Any]:
        """config.json of a model that this class holds."""
        complete = replace(model, n_kv_heads=model.kv_heads, d_ff=model.ff_width)
        theirs = {ours: name for name, ours in reversed(self.activations.items())}
        config = {
            "architectures": [self.architecture],
            "model_type": self.model_type,
            "vocab_size": vocab_size,
            **{key: getattr(complete, ours) for ours, key in self.keys.items()},
            self.activation_key: theirs[model.activation],
            **dict.fromkeys(self.bias_keys, model.biases),
            **dict.fromkeys(self.dropout_keys, model.dropout),
            "dtype": "float32",
        }
        if "rope_theta" in self.keys:  # transformers 4 reads the key, 5 the table
            config["rope_parameters"] = {"rope_type": "default", "rope_theta": model.rope_theta}
        else:
            config["n_ctx"] = model.context_length  # an old name of n_positions that older tools read
        return config


GPT_BLOCK = {
    "attention_norm": ("ln_1",),
    "attention.qkv": ("attn.c_attn",),
    "attention.out": ("attn.c_proj",),
    "mlp_norm": ("ln_2",),
    "mlp.up": ("mlp.c_fc",),
    "mlp.out": ("mlp.c_proj",),
    "head": (HEAD,),
}
GPT_KEYS = {
    "context_length": "n_positions",
    "n_layers": "n_layer",
    "n_heads": "n_head",
    "d_model": "n_embd",
    "norm_eps": "layer_norm_epsilon",
    "tied_embeddings": "tie_word_embeddings",
}
PLAIN = {"qk_norm": False, "embedding_scale": False}
GPT_FIXED = {"position": "learned", "norm": "layernorm", "biases": True, **PLAIN}
GPT_BUFFERS = (".attn.bias", ".attn.masked_bias")
GPT_DROPOUTS = ("attn_pdrop", "embd_pdrop", "resid_pdrop")

GPT2 = Layout(
    model_type="gpt2",
    architecture="GPT2LMHeadModel",
    prefix="transformer.",
    blocks="h",
    parts={**GPT_BLOCK, "embedding": ("wte",), "positions": ("wpe",), "norm": ("ln_f",)},
    conv1d=True,
    keys={**GPT_KEYS, "d_ff": "n_inner"},
    fixed={**GPT_FIXED, "norm_placement": "pre"},
    activation_key="activation_function",
    activations={"gelu_new": "gelu", "gelu_pytorch_tanh": "gelu", "gelu_fast": "gelu", "relu": "relu"},
    bias_keys=(),
    dropout_keys=GPT_DROPOUTS,
    buffers=GPT_BUFFERS,
    switches={
        "scale_attn_weights": True,
        "scale_attn_by_inverse_layer_idx": False,
        "add_cross_attention": False,
        "quantization_config": None,
    },
)
OPENAI_GPT = Layout(
    model_type="openai-gpt",
    architecture="OpenAIGPTLMHeadModel",
    prefix="transformer.",
    blocks="h",
    parts={**GPT_BLOCK, "embedding": ("tokens_embed",), "positions": ("positions_embed",)},
    conv1d=True,
    keys=GPT_KEYS,
    fixed={**GPT_FIXED, "norm_placement": "post"},
    activation_key="afn",
    activations={"gelu": "gelu", "relu": "relu"},  # what this class calls "gelu" is its tanh form
    bias_keys=(),
    dropout_keys=GPT_DROPOUTS,
    buffers=GPT_BUFFERS,
    switches={"quantization_config": None},
)
LLAMA = Layout(
    model_type="llama",
    architecture="LlamaForCausalLM",
    prefix="model.",
    blocks="layers",
    parts={
        "embedding": ("embed_tokens",),
        "attention_norm": ("input_layernorm",),
        "attention.qkv": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
        "attention.out": ("self_attn.o_proj",),
        "mlp_norm": ("post_attention_layernorm",),
        "mlp.gate": ("mlp.gate_proj",),
        "mlp.up": ("mlp.up_proj",),
        "mlp.out": ("mlp.down_proj",),
        "norm": ("norm",),
        "head": (HEAD,),
    },
    conv1d=False,
    keys={
        "context_length": "max_position_embeddings",
        "n_layers": "num_hidden_layers",
        "n_heads": "num_attention_heads",
        "n_kv_heads": "num_key_value_heads",
        "d_model": "hidden_size",
        "d_ff": "intermediate_size",
        "norm_eps": "rms_norm_eps",
        "rope_theta": "rope_theta",
        "tied_embeddings": "tie_word_embeddings",
    },
    fixed={"position": "rotary", "norm": "rmsnorm", "norm_placement": "pre", **PLAIN},
    activation_key="hidden_act",
    activations={"silu": "swiglu", "swish": "swiglu"},
    bias_keys=("attention_bias", "mlp_bias"),
    dropout_keys=("attention_dropout",),  # the only one it has
    buffers=(".rotary_emb.inv_freq",),
    switches={
        "rope_type": "default",
        "type": "default",  # an old name of rope_type
        "partial_rotary_factor": 1.0,
        "sliding_window": None,
        "quantization_config": None,
    },
    absent={"d_ff": 11_008, "tied_embeddings": False, "norm_eps": 1e-6},
)
LAYOUTS = {layout.model_type: layout for layout in (GPT2, LLAMA, OPENAI_GPT)}


def layout_of(model: ModelSettings) -> Layout | None:
    """The layout that holds a model exactly, if there is one."""
    return next((layout for layout in LAYOUTS.values() if not layout.obstacles(model)), None)


def why_not(model: ModelSettings) -> str:
    """A sentence about a model without a layout: what keeps it from the nearest one. "" when it has one."""
    nearest = min(LAYOUTS.values(), key=lambda layout: len(layout.obstacles(model)))
    obstacles = nearest.obstacles(model)
    return f"transformers' nearest class, {nearest.architecture}, has no {', no '.join(obstacles)}" if obstacles else ""
