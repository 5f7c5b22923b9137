"""A recorded pass is the pass, as long as it is replayed: on the CPU by a tape that does what a CUDA graph does."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from eft_core.autoregressive import decode
from eft_core.batch import Batch
from eft_core.captured import MOST, PLAIN, REACH, Captured, CudaGraphs, Record, Recorders, Run
from eft_core.config import LONGEST_DRAFT, Sampling, Speculation
from eft_core.continuation import Continuation
from eft_core.draft_length import Pace
from eft_core.kv_cache import RaggedCache, counted, places
from eft_core.model import Model, served
from eft_core.models import Models
from eft_core.policy import Member, down_scale, tuned, up_scale
from eft_core.settings import Settings
from eft_core.speculative import speculate

LARGE = Member("large")
MEMBERS = (LARGE, Member("small"), Member("small", "helpful"), Member("large", "helpful"))
# By these the host waits for the device, which a capture refuses.
WAITS = {"aten::_local_scalar_dense", "aten::item", "aten::is_nonzero", "aten::nonzero", "aten::equal"}


# --- a tape: what a CUDA graph is, on the CPU


@dataclass(frozen=True)
class Made:
    """A tensor that the run made itself."""

    number: int

    def tensor(self, made: Sequence[Tensor]) -> Tensor:
        return made[self.number]


class Met:
    """A tensor that was there before: nothing but the place of its memory, which the graph does not keep."""

    def __init__(self, tensor: Tensor) -> None:
        self.storage = StorageWeakRef(tensor.untyped_storage())
        self.dtype, self.at = tensor.dtype, (tensor.storage_offset(), tensor.shape, tensor.stride())

    def tensor(self, made: Sequence[Tensor]) -> Tensor:
        storage = torch.UntypedStorage._new_with_weak_ptr(self.storage.cdata)
        assert storage is not None, "a recorded pass reads memory that was freed"
        return torch.empty(0, dtype=self.dtype).set_(storage, *self.at)


class Tape(TorchDispatchMode):
    """The operations of one run, on the memory that they met; replaying runs them, and none of the run's Python."""

    def __init__(self, run: Run) -> None:
        super().__init__()
        self._steps: list[tuple[Any, Any]] = []
        self._made: dict[int, Made] = {}
        self._alive: list[Tensor] = []  # an id is a name only as long as its tensor lives
        with self:
            result = run()
        self._result = self._made[id(result)]
        self.output = result.clone()
        self._made.clear()
        self._alive.clear()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        assert func._schema.name not in WAITS, f"{func} waits for the device"
        asked = tree_map_only(Tensor, self._noted, (args, kwargs or {}))
        results = func(*args, **(kwargs or {}))
        self._steps.append((func, asked))
        for each in tensors(results):
            self._made[id(each)] = Made(len(self._alive))
            self._alive.append(each)
        return results

    def _noted(self, tensor: Tensor) -> Made | Met:
        return self._made.get(id(tensor)) or Met(tensor)

    def replay(self) -> Tensor:
        made: list[Tensor] = []
        for func, asked in self._steps:
            args, kwargs = tree_map_only((Made, Met), lambda each: each.tensor(made), asked)
            made.extend(tensors(func(*args, **kwargs)))
        return self.output.copy_(made[self._result.number])


def tensors(results: Any) -> list[Tensor]:
    return [each for each in tree_leaves(results) if isinstance(each, Tensor)]


class Tapes:
    """A recorder. All tapes share their memory, as graphs of one pool do: each replay spoils what the others gave."""

    def __init__(self) -> None:
        self.tapes: list[Tape] = []
        self.replays = 0

    def __call__(self, run: Run) -> Run:
        run()  # as before a capture: what it leaves in others' keeping is met by the tape
        tape = Tape(run)
        self.tapes.append(tape)

        def replay() -> Tensor:
            self.replays += 1
            for each in self.tapes:
                each.output.fill_(torch.nan)
            return tape.replay()

        return replay


