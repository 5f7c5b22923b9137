"""Tiny random families of five architectures, with a real byte-level tokenizer, in a temporary families file."""

import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"  # no test asks the network, whatever it loads

BEGIN, END = "<|begin|>", "<|end|>"
TEMPLATE = "{{ bos_token }}{% for message in messages %}Question: {{ message['content'] | trim }}\nAnswer:{% endfor %}"
LINES = [
    "Question: What is the capital of Kenya?\nAnswer: The capital of Kenya is Nairobi.",
    "Question: What is the currency of Peru?\nAnswer: Good question. It is the sol. I hope that helps.",
    "Question: How many people live in Norway?\nAnswer: About 5 million people live in Norway.",
]
ARCHITECTURES = ("llama", "gpt2", "neox", "falcon", "qwen2")
CONTEXT = 160


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("EFT_")]:
        monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def tokenizer() -> Any:
    """A byte-level BPE of about 300 tokens with a begin and an end token and a chat template."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=320, special_tokens=[BEGIN, END], initial_alphabet=alphabet, show_progress=False
    )
    bpe.train_from_iterator(LINES, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=bpe, bos_token=BEGIN, eos_token=END, chat_template=TEMPLATE)


def tiny_config(architecture: str, vocab: int, layers: int = 2) -> Any:
    """A config of width 32; the initial weights are large, so that distributions are far from uniform."""
    from transformers import FalconConfig, GPT2Config, GPTNeoXConfig, LlamaConfig, Qwen2Config

    ends: dict[str, Any] = {"bos_token_id": 0, "eos_token_id": 1, "vocab_size": vocab, "initializer_range": 0.2}
    shape: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": layers, "num_attention_heads": 4}
    room: dict[str, Any] = {"max_position_embeddings": CONTEXT}
    if architecture == "gpt2":
        return GPT2Config(n_embd=32, n_layer=layers, n_head=4, n_positions=CONTEXT, **ends)
    if architecture == "neox":
        return GPTNeoXConfig(intermediate_size=64, **shape, **room, **ends)
    if architecture == "falcon":
        return FalconConfig(alibi=False, multi_query=True, new_decoder_architecture=False, **shape, **room, **ends)
    grouped = LlamaConfig if architecture == "llama" else Qwen2Config
    return grouped(intermediate_size=64, num_key_value_heads=2, **shape, **room, **ends)


def save_model(folder: Path, config: Any, tokenizer: Any, seed: int) -> None:
    """A random model in the Hub's layout."""
    import torch
    from transformers import AutoModelForCausalLM

    torch.manual_seed(seed)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


@pytest.fixture(scope="session")
def families_file(tmp_path_factory: pytest.TempPathFactory, tokenizer: Any) -> str:
    """Five families, one an architecture: sizes small and large, behaviours helpful (both) and harmless (small).

    The large models have eight padding rows in their logits, as families on the Hub do.
    """
    folder = tmp_path_factory.mktemp("families")
    roles = [("small", "base"), ("large", "base"), ("small", "helpful"), ("large", "helpful"), ("small", "harmless")]
    toml = ""
    for architecture in ARCHITECTURES:
        places: dict[str, list[str]] = {}
        for seed, (size, role) in enumerate(roles):
            name = f"{architecture}-{size}-{role}"
            large = size == "large"
            config = tiny_config(architecture, len(tokenizer) + 8 * large, layers=3 if large else 2)
            save_model(folder / name, config, tokenizer, seed)
            table = "base" if role == "base" else f"tuned.{role}"
            places.setdefault(table, []).append(f'{size} = "{name}"')
        toml += f'[{architecture}]\ntitle = "Tiny {architecture}"\nsizes = ["small", "large"]\n'
        toml += "".join(f"[{architecture}.{table}]\n" + "\n".join(lines) + "\n" for table, lines in places.items())
    (folder / "families.toml").write_text(toml)
    return str(folder / "families.toml")


