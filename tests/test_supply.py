"""The lock is what requirements.txt asks for, whole and with digests; audit and licences say what they should."""

import json
import re
import subprocess
import threading
import tomllib
from collections.abc import Iterator
from email.message import Message
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib import metadata
from typing import Any

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement

from eft_core.supply.audit import FOUND, SOUND, UNASKED, audited
from eft_core.supply.index import Index
from eft_core.supply.licences import BY_HAND, DECIDED, PERMISSIVE, TABLE, here, licence_of, refused, stated, table
from eft_core.supply.lock import (
    CPU_BUILDS,
    LOCK,
    PINS,
    ROOT,
    Locked,
    canonical,
    for_cpu,
    read_lock,
    read_pins,
    with_cpu_builds,
    written,
)

LOCKED = read_lock(LOCK.read_text(encoding="utf-8"))
PINNED = read_pins(PINS.read_text(encoding="utf-8"))
VERSIONS = {each.name: {other.version for other in LOCKED if other.name == each.name} for each in LOCKED}
# The machines that the README names: Linux, with the Pythons that it names.
MACHINES = [
    {"python_full_version": f"{python}.7", "python_version": python, "sys_platform": "linux", "os_name": "posix",
     "platform_machine": "x86_64", "platform_system": "Linux", "implementation_name": "cpython",
     "platform_python_implementation": "CPython", "extra": ""}
    for python in ("3.11", "3.12")
]  # fmt: skip


def asked_of(name: str, machine: dict[str, str], extras: set[str]) -> list[Requirement]:
    """What an installed package requires on a machine, with some of its extras."""
    found = [Requirement(text) for text in metadata.requires(name) or ()]
    wished: list[dict[str, str]] = [machine | {"extra": extra} for extra in {"", *extras}]
    return [each for each in found if each.marker is None or any(each.marker.evaluate(one) for one in wished)]


# --- the lock


def test_every_direct_pin_is_locked_at_its_version() -> None:
    assert len(PINNED) >= 13
    assert {name: VERSIONS.get(name) for name in PINNED} == {name: {version} for name, version in PINNED.items()}


@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: machine["python_version"])
def test_all_that_the_pins_need_is_locked_and_nothing_else_is(machine: dict[str, str]) -> None:
    """Followed through the metadata of what is installed here, torch's build for a CPU, so without CUDA."""
    there = {each.name: each for each in LOCKED if not each.marker or Marker(each.marker).evaluate(machine)}
    reached: dict[str, set[str]] = {}
    to_do = [(name, set[str]()) for name in PINNED]
    while to_do:
        name, extras = to_do.pop()
        if name in reached and extras <= reached[name]:
            continue
        reached[name] = reached.get(name, set()) | extras
        for need in asked_of(name, machine, extras):
            other = canonical(need.name)
            assert other in there, f"{name} needs {other}: run `make lock`"
            assert need.specifier.contains(there[other].version, prereleases=True), (name, str(need), there[other])
            to_do.append((other, set(need.extras)))
    assert {name for name, each in there.items() if not each.cuda} == set(reached)


def test_every_package_has_digests_and_none_is_twice() -> None:
    assert all(len(each.hashes) == len(set(each.hashes)) >= 1 for each in LOCKED)
    assert len({(each.name, each.version) for each in LOCKED}) == len(LOCKED)
    for machine in MACHINES:
        names = [each.name for each in LOCKED if not each.marker or Marker(each.marker).evaluate(machine)]
        assert len(names) == len(set(names))


def test_the_lock_is_as_it_is_written_and_has_torchs_builds_for_a_cpu() -> None:
    assert written(LOCKED) == LOCK.read_text(encoding="utf-8")
    assert with_cpu_builds(LOCKED) == LOCKED
    (torch,) = [each for each in LOCKED if each.name == "torch"]
    assert set(CPU_BUILDS[torch.version]) < set(torch.hashes)


def test_without_cuda_it_is_the_same_but_for_torch() -> None:
    lean = for_cpu(LOCKED)
    (torch,) = [each for each in lean if each.name == "torch"]
    assert (torch.version, torch.hashes) == (f"{PINNED['torch']}+cpu", CPU_BUILDS[PINNED["torch"]])
    assert {each for each in LOCKED if each not in lean} == {
        each for each in LOCKED if each.cuda or each.name == "torch"
    }
    assert not [each.name for each in lean if re.match(r"nvidia|cuda|triton", each.name)]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("gradio==6.31.0\n", "no digest is locked for gradio"),
        ("gradio>=6\n    --hash=sha256:" + "0" * 64, "line 1"),
        ("gradio==6.31.0 \\\n    --hash=md5:" + "0" * 32, "line 2"),
        ("--extra-index-url http://elsewhere\n", "line 1"),
        ("gradio @ http://elsewhere/gradio.whl\n", "line 1"),
        ("    --hash=sha256:" + "0" * 64, "line 1"),
    ],
)
def test_what_is_no_lock_is_refused(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        read_lock(text)


@pytest.mark.parametrize(
    "line", ["gradio>=6.31.0", "gradio", "gradio==6.31.0 --hash=x", "-r other.txt", "gradio[oauth]"]
)
def test_a_pin_that_is_not_exact_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match="no exact pin"):
        read_pins(f"# pins\ntorch==2.13.0\n{line}\n")


