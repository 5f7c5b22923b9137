"""Decode passes recorded once a shape and replayed: captured CUDA graphs (SPEED.md 2.6, 2.7).

On a GPU the passes of small models wait for the host, which launches their few hundred kernels one by one; a replay is
one launch. A recorded pass finds ids and positions in buffers of its own, makes its mask from them, and reads and
writes the cache where it lay then: a call is two copies, a replay and a clone. The recorder is handed in; all but
`CudaGraphs` runs without CUDA, and is tested there. B rows, T new tokens, V vocabulary.
"""

import weakref
from collections.abc import Callable

import torch
from torch import Tensor

from eft_core.config import LONGEST_DRAFT
from eft_core.kv_cache import Places, RaggedCache, additive

# Recording costs a few passes, and a shape may never come again: this often it runs plainly first.
PLAIN = 3
# Recorded passes read the cache up to a multiple of this, so that a shape serves for longer.
REACH = 256
# Recorded passes of one cache; each keeps its logits, (B, T, V). The one not used for the longest time goes first.
MOST = 16

Forward = Callable[[Tensor, Places, RaggedCache], Tensor]
Run = Callable[[], Tensor]
# Records a pass. What it returns runs the pass again, on the same memory, and gives its logits in memory that the next
# recorded pass may overwrite. What the pass reads is for the asker to keep alive.
Record = Callable[[Run], Run]


class Captured:
    """A model's forward for decode passes, by what `record` recorded of it. The recorded passes live in the caches."""

    def __init__(self, forward: Forward, record: Record) -> None:
        self._forward, self._record = forward, record
        self._era = 0

    def forget(self) -> None:
        """What the forward reads lies elsewhere from now on: nothing that was recorded may run again."""
        self._era += 1

    @staticmethod
    def serves(ids: Tensor) -> bool:
        """Whether ids (B, T) are a decode pass; prompts come in other shapes every time."""
        return ids.shape[1] <= LONGEST_DRAFT + 1

    def forward(self, ids: Tensor, where: Places, cache: RaggedCache) -> Tensor:
        """Logits of T new tokens of B rows: ids (B, T) -> (B, T, V), the caller's own. `cache` must be fixed."""
        reach = min(-(-where.reach // REACH) * REACH, cache.capacity)
        key = (self._era, *ids.shape, reach)
        known = cache.passes.pop(key, 0)
        if isinstance(known, int):
            known = known + 1 if known < PLAIN else _Recorded(self._forward, self._record, ids, where, cache, reach)
        cache.passes[key] = known  # the last used stands last
        if len(cache.passes) > MOST:
            del cache.passes[next(iter(cache.passes))]
        return self._forward(ids, where, cache) if isinstance(known, int) else known(ids, where)


class _Recorded:
    """One pass. All that it reads beside weights and cache is its own: what others keep for a while may go."""

    def __init__(
        self, forward: Forward, record: Record, ids: Tensor, where: Places, cache: RaggedCache, reach: int
    ) -> None:
        self._forward, self._cache, self._dtype = forward, cache, where.mask.dtype
        own = (each.clone(memory_format=torch.contiguous_format) for each in (ids, where.positions, where.rows))
        self._ids, self._positions, self._rows = own
        self._slots = torch.arange(reach, device=ids.device)
        self._replay = record(self._run)

    def _run(self) -> Tensor:
        mask = additive(self._slots, self._positions, self._dtype)
        where = Places(self._rows, self._positions, len(self._slots), mask)
        return self._forward(self._ids, where, self._cache)

    def __call__(self, ids: Tensor, where: Places) -> Tensor:
        self._ids.copy_(ids)
        self._positions.copy_(where.positions)
        return self._replay().clone()


class Recorders:
    """A recorder for each GPU: members may lie on several, and a graph is of one device. Nothing for other devices."""

    def __init__(self, make: Callable[[torch.device], Record] | None = None) -> None:
        """`make` makes a device's recorder: `CudaGraphs` where none is given."""
        self._make, self._made = make or CudaGraphs, dict[torch.device, Record]()

    def on(self, device: torch.device) -> Record | None:
        """The recorder of a device's passes, always the same one; None where passes run plainly."""
        if device.type != "cuda":
            return None
        if device not in self._made:
            self._made[device] = self._make(device)
        return self._made[device]


class CudaGraphs:
    """Records passes as CUDA graphs, on a stream of its own. All graphs that are alive share one pool of memory.

    They run one after the other, so what a pass leaves behind may be overwritten by the next. A pool whose last graph
    is gone cannot be opened again (pytorch asserts use_count > 0), so each new graph joins one that is alive, or none.
    """

    def __init__(self, device: torch.device) -> None:
        self._stream = torch.cuda.Stream(device)
        self._alive = weakref.WeakSet[torch.cuda.CUDAGraph]()

    def __call__(self, run: Run) -> Run:
        current = torch.cuda.current_stream(self._stream.device)
        self._stream.wait_stream(current)
        graph, pool = torch.cuda.CUDAGraph(), next((other.pool() for other in self._alive), None)
        with torch.cuda.stream(self._stream):
            # Once outside: what libraries set up at the first use of a stream must not become a part of the graph.
            # That changes nothing: the same keys and values are written to the same places.
            run()
            # thread_local: other visitors' threads may ask the device for its free memory meanwhile.
            with torch.cuda.graph(graph, pool, self._stream, capture_error_mode="thread_local"):
                logits = run()
        current.wait_stream(self._stream)
        self._alive.add(graph)

        def replay() -> Tensor:
            graph.replay()
            return logits

        return replay