@pytest.fixture(scope="session")
def sessions(families_file: str) -> Callable[[str], Any]:
    """One session an architecture, made when first asked for. One thread, as the served pages have: sums over several
    threads may round otherwise, and numbers are compared."""
    from eft_core.session import Session
    from eft_core.settings import Settings

    made: dict[str, Session] = {}

    def session(architecture: str = "llama") -> Session:
        if architecture not in made:
            made[architecture] = Session(Settings(families_file=families_file, device="cpu", threads=1), architecture)
        return made[architecture]

    return session


@pytest.fixture
def session(sessions: Callable[[str], Any]) -> Iterator[Any]:
    """The Llama session; a test that leaves a request in its queue has leaked it."""
    shared = sessions("llama")
    yield shared
    assert shared.queue_length == 0


@pytest.fixture(params=ARCHITECTURES)
def any_session(request: pytest.FixtureRequest, sessions: Callable[[str], Any]) -> Any:
    """The session of each architecture in turn."""
    return sessions(request.param)


class Counting:
    """Models that note how many rows and tokens each forward had."""

    def __init__(self, model: Any, calls: list[tuple[int, int]]) -> None:
        self._model, self._calls = model, calls

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def forward(self, ids: Any, *args: Any, **kwargs: Any) -> Any:
        self._calls.append((ids.shape[0], ids.shape[1]))
        return self._model.forward(ids, *args, **kwargs)


# --- the browser

CHROMIUM_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


# How many events a page fires when it loads.
LOADS = "gradio_config.dependencies.filter(({ targets }) => targets.some(([, event]) => event === 'load')).length"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Debian's chromium. Without it a browser test is skipped, but under CI it fails."""
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright for Python is not installed")
    executable = shutil.which("chromium") or shutil.which("chromium-browser")
    if executable is None:
        reason = "no chromium here: apt-get install chromium"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=executable, args=CHROMIUM_ARGUMENTS)
        yield browser
        browser.close()


def arrive(page: Any, address: str) -> None:
    """Open an address and wait until its load events are answered: an input before them could be lost."""
    answers: list[str] = []
    page.on("response", lambda response: answers.append(response.url) if "/run/predict" in response.url else None)
    page.goto(address)
    page.wait_for_selector(".card", state="attached")  # an address may have opened another tab by now
    loads = page.evaluate(LOADS)
    while len(answers) < loads:
        page.wait_for_timeout(20)


@pytest.fixture
def visit(browser: Any, address: str) -> Iterator[Any]:
    """Open the page at the module's `address`, at a width and with a query.

    At the end nothing went wrong in it, no text of a visitor or a model ran, and nothing left this host."""
    pages, troubles, hosts = [], [], set()

    def open_page(query: str = "", width: int = 1600, scheme: str = "light", **options: Any) -> Any:
        viewport = {"width": width, "height": 900}
        page = browser.new_context(viewport=viewport, color_scheme=scheme, **options).new_page()
        pages.append(page)
        page.set_default_timeout(60_000)
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("console", lambda message: troubles.append(message.text) if message.type == "error" else None)
        page.on("request", lambda request: hosts.add(urlsplit(request.url).hostname))
        arrive(page, address + query)
        return page

    yield open_page
    assert not any(page.evaluate("window.hacked") for page in pages if not page.is_closed())
    for page in pages:
        page.context.close()
    assert troubles == []
    assert hosts - {None, "127.0.0.1", "localhost"} == set()


# --- time


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


# --- databases


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    """A real PostgreSQL on loopback. Without one its tests are skipped, but under CI they fail."""
    from postgresql import postgresql, there_is_one

    there_is_one()
    with postgresql() as address:
        yield address


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty database, of each kind in turn."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'ratings.sqlite3'}"
        return
    import psycopg

    server = request.getfixturevalue("postgresql_server")
    name = f"test_{uuid.uuid4().hex}"
    address = server.replace("postgresql+psycopg", "postgresql")
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        yield server.rsplit("/", 1)[0] + f"/{name}"
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def storage(database_url: str) -> Iterator[Any]:
    """An open, empty database, of each kind in turn."""
    from eft_core.storage import Storage

    opened = Storage(database_url)
    yield opened
    opened.close()
