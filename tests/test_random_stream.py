"""The random stream is the published generator, and every number is its own."""

import pytest
import torch

from eft_core.random_stream import gumbel, philox, uniform

# Random123's known answers for philox4x32-10 (Salmon et al. 2011): counter, key, words.
KNOWN = [
    ([0] * 4, [0] * 2, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
    ([0xFFFFFFFF] * 4, [0xFFFFFFFF] * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
    (
        [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
        [0xA4093822, 0x299F31D0],
        [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
    ),
]


@pytest.mark.parametrize(("counter", "key", "words"), KNOWN)
def test_philox_gives_the_published_known_answers(counter: list[int], key: list[int], words: list[int]) -> None:
    got = philox([torch.tensor(word) for word in counter], [torch.tensor(word) for word in key])
    assert [int(word) for word in got] == words


def test_uniform_lays_the_four_words_of_each_block_out_in_token_order() -> None:
    expected = [(word + 0.5) / 2**32 for word in KNOWN[0][2]]
    assert uniform([(0, 0, 0)], 3)[0].tolist() == expected[:3]


def test_a_number_depends_on_seed_sample_position_and_token_and_on_nothing_else() -> None:
    alone = uniform([(7, 1, 5)], 40)
    assert torch.equal(uniform([(3, 0, 0), (7, 1, 5)], 90)[1, :40], alone[0])
    for other in [(8, 1, 5), (7, 2, 5), (7, 1, 6), (7 + 2**32, 1, 5), (7 + 2**62, 1, 5)]:
        assert not torch.isclose(uniform([other], 40), alone).any()
    assert alone.unique().numel() == 40


def test_the_extreme_words_are_inside_the_open_interval() -> None:
    extremes = (torch.tensor([0.0, 0xFFFFFFFF], dtype=torch.float64) + 0.5) * 2.0**-32
    assert extremes.min() > 0
    assert extremes.max() < 1
    assert torch.isfinite(-torch.log(-torch.log(extremes)).float()).all()


def test_uniform_numbers_are_uniform_and_gumbel_noise_has_its_mean() -> None:
    # 200,000 numbers in 50 cells: chi-square with 49 degrees of freedom is below 108 with probability 1 - 3e-6.
    numbers = uniform([(11, 0, position) for position in range(100)], 2000).flatten()
    counts = torch.histc(numbers, bins=50, min=0, max=1)
    assert ((counts - 4000) ** 2 / 4000).sum() < 108
    # Mean 0.5772, standard deviation 1.2825; five standard errors: false alarm 6e-7.
    noise = gumbel([(12, 0, position) for position in range(100)], 2000)
    assert abs(float(noise.double().mean()) - 0.57722) < 5 * 1.2825 / 200_000**0.5
