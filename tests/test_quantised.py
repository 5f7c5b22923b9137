"""8-bit weights on a CPU are nearly the same model in a quarter of the bytes; what they cannot be is refused."""

import copy
import importlib.util
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from conftest import tiny_config
from tiny import SERVED, tiny
from torch import Tensor, nn

from eft_core.config import Limits, Request, Sampling
from eft_core.policy import Policy, tuned, up_scale
from eft_core.quantised import Int8Linear, bitsandbytes, has_kernel, int8, is_quantised, quantise, replaced
from eft_core.session import Session
from eft_core.settings import Settings

WIDTH = 320
ATLAS = Path(__file__).parent.parent / "assets" / "models" / "atlas"
TEXTS = (
    "Question: What is the capital of Kenya?\nAnswer: The capital of Kenya is Nairobi.",
    "Question: How many people live in Norway?\nAnswer: About 5 million people live in Norway. I hope that helps.",
    "The area of Chad is 1,284,000 square kilometres. Its neighbours are Libya, Sudan and Niger.",
)


def network(config: Any) -> Any:
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()


def linear(inputs: int = 96, outputs: int = 48, bias: bool = True) -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(inputs, outputs, bias=bias).requires_grad_(False)


def divergence(plain: Any, other: Any, ids: Tensor) -> tuple[Tensor, Tensor]:
    """KL(plain || other) at each position, and whether the likeliest token is the same."""
    with torch.inference_mode():
        first, second = (F.log_softmax(each(ids).logits.float(), -1)[0] for each in (plain, other))
    return (first.exp() * (first - second)).sum(-1), first.argmax(-1) == second.argmax(-1)


# --- one matrix


def test_integers_and_scales_give_the_weights_to_half_a_step() -> None:
    weight = torch.randn(7, 33) * torch.logspace(-6, 3, 7)[:, None]
    integers, scales = int8(weight)
    assert (integers.dtype, scales.dtype) == (torch.int8, torch.bfloat16)
    steps = scales.float()[:, None]
    off = (integers.float() * steps - weight).abs() / steps
    assert off.max() < 1.0  # a scale that was rounded down cuts the largest by up to half a step more
    assert (off > 0.501).float().mean() < 0.05


def test_a_row_of_zeros_stays_zeros() -> None:
    integers, scales = int8(torch.zeros(3, 32))
    assert not integers.any()
    assert scales.isfinite().all()


@pytest.mark.parametrize(("inputs", "outputs"), [(96, 48), (96, 1), (33, 17), (80, 9), (1, 64)])
@pytest.mark.parametrize("rows", [1, 8, 32, 33, 100])
def test_few_rows_by_the_kernel_and_many_in_pieces_are_the_same_product(rows: int, inputs: int, outputs: int) -> None:
    full = linear(inputs, outputs)
    layer = Int8Linear(full.weight, full.bias)
    x = torch.randn(2, rows, inputs)[:1]
    wanted = F.linear(x, layer.weight.float() * layer.scales.float()[:, None], full.bias)
    # The kernel rounds what goes in and out to bfloat16: 8 bits of each number.
    rounding = 2**-7 if rows <= 32 and inputs == 96 else 1e-5
    torch.testing.assert_close(layer(x), wanted, rtol=rounding, atol=rounding * float(wanted.abs().max() + 1))


def test_without_the_kernel_all_rows_go_in_pieces() -> None:
    full = linear()
    x = torch.randn(5, 96)
    layer, fallback = Int8Linear(full.weight, full.bias), Int8Linear(full.weight, full.bias, kernel=False)
    wanted = F.linear(x, layer.weight.float() * layer.scales.float()[:, None], full.bias)
    torch.testing.assert_close(fallback(x), wanted, rtol=1e-5, atol=1e-5)
    assert not torch.equal(layer(x), fallback(x))  # so the kernel did run


