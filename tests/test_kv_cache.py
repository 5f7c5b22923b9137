"""Rows at different positions in one cache behave like rows alone, for every architecture that is served."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import ARCHITECTURES, save_model, tiny_config

from eft_core.batch import Batch
from eft_core.families import read_families
from eft_core.kv_cache import BLOCK, RaggedLayer, places, without
from eft_core.models import Models
from eft_core.policy import Member
from eft_core.settings import Settings

LARGE = Member("large")


def alone(network: Any, ids: list[int]) -> torch.Tensor:
    """Last logits of one plain forward without a cache, (V,)."""
    with torch.inference_mode():
        return network(input_ids=torch.tensor([ids])).logits[0, -1]


def close(one: torch.Tensor, two: torch.Tensor) -> None:
    torch.testing.assert_close(one, two[: one.shape[-1]], atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("tokens", [1, 3])
def test_ragged_rows_equal_rows_alone_through_writing_rolling_back_and_leaving(any_session: Any, tokens: int) -> None:
    """Rows of 5, 70, 5 and 23 tokens; blocks of `tokens` with different accepted counts; then two rows leave."""
    generator = torch.Generator().manual_seed(tokens)
    model = any_session.models.load(LARGE)
    history = [torch.randint(2, 200, (length,), generator=generator).tolist() for length in (5, 70, 5, 23)]
    history[2] = list(history[0])  # a prompt that is prefilled once and copied
    batch = Batch([tuple(ids) for ids in history], [[LARGE]] * 4, {LARGE: model}, capacity=140)
    accepted = dict.fromkeys(range(4), 0)
    for cycle in range(8):
        rows = batch.rows
        block = torch.randint(2, 200, (len(rows), tokens), generator=generator)
        block[:, 0] = torch.tensor([history[row][-1] for row in rows])
        starts = torch.tensor([len(history[row]) - 1 for row in rows])
        positions = starts[:, None] + torch.arange(tokens)
        logits = batch.forward(block, positions, int(positions.max()))[0]
        for place, row in enumerate(rows):
            accepted[row] = (cycle + row) % tokens
            history[row] += block[place, 1 : accepted[row] + 1].tolist()
            close(logits[place, accepted[row]], alone(model.network, history[row]))
            history[row].append(2 + (cycle * 7 + row) % 100)
        if cycle == 4:
            assert batch.remove({0}) == [1, 2, 3]
        if cycle == 6:
            assert batch.remove({3, 1}) == [1]
    assert batch.rows == [2]


def test_a_cache_grows_past_its_first_block_and_stays_below_its_capacity(any_session: Any) -> None:
    model = any_session.models.load(LARGE)
    capacity = 2 * BLOCK + 3
    batch = Batch([tuple(range(2, 12))], [[LARGE]], {LARGE: model}, capacity)
    ids = list(range(2, 12))
    for position in range(9, capacity):
        logits = batch.forward(torch.tensor([[ids[-1]]]), torch.tensor([[position]]), position)
        if position in (BLOCK - 1, BLOCK, capacity - 1):
            close(logits[0, 0, 0], alone(model.network, ids))
        ids.append(2 + position % 90)
    (lane,) = batch.lanes
    assert {layer.keys.shape[2] for layer in lane.caches[LARGE].ragged} == {capacity}


def test_a_long_prompt_is_read_in_several_passes(any_session: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eft_core.batch._CHUNK", 40)
    model = any_session.models.load(LARGE)
    prompts = [tuple(range(2, 132)), tuple(range(30, 60))]
    batch = Batch(prompts, [[LARGE]] * 2, {LARGE: model}, capacity=150)
    ids = torch.tensor([[prompt[-1]] for prompt in prompts])
    logits = batch.forward(ids, torch.tensor([[129], [29]]), 129)[0, :, 0]
    for row, prompt in zip(logits, prompts, strict=True):
        close(row, alone(model.network, list(prompt)))


def test_places_hide_what_lies_behind_each_query() -> None:
    where = places(torch.tensor([[0, 1], [2, 3]]), 3, torch.float32, capacity=5)
    assert where.reach == 5
    assert (where.mask == 0).int()[:, 0].tolist() == [
        [[1, 0, 0, 0, 0], [1, 1, 0, 0, 0]],
        [[1, 1, 1, 0, 0], [1, 1, 1, 1, 0]],
    ]


def test_keys_and_values_written_in_one_are_those_written_one_by_one() -> None:
    """Two rows at their own positions, then a pass that grows the memory; 2 heads of size 3."""
    generator = torch.Generator().manual_seed(0)
    layers = [RaggedLayer(rows=2, capacity=100), RaggedLayer(rows=2, capacity=100)]
    for positions, longest in ((torch.tensor([[0, 1], [4, 5]]), 5), (torch.tensor([[2, 3], [80, 81]]), 81)):
        both = torch.randn(2, 2, 4, 3, generator=generator)  # (B, T, 2 H, D)
        keys, values = both.transpose(1, 2).chunk(2, 1)
        for layer in layers:
            layer.places = places(positions, longest, torch.float32, 100)
        one, two = layers[0].write(both), layers[1].update(keys, values)
        assert all(torch.equal(*pair) for pair in zip(one, two, strict=True))
        for row in range(2):
            assert torch.equal(one[0][row][:, positions[row]], keys[row])
            assert torch.equal(one[1][row][:, positions[row]], values[row])


def test_what_is_read_follows_rows_that_leave() -> None:
    layer = RaggedLayer(rows=3, capacity=8)
    layer.places = places(torch.zeros(3, 1, dtype=torch.long), 0, torch.float32, 8)
    layer.write(torch.arange(3.0).view(3, 1, 1, 1).expand(3, 1, 2, 1))
    layer.keep(without([0, 1, 2], {0}))
    layer.places = places(torch.ones(2, 1, dtype=torch.long), 1, torch.float32, 8)
    keys, _ = layer.write(torch.full((2, 1, 2, 1), 9.0))
    assert keys[:, 0, :2, 0].tolist() == [[2.0, 9.0], [1.0, 9.0]]


def test_keys_and_values_may_differ_in_size() -> None:
    layer = RaggedLayer(rows=1, capacity=4)
    layer.places = places(torch.tensor([[1]]), 1, torch.float32, 4)
    keys, values = layer.update(torch.ones(1, 2, 1, 3), torch.full((1, 2, 1, 5), 2.0))
    assert keys[0, :, :, 0].tolist() == [[0, 1, 0, 0]] * 2
    assert values[0, :, :, 4].tolist() == [[0, 2, 0, 0]] * 2


@pytest.mark.parametrize("gone", [set(), {4}, {0}, {1, 3}, {0, 1, 2, 3}, {0, 1, 2, 3, 4}])
def test_rows_that_leave_move_only_rows_from_behind(gone: set[int]) -> None:
    rows = [2, 0, 4, 1, 3]
    order = without(rows, gone)
    assert sorted(rows[place] for place in order) == sorted(set(rows) - gone)
    assert all(source == target or source >= len(order) for target, source in enumerate(order))


def refused(tmp_path: Path, tokenizer: Any, config: Any) -> Callable[[], object]:
    save_model(tmp_path / "odd", config, tokenizer, seed=0)
    (tmp_path / "families.toml").write_text('[odd]\nsizes = ["one"]\n[odd.base]\none = "odd"\n')
    family = read_families(tmp_path / "families.toml")["odd"]
    return lambda: Models(family, Settings(device="cpu")).load(Member("one"))


def test_alibi_falcon_is_refused_by_name(tmp_path: Path, tokenizer: Any) -> None:
    config = tiny_config("falcon", len(tokenizer))
    config.alibi = True
    with pytest.raises(ValueError, match=r"FalconForCausalLM cannot decode rows at different positions.*alibi"):
        refused(tmp_path, tokenizer, config)()


def test_linear_attention_is_refused_by_name(tmp_path: Path, tokenizer: Any) -> None:
    from transformers import MambaConfig

    config = MambaConfig(vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=2, state_size=4, expand=2)
    with pytest.raises(ValueError, match="MambaForCausalLM cannot decode rows at different positions"):
        refused(tmp_path, tokenizer, config)()


def test_a_model_that_ignores_its_positions_is_found_out(
    sessions: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The trial run at load needs no list of architectures: a wrong row is a refusal."""
    import eft_core.model

    session = sessions(ARCHITECTURES[0])
    honest = eft_core.model.places

    def lockstep(positions: torch.Tensor, longest: int, dtype: torch.dtype, capacity: int) -> Any:
        return honest(positions[:1].expand(len(positions), -1), longest, dtype, capacity)

    monkeypatch.setattr(eft_core.model, "places", lockstep)
    with pytest.raises(ValueError, match="two rows differed from the same rows alone"):
        Models(session.family, session.settings).load(LARGE)


