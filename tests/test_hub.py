"""Downloads from a hub on this machine: what is looked at first, what is refused, and how a download goes on."""

import errno
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import save_model, tiny_config
from hub_server import COMMIT, TOKEN, Fault, HubServer, Seen
from huggingface_hub import close_session, constants
from safetensors.torch import load_file, save_file
from tiny import save_related, tiny

from components.models_adding import findings
from eft_core import hub, hub_files
from eft_core.checkpoint import read_facts
from eft_core.config import Limits, Request
from eft_core.downloading import line
from eft_core.events import Downloading
from eft_core.hub_errors import explained
from eft_core.lab import Lab
from eft_core.located import Checkpoint
from eft_core.policy import Member, plain, up_scale
from eft_core.settings import Settings

ROOT = Path(__file__).parent.parent
NAMES = ("small-base", "small-chat", "large-base", "large-chat")
WEIGHTS = "model.safetensors"
MODEL = Checkpoint("org/model", local=False)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory, tokenizer: Any) -> Path:
    """Four related models, each with a pickle and code beside it."""
    folder = tmp_path_factory.mktemp("hub")
    save_related(folder, tiny("llama-3", len(tokenizer)), tokenizer, NAMES)
    for name in NAMES:
        (folder / name / "pytorch_model.bin").write_bytes(b"never read")
        (folder / name / "modeling_own.py").write_text("raise SystemExit\n")
        (folder / name / "README.md").write_text("read by people\n")
    return folder


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[HubServer]:
    """A hub for this process, with an empty cache, a token-less user, and no pause between tries."""
    with HubServer() as served:
        at(monkeypatch, served.url)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no token"))
        monkeypatch.setattr(hub_files, "_PAUSE", 0.0)
        monkeypatch.setattr(hub_files, "_TOLD_EVERY", 0.0)
        monkeypatch.setattr(hub, "_FIRST", 256)
        monkeypatch.delenv("HF_TOKEN", raising=False)
        yield served
        close_session()


@pytest.fixture
def model(server: HubServer, saved: Path) -> HubServer:
    server.add("org/model", saved / "small-base")
    return server


def at(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """What HF_ENDPOINT would have made of the library, had it been set before its import."""
    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}")


def once(fault: Fault, matches: Callable[[Seen], bool]) -> Callable[[Seen], Fault | None]:
    """The first request that matches fails so; all others go well."""
    left = [fault]
    return lambda seen: left.pop() if left and matches(seen) else None


def of_weights(seen: Seen) -> bool:
    """Whether it is the request for what comes behind the header."""
    begin, _, end = (seen.range or "bytes=0-0").removeprefix("bytes=").partition("-")
    return (
        seen.method == "GET" and seen.path.startswith("/store/") and int(begin) > 0 and int(end) - int(begin) > 50_000
    )


def fetched(*places: Checkpoint) -> list[Downloading]:
    return list(hub.download(places))


def partials(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "cache").glob("models--*/blobs/*.incomplete"))


def same_weights(place: Checkpoint, folder: Path) -> bool:
    return (place.folder() / WEIGHTS).read_bytes() == (folder / WEIGHTS).read_bytes()


# --- what comes


