"""EFT Lab as a Hugging Face Space: in a frame of another host, on code that nothing writes to and a disk that goes."""

import hashlib
import json
import re
import shlex
import sqlite3
import time
from base64 import b64encode
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from serving import ROOT
from space import HOST, SPACE, copied, files, framing, space

WAIT = 120_000
PROMPT = "When did Kenya become independent?"
README = (ROOT / "README.md").read_text(encoding="utf-8")
# Front matter that a Space of the Gradio SDK may have (hub-docs, spaces-config-reference).
KEYS = {
    "title", "emoji", "colorFrom", "colorTo", "sdk", "sdk_version", "python_version", "app_file", "suggested_hardware",
    "startup_duration_timeout", "hf_oauth", "hf_oauth_scopes", "hf_oauth_expiration_minutes", "header", "fullWidth",
    "short_description", "tags", "models", "datasets", "pinned", "license", "preload_from_hub", "thumbnail",
}  # fmt: skip


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("authlib")
    pytest.importorskip("itsdangerous")
    return copied(tmp_path_factory.mktemp("code"))


def judgements(home: Path) -> list[str]:
    """The verdicts that the Space's own disk holds."""
    with closing(sqlite3.connect(home / ".local" / "share" / "eft-lab" / "ratings.sqlite3")) as database:
        return [verdict for (verdict,) in database.execute("SELECT verdict FROM ratings")]


def compare(frame: Any) -> dict[str, str]:
    """Run the default comparison in the framed page; texts by column."""
    frame.locator(".card").first.wait_for(timeout=WAIT)
    frame.locator("#prompt textarea").fill(PROMPT)
    frame.locator("#run").click()
    frame.locator(".status", has_text=re.compile("^Finished")).wait_for(timeout=WAIT)
    names, texts = (frame.locator(f".card {part}").all_text_contents() for part in (".name", ".text"))
    return dict(zip(names, texts, strict=True))


def rate(frame: Any) -> None:
    """Judge one pair of what was compared."""
    frame.get_by_role("tab", name="Rate").click()
    frame.locator("[data-screen=free] [data-act=free]").click()
    frame.locator("[data-screen=code] [data-act=begin]").click()
    frame.locator(".rate [data-screen=task]:not([hidden])").wait_for()
    time.sleep(0.5)  # the page takes no judgement before a pair can have been seen
    frame.locator("[data-verdict=left]").click()
    cast = frame.locator("[data-screen=task] [data-act=cast]")
    if cast.is_visible():
        cast.click()
    frame.locator(".rate .notice", has_text="Kept").wait_for(timeout=WAIT)


def signed_in_and_out(address: str, proxied: dict[str, str]) -> None:
    """The cookie of whoever signed in is for this server's scripts and for https alone; in a frame it must be sent."""
    from itsdangerous import TimestampSigner

    secret = hashlib.sha256(f"{SPACE['OAUTH_CLIENT_SECRET']}-v4".encode()).hexdigest()
    session = b64encode(json.dumps({"oauth_info": {}}).encode())
    cookie = TimestampSigner(secret).sign(session).decode()
    away = httpx.get(f"{address}logout", headers=proxied | {"cookie": f"session={cookie}"}, timeout=60)
    flags = {flag.strip().lower() for flag in away.headers["set-cookie"].split(";")}
    assert {"httponly", "secure", "samesite=none"} <= flags
    assert away.headers["location"] == "/"
    foreign = proxied | {"cookie": f"session={cookie}", "sec-fetch-site": "cross-site"}
    assert httpx.post(f"{address}gradio_api/queue/join", headers=foreign, json={}, timeout=60).status_code == 403


def behind_the_proxy(address: str, disk: Path) -> None:
    """Links have the Space's name and its lock, a frame may hold the page, and no file of judgements is given away."""
    proxied = {"host": HOST, "x-forwarded-proto": "https", "x-forwarded-host": HOST}
    config = httpx.get(f"{address}config", headers=proxied, timeout=60).json()
    assert config["root"] == f"https://{HOST}"
    assert config["space_id"] == "somebody/eft-lab"
    family = httpx.get(f"{address}families/smollm2/config", headers=proxied, timeout=60).json()
    assert family["root"] == f"https://{HOST}/families/smollm2"
    page = httpx.get(address, headers=proxied, timeout=60)
    assert page.status_code == 200
    assert "x-frame-options" not in page.headers, "huggingface.co shows the page in a frame"
    assert "frame-ancestors 'self' https://huggingface.co " in page.headers["content-security-policy"]
    signed_in_and_out(address, proxied)
    kept = disk / ".local" / "share" / "eft-lab" / "ratings.sqlite3"
    assert kept.is_file()
    assert httpx.get(f"{address}gradio_api/file={kept}").status_code >= 400


def test_a_comparison_and_a_rating_in_a_frame_and_what_a_restart_leaves_of_it(
    browser: Any, code: Path, tmp_path: Path
) -> None:
    before, backup = files(code), {"EFT_BACKUP": str(tmp_path / "bucket"), "EFT_FRAME_ANCESTORS": "http://localhost:*"}
    troubles: list[str] = []
    with space(code, tmp_path / "first", **backup) as address, framing(address) as host:
        page = browser.new_context(viewport={"width": 1600, "height": 1500}).new_page()
        page.set_default_timeout(WAIT)
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.goto(host)
        frame = page.frame_locator("iframe")
        answers = compare(frame)
        assert list(answers) == ["Large base", "Small tuned", "Up-scaled", "Large tuned"]
        assert all(answers.values())
        rate(frame)
        assert judgements(tmp_path / "first") == ["left"]
        page.context.close()
    assert troubles == []
    # Not the same disk, as a Space's is empty when it starts again.
    with space(code, tmp_path / "second", **backup) as address:
        assert judgements(tmp_path / "second") == ["left"], "the backup brings it back"
        behind_the_proxy(address, tmp_path / "second")
    assert files(code) == before, "nothing is written beside the code"


def front_matter() -> dict[str, Any]:
    """Keys of the README's front matter; lists as lists."""
    found: dict[str, Any] = {}
    key = ""
    for line in README.split("---\n")[1].splitlines():
        if line.startswith("  - "):
            found[key] = [*(found[key] or []), line.removeprefix("  - ")]
        else:
            key, _, value = line.partition(":")
            found[key] = value.strip().strip('"')
    return found


def test_front_matter_has_what_a_space_reads_and_nothing_else() -> None:
    found = front_matter()
    assert set(found) <= KEYS
    assert len(found["short_description"]) <= 60
    assert found["sdk"] == "gradio"
    assert f"gradio=={found['sdk_version']}" in (ROOT / "requirements.txt").read_text(encoding="utf-8")
    assert found["python_version"] == "3.12"
    assert (ROOT / found["app_file"]).is_file()
    assert found["hf_oauth"] == "true"
    assert found["header"] in ("mini", "default")
    assert found["colorFrom"] in ("red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray")


def test_models_of_the_front_matter_are_those_of_the_families_file() -> None:
    families = (ROOT / "assets" / "families.toml").read_text(encoding="utf-8")
    named = [*front_matter()["models"], *(shlex.split(each)[0] for each in front_matter().get("preload_from_hub", []))]
    assert named
    for model in named:
        assert f'"{model}"' in families