def test_a_sliding_window_is_a_fact_and_no_bound_of_the_context(tmp_path: Path, tokenizer: Any) -> None:
    from transformers import MistralConfig

    from eft_core.checkpoint import read_facts

    shape: dict[str, Any] = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
    }
    config = MistralConfig(vocab_size=len(tokenizer), num_key_value_heads=2, sliding_window=32, **shape)
    load = refused(tmp_path, tokenizer, config)
    facts = read_facts(tmp_path / "odd")
    assert (facts.window, facts.context) == (32, config.max_position_embeddings)
    assert load()


def test_cache_bytes_are_those_that_the_cache_takes(any_session: Any) -> None:
    """The memory plan's head counts, checked against a real cache: grouped and multi-query heads included."""
    model, facts = any_session.models.load(LARGE), any_session.models.facts(LARGE)
    batch = Batch([(5, 6, 7)] * 2, [[LARGE]] * 2, {LARGE: model}, capacity=BLOCK)
    (lane,) = batch.lanes
    tensors = [tensor for layer in lane.caches[LARGE].ragged for tensor in (layer.keys, layer.values)]
    assert sum(tensor.numel() * tensor.element_size() for tensor in tensors) == facts.cache_bytes(2, BLOCK, 4)
    parameters = sum(tensor.numel() for tensor in {t.data_ptr(): t for t in model.network.parameters()}.values())
    assert facts.weight_bytes(4) == 4 * parameters
