"""The doctor's verdicts: equal ids, ids that are sliced, ids that are mapped exactly, and ids that are refused."""

import argparse
import json
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from conftest import BEGIN, END, LINES, TEMPLATE, save_model, tiny_config

from eft_core import doctoring
from eft_core.doctor import Finding, Report, Side, examine
from eft_core.settings import Settings
from eft_core.traits import PROBES

TEXTS = [*LINES, *PROBES]


def wrapped(backend: Any, **options: Any) -> Any:
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(tokenizer_object=backend, **options)


def byte_level(size: int = 320, added: Sequence[str] = (), **options: Any) -> Any:
    """A byte-level BPE, trained on the same lines whatever its size; `added` tokens stand behind it."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    names = [BEGIN, END]
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=names, initial_alphabet=alphabet, show_progress=False)
    bpe.train_from_iterator(LINES, trainer)
    bpe.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in added])
    return wrapped(bpe, **{"bos_token": BEGIN, "eos_token": END, "chat_template": TEMPLATE, **options})


def edited(tokenizer: Any, change: Any, **options: Any) -> Any:
    """The tokenizer with its tokenizer.json changed."""
    from tokenizers import Tokenizer

    table = json.loads(tokenizer.backend_tokenizer.to_str())
    change(table)
    named = {"bos_token": BEGIN, "eos_token": END, "chat_template": TEMPLATE, **options}
    return wrapped(Tokenizer.from_str(json.dumps(table)), **named)


def shuffled(tokenizer: Any, seed: int = 0, **options: Any) -> tuple[Any, dict[int, int]]:
    """The same tokens, merges and parts under other ids; and the new id of each old one."""
    old = list(range(len(tokenizer)))
    new = old.copy()
    random.Random(seed).shuffle(new)
    moved = dict(zip(old, new, strict=True))

    def change(table: Any) -> None:
        table["model"]["vocab"] = {text: moved[number] for text, number in table["model"]["vocab"].items()}
        for token in table["added_tokens"]:
            token["id"] = moved[token["id"]]
        table["added_tokens"].sort(key=lambda token: token["id"])

    return edited(tokenizer, change, **options), moved


def metaspace() -> Any:
    """A BPE that marks words with ▁ and writes other bytes as <0x..>, as Llama's does."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    bpe = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    bpe.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    bpe.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace(prepend_scheme="first")])
    names = ["<unk>", "<s>", "</s>", *(f"<0x{number:02X}>" for number in range(256))]
    bpe.train_from_iterator(LINES, trainers.BpeTrainer(vocab_size=400, special_tokens=names, show_progress=False))
    return wrapped(bpe, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


def second(
    one: Any, two: Any, widths: tuple[int, int] | None = None, aliases: dict[str, str] | None = None
) -> tuple[Report, Finding]:
    """The report on two tokenizers, and what it says of the second."""
    first, last = widths or (len(one), len(two))
    report = examine([Side("one", one, first), Side("two", two, last)], aliases)
    return report, report.findings[1]


def test_equal_files_are_the_same_and_padding_rows_are_sliced_off() -> None:
    """As Qwen2.5: one tokenizer, logits of 151,936 in small sizes and 152,064 in large ones."""
    report, finding = second(byte_level(), byte_level())
    assert (finding.verdict, finding.evidence, finding.template, report.width) == ("same", (), "same", 320)
    report, finding = second(byte_level(), byte_level(), (328, 336))
    assert (finding.verdict, finding.padding, finding.evidence, report.width) == ("same after slicing", 16, (), 320)
    report.check()


def test_the_width_is_what_all_members_have_both_a_token_and_a_logit_for() -> None:
    tokenizer = byte_level()
    sides = [Side("a", tokenizer, 400), Side("b", tokenizer, 318), Side("c", byte_level(), 324)]
    assert examine(sides).width == 318


def test_added_tokens_behind_the_shared_ids_are_told_and_do_not_stand_in_the_way() -> None:
    """As Vicuna: the base's ids, and a padding token behind them."""
    report, finding = second(byte_level(), byte_level(added=["<pad>", "<x>"]))
    assert (finding.verdict, report.width) == ("same after slicing", 320)
    assert "2 added tokens lie behind the shared ids, such as '<pad>'" in finding.evidence
    report, finding = second(byte_level(added=["<pad>", "<x>"]), byte_level())
    assert (finding.verdict, report.width) == ("same after slicing", 320)


def test_a_vocabulary_that_goes_on_with_pieces_of_texts_is_another_one() -> None:
    """Equal ids up to 280, but the larger one cuts texts by merges that the smaller one has not."""
    for one, two, whose in ((byte_level(280), byte_level(320), "second"), (byte_level(320), byte_level(280), "first")):
        report, finding = second(one, two)
        assert finding.verdict == "different"
        assert f"40 pieces of texts of the {whose} lie behind" in finding.reason
        with pytest.raises(ValueError, match="one and two do not share a vocabulary: id 279 is the last"):
            report.check()


def test_a_different_id_is_refused_by_number_and_both_texts() -> None:
    tokenizer = byte_level()
    number = tokenizer.get_vocab()["Ġis"]

    def swap(table: Any) -> None:
        vocabulary, merges = table["model"]["vocab"], table["model"]["merges"]
        vocabulary["Ġzz"] = vocabulary.pop("Ġis")
        table["model"]["merges"] = [pair for pair in merges if "Ġis" not in ("".join(pair), *pair)]

    report, finding = second(tokenizer, edited(tokenizer, swap))
    assert (finding.verdict, finding.ids) == ("different", ())
    assert finding.evidence[0] == f"1 of 320 ids differ, the first is {number}"
    words = f"one and two do not share a vocabulary: id {number} is 'Ġis' in the first and 'Ġzz' in the second"
    with pytest.raises(ValueError, match=words) as refused:
        report.check()
    assert "aliases in the families file" in str(refused.value)
    assert "no bridge between different vocabularies" in str(refused.value)


def test_an_id_beyond_all_vocabularies_is_refused_before_a_table_is_made() -> None:
    def lift(table: Any) -> None:
        table["model"]["vocab"]["Ġis"] = 20_000_000

    with pytest.raises(ValueError, match="has the id 20,000,000, beyond all vocabularies: download"):
        second(byte_level(), edited(byte_level(), lift))


def test_vocabularies_of_two_kinds_are_refused() -> None:
    """As Llama-2 against Llama-3: words marked with ▁, and byte-level ones."""
    finding = second(metaspace(), byte_level())[1]
    assert finding.verdict == "different"
    assert any("probes are cut otherwise" in sentence for sentence in finding.evidence)
    assert any(sentence.startswith("its pre_tokenizer is") for sentence in finding.evidence)
    assert second(metaspace(), metaspace())[1].verdict == "same"


def test_two_names_of_one_token_are_accepted_where_the_file_says_so_in_either_direction() -> None:
    def rename(table: Any) -> None:
        table["model"]["vocab"]["<|im_end|>"] = table["model"]["vocab"].pop(END)
        for token in table["added_tokens"]:
            token["content"] = token["content"].replace(END, "<|im_end|>")

    one, two = byte_level(), edited(byte_level(), rename, eos_token="<|im_end|>")
    for pair in ({END: "<|im_end|>"}, {"<|im_end|>": END}):
        report, finding = second(one, two, aliases=pair)
        assert (finding.verdict, report.width, report.end_ids) == ("same", 320, {1})
        assert any("two names that are one by the families file" in sentence for sentence in finding.evidence)
    assert second(one, two)[1].reason == f"id 1 is {END!r} in the first and '<|im_end|>' in the second"
    assert second(one, two, aliases={END: "other"})[1].verdict == "different"


def test_a_shuffled_vocabulary_is_mapped_exactly() -> None:
    tokenizer = byte_level()
    other, moved = shuffled(tokenizer)
    report, finding = second(tokenizer, other, (320, 336))
    assert (finding.verdict, report.width) == ("mappable", 320)
    assert finding.ids == report.own_ids("two") == tuple(moved[number] for number in range(320))
    assert sorted(finding.ids) == list(range(320))
    assert report.own_ids("one") == ()
    report.check()
    for text in TEXTS:  # what the first cuts a text into is, mapped, what the second does
        ids = tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        theirs = other(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        assert [finding.ids[number] for number in ids] == theirs


def test_a_mapped_member_does_not_cut_the_width_and_its_end_token_is_the_shared_one() -> None:
    tokenizer = byte_level()
    other, _ = shuffled(tokenizer)
    sides = [Side("one", tokenizer, 320), Side("two", other, 320, frozenset({other.eos_token_id}))]
    report = examine([*sides, Side("three", byte_level(added=["<pad>"]), 328)])
    assert (report.width, report.end_ids) == (320, {1})
    assert [finding.verdict for finding in report.findings] == ["same", "mappable", "same after slicing"]


def test_a_mapped_member_may_lack_the_last_added_tokens_but_no_piece_of_texts() -> None:
    longer, (other, _) = byte_level(added=["<pad>"]), shuffled(byte_level())
    report, finding = second(longer, other)
    assert (finding.verdict, report.width, len(finding.ids)) == ("mappable", 320, 320)
    smaller, _ = shuffled(byte_level(280))
    assert second(byte_level(320), smaller)[1].verdict == "different"


def test_no_map_reaches_beyond_the_logits() -> None:
    tokenizer = byte_level()
    other, _ = shuffled(tokenizer)
    assert second(tokenizer, other, (320, 319))[1].verdict == "different"


def test_a_normaliser_that_changes_texts_forbids_a_map_and_is_told_where_ids_are_equal() -> None:
    plain = byte_level()
    normal = edited(plain, lambda table: table.update(normalizer={"type": "Lowercase"}))
    finding = second(plain, normal)[1]
    assert finding.verdict == "same"  # an id is the same text in both, and the first cuts all prompts
    assert any('its normalizer is {"type":"Lowercase"}, the first\'s none' in each for each in finding.evidence)
    assert any("probes are cut otherwise" in sentence for sentence in finding.evidence)
    assert second(plain, shuffled(normal)[0])[1].verdict == "different"


def test_a_normaliser_that_only_composes_accents_is_seen_by_the_probes() -> None:
    composing = edited(byte_level(), lambda table: table.update(normalizer={"type": "NFC"}))
    evidence = second(byte_level(), composing)[1].evidence
    assert any("probes are cut otherwise, such as 'cafe\u0301'" in sentence for sentence in evidence)


def test_end_tokens_are_the_union_and_what_differs_is_told() -> None:
    """As SmolLM2: the base ends with one token, the tuned one with another."""
    report, finding = second(byte_level(), byte_level(eos_token=BEGIN))
    assert report.end_ids == {0, 1}
    assert (finding.verdict, finding.ends) == ("same", (BEGIN,))
    assert any(sentence.startswith(f"ends answers with ('{BEGIN}',)") for sentence in finding.evidence)
    stated = examine([Side("one", byte_level(), 320, frozenset({5, 999}))])
    assert stated.end_ids == {1, 5}


def test_an_end_token_behind_the_shared_ids_is_told() -> None:
    report, finding = second(byte_level(), byte_level(added=["<eot>"], eos_token="<eot>"))
    assert (finding.verdict, report.end_ids) == ("same after slicing", {1})
    assert any(sentence.startswith("its end token '<eot>' lies behind") for sentence in finding.evidence)


def test_flags_of_added_tokens_and_what_is_put_around_a_text_are_told() -> None:
    from tokenizers import processors

    def unmark(table: Any) -> None:
        table["added_tokens"][0]["rstrip"] = True

    around = byte_level()
    around.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BEGIN} $A", special_tokens=[(BEGIN, 0)]
    )
    assert any(f"such as '{BEGIN}': special in the first, special, rstrip here" in each
               for each in second(byte_level(), edited(byte_level(), unmark))[1].evidence)  # fmt: skip
    assert f"puts ('{BEGIN}',) around a text by itself, the first ()" in second(byte_level(), around)[1].evidence