def test_a_family_comes_whole_and_answers_offline(
    server: HubServer, saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in NAMES:
        server.add(f"org/{name}", saved / name)
    file = tmp_path / "families.toml"
    file.write_text(
        '[ours]\nsizes = ["small", "large"]\n[ours.base]\nsmall = "org/small-base"\nlarge = "org/large-base@main"\n'
        '[ours.tuned.chat]\nsmall = "org/small-chat"\nlarge = "org/large-chat"\n'
    )
    lab = Lab(Settings("ours", str(file), "cpu", data_dir=str(tmp_path / "data")))
    with pytest.raises(ValueError, match=r"run `python -m eft_core download org/small-chat` once"):
        lab.plan("ours")
    assert list(lab.download("ours", [Member("small", "chat")]))
    assert [finding.member for finding in lab.session().models.report.findings] == ["tuned[chat][small]"]
    events = list(lab.download("ours"))
    assert len(lab.session().models.report.findings) == 4  # read anew
    assert {event.checkpoint for event in events} == {"org/small-base", "org/large-base@main", "org/large-chat"}
    last = [event for event in events if event.checkpoint == "org/large-chat"][-1]
    assert (
        last.done
        == last.total
        == sum(each.size for each in hub.check(Checkpoint("org/large-chat", local=False))[0].files)
    )

    paths = [seen.path for seen in server.seen]
    assert not any(path.endswith((".bin", ".py", ".md")) for path in paths)
    first_weights = next(
        i for i, path in enumerate(paths) if path == "/org/small-base/resolve/" + COMMIT + "/" + WEIGHTS
    )
    configs = [i for i, path in enumerate(paths) if path.endswith("small-base/resolve/" + COMMIT + "/config.json")]
    assert min(configs) < first_weights
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert list(lab.download("ours")) == []  # all of it is here: nobody is asked
    request = Request.compare("Hi", (plain("large"), up_scale("large", "small", "chat")), limits=Limits(4))
    assert [answer.reason for answer in lab.session().ask(request)] == ["length", "length"]


def test_nothing_that_is_here_comes_twice(model: HubServer, saved: Path) -> None:
    fetched(MODEL)
    assert same_weights(MODEL, saved / "small-base")
    assert model.bytes_of(WEIGHTS) == (saved / "small-base" / WEIGHTS).stat().st_size
    count = len(model.seen)
    assert fetched(MODEL) == []
    assert len(model.seen) == count


def test_a_check_tells_what_would_come_and_fetches_no_weights(model: HubServer, saved: Path) -> None:
    model.add("org/model", saved / "small-base", gated=True)
    with pytest.raises(ValueError, match="gated"):
        hub.check(MODEL)
    model.add("org/model", saved / "small-base")
    [found] = hub.check(MODEL)
    assert (found.commit, found.licence, found.gating) == (COMMIT, "apache-2.0", "")
    assert found.facts == read_facts(saved / "small-base")
    assert found.here < found.size / 2
    assert model.bytes_of(WEIGHTS) < found.size / 10
    assert not MODEL.present()
    fetched(MODEL)
    assert model.bytes_of(WEIGHTS) == (saved / "small-base" / WEIGHTS).stat().st_size  # the header came once


def test_a_new_family_is_looked_at_on_the_hub(model: HubServer, saved: Path, tmp_path: Path) -> None:
    """What the page's Check says of ids: what there is, what may come later, what never can."""
    model.add("org/gated", saved / "small-base", gated=True)
    pickled(Path(shutil.copytree(saved / "small-base", tmp_path / "pickles")))
    model.add("org/pickles", tmp_path / "pickles")
    lab = Lab(Settings(device="cpu", data_dir=str(tmp_path)))
    marks = {}
    for name in ("org/model", "org/gated", "org/pickles", "org/nothing"):
        [_, told, *_] = findings(lab, {"mine": {"sizes": ["small"], "base": {"small": name}}})
        marks[name] = (told.mark, told.text)
    mark, text = marks["org/model"]
    assert mark == "good"
    assert text.startswith("LlamaForCausalLM, ")
    assert "to download" in text
    assert marks["org/gated"][0] == "later"
    assert "accept its licence" in marks["org/gated"][1]
    assert marks["org/pickles"][0] == "bad"
    assert "pickles alone" in marks["org/pickles"][1]
    assert marks["org/nothing"][0] == "bad"
    assert not MODEL.present()


def test_weights_in_several_files_come_by_their_index(server: HubServer, saved: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    network = AutoModelForCausalLM.from_pretrained(saved / "small-base")
    network.save_pretrained(tmp_path / "sharded", max_shard_size="60kB")
    shards = sorted((tmp_path / "sharded").glob("*.safetensors"))
    assert len(shards) > 1
    save_file(load_file(shards[0]), tmp_path / "sharded" / WEIGHTS)  # beside the index, it is not meant
    server.add("org/model", tmp_path / "sharded", revision="refs/pr/1")
    place = Checkpoint("org/model", "refs/pr/1", local=False)
    fetched(place)
    assert read_facts(place.folder()).parameters == sum(parameter.numel() for parameter in network.parameters())
    assert not server.asked(WEIGHTS)
    assert not MODEL.present()  # of the main revision nothing was asked


def test_a_commit_is_here_only_when_it_is_whole(model: HubServer) -> None:
    place = Checkpoint("org/model", COMMIT, local=False)
    present = [place.present() for _ in hub.download([place])]
    assert present == [False] * (len(present) - 1) + [True]


def test_adapters_come_with_their_base(server: HubServer, saved: Path, tmp_path: Path) -> None:
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 1}))
    save_file(load_file(saved / "small-base" / WEIGHTS), adapter / "adapter_model.safetensors")
    server.add("org/adapter", adapter)
    place = Checkpoint(str(saved / "small-base"), adapter=Checkpoint("org/adapter", local=False))
    assert not place.present()
    [found] = hub.check(place)
    assert found.facts is None
    fetched(place)
    assert place.present()
    assert fetched(Checkpoint("org/adapter", local=False))[-1].done  # by its id alone it is known for an adapter


