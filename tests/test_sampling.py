"""Draws follow the warped law, and belong to their row alone."""

import pytest
import torch

from eft_core.config import Sampling
from eft_core.sampling import Draws, Noise, draw, warp

# The 1 - 1e-6 quantiles of chi-square by degrees of freedom: a false alarm once in a million seeds.
QUANTILE = {7: 40.6, 3: 30.7}


def logprobs(size: int = 8, seed: int = 0) -> torch.Tensor:
    return torch.randn(1, size, generator=torch.Generator().manual_seed(seed)).mul(1.5).log_softmax(-1)


def one(sampling: Sampling, sample: int = 0) -> Draws:
    return Draws.of([(sampling, sample)])


def draw_at(law: torch.Tensor, draws: Draws, positions: list[int]) -> torch.Tensor:
    """Draws with the noise of these positions."""
    noise = Noise(len(law), law.shape[-1]).at(draws, positions)[:, 0] if draws.sampled else None
    return draw(law, draws, noise)


def tokens(law: torch.Tensor, sampling: Sampling, count: int) -> torch.Tensor:
    """`count` draws, as that many samples at one position."""
    draws = Draws.of([(sampling, sample) for sample in range(count)])
    return draw_at(law.expand(count, -1), draws, [3] * count)


def chi_square(drawn: torch.Tensor, law: torch.Tensor) -> float:
    expected = law.exp()[0] * len(drawn)
    counts = torch.bincount(drawn, minlength=law.shape[1])
    cells = expected > 0
    assert counts[~cells].sum() == 0
    return float(((counts - expected)[cells] ** 2 / expected[cells]).sum())


def test_draws_follow_the_law() -> None:
    law = logprobs()
    assert chi_square(tokens(law, Sampling(temperature=1.0), 20_000), law) < QUANTILE[7]


def test_the_same_test_catches_a_wrong_law() -> None:
    law = logprobs()
    wrong = tokens(law, Sampling(temperature=0.9), 20_000)
    assert chi_square(wrong, law) > QUANTILE[7]


def test_temperature_top_k_and_top_p_come_in_this_order() -> None:
    """Here top-p first would keep five tokens, and temperature last three."""
    law = logprobs()
    sampling = Sampling(temperature=3.0, top_k=5, top_p=0.8)
    scores = law / 3.0
    kept = scores.topk(5).indices[0]
    probabilities = torch.zeros(8).index_copy(0, kept, scores[0, kept].softmax(-1))
    order = probabilities.argsort(descending=True)
    last = int((probabilities[order].cumsum(0) < 0.8).sum())
    nucleus = torch.zeros(8).index_copy(0, order[: last + 1], probabilities[order[: last + 1]])
    expected = (nucleus / nucleus.sum()).log()
    torch.testing.assert_close(warp(law, one(sampling)).log_softmax(-1)[0], expected, atol=1e-6, rtol=0)
    assert int((nucleus > 0).sum()) == 4
    assert chi_square(tokens(law, sampling, 20_000), expected[None]) < QUANTILE[3]


def test_a_row_is_cut_by_its_own_top_p_alone_whoever_runs_beside_it() -> None:
    law = logprobs(300).repeat(4, 1)
    settings = [Sampling(1.3), Sampling(0.8, top_p=0.5), Sampling(0.0), Sampling(1.0, top_p=0.9, top_k=40)]
    draws = Draws.of([(each, 0) for each in settings])
    assert draws.narrow is not None
    assert draws.narrow.tolist() == [1, 2]
    together = warp(draws.part(law), draws)
    sampled = [each for each in settings if each.temperature]
    assert torch.equal(together, torch.cat([warp(law[:1], one(each)) for each in sampled]))
    assert together.isfinite().sum(-1).tolist()[0] == 300 > int(together[2].isfinite().sum())


def test_top_k_keeps_k_and_a_k_beyond_the_vocabulary_keeps_all() -> None:
    law = logprobs(50)
    for k, left in ((1, 1), (7, 7), (50, 50), (9999, 50)):
        assert int(warp(law, one(Sampling(1.0, top_k=k))).isfinite().sum()) == left


def test_temperature_zero_takes_the_most_probable_and_the_lowest_of_equals() -> None:
    law = torch.tensor([[0.1, 0.4, 0.1, 0.4]]).log()
    for seed in range(5):
        assert draw_at(law, one(Sampling(0.0, seed=seed)), [0]).tolist() == [1]


def test_temperature_near_zero_approaches_greedy() -> None:
    law = logprobs(50)
    assert set(tokens(law, Sampling(temperature=1e-3), 200).tolist()) == {int(law.argmax())}


def test_a_draw_does_not_depend_on_its_neighbours() -> None:
    law = torch.cat([logprobs(300, seed) for seed in range(4)])
    settings = [
        (Sampling(1.0, seed=5), 0),
        (Sampling(0.0), 0),
        (Sampling(1.3, top_k=40, seed=5), 1),
        (Sampling(0.8, top_p=0.9, seed=6), 0),
    ]
    together = draw_at(law, Draws.of(settings), [4, 9, 2, 4])
    for row, (each, position) in enumerate(zip(settings, [4, 9, 2, 4], strict=True)):
        assert draw_at(law[row : row + 1], Draws.of([each]), [position]).tolist() == [int(together[row])]
    assert draw_at(law[[3, 1]], Draws.of(settings).select([3, 1]), [4, 9]).tolist() == together[[3, 1]].tolist()


def test_columns_of_one_seed_share_their_noise() -> None:
    """Equal laws with one stream draw the same token; other samples of the stream do not all."""
    law = logprobs(300).expand(6, -1)
    same = draw_at(law, Draws.of([(Sampling(1.0, seed=9), 0)] * 6), [2] * 6)
    assert same.unique().numel() == 1
    other = draw_at(law, Draws.of([(Sampling(1.0, seed=9), sample) for sample in range(6)]), [2] * 6)
    assert other.unique().numel() > 1


@pytest.mark.parametrize("field", ["seed", "sample", "position"])
def test_every_part_of_the_stream_matters(field: str) -> None:
    law = logprobs(300)
    drawn = set()
    for value in range(20):
        sampling = Sampling(1.0, seed=value if field == "seed" else 0)
        draws = one(sampling, value if field == "sample" else 0)
        drawn.add(int(draw_at(law, draws, [value if field == "position" else 0])))
    assert len(drawn) > 5