def test_templates_are_the_same_or_none_or_differ_from_a_line() -> None:
    one = byte_level(chat_template="a\nb\nc")
    assert second(one, byte_level(chat_template="a\nb\nc"))[1].template == "same"
    assert second(one, byte_level(chat_template=None))[1].template == "none"
    assert second(one, byte_level(chat_template="a\nB\nc"))[1].template == "differs from line 2: 'B'"
    assert second(one, byte_level(chat_template="a"))[1].template == "differs from line 2: ''"


def test_nothing_to_examine_is_said() -> None:
    with pytest.raises(ValueError, match="name at least one member"):
        examine([])


def test_large_vocabularies_are_compared_within_two_seconds_of_work() -> None:
    from tokenizers import Tokenizer, models

    vocabulary = {f"t{number}": number for number in range(150_000)}
    moved = {text: (number + 7) % 150_000 for text, number in vocabulary.items()}
    one, same, other = (wrapped(Tokenizer(models.WordLevel(each, "t0"))) for each in (vocabulary, vocabulary, moved))
    for two, verdict in ((same, "same"), (other, "mappable")):
        begun = time.process_time()
        assert second(one, two)[1].verdict == verdict
        assert time.process_time() - begun < 2


# --- a mapped member in a comparison


@pytest.fixture(scope="module")
def twins(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Two families with the same weights: `plain`, and `mapped`, whose large base has its ids shuffled."""
    import torch
    from transformers import AutoModelForCausalLM

    folder, tokenizer = tmp_path_factory.mktemp("twins"), byte_level()
    for seed, name in enumerate(("small-base", "small-helpful", "large-base")):
        save_model(folder / name, tiny_config("llama", 320), tokenizer, seed)
    other, moved = shuffled(tokenizer)
    model: Any = AutoModelForCausalLM.from_pretrained(folder / "large-base")
    order = torch.tensor([old for old, _ in sorted(moved.items(), key=lambda pair: pair[1])])
    with torch.no_grad():
        for weights in (model.get_input_embeddings().weight, model.get_output_embeddings().weight):
            weights.copy_(weights[order].clone())
    for config in (model.config, model.generation_config):
        config.bos_token_id, config.eos_token_id = moved[0], moved[1]
    model.save_pretrained(folder / "shuffled")
    other.save_pretrained(folder / "shuffled")
    toml = ""
    for name, large in (("plain", "large-base"), ("mapped", "shuffled")):
        toml += f'[{name}]\nsizes = ["small", "large"]\nbase = {{ small = "small-base", large = "{large}" }}\n'
        toml += 'tuned.helpful = { small = "small-helpful" }\n'
    (folder / "families.toml").write_text(toml)
    return str(folder / "families.toml")


@pytest.mark.parametrize("forward", ["library", "lean"])
def test_a_mapped_member_gives_the_answers_that_it_gives_under_the_shared_ids(twins: str, forward: str) -> None:
    from eft_core.config import Limits, Request, Speculation
    from eft_core.events import Done
    from eft_core.family import default_columns
    from eft_core.session import Session

    told = []
    for name in ("plain", "mapped"):
        session = Session(Settings(families_file=twins, device="cpu", forward=forward), name)
        policies = [policy for _, policy in default_columns(session.family)]
        for speculation in (None, Speculation(4)):
            request = Request.compare(LINES[0], policies, limits=Limits(12), speculation=speculation)
            *_, done = session.stream(request)
            assert isinstance(done, Done)
            told.append([(answer.token_ids, answer.text) for answer in done.answers])
    assert all(each == told[0] for each in told)
    assert len({ids for ids, _ in told[0]}) == len(told[0]) == 3


# --- the command


def run(*arguments: str, file: str | None = None) -> None:
    parser = argparse.ArgumentParser()
    doctoring.add_commands(parser.add_subparsers())
    options = parser.parse_args(["vocabulary", *arguments])
    options.run(options, Settings(families_file=file))


def test_the_command_reports_on_a_family_and_on_folders(twins: str, capsys: pytest.CaptureFixture[str]) -> None:
    run("--family", "mapped", file=twins)
    told = capsys.readouterr().out
    assert "tuned[helpful][small]  same" in told
    assert "base[large]            mappable" in told
    assert "shared: ids 0 to 319; answers end by 1" in told
    folder = Path(twins).parent
    run(str(folder / "small-base"), str(folder / "large-base"))
    assert capsys.readouterr().out.count("same") >= 2
    run("base[small]", str(folder / "shuffled"), "--family", "plain", file=twins)
    assert "mappable" in capsys.readouterr().out


def test_the_command_needs_no_weights(twins: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for file in (Path(twins).parent / "small-base").iterdir():
        if file.suffix != ".safetensors":
            (tmp_path / file.name).write_bytes(file.read_bytes())
    run(str(tmp_path), "--json")
    assert json.loads(capsys.readouterr().out)["width"] == 320


def test_the_document_has_every_finding(twins: str, tmp_path: Path) -> None:
    run("--family", "mapped", "--json", str(tmp_path / "report.json"), file=twins)
    told = json.loads((tmp_path / "report.json").read_text())
    assert (told["schema"], told["reference"], told["width"]) == ("eft-lab/vocabulary/1", "tuned[helpful][small]", 320)
    verdicts = {each["member"]: (each["verdict"], each["ids"]) for each in told["members"]}
    assert verdicts == {
        "tuned[helpful][small]": ("same", 0),
        "base[small]": ("same", 0),
        "base[large]": ("mappable", 320),
    }


def test_a_vocabulary_that_is_not_shared_is_reported_and_then_refused(
    twins: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_model(tmp_path / "other", tiny_config("llama", 400), metaspace(), 0)
    with pytest.raises(ValueError, match="do not share a vocabulary: id 0 is"):
        run(str(Path(twins).parent / "small-base"), str(tmp_path / "other"))
    assert "different" in capsys.readouterr().out


def test_a_folder_without_a_checkpoint_is_named_and_no_families_file(tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "nothing" / "at" / "all", tmp_path / "no.gguf"):
        with pytest.raises(ValueError, match=rf"no checkpoint in {place}: config\.json is missing; name a folder"):
            run(str(place))


def test_nothing_in_a_report_steers_a_terminal() -> None:
    evil = byte_level(added=["\x1b[2J<evil>\n"], eos_token="\x1b[2J<evil>\n")
    report = examine([Side("\x1b]0;title\x07", byte_level(), 320), Side("two", evil, 321)])
    assert all(line.isprintable() for line in doctoring.told(report))
    assert any("\\x1b[2J<evil>" in line for line in doctoring.told(report))


def test_rows_for_a_page_have_a_cell_a_heading() -> None:
    report, _ = second(byte_level(), byte_level(chat_template=None), (328, 336))
    rows = doctoring.lines(report)
    assert rows[1] == ("two", "same after slicing", "320", "336", "16", repr(END), repr(BEGIN), "none")
    assert {len(row) for row in rows} == {len(doctoring.HEADINGS)}
