"""Tiny random models of every architecture that a family may have, in the layout of the Hub; used by tests, not a test.

Each config keeps what is special in its architecture: grouped heads, sliding windows, soft-capping, multipliers,
positions of its own. The weights are large, so that distributions are far from uniform.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

CONTEXT = 96
WINDOW = 16  # of those that have one: most contexts are far longer
_LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 5000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
_ALTERNATING = ["sliding_attention", "full_attention"]


def tiny(architecture: str, vocab: int, layers: int = 2, window: int = WINDOW, context: int = CONTEXT) -> Any:
    """A config of width 32 with `vocab` rows of logits; `architecture` is one of `SERVED` or `REFUSED`.

    `window` is the sliding window where the architecture has one.
    """
    ends = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": None}
    shape = {"hidden_size": 32, "num_hidden_layers": layers, "num_attention_heads": 4, "intermediate_size": 64}
    room = {"vocab_size": vocab, "max_position_embeddings": context, "initializer_range": 0.2}
    return {**SERVED, **REFUSED}[architecture](window, layers, shape | room | ends)


Known = dict[str, Any]
Maker = Callable[[int, int, Known], Any]


def _of(name: str, **own: Any) -> Maker:
    """Configs of one class of the library, with fields of its own."""

    def made(window: int, layers: int, known: Known) -> Any:
        import transformers

        return getattr(transformers, name)(**known, **own)

    return made


def _sliding(name: str, kinds: list[str] | None = None, **own: Any) -> Maker:
    """The same with a sliding window; `kinds` are those of its layers, in turn."""

    def made(window: int, layers: int, known: Known) -> Any:
        turns = {"layer_types": [kinds[layer % len(kinds)] for layer in range(layers)]} if kinds else {}
        return _of(name, sliding_window=window, **turns, **own)(window, layers, known)

    return made


def _falcon(**own: Any) -> Maker:
    def made(window: int, layers: int, known: Known) -> Any:
        return _of("FalconConfig", **own)(window, layers, {k: v for k, v in known.items() if k != "intermediate_size"})

    return made


def _wrapped(window: int, layers: int, known: Known) -> Any:
    """The Gemma 3 of 4b and more: the text model inside one that reads images too."""
    import transformers

    text = _GEMMA3(window, layers, known)
    eye = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    return transformers.Gemma3Config(
        text_config=text.to_dict(),
        vision_config={**eye, "image_size": 16, "patch_size": 8},
        mm_tokens_per_image=4,
        **{key: known[key] for key in ("bos_token_id", "eos_token_id", "initializer_range")},
    )


_GROUPED: Mapping[str, Any] = {"num_key_value_heads": 2}
_MULTIPLIERS: Mapping[str, Any] = {
    "embedding_multiplier": 3.0,
    "logits_scaling": 2.0,
    "residual_multiplier": 0.5,
    "attention_multiplier": 0.2,
    "tie_word_embeddings": True,
}
_GEMMA3 = _sliding(
    "Gemma3TextConfig",
    _ALTERNATING,
    **_GROUPED,
    head_dim=16,
    query_pre_attn_scalar=16,
    rope_parameters={
        "full_attention": {"rope_type": "default", "rope_theta": 5000.0},
        "sliding_attention": {"rope_type": "default", "rope_theta": 100.0},
    },
)

# What our loop decodes, by the families that have it.
SERVED: Mapping[str, Maker] = {
    "llama-1": _of("LlamaConfig"),
    "llama-2": _of("LlamaConfig", **_GROUPED),
    "llama-3": _of("LlamaConfig", **_GROUPED, rope_parameters=_LLAMA3),
    "smollm2": _of("LlamaConfig", num_key_value_heads=1, tie_word_embeddings=True),
    "falcon3": _of("LlamaConfig", **_GROUPED, head_dim=16),
    "mistral": _of("MistralConfig", **_GROUPED, sliding_window=None),
    "mistral-sliding": _sliding("MistralConfig", **_GROUPED),
    "qwen2": _of("Qwen2Config", **_GROUPED),
    "qwen2-sliding": _sliding("Qwen2Config", **_GROUPED, use_sliding_window=True, max_window_layers=1),
    "qwen3": _of("Qwen3Config", **_GROUPED, head_dim=16, tie_word_embeddings=True),
    "falcon-7b": _falcon(alibi=False, multi_query=True, parallel_attn=True, new_decoder_architecture=False),
    "falcon-40b": _falcon(alibi=False, new_decoder_architecture=True, num_kv_heads=2),
    "olmo2": _of("Olmo2Config", **_GROUPED),
    "olmo3": _sliding("Olmo3Config", _ALTERNATING, **_GROUPED),
    "pythia": _of("GPTNeoXConfig", rope_parameters={"rope_type": "default", "partial_rotary_factor": 0.25}),
    "gemma2": _sliding(
        "Gemma2Config",
        _ALTERNATING,
        **_GROUPED,
        head_dim=16,
        query_pre_attn_scalar=16,
        attn_logit_softcapping=2.0,
        final_logit_softcapping=8.0,
    ),
    "gemma3": _GEMMA3,
    "gemma3-wrapped": _wrapped,
    "granite": _of("GraniteConfig", **_GROUPED, **_MULTIPLIERS),
    "granite4-micro": lambda window, layers, known: _of(
        "GraniteMoeHybridConfig",
        **_GROUPED,
        **_MULTIPLIERS,
        layer_types=["full_attention"] * layers,
        position_embedding_type="rope",
        num_local_experts=0,
        shared_intermediate_size=64,
        mamba_n_heads=4,
    )(window, layers, known),
}
# What it refuses, and in which words.
REFUSED: Mapping[str, Maker] = {
    "falcon-alibi": _falcon(alibi=True, multi_query=False, new_decoder_architecture=False),
    "granite4-hybrid": lambda window, layers, known: _of(
        "GraniteMoeHybridConfig",
        **_GROUPED,
        layer_types=["linear_attention", *["full_attention"] * (layers - 1)],
        position_embedding_type="rope",
        num_local_experts=0,
        shared_intermediate_size=64,
        mamba_n_heads=4,
        mamba_d_state=8,
    )(window, layers, known),
    "bloom": lambda window, layers, known: _of(
        "BloomConfig", hidden_size=32, n_layer=layers, n_head=4, vocab_size=known["vocab_size"], bos_token_id=0,
        eos_token_id=1,
    )(window, layers, {}),
    "t5": lambda window, layers, known: _of(
        "T5Config", d_model=32, d_kv=8, d_ff=64, num_layers=layers, num_heads=4, vocab_size=known["vocab_size"],
    )(window, layers, {}),
    "llama4-chunked": _of("Llama4TextConfig", **_GROUPED, head_dim=8, num_local_experts=2, attention_chunk_size=16,
                          intermediate_size_mlp=64),
}  # fmt: skip


def save_related(folder: Path, config: Any, tokenizer: Any, names: tuple[str, ...], spread: float = 0.1) -> None:
    """One random network, and the others as it with some noise: members that agree on many tokens, not on all.

    Saved as the folders `names`, the first as it is.
    """
    import torch
    from transformers import AutoModelForCausalLM

    torch.manual_seed(7)
    network = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        _enliven(network)
        first = {name: parameter.clone() for name, parameter in network.named_parameters()}
        for number, name in enumerate(names):
            for key, parameter in network.named_parameters() if number else ():
                noise = torch.randn_like(parameter) * first[key].std(correction=0)
                parameter.copy_(first[key] + spread * noise)
            network.save_pretrained(folder / name)
            tokenizer.save_pretrained(folder / name)


def _enliven(network: Any) -> None:
    """Norms and biases are random: as ones and zeros they would hide mistakes. No token is its own successor because
    it stands in the embedding and in the head; and none ends the text, whose length tests count on."""
    import torch

    tied = network.config.get_text_config().tie_word_embeddings
    for name, parameter in network.named_parameters():
        if parameter.ndim == 1:
            parameter += 0.2 * torch.randn_like(parameter)
        if tied and "layers" not in name and name.endswith("norm.weight"):
            parameter += 9  # ten times what it was, as the head is a tenth
    if tied:
        network.get_input_embeddings().weight *= 0.1
    network.get_output_embeddings().weight[network.config.eos_token_id] = 0