@torch.inference_mode()
def test_the_tape_knows_passes_that_a_graph_would_get_wrong() -> None:
    given = [torch.ones(3)]
    right = Tape(lambda: given[0] * 2)
    given[0].fill_(5)
    assert right.replay().tolist() == [10, 10, 10]
    given[0] = torch.full((3,), 7.0)  # another tensor: the graph does not see it, and the one that it saw is gone
    with pytest.raises(AssertionError, match="memory that was freed"):
        right.replay()
    with pytest.raises(AssertionError, match="waits for the device"):
        Tape(lambda: given[0] * given[0].max().item())


# --- passes


def close(one: Tensor, two: Tensor) -> None:
    assert one.shape == two.shape
    assert (one - two).abs().max() <= 1e-5 * two.abs().max()


@pytest.fixture(params=["lean", "library", "gpt2"])
def pair(request: pytest.FixtureRequest, sessions: Callable[[str], Any]) -> tuple[Model, Model, Tapes]:
    """A captured model, the same model uncaptured, and the recorder."""
    session = sessions("gpt2" if request.param == "gpt2" else "llama")
    network, width, lean = session.models.load(LARGE).network, session.models.vocabulary.width, request.param == "lean"
    tapes = Tapes()
    return Model(network, width, lean, tapes), Model(network, width, lean), tapes


@pytest.mark.parametrize("tokens", [1, 5])
def test_ragged_rows_are_the_same_through_copies_roll_back_and_leaving(
    pair: tuple[Model, Model, Tapes], tokens: int
) -> None:
    """Rows of 5, 70, 5 and 23 tokens, the third a copy of the first; every row advances by its own number."""
    *models, tapes = pair
    generator = torch.Generator().manual_seed(tokens)
    first, *others = (tuple(torch.randint(2, 200, (n,), generator=generator).tolist()) for n in (5, 70, 23))
    prompts = [first, others[0], first, others[1]]
    captured, plain = (Batch(prompts, [[LARGE]] * 4, {LARGE: model}, capacity=150) for model in models)
    starts = torch.tensor([len(prompt) - 1 for prompt in prompts])
    for cycle in range(3 * PLAIN + 8):
        block = torch.randint(2, 200, (len(starts), tokens), generator=generator)
        positions = starts[:, None] + torch.arange(tokens)
        close(*(batch.forward(block, positions, int(positions.max())) for batch in (captured, plain)))
        starts = starts + 1 + (cycle + torch.arange(len(starts))) % tokens
        gone = {PLAIN + 3: {0}, 2 * PLAIN + 5: {1, 3}}.get(cycle, set())
        kept = [batch.remove(gone) for batch in (captured, plain)]
        starts = starts[kept[0]]
        counted.cache_clear()  # as if other sizes had taken the place of what is kept there
    assert captured.rows == [2]
    assert len(tapes.tapes) == 3  # 4, 3 and 1 rows
    assert tapes.replays == 8


def passes(model: Model, cache: RaggedCache, starts: Sequence[int], tokens: int, seed: int = 0) -> Tensor:
    """Logits of `tokens` random ids from each row's start on."""
    counted.cache_clear()
    ids = torch.randint(2, 200, (len(starts), tokens), generator=torch.Generator().manual_seed(seed))
    positions = torch.tensor(starts)[:, None] + torch.arange(tokens)
    return model.forward(ids, places(positions, max(starts) + tokens - 1, model.dtype, cache.capacity), cache)


@pytest.fixture
def llama(sessions: Callable[[str], Any]) -> tuple[Model, Model, Tapes]:
    """A captured lean model, the same uncaptured, and the recorder."""
    loaded, tapes = sessions("llama").models.load(LARGE), Tapes()
    return Model(loaded.network, loaded.width, True, tapes), Model(loaded.network, loaded.width, True), tapes


