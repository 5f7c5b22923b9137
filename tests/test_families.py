"""Families files: what is read, what is refused, and in which words."""

from pathlib import Path

import pytest

from eft_core.families import BUILT_IN, families, family_named, read_families
from eft_core.family import Family, default_columns
from eft_core.located import locate
from eft_core.policy import Member, Policy, plain, tuned, up_scale

GOOD = """
[pair]
title = "A pair"
sizes = ["tiny", "big"]
[pair.base]
tiny = "there"
big = "org/big-model@v2"
[pair.tuned.helpful]
tiny = "org/tiny-chat"
[pair.tuned.terse]
big = "../elsewhere/big-terse"
"""


@pytest.fixture
def pair(tmp_path: Path) -> Family:
    (tmp_path / "there").mkdir()
    (tmp_path / "families.toml").write_text(GOOD)
    return read_families(tmp_path / "families.toml")["pair"]


def test_places_are_folders_beside_the_file_or_hub_ids(pair: Family, tmp_path: Path) -> None:
    assert pair.checkpoint(Member("tiny")).location == str(tmp_path / "there")
    big = pair.checkpoint(Member("big"))
    assert (big.location, big.revision, big.local) == ("org/big-model", "v2", False)
    elsewhere = pair.checkpoint(Member("big", "terse"))
    assert elsewhere.local
    assert elsewhere.location == str(tmp_path.parent / "elsewhere" / "big-terse")
    assert locate("/a/b", tmp_path).location == "/a/b"


def test_what_is_missing_is_said_with_its_remedy(pair: Family) -> None:
    with pytest.raises(ValueError, match=r"config.json is missing; correct the path"):
        pair.checkpoint(Member("tiny")).folder()
    with pytest.raises(ValueError, match=r"`python -m eft_core download org/big-model@v2`"):
        pair.checkpoint(Member("big")).folder()
    assert not pair.checkpoint(Member("big")).present()


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        (plain("huge"), r"no size 'huge'; it has tiny, big"),
        (Policy("huge", "tiny", {"helpful": 1}), r"no size 'huge'"),
        (tuned("rude", "tiny"), r"no behaviour 'rude'; it has helpful, terse"),
        (up_scale("tiny", "big", "helpful"), r"no 'helpful' of size 'big': .* exists for tiny, and big has terse"),
        (Policy("big", "big", {"helpful": 0}), r"no 'helpful' of size 'big'"),
    ],
)
def test_a_policy_that_the_family_cannot_run_is_refused_with_what_it_has(
    pair: Family, policy: Policy, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        pair.check(policy)


def test_what_the_family_has_is_accepted(pair: Family) -> None:
    pair.check(up_scale("big", "tiny"))
    assert pair.behaviours_of("big") == ("terse",)
    assert (pair.default_pretrain, pair.default_finetune, pair.default_behaviour) == ("big", "tiny", "helpful")


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        ("[a", "cannot be read"),
        ("a = 3", r"must be a table"),
        ("[a]\nsizes = []", "needs sizes"),
        ('[a]\nsizes = "small"', "needs sizes"),
        ('[a]\nsizes = ["s"]', "has no base models"),
        ('[a]\nsizes = ["s"]\n[a.base]', "has no base models"),
        ('[a]\nsizes = ["s"]\n[a.base]\ns = 3', "must be a path or Hub id, or a table"),
        ('[a]\nsizes = ["s"]\n[a.base]\nxl = "x"', r"size 'xl', which is not in sizes"),
        ('[a]\nsizes = ["s"]\ntuned = 1\n[a.base]\ns = "x"', "one table a behaviour"),
        ('[a]\nsizes = ["s"]\ncolour = 1\n[a.base]\ns = "x"', r"unknown key 'colour'"),
        ('[a]\nsizes = ["s"]\nbase_prompt = "plian"\n[a.base]\ns = "x"', r"base_prompt = 'plian' must be chat, plain"),
        ('[a]\nsizes = ["s"]\nbase_prompt = []\n[a.base]\ns = "x"', r"base_prompt = \[\] must be chat, plain"),
        ('[a]\nsizes = ["s"]\nbase_stop = "x"\n[a.base]\ns = "x"', r"base_stop must be a list of texts"),
        ('[a]\nsizes = ["s"]\ndefault_pretrain = "xl"\n[a.base]\ns = "x"', r"default_pretrain = 'xl' is not one of s"),
    ],
)
def test_malformed_files_are_refused_naming_file_and_mistake(tmp_path: Path, toml: str, message: str) -> None:
    (tmp_path / "mine.toml").write_text(toml)
    with pytest.raises(ValueError, match=message) as error:
        read_families(tmp_path / "mine.toml")
    assert "mine.toml" in str(error.value)


def test_a_missing_or_binary_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"does not exist: correct EFT_FAMILIES"):
        families(tmp_path / "no.toml")
    (tmp_path / "bad.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="cannot be read"):
        families(tmp_path / "bad.toml")


def test_the_users_file_adds_and_wins_with_a_note(tmp_path: Path) -> None:
    text = GOOD + '[atlas]\ntitle = "Mine"\nsizes = ["s"]\n[atlas.base]\ns = "x"\n'
    (tmp_path / "mine.toml").write_text(text)
    found = families(tmp_path / "mine.toml")
    assert found["atlas"].title == "Mine"
    assert "replaces the built-in" in found["atlas"].note
    assert found["pair"].note.endswith("mine.toml")
    with pytest.raises(ValueError, match=r"no family 'pear'; there are atlas, .*pair"):
        family_named("pear", tmp_path / "mine.toml")


def test_the_built_in_family_is_atlas_with_its_default_columns() -> None:
    atlas = read_families(BUILT_IN)["atlas"]
    assert atlas.sizes == ("small", "medium", "large")
    assert atlas.behaviours_of("small") == ("helpful", "harmless", "concise")
    assert atlas.behaviours_of("large") == ("helpful", "harmless")
    assert default_columns(atlas) == (
        ("Large base", plain("large")),
        ("Small tuned", tuned("helpful", "small")),
        ("Up-scaled", up_scale("large", "small")),
        ("Large tuned", tuned("helpful", "large")),
    )


def test_default_columns_are_those_that_the_family_has(pair: Family, tmp_path: Path) -> None:
    assert [label for label, _ in default_columns(pair)] == ["Big base", "Tiny tuned", "Up-scaled"]
    (tmp_path / "one.toml").write_text('[one]\nsizes = ["s"]\n[one.base]\ns = "x"\n[one.tuned.calm]\ns = "y"\n')
    assert [label for label, _ in default_columns(read_families(tmp_path / "one.toml")["one"])] == ["S base", "S tuned"]
    for family in (pair, read_families(tmp_path / "one.toml")["one"]):
        for _, policy in default_columns(family):
            family.check(policy)