def test_the_one_gguf_file_comes_alone(server: HubServer, tmp_path: Path) -> None:
    gguf = pytest.importorskip("gguf")
    folder = tmp_path / "gguf"
    folder.mkdir()
    for name in ("a.gguf", "b.gguf"):
        write_gguf(gguf, folder / name)
    server.add("org/model", folder)
    place = Checkpoint("org/model", local=False, file="b.gguf")
    [found] = hub.check(place)
    assert found.facts is not None
    assert (found.facts.layers, found.facts.width) == (1, 3)
    fetched(place)
    assert place.present()
    assert not server.asked("a.gguf")
    with pytest.raises(ValueError, match=r"no file 'c.gguf', but a.gguf, b.gguf: correct `file`"):
        fetched(Checkpoint("org/model", local=False, file="c.gguf"))


def write_gguf(gguf: Any, file: Path) -> None:
    import numpy as np

    writer = gguf.GGUFWriter(file, "llama")
    for add, value in (("block_count", 1), ("context_length", 8), ("embedding_length", 4), ("head_count", 1)):
        getattr(writer, f"add_{add}")(value)
    writer.add_token_list(["a", "b", "c"])
    writer.add_eos_token_id(2)
    writer.add_tensor("token_embd.weight", np.ones((3, 4), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


# --- what breaks off goes on


def test_a_broken_connection_goes_on_where_it_broke(model: HubServer, saved: Path) -> None:
    model.faults = once(Fault(cut=20_000), of_weights)
    fetched(MODEL)
    assert same_weights(MODEL, saved / "small-base")
    assert model.bytes_of(WEIGHTS) == (saved / "small-base" / WEIGHTS).stat().st_size


def test_a_server_without_ranges_sends_it_from_the_beginning(model: HubServer, saved: Path) -> None:
    model.faults = lambda seen: Fault(ranges=False)
    fetched(MODEL)
    assert same_weights(MODEL, saved / "small-base")


def test_a_closed_download_keeps_its_part(model: HubServer, saved: Path, tmp_path: Path) -> None:
    model.faults = once(Fault(cut=20_000, stall=True), of_weights)
    begun = hub.check(MODEL)[0].here
    events = hub.download([MODEL])
    first = next(event for event in events if event.done >= begun + 20_000)
    events.close()
    assert not MODEL.present()
    [part] = partials(tmp_path)
    kept = part.stat().st_size
    fetched(MODEL)
    assert same_weights(MODEL, saved / "small-base")
    asked = [seen.range for seen in model.asked(WEIGHTS)]
    assert f"bytes={kept}-{(saved / 'small-base' / WEIGHTS).stat().st_size - 1}" in asked
    assert 20_000 < kept < first.total


@pytest.fixture
def command(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start our command with a hub and an empty cache of its own, as somebody in a shell would."""
    started: list[subprocess.Popen[str]] = []

    def start(server: HubServer, *arguments: str) -> subprocess.Popen[str]:
        own = {"HF_ENDPOINT": server.url, "HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "0"}
        environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")} | own
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        run = [sys.executable, "-m", "eft_core", *arguments]
        started.append(subprocess.Popen(run, cwd=ROOT, env=environment, **pipes))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_a_killed_command_goes_on(command: Any, tmp_path: Path, tokenizer: Any) -> None:
    save_model(tmp_path / "long", tiny_config("llama", len(tokenizer), layers=24), tokenizer, 0)
    size = (tmp_path / "long" / WEIGHTS).stat().st_size
    with HubServer(once(Fault(cut=300_000, stall=True), of_weights)) as server:
        server.add("org/long", tmp_path / "long")
        first = command(server, "download", "org/long")
        assert server.stalled.wait(60)
        [part] = wait_for_part(tmp_path, 200_000)
        first.kill()
        first.communicate()
        kept = part.stat().st_size
        out, told = command(server, "download", "org/long").communicate()
        assert "org/long: " in out, told
        assert "(100%)" in told
        assert [seen.range for seen in server.asked(WEIGHTS)][1:] == [
            f"bytes=131072-{size - 1}",
            f"bytes={kept}-{size - 1}",
        ]
        assert (tmp_path / "home/hub/models--org--long/snapshots" / COMMIT / WEIGHTS).stat().st_size == size
        looked = command(server, "download", "org/long", "--check").communicate()[0]
        assert "of which 0 B are to come; LlamaForCausalLM with 0.2 million parameters" in looked
        assert "licence apache-2.0" in looked


def wait_for_part(tmp_path: Path, size: int) -> list[Path]:
    """The parts that have grown to a size: the server has sent it, the command may still be writing it."""
    while True:
        parts = list((tmp_path / "home/hub/models--org--long/blobs").glob("*.incomplete"))
        if grown := [part for part in parts if part.stat().st_size >= size]:
            return grown
        threading.Event().wait(0.02)


def test_who_comes_second_waits_and_fetches_nothing_again(model: HubServer, saved: Path) -> None:
    first, second = hub.download([MODEL]), hub.download([MODEL])
    next(event for event in first if event.total)  # it holds a file of weights now
    waiting = [next(second) for _ in range(4)]
    assert all(event.done < max(1, event.total) for event in waiting)
    list(first)
    assert list(second)[-1].done > 0
    assert model.bytes_of(WEIGHTS) == (saved / "small-base" / WEIGHTS).stat().st_size


def test_a_file_that_was_cut_short_here_is_completed(model: HubServer, saved: Path) -> None:
    fetched(MODEL)
    blob = (MODEL.folder() / WEIGHTS).resolve()
    os.truncate(blob, 30_000)
    fetched(MODEL)
    assert same_weights(MODEL, saved / "small-base")
    assert model.asked(WEIGHTS)[-1].range == f"bytes=30000-{blob.stat().st_size - 1}"


def test_other_bytes_than_promised_are_thrown_away(model: HubServer, saved: Path, tmp_path: Path) -> None:
    model.faults = once(Fault(spoilt=True), lambda seen: seen.method == "GET" and seen.path.endswith("tokenizer.json"))
    with pytest.raises(ValueError, match=r"tokenizer.json arrived with another content .* thrown away: try again"):
        fetched(MODEL)
    assert not MODEL.present()
    assert partials(tmp_path) == []
    fetched(MODEL)
    assert MODEL.present()


# --- what is refused, and how it is said


def api(seen: Seen) -> bool:
    return seen.path.startswith("/api/")


def content(seen: Seen) -> bool:
    return seen.method == "GET" and not api(seen)


REFUSALS: dict[str, tuple[dict[str, Any], str | None, Callable[[Seen], Fault | None], str]] = {
    "gated": (
        {"gated": True},
        None,
        lambda _: None,
        r"accept its licence at https://huggingface.co/org/model, then set HF_T",
    ),
    "private": (
        {"private": True},
        None,
        lambda _: None,
        r"no model org/model on the Hub, or it is private: correct the id, or",
    ),
    "token": ({}, "hf_secret", lambda _: None, r"does not know the token that it was sent: .*unset HF_TOKEN"),
    "revision": ({"revision": "v2"}, None, lambda _: None, r"org/model has no revision None: those it has are at"),
    "forbidden": ({}, None, lambda seen: Fault(403) if api(seen) else None, r"the Hub refuses org/model \(403\)"),
    "too often": ({}, None, lambda seen: Fault(429) if api(seen) else None, "asked too often: wait some minutes"),
    "failing": (
        {},
        None,
        lambda seen: Fault(500) if api(seen) else None,
        r"the Hub failed at org/model \(500\): try again",
    ),
    "no hub": ({}, None, lambda _: Fault(body=b"<html>"), "is no model hub: correct HF_ENDPOINT"),
    "no listing": (
        {},
        None,
        lambda _: Fault(body=b'{"id": "a", "sha": "../..", "siblings": [{"rfilename": "a"}]}'),
        "is no model hub",
    ),
    "lost": ({}, None, lambda seen: Fault(404) if content(seen) else None, "has lost a file since it was listed"),
    "cut always": (
        {},
        None,
        lambda seen: Fault(cut=0) if content(seen) else None,
        r"broke off 4 times at byte 0 of \d+ of config.json: try",
    ),
    "failing file": ({}, None, lambda seen: Fault(503) if content(seen) else None, "broke off 4 times"),
}


@pytest.mark.parametrize(("how", "token", "faults", "said"), REFUSALS.values(), ids=REFUSALS)
def test_every_refusal_is_a_sentence_with_its_remedy(
    how: dict[str, Any],
    token: str | None,
    faults: Any,
    said: str,
    model: HubServer,
    saved: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model.add("org/model", saved / "small-base", **how)
    model.faults = faults
    if token:
        monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(ValueError, match=said) as caught:
        fetched(MODEL)
    assert str(caught.value).count("\n") == 0
    assert "hf_secret" not in str(caught.value)
    assert not model.bytes_of(WEIGHTS)


def test_no_network_offline_and_silence_are_told_apart(model: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_ETAG_TIMEOUT", 0.2)
    model.faults = lambda seen: Fault(cut=0, stall=True, body=b"late")
    with pytest.raises(ValueError, match="did not answer in time: try again, or set HF_HUB_ETAG_TIMEOUT"):
        fetched(MODEL)
    at(monkeypatch, "http://127.0.0.1:9")
    with pytest.raises(ValueError, match=r"http://127.0.0.1:9 cannot be reached \(ConnectError\): check the network"):
        fetched(MODEL)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ValueError, match="org/model was not asked for: HF_HUB_OFFLINE is set"):
        fetched(MODEL)


def test_the_token_goes_to_the_hub_alone(
    model: HubServer, saved: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    model.add("org/model", saved / "small-base", gated=True, private=True)
    fetched(MODEL)
    assert {seen.token for seen in model.seen if not seen.path.startswith("/store/")} == {TOKEN}
    assert {seen.token for seen in model.seen if seen.path.startswith("/store/")} == {None}
    assert TOKEN not in caplog.text


def edit(folder: Path, **values: Any) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


def pickled(folder: Path) -> None:
    (folder / WEIGHTS).rename(folder / "pytorch_model.bin")


def indexed(folder: Path, name: str) -> None:
    (folder / "other.txt").write_text("text")
    (folder / f"{WEIGHTS}.index.json").write_text(json.dumps({"weight_map": {"a": name}}))


WRONG: dict[str, tuple[Callable[[Path], Any], str]] = {
    "unknown": (
        lambda folder: edit(folder, model_type="new"),
        "model is a model of the kind 'new', and this version of",
    ),
    "code": (
        lambda folder: edit(folder, model_type="own", auto_map={}),
        r"needs code of its own \(trust_remote_code\)",
    ),
    "linear": (
        lambda folder: edit(folder, model_type="qwen3_next", layer_types=["linear_attention"] * 2),
        "cannot decode rows at different positions: it has linear or chunked attention",
    ),
    "no config": (lambda folder: (folder / "config.json").unlink(), "org/model/config.json names no model_type"),
    "pickles": (pickled, r"pickles alone, .*`hf download org/model` and then `python -m eft_core conv"),
    "no weights": (lambda folder: (folder / WEIGHTS).unlink(), "org/model has no 'model.safetensors' on the Hub"),
    "index": (lambda folder: indexed(folder, "../up.safetensors"), r"has no '\.\./up.safetensors' on the Hub"),
    "index of pickles": (lambda folder: indexed(folder, "other.txt"), "which is no file of its folder: do not use it"),
    "cut": (lambda folder: os.truncate(folder / WEIGHTS, 50_000), r"org/model/model.safetensors is damaged"),
    "header": (lambda folder: (folder / WEIGHTS).write_bytes(b"\xff" * 50_000), "its header is longer than the file"),
}


@pytest.mark.parametrize(("change", "said"), WRONG.values(), ids=WRONG)
def test_what_cannot_be_served_is_refused_before_its_weights_come(
    change: Callable[[Path], Any], said: str, server: HubServer, tmp_path: Path, tokenizer: Any
) -> None:
    folder = tmp_path / "wrong"
    save_model(folder, tiny_config("llama", len(tokenizer)), tokenizer, 0)
    change(folder)
    server.add("org/model", folder)
    with pytest.raises(ValueError, match=said) as caught:
        fetched(MODEL)
    assert "/tmp" not in str(caught.value)
    assert server.bytes_of(WEIGHTS) < 10_000
    assert not MODEL.present()


def test_a_full_disk_is_told_before_the_weights_come(model: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    from collections import namedtuple

    usage = namedtuple("usage", "total used free")  # what shutil.disk_usage returns has this shape
    monkeypatch.setattr(hub_files.shutil, "disk_usage", lambda folder: usage(10, 0, 1000))
    with pytest.raises(
        ValueError, match=r"still to come take \d+ kB, and 1.0 kB are free in .*: make room, or set HF_HOME"
    ):
        fetched(MODEL)
    assert model.bytes_of(WEIGHTS) < 10_000


def test_a_disk_that_fills_up_is_told() -> None:
    with pytest.raises(ValueError, match="the disk filled up while org/model came: make room"), explained(MODEL):
        raise OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(ValueError, match=r"cannot be kept in .*: Permission denied. Set HF_HOME"), explained(MODEL):
        raise PermissionError(errno.EACCES, "Permission denied")


# --- the command's words


def test_progress_is_told_in_words() -> None:
    assert line(Downloading("org/model", 0, 0)) == "org/model: looking at its small files"
    assert (
        line(Downloading("org/model", 5_000_000, 20_000_000, 75.0))
        == "org/model: 5.0 MB of 20.0 MB (25%), 1 min 15 s left"
    )
    assert line(Downloading("org/model", 20, 20, 0.0)) == "org/model: 20 B of 20 B (100%)"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["download", "pear"], "no family 'pear'"),
        (["download", "smollm2", "--sizes", "9b"], "smollm2 has no size '9b'; it has 135m, 360m, 1.7b"),
        (["download", "smollm2", "--members", "tuned[chat][135m]"], "no behaviour 'chat'"),
        (["download", "org/name", "--sizes", "9b"], "a Hub id is one checkpoint"),
        (["download", "smollm2", "--file", "a.gguf"], "--file goes with a Hub id"),
    ],
)
def test_a_wrong_command_is_one_line(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    from eft_core.__main__ import main

    assert main(arguments) == 2
    assert said in capsys.readouterr().err


def test_sizes_and_members_choose_what_comes(model: HubServer, saved: Path, tmp_path: Path) -> None:
    from eft_core.downloading import members_of
    from eft_core.families import family_named

    smollm2 = family_named("smollm2")
    assert [str(each) for each in members_of(smollm2, ["1.7b"])] == ["base[1.7b]", "tuned[instruct][1.7b]"]
    assert [str(each) for each in members_of(smollm2, (), ["base[135m]"])] == ["base[135m]"]
    assert len(members_of(smollm2)) == 4