def test_a_shape_serves_until_what_is_read_passes_a_multiple(llama: tuple[Model, Model, Tapes]) -> None:
    captured, plain, tapes = llama
    one, other = captured.cache(2, 2 * REACH), plain.cache(2, 2 * REACH)
    for start in range(REACH - 2 * PLAIN, REACH + 2 * PLAIN):
        close(passes(captured, one, (start, 3), 1, start), passes(plain, other, (start, 3), 1, start))
    assert (len(tapes.tapes), tapes.replays) == (2, 2 * PLAIN)
    close(passes(captured, one, (60, 3), 1), passes(plain, other, (60, 3), 1))  # rolled back, to the first shape
    assert (len(tapes.tapes), tapes.replays) == (2, 2 * PLAIN + 1)


def test_a_capacity_that_is_no_multiple_is_read_whole(llama: tuple[Model, Model, Tapes]) -> None:
    captured, plain, tapes = llama
    one, other = captured.cache(1, REACH + 7), plain.cache(1, REACH + 7)
    for start in range(REACH - 1, REACH + 7):
        close(passes(captured, one, (start,), 1, start), passes(plain, other, (start,), 1, start))
    assert tapes.replays > 0


def test_caches_do_not_mix(llama: tuple[Model, Model, Tapes]) -> None:
    """Two caches of one model, in turns, with one token and with four."""
    captured, plain, tapes = llama
    ones, others = [captured.cache(2, 90) for _ in range(2)], [plain.cache(2, 90) for _ in range(2)]
    for step in range(PLAIN + 3):
        for number, (one, other) in enumerate(zip(ones, others, strict=True)):
            for tokens in (1, 4):
                seed = 100 * step + 10 * number + tokens
                starts = (4 * step, 30 + 3 * step)
                close(passes(captured, one, starts, tokens, seed), passes(plain, other, starts, tokens, seed))
    assert len(tapes.tapes) == 4


def test_logits_are_the_callers_own(llama: tuple[Model, Model, Tapes]) -> None:
    captured, plain, _ = llama
    one, other = captured.cache(1, 40), plain.cache(1, 40)
    found = [passes(captured, one, (step,), 1, step) for step in range(PLAIN + 4)]
    for step, logits in enumerate(found):
        close(logits, passes(plain, other, (step,), 1, step))


def test_other_rows_and_freed_caches_leave_no_recorded_pass(llama: tuple[Model, Model, Tapes]) -> None:
    captured, plain, tapes = llama
    one, other = captured.cache(3, 40), plain.cache(3, 40)
    with torch.inference_mode():
        for change in ("copy_rows", "keep"):
            for step in range(PLAIN + 2):
                passes(captured, one, (step, 9, 5), 1, step)
                passes(plain, other, (step, 9, 5), 1, step)
            assert len(one.passes) == 1
            sources: Any = torch.tensor([2, 0, 0]) if change == "copy_rows" else [0, 2]
            for cache in (one, other):
                getattr(cache, change)(sources)
            assert not one.passes
        for step in range(PLAIN + 2):
            close(passes(captured, one, (9, 6), 1, step), passes(plain, other, (9, 6), 1, step))
    assert len(tapes.tapes) == 3
    one.free()
    assert not one.passes


def test_a_new_table_of_angles_is_read_by_passes_recorded_anew(llama: tuple[Model, Model, Tapes]) -> None:
    """A longer cache makes a longer table, and the old one is gone, which a graph would not see."""
    captured, plain, tapes = llama
    one, other = captured.cache(1, 40), plain.cache(1, 40)
    for longer in (0, 100):
        captured.cache(1, 40 + longer)
        for step in range(PLAIN + 2):
            close(passes(captured, one, (step,), 1, step), passes(plain, other, (step,), 1, step))
    assert len(tapes.tapes) == 2