def test_a_torch_whose_builds_are_not_known_is_refused() -> None:
    with pytest.raises(ValueError, match=r"torch 9\.0.*CPU_BUILDS"):
        for_cpu((Locked("torch", "9.0", "", ("0" * 64,)),))


def test_an_installed_eft_lab_asks_for_the_same_pins_and_has_all_its_modules() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["project"]["dynamic"] == ["dependencies"]
    told = project["tool"]["setuptools"]
    assert told["dynamic"]["dependencies"] == {"file": [PINS.name]}
    assert project["project"]["requires-python"] == ">=3.11"
    parts = [pattern.removesuffix("*") for pattern in told["packages"]["find"]["include"]]
    listed = subprocess.run(["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True, check=False).stdout
    if not listed:
        pytest.skip("not a git checkout: the list of files comes from git")
    roots = {file.split("/")[0] for file in listed.split()} - {"tests"}
    assert roots == {*parts, "app.py"} - {"assets"}
    assert told["py-modules"] == ["app"]


# --- the audit


class _PackageIndex(BaseHTTPRequestHandler):
    """Answers with what the test gave it, by path."""

    def do_GET(self) -> None:
        found = self.server.answers.get(self.path)  # type: ignore[attr-defined]
        body = found if isinstance(found, bytes) else json.dumps(found).encode()
        self.send_response(404 if found is None else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


@pytest.fixture
def answers() -> Iterator[Any]:
    """An index of packages on loopback; what it answers, by path, is the test's to set."""
    server = HTTPServer(("127.0.0.1", 0), _PackageIndex)
    server.answers = {}  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def index_of(server: Any) -> Index:
    return Index(f"http://127.0.0.1:{server.server_port}")


def release(version: str, *advisories: dict[str, Any]) -> dict[str, Any]:
    return {"info": {"name": "toy", "version": version}, "vulnerabilities": list(advisories)}


TOY = Locked("toy", "1.0", "", ("0" * 64,))
ADVISORY = {
    "id": "PYSEC-1",
    "aliases": ["CVE-1"],
    "fixed_in": ["1.1"],
    "details": "Reads\nany file.",
    "withdrawn": None,
}


def test_a_package_without_advisories_is_sound(answers: Any, capsys: pytest.CaptureFixture[str]) -> None:
    answers.answers["/pypi/toy/1.0/json"] = release("1.0", ADVISORY | {"withdrawn": "2026-01-01"})
    assert audited([TOY], index_of(answers)) == SOUND
    assert capsys.readouterr().out == "1 of 1 packages audited, 0 with advisories\n"


def test_an_advisory_is_told_with_the_version_that_mends_it(answers: Any, capsys: pytest.CaptureFixture[str]) -> None:
    answers.answers["/pypi/toy/1.0/json"] = release("1.0", ADVISORY)
    assert audited([TOY, Locked("absent", "1", "", ())], index_of(answers)) == FOUND
    told = capsys.readouterr()
    assert told.out.splitlines()[0] == "toy 1.0 PYSEC-1 (CVE-1): mended in 1.1. Reads any file."
    assert told.err == "no answer for 1: absent 1\n"


def test_what_could_not_be_asked_about_is_never_sound(answers: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Of a copy of the index that knows the newest version alone, its answer counts for that version only."""
    answers.answers["/pypi/toy/json"] = release("2.0")
    assert audited([TOY], index_of(answers)) == UNASKED
    assert "0 of 1 packages audited" in capsys.readouterr().out
    answers.answers["/pypi/toy/json"] = release("1.0")
    assert audited([TOY], index_of(answers)) == SOUND
    answers.answers["/pypi/toy/json"] = {"info": {"version": "1.0"}}  # and one that says nothing of advisories
    assert audited([TOY], index_of(answers)) == UNASKED


def test_builds_of_a_version_share_its_advisories(answers: Any) -> None:
    answers.answers["/pypi/torch/2.13.0/json"] = release("2.13.0", ADVISORY)
    assert audited([Locked("torch", "2.13.0+cpu", "", ())], index_of(answers)) == FOUND


def test_an_index_out_of_reach_is_told_as_that(answers: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert audited([TOY], Index("http://127.0.0.1:9")) == UNASKED
    assert capsys.readouterr().out.startswith("not audited: the package index cannot be reached")
    answers.answers["/pypi/toy/1.0/json"] = b"<html>a page to sign in</html>"
    assert audited([TOY], index_of(answers)) == UNASKED
    assert capsys.readouterr().out.startswith("not audited")


def test_metadata_comes_from_a_locked_file_or_from_the_release(answers: Any) -> None:
    base = f"http://127.0.0.1:{answers.server_port}"
    files = [
        {"filename": "toy-1.0.whl", "url": f"{base}/other", "hashes": {"sha256": "1" * 64}},
        {"filename": "toy-1.0.whl", "url": f"{base}/locked", "hashes": {"sha256": "0" * 64}},
    ]
    answers.answers |= {
        "/simple/toy/": {"files": files},
        "/other.metadata": b"Name: toy\nLicense: GPL-3.0\n",
        "/locked.metadata": b"Name: toy\nLicense-Expression: MIT\n",
    }
    assert licence_of(index_of(answers).metadata(TOY) or Message()) == "MIT"
    del answers.answers["/locked.metadata"]
    answers.answers["/pypi/toy/1.0/json"] = {"info": {"name": "toy", "version": "1.0", "license": "ISC License"}}
    assert licence_of(index_of(answers).metadata(TOY) or Message()) == "ISC"


# --- licences


def rows_of(section: str) -> list[list[str]]:
    """The cells of a section's table in `assets/licences.md`."""
    text = TABLE.read_text(encoding="utf-8").partition(f"## {section}\n")[2].partition("\n## ")[0]
    lines = [line for line in text.splitlines() if line.startswith("| ")][2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_the_table_lists_the_lock_and_every_licence_may_be_deployed() -> None:
    rows = rows_of("Deployed packages")
    assert [(name, version) for name, version, _, _ in rows] == [(each.name, each.version) for each in LOCKED]
    assert [(name, licence) for name, _, _, licence in rows if refused(licence)] == []


def test_the_table_says_what_packages_say() -> None:
    told = {(name, version): licence for name, version, _, licence in rows_of("Deployed packages")}
    at_hand = [each for each in LOCKED if here(each)]
    assert len(at_hand) >= len(PINNED)
    assert {each.name: told[each.name, each.version] for each in at_hand} == {
        each.name: stated(each, here) for each in at_hand
    }


def test_copyleft_is_in_no_deployed_package_and_psycopg_is_optional() -> None:
    assert not [row for row in rows_of("Deployed packages") if re.search("GPL", row[3])]
    optional = {name: licence for name, _, _, licence in rows_of("Optional packages")}
    assert optional["psycopg"] == "LGPL-3.0-only"
    assert not set(optional) & set(VERSIONS)


def test_every_decision_is_needed_and_stands_in_the_table() -> None:
    licences = " ".join(row[3] for row in rows_of("Deployed packages"))
    text = TABLE.read_text(encoding="utf-8")
    assert all(name in licences and why in text for name, why in DECIDED.items())
    assert set(BY_HAND) < set(VERSIONS)
    assert not PERMISSIVE & set(DECIDED)


def test_every_family_has_its_licence_in_the_table() -> None:
    from eft_core.families import BUILT_IN, read_families

    assert {(name, family.licence) for name, family in read_families(BUILT_IN).items()} == {
        (name, licence) for name, licence in rows_of("Models")
    }


@pytest.mark.parametrize(
    ("expression", "bad"),
    [
        ("MIT", set()),
        ("MPL-2.0 AND (Apache-2.0 OR MIT)", set()),
        ("Apache-2.0 WITH LLVM-exception", set()),
        ("GPL-3.0-or-later OR MIT", set()),
        ("GPL-3.0-or-later AND MIT", {"GPL-3.0-or-later"}),
        ("(GPL-2.0-only OR AGPL-3.0-only) AND LGPL-3.0-only", {"GPL-2.0-only", "LGPL-3.0-only"}),
        ("MIT OR GPL-2.0-only AND LGPL-3.0-only", set()),
        ("LicenseRef-Unknown", {"LicenseRef-Unknown"}),
    ],
)
def test_of_an_expression_what_may_not_be_deployed_is_found(expression: str, bad: set[str]) -> None:
    assert refused(expression) == bad


@pytest.mark.parametrize("text", ["", "MIT AND", "(MIT", "MIT)", "MIT BSD"])
def test_what_is_no_expression_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="SPDX"):
        refused(text)


def said(*headers: tuple[str, str]) -> Message:
    message = Message()
    for name, value in (("Name", "toy"), *headers):
        message[name] = value
    return message


def test_licences_are_read_in_the_ways_that_packages_state_them() -> None:
    old = "License :: OSI Approved :: "
    assert licence_of(said(("License-Expression", "MIT"), ("License", "GPL"))) == "MIT"
    assert licence_of(said(("License", "Apache 2.0 License"))) == "Apache-2.0"
    assert (
        licence_of(said(("License", "Copyright (c) 2001, many\nwords"), ("Classifier", f"{old}BSD License"))) == "BSD"
    )
    assert licence_of(said(("Classifier", f"{old}GNU Lesser General Public License v3 (LGPLv3)"))) == "LGPL-3.0-only"
    with pytest.raises(ValueError, match="toy states no licence"):
        licence_of(said(("License", "UNKNOWN")))


def test_a_package_with_another_licence_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"toy 1\.0 \(AGPL-3\.0-only\)"):
        table([TOY], lambda package: said(("License-Expression", "AGPL-3.0-only")))
    with pytest.raises(ValueError, match=r"toy 1\.0 cannot be read"):
        table([TOY], lambda package: None)