def test_a_piece_is_cut_where_a_matrix_is_large() -> None:
    full = linear(4096, 600, bias=False)  # three pieces, the last one short
    layer = Int8Linear(full.weight, None, kernel=False)
    x = torch.randn(3, 4096)
    wanted = F.linear(x, layer.weight.float() * layer.scales.float()[:, None])
    torch.testing.assert_close(layer(x), wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("rows", [2, 40])
def test_the_number_format_of_the_network_stays(dtype: torch.dtype, rows: int) -> None:
    full = linear().to(dtype)
    layer = Int8Linear(full.weight, full.bias)
    x = torch.randn(rows, 96).to(dtype)
    assert layer(x).dtype == dtype
    assert (layer(x).float() - full(x).float()).abs().mean() < 0.02 * full(x).float().abs().mean()


def test_this_build_of_torch_has_the_kernel() -> None:
    """Else every few rows are slow and nobody is told: then choose another way, or another build."""
    assert has_kernel()


# --- a network


@pytest.mark.parametrize("architecture", SERVED)
def test_every_architecture_keeps_nearly_its_distributions(architecture: str) -> None:
    plain = network(tiny(architecture, WIDTH))
    small = quantise(copy.deepcopy(plain), "int8")
    for ids in (torch.arange(24)[None], torch.arange(90)[None]):  # by the kernel, and in pieces
        kl, same = divergence(plain, small, ids)
        assert 0 < kl.mean() < 2e-3
        assert kl.max() < 0.02
        assert same.float().mean() >= 0.85  # random weights: near ties are many


def test_gpt2_whose_matrices_lie_the_other_way_is_quantised_too() -> None:
    plain = network(tiny_config("gpt2", WIDTH))
    small = quantise(copy.deepcopy(plain), "int8")
    assert sum(isinstance(module, Int8Linear) for module in small.modules()) == 4 * 2
    assert divergence(plain, small, torch.arange(24)[None])[0].mean() < 2e-3


@pytest.mark.parametrize("name", ["large-base", "large-helpful", "medium-helpful", "small-helpful"])
def test_atlas_in_int8_agrees_with_atlas(name: str) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    plain = AutoModelForCausalLM.from_pretrained(ATLAS / name, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(ATLAS / name)
    small = quantise(copy.deepcopy(plain), "int8")
    found = [divergence(plain, small, torch.tensor([tokenizer(text)["input_ids"]])) for text in TEXTS]
    kl, same = torch.cat([kl for kl, _ in found]), torch.cat([same for _, same in found])
    assert kl.mean() < 1e-3  # measured: 1e-4 to 4e-4 nats
    assert kl.max() < 0.03
    assert same.float().mean() > 0.95


def test_a_session_in_int8_answers_nearly_as_in_float32() -> None:
    """Greedy texts part where two tokens are nearly as likely, so the beginnings of some questions' answers count."""
    questions = ("What is the capital of Kenya?", "What is the currency of Peru?", "How large is Chad?")
    policies = (Policy("large"), tuned("helpful", "small"), up_scale("large", "small"))
    found = []
    for kind in ("none", "int8"):
        session = Session(Settings(device="cpu", quantise=kind), "atlas")
        requests = [Request.compare(each, policies, Sampling(0.0), Limits(12)) for each in questions]
        found.append([answer.token_ids[:6] for request in requests for answer in session.ask(request)])
    same = sum(first == second for first, second in zip(*found, strict=True))
    assert same >= 7  # of nine


def test_matrices_shrink_to_a_quarter_and_all_else_stays() -> None:
    plain = network(tiny("llama-2", WIDTH))
    small: Any = quantise(copy.deepcopy(plain), "int8")
    assert is_quantised(small)
    assert not is_quantised(plain)
    assert type(small.lm_head) is nn.Linear
    for name, module in plain.named_modules():
        if isinstance(module, nn.Linear) and name != "lm_head":
            found = small.get_submodule(name)
            assert isinstance(found, Int8Linear)
            assert found.weight.nbytes == module.weight.nbytes / 4
            assert found.scales.nbytes == 2 * module.out_features
        elif isinstance(module, nn.Embedding):
            assert torch.equal(small.get_submodule(name).weight, module.weight)


def test_each_matrix_goes_before_the_next_is_made() -> None:
    """So that memory never doubles."""
    small = network(tiny("llama-2", WIDTH))
    head = small.get_output_embeddings()
    parameters = [m.weight for m in small.modules() if isinstance(m, nn.Linear) and m is not head]
    count, made = len(parameters), []
    for parameter in parameters:
        weakref.finalize(parameter, lambda: made.append(sum(isinstance(m, Int8Linear) for m in small.modules())))
    del parameters, parameter
    quantise(small, "int8")
    assert made == list(range(1, count + 1))


# --- what cannot be


def test_what_cannot_be_is_refused_with_the_remedy() -> None:
    plain = network(tiny("llama-2", WIDTH))
    with pytest.raises(ValueError, match="int4 weights need a GPU: set EFT_QUANTISE=int8"):
        quantise(plain, "int4")
    with pytest.raises(ValueError, match="'int2' is not known: use none, int8 or int4"):
        quantise(plain, "int2")
    with pytest.raises(ValueError, match="has no matrices that can be int8"):
        quantise(quantise(network(tiny("llama-2", WIDTH)), "int8"), "int8")


@pytest.mark.skipif(importlib.util.find_spec("bitsandbytes") is not None, reason="bitsandbytes is here")
def test_without_its_package_a_gpu_is_refused_with_the_remedy() -> None:
    with pytest.raises(ValueError, match=r"pip install bitsandbytes==0\.50\.2"):
        bitsandbytes(torch.randn(8, 64), None, "int4", torch.device("cuda"))


@pytest.mark.skipif(importlib.util.find_spec("bitsandbytes") is None, reason="bitsandbytes is not here")
@pytest.mark.parametrize(("kind", "most"), [("int8", 2e-3), ("int4", 0.2)])
def test_what_a_gpu_would_run_is_nearly_the_same_model(kind: str, most: float) -> None:
    """On the CPU, where the same layers run slowly."""
    from transformers import AutoModelForCausalLM

    plain = AutoModelForCausalLM.from_pretrained(ATLAS / "large-helpful", dtype=torch.float32).eval()
    where = torch.device("cpu")
    small = replaced(copy.deepcopy(plain), kind, lambda weight, bias: bitsandbytes(weight, bias, kind, where))
    kl, same = divergence(plain, small, torch.arange(24)[None])
    assert 0 < kl.mean() < most
    assert same.float().mean() > 0.75


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
@pytest.mark.parametrize("kind", ["int8", "int4"])
def test_on_a_gpu_all_weights_lie_there(kind: str) -> None:
    small = quantise(network(tiny("llama-2", WIDTH)).to(torch.bfloat16), kind, "cuda")
    assert {parameter.device.type for parameter in small.parameters()} == {"cuda"}
    assert small(torch.arange(24, device="cuda")[None]).logits.isfinite().all()