def test_the_shape_not_used_for_the_longest_time_goes_first(llama: tuple[Model, Model, Tapes]) -> None:
    captured, _, tapes = llama
    cache = captured.cache(1, 64)
    for tokens in range(1, MOST + 1):
        for _ in range(PLAIN + 1):
            passes(captured, cache, (0,), tokens)
    passes(captured, cache, (0,), 1)
    passes(captured, cache, (0,), MOST + 1)  # the second goes
    assert len(cache.passes) == MOST
    assert len(tapes.tapes) == MOST
    before = tapes.replays
    passes(captured, cache, (0,), 1)
    passes(captured, cache, (0,), 2)
    assert tapes.replays == before + 1


def test_prompts_are_not_recorded(llama: tuple[Model, Model, Tapes]) -> None:
    captured, plain, tapes = llama
    one, other, long = captured.cache(1, 64), plain.cache(1, 64), LONGEST_DRAFT + 2
    where = places(torch.arange(4)[None], 3, torch.float32, 64)
    for _ in range(PLAIN + 2):
        close(passes(captured, one, (0,), long), passes(plain, other, (0,), long))
        close(
            *(
                model.forward(torch.arange(4)[None], where, cache, last_only=True)
                for model, cache in ((captured, one), (plain, other))
            )
        )
    assert not tapes.tapes
    for _ in range(PLAIN + 1):
        passes(captured, one, (0,), long - 1)
    assert len(tapes.tapes) == 1


# --- whole runs


def given(lengths: Sequence[int]) -> list[Continuation]:
    """Rows that end at different times, greedy and warm, on different members."""
    policies = [
        up_scale("large", "small"),
        tuned("helpful", "small"),
        down_scale("small", "large"),
        up_scale("large", "small"),
    ]
    ways = [Sampling(), Sampling(1.0, seed=3), Sampling(), Sampling(0.8, seed=1)]
    prompts = [tuple(range(5, 5 + length)) for length in lengths]
    return [
        Continuation(p, each, way, n, 16 + 6 * n)
        for n, (p, each, way) in enumerate(zip(prompts, policies, ways, strict=True))
    ]


def recorded(models: dict[Member, Model], record: Record) -> dict[Member, Model]:
    return {member: Model(each.network, each.width, each.lean, record) for member, each in models.items()}


def tokens_of(steps: Any) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for drawn in steps:
        for each in drawn:
            found.setdefault(each.row, []).append(each.token)
    return found


def speculated(rows: list[Continuation], models: dict[Member, Model], length: int | None) -> dict[int, list[int]]:
    drafters = [tuned("helpful", "small")] * len(rows)
    return tokens_of(speculate(rows, drafters, models, frozenset(), Speculation(length, "noise"), Pace()))


@pytest.mark.parametrize("architecture", ["llama", "neox"])
def test_whole_runs_draw_the_same_tokens(sessions: Callable[[str], Any], architecture: str) -> None:
    """Plain and speculative decoding, with a prompt of one token, whose cache no prefill made."""
    plain = {member: sessions(architecture).models.load(member) for member in MEMBERS}
    rows, tapes = given((4, 1, 40, 4)), Tapes()
    captured = recorded(plain, tapes)
    expected = tokens_of(decode(rows, plain, frozenset()))
    assert tokens_of(decode(rows, captured, frozenset())) == expected
    for length in (1, 4, None):
        before = tapes.replays
        assert speculated(rows, captured, length) == expected
        assert tapes.replays > before


# --- the setting


def test_the_setting_needs_cuda(sessions: Callable[[str], Any]) -> None:
    with pytest.raises(
        ValueError, match=r"EFT_FORWARD=captured needs a CUDA device, and this is cpu: use EFT_FORWARD=auto"
    ):
        Models(sessions("llama").family, Settings(device="cpu", forward="captured"))


