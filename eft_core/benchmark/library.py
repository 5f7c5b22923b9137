"""What others would run: the library's `generate`, alone, assisted and with the small models inside, and the
proxy-tuning loop. They share our weights and do the same jobs: forced length, greedy or temperature 1, batch 1.
"""

from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache, GenerationConfig, LogitsProcessor, LogitsProcessorList

from eft_core.benchmark.deeper import sharing
from eft_core.benchmark.own import Method, Task
from eft_core.benchmark.timing import Output
from eft_core.model import Model

_NO_TOKEN = -1  # an end token that no model draws


def as_library(model: Model) -> Any:
    """A model as the library's own, on the same weights: without end token, and its vocabulary cut to the shared one.

    Cutting takes the padding rows away in which sizes differ, so that logits of two sizes can be added, assistants
    are of equal vocabulary, and no comparator pays for hiding rows.
    """
    network = sharing(model.network)
    if network.config.vocab_size != model.width:
        network.resize_token_embeddings(model.width)
    network.config.eos_token_id = None
    network.generation_config = GenerationConfig()
    return network


def options(task: Task) -> dict[str, Any]:
    """What `generate` must be told to draw from the law itself: top-k of 50 is its default where it samples."""
    length = {"max_new_tokens": task.tokens, "min_new_tokens": task.tokens}
    if task.sampling.temperature == 0:
        return length | {"do_sample": False}
    return length | {"do_sample": True, "temperature": task.sampling.temperature, "top_k": 0, "top_p": 1.0}


def generating(network: Any, assistant: Any = None, drafted: int | None = None) -> Method:
    """`generate`, plain or with an assistant; `drafted` sets a constant number of draft tokens, None the defaults."""

    def run(task: Task) -> Output:
        if assistant is not None:  # it keeps what it adapts in here; every run starts anew
            config = {} if drafted is None else {"num_assistant_tokens": drafted, "assistant_confidence_threshold": 0.0}
            assistant.generation_config = GenerationConfig(**config)
        return _generate(network, task, assistant_model=assistant)

    return run


def with_processor(large: Any, tuned: Any, base: Any) -> Method:
    """`large.generate` with a processor that holds the two small models and their caches."""

    def run(task: Task) -> Output:
        return _generate(large, task, logits_processor=LogitsProcessorList([SmallDelta(tuned, base)]))

    return run


def _generate(network: Any, task: Task, **more: Any) -> Output:
    torch.manual_seed(task.sampling.seed)
    ids = torch.tensor([task.prompt], device=network.device)
    found = network.generate(ids, attention_mask=torch.ones_like(ids), **options(task), **more)
    return Output((tuple(found[0, len(task.prompt) :].tolist()),))


class SmallDelta(LogitsProcessor):
    """Adds tuned - base of the small models to the scores, each small model on its own growing cache."""

    def __init__(self, tuned: Any, base: Any) -> None:
        self._models = [(network, DynamicCache(config=network.config)) for network in (tuned, base)]
        self._seen = 0

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        new = input_ids[:, self._seen :]
        self._seen = input_ids.shape[1]
        tuned, base = (
            network(input_ids=new, past_key_values=cache, use_cache=True, logits_to_keep=1).logits[:, -1]
            for network, cache in self._models
        )
        return scores + (tuned - base).float()


def proxy_tuning(large: Any, tuned: Any, base: Any) -> Method:
    """The loop of proxy-tuning (Liu et al. 2024, `modeling/dexperts.py`), re-created on today's library.

    The original needs a forked library of 2023 and cannot run today; on this one its code gives wrong text (SPEED.md
    2.12). Faithful in what costs: three `prepare_inputs_for_generation`, three forwards on growing caches, three
    updates of keyword arguments, and the bookkeeping of ended sentences, every token.
    """
    networks = (large, tuned, base)

    @torch.inference_mode()
    def run(task: Task) -> Output:
        torch.manual_seed(task.sampling.seed)
        ids = torch.tensor([task.prompt], device=large.device)
        states = [_first_state(network, ids) for network in networks]
        unfinished = torch.ones(1, dtype=torch.long, device=ids.device)
        ends = torch.tensor([_NO_TOKEN], device=ids.device)
        for step in range(task.tokens):
            logits = []
            for number, network in enumerate(networks):
                inputs = network.prepare_inputs_for_generation(ids, 1 if step else None, **states[number])
                outputs = network(**inputs, return_dict=True)
                logits.append(outputs.logits[..., -1, :])
                states[number] = network._update_model_kwargs_for_generation(outputs, states[number])
            tokens = _proxy_token(logits[0] + (logits[1] - logits[2]), task)
            ids = torch.cat([ids, (tokens * unfinished + 1 - unfinished)[:, None]], dim=-1)
            unfinished = unfinished.mul(tokens.tile(len(ends), 1).ne(ends[:, None]).prod(dim=0))
            if unfinished.max() == 0:
                break
        return Output((tuple(ids[0, len(task.prompt) :].tolist()),))

    return run


def _first_state(network: Any, ids: Tensor) -> dict[str, Any]:
    cache = DynamicCache(config=network.config)
    return {"past_key_values": cache, "attention_mask": torch.ones_like(ids), "use_cache": True}


def _proxy_token(logits: Tensor, task: Task) -> Tensor:
    """The loop's own way to draw: (1, V) -> (1,)."""
    if task.sampling.temperature == 0:
        return logits.argmax(-1)
    return torch.multinomial((logits / task.sampling.temperature).softmax(-1), num_samples=1)[:, 0]