@pytest.mark.parametrize(("architecture", "lean"), [("llama", True), ("gpt2", False)])
def test_a_captured_model_has_replayed_before_it_serves(
    sessions: Callable[[str], Any], architecture: str, lean: bool
) -> None:
    """By the trial run at load, which also finds out a recorder that does not do what it should."""
    loaded = sessions(architecture).models.load(LARGE)

    def wrong(run: Run) -> Run:
        return lambda: run() * 2

    def failing(run: Run) -> Run:
        raise RuntimeError("operation not permitted when stream is capturing")

    tapes = Tapes()
    model = served(loaded.network, loaded.width, "captured", "base[large]", tapes)
    assert (model.lean, model.captured, tapes.replays) == (lean, True, 2)
    for record, reason in ((wrong, "two rows differed"), (failing, "not permitted")):
        with pytest.raises(ValueError, match=rf"EFT_FORWARD=captured cannot serve base\[large\]: .*{reason}.*=auto"):
            served(loaded.network, loaded.width, "captured", "base[large]", record)


def test_each_gpu_has_one_recorder_and_other_devices_none() -> None:
    made: list[torch.device] = []

    def make(device: torch.device) -> Record:
        made.append(device)
        return Tapes()

    recorders, (one, two, cpu) = Recorders(make), map(torch.device, ("cuda:0", "cuda:1", "cpu"))
    assert recorders.on(one) is recorders.on(one)
    assert recorders.on(two) is not recorders.on(one)
    assert recorders.on(cpu) is None
    assert made == [one, two]


# --- with a GPU


def on_gpu(models: dict[Member, Model], dtype: torch.dtype, lean: bool, record: Record | None) -> dict[Member, Model]:
    def moved(network: nn.Module) -> nn.Module:
        return copy.deepcopy(network).to("cuda", dtype)

    return {member: Model(moved(each.network), each.width, lean, record) for member, each in models.items()}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU: run on one with pytest tests/test_captured.py")
def test_cuda_graphs_give_what_launches_give(sessions: Callable[[str], Any]) -> None:
    """In float32 the same tokens of whole runs; in float32 and bfloat16 the same logits, up to rounding."""
    small = {member: sessions("llama").models.load(member) for member in MEMBERS}
    rows = given((4, 1, 40, 4))
    for lean in (True, False):
        eager = on_gpu(small, torch.float32, lean, None)
        graphs = on_gpu(small, torch.float32, lean, CudaGraphs(torch.device("cuda")))
        expected = tokens_of(decode(rows, eager, frozenset()))
        assert tokens_of(decode(rows, graphs, frozenset())) == expected
        for length in (1, 4, None):
            assert speculated(rows, graphs, length) == expected
        for dtype, rounding in ((torch.float32, 1e-4), (torch.bfloat16, 0.05)):
            eager = on_gpu(small, dtype, lean, None)
            graphs = on_gpu(small, dtype, lean, CudaGraphs(torch.device("cuda")))
            batches = [Batch([(5, 6, 7), (8, 9)], [[LARGE]] * 2, models, 300) for models in (graphs, eager)]
            for step in range(300 - 8):
                tokens = 1 + 4 * (step % 2)
                block = torch.randint(2, 200, (2, tokens), generator=torch.Generator().manual_seed(step)).cuda()
                positions = torch.tensor([[2], [1]], device="cuda") + step + torch.arange(tokens, device="cuda")
                one, two = (batch.forward(block, positions, 2 + step + tokens - 1) for batch in batches)
                assert (one - two).abs().max() <= rounding * two.abs().max()


@torch.inference_mode()
def test_shapes_are_counted_apart() -> None:
    """Captured alone, on a forward that only adds: rows, tokens and what is read make a shape."""
    tapes, cache = Tapes(), RaggedCache(1, 2, 600, fixed=True)
    captured = Captured(lambda ids, where, cache: (ids + where.positions)[..., None].float(), tapes)
    for step in range(PLAIN + 3):
        for rows, tokens, longest in ((1, 1, 3), (2, 1, 3), (1, 2, 3), (1, 1, REACH)):
            ids = torch.full((rows, tokens), step)
            positions = torch.full((rows, tokens), longest)
            found = captured.forward(ids, places(positions, longest, torch.float32, 600), cache)
            assert found.tolist() == [[[step + longest]] * tokens] * rows
    assert len(tapes.tapes) == len(cache.passes) == 4
