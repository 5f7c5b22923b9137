"""A process that is on ZeroGPU as far as it can be without a GPU; run by tests, not a test.

    python tests/zero_gpu_here.py FAMILIES what...

The package `spaces` is the real one: it forks, pickles, schedules by HTTP and stops. What stands in for the rest: the
service that lends GPUs (`Lender`, on a port of this machine), and a GPU that is this CPU, so that nothing moves to it.
"""

import json
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

TAG = "e30.e30.signed"  # a token of huggingface.co that says nothing more: {} and {}


class Lender(BaseHTTPRequestHandler):
    """Lends a GPU to whoever asks, and notes what it was asked for."""

    calls: ClassVar[list[tuple[str, dict[str, str]]]] = []
    idle: ClassVar[bool] = False  # whether the last worker may be used again
    refuses: ClassVar[bool] = False  # the share is used up

    def do_POST(self) -> None:
        parts = urlsplit(self.path)
        asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
        self.calls.append((parts.path, asked))
        status, told = 200, dict[str, Any]()
        if parts.path == "/schedule":
            number = sum(path == "/schedule" for path, _ in self.calls)
            told = {"idle": self.idle, "nvidiaIndex": 0, "nvidiaUUID": "GPU-0", "allowToken": f"token {number}"}
            if self.refuses:
                status, told = 429, {"left": 0, "wait": "PT1H"}
        body = json.dumps(told).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


def pretend() -> None:
    """A ZeroGPU Space, and a torch that was built for CUDA as far as `spaces` looks at it when it is imported."""
    import torch

    server = ThreadingHTTPServer(("127.0.0.1", 0), Lender)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    group = Path(tempfile.mkdtemp()) / "cgroup"
    group.write_text("0::/here\n")
    os.environ |= {
        "SPACES_ZERO_GPU": "true",
        "SPACES_ZERO_DEVICE_API_URL": f"http://127.0.0.1:{server.server_port}",
        "ZEROGPU_PROC_SELF_CGROUP_PATH": str(group),
        "ZEROGPU_OFFLOAD_DIR": str(group.parent / "tensors"),
    }
    there: Any = torch
    there.version.cuda = there.version.cuda or "13.0"
    if not hasattr(there._C, "_cuda_init"):
        there._C._cuda_init = bool
        there.cuda._is_in_bad_fork = bool


def gpu_is_this_cpu() -> None:
    """In a worker, nothing has to be moved."""
    from spaces.zero import torch as emulation

    emulation.init = lambda uuid: None
    emulation.move = lambda callback=None: None


def emulated(families: str) -> dict[str, Any]:
    """Members read at start-up lie on the GPU that `spaces` stands in for, and are packed for the move."""
    import spaces.zero.torch as emulation

    from components.zero_gpu import ZeroGPU, decorator
    from eft_core.config import Request
    from eft_core.family import default_columns
    from eft_core.session import Shared
    from eft_core.settings import Settings

    zero = ZeroGPU(decorator() or sys.exit("this is not ZeroGPU"))
    session = zero.session(Settings(families_file=families, threads=1), "llama", Shared())
    zero.start(session)
    policies = [policy for _, policy in default_columns(session.family)]
    with ThreadPoolExecutor(1) as visitor:  # another thread than the one that `spaces` watches
        memory = visitor.submit(session.plan, Request.compare("What?", policies)).result()
    weights = sum(session.models.weight_bytes(member) for member in session.models.loaded())
    return {
        "device": session.device,
        "forward": session.models.forward_name,
        "loaded": [str(member) for member in session.models.loaded()],
        "weights": weights,
        "moved": emulation.size(),
        "packed": emulation.pack(),
        "plan": str(memory),
        "fits": memory.fits,
    }


def called(families: str) -> dict[str, Any]:
    """Requests, a stop, a refusal and an inspection through the package's own wrapper, beside a plain session's."""
    from components.zero_gpu import Waits, ZeroGPU, decorator
    from eft_core.config import Limits, Request, Sampling, Speculation, Text
    from eft_core.events import Inspected, TokensDrawn
    from eft_core.family import default_columns
    from eft_core.session import Session, Shared
    from eft_core.settings import Settings

    zero = ZeroGPU(decorator() or sys.exit("this is not ZeroGPU"))
    gpu_is_this_cpu()
    settings = Settings(families_file=families, device="cpu", threads=1)
    shared = Shared()
    session, plain = zero.session(settings, "llama", shared), Session(settings, "llama")
    zero.start(session)
    policies = [policy for _, policy in default_columns(session.family)]
    request = Request.compare("What is the capital of Kenya?", policies, Sampling(0.8, seed=4), Limits(20))
    speculative = Request(request.rows, request.limits, Speculation(3, "noise"))
    found: dict[str, Any] = {"expected": [answer.text for answer in plain.ask(request)]}
    # This process's engine has a thread, which a fork does not have and must not wait for.
    found["here"] = [answer.text for answer in Session(settings, "llama", shared).ask(request)]
    found["texts"] = [answer.text for answer in session.ask(request)]
    found["speculative"] = [answer.text for answer in session.ask(speculative)]
    Lender.idle = True
    found["again"] = [answer.text for answer in session.ask(request)]

    long = Request(request.rows, Limits(3000))
    began = time.perf_counter()
    with closing(session.stream(long)) as events:
        next(event for event in events if isinstance(event, TokensDrawn))
    found["stopped"] = time.perf_counter() - began
    found["after"] = [answer.text for answer in session.ask(request)]

    text = Text("What is the capital of Kenya?", "Nairobi.", policies[-1])
    (*_, inspected), (*_, expected) = session.inspect([text]), plain.inspect([text])
    assert isinstance(inspected, Inspected)
    assert isinstance(expected, Inspected)
    found["inspected"] = float(abs(inspected.traces[0].logprobs - expected.traces[0].logprobs).max())

    found["other"] = [answer.text for answer in zero.session(settings, "gpt2", shared).ask(request)]
    found["other expected"] = [answer.text for answer in Session(settings, "gpt2").ask(request)]
    found["refused"] = raised(lambda: list(session.inspect([Text("Q?", (10**6,), policies[0])])))
    found["too long"] = raised(lambda: session.stream(Request.compare("word " * 500, policies)))
    with closing(session.stream(long)) as events:
        next(event for event in events if isinstance(event, TokensDrawn))
        os.kill(int(next(call["pid"] for path, call in reversed(Lender.calls) if path == "/allow")), signal.SIGKILL)
        found["taken back"] = raised(lambda: list(events))
    found["after that"] = [answer.text for answer in session.ask(request)]
    Lender.refuses = True
    found["waits"] = raised(lambda: session.ask(request))
    found["is to wait"] = issubclass(Waits, ValueError)
    found["queue"] = len(shared.engine)
    found["calls"] = Lender.calls
    return found


def visited(families: str) -> dict[str, Any]:
    """What a page begins with on ZeroGPU, and two visits by HTTP, one of them by way of huggingface.co."""
    import gradio as gr
    from gradio_client import Client

    from components.batches import batches
    from components.starting import opened
    from eft_core.config import Limits, Request
    from eft_core.events import Done
    from eft_core.family import default_columns
    from eft_core.session import Session
    from eft_core.settings import Settings

    lab, sentence = opened(Settings(family="llama", families_file=families, device="cpu", threads=1))
    gpu_is_this_cpu()
    session = lab.session()
    policies = [policy for _, policy in default_columns(session.family)]
    request = Request.compare("What is the capital of Kenya?", policies, limits=Limits(8))

    def ask() -> Iterator[list[str]]:
        for batch in batches(lambda: session.stream(request), threading.Event()):
            yield from ([answer.text for answer in event.answers] for event in batch if isinstance(event, Done))

    with gr.Blocks() as page:
        gr.api(ask, api_name="ask")
    _, address, _ = page.launch(server_name="127.0.0.1", quiet=True, prevent_thread_lock=True)
    began = [path for path, _ in Lender.calls]
    clients = (Client(address, headers=headers, verbose=False) for headers in ({"x-ip-token": TAG}, {}))
    return {
        "sentence": sentence,
        "sessions": [type(lab.session(name)).__name__ for name in ("llama", "gpt2")],
        "loaded": len(lab.loaded("llama")),
        "began": began,
        "texts": [client.predict(api_name="/ask") for client in clients],
        "expected": [answer.text for answer in Session(session.settings, "llama").ask(request)],
        "shares": [call.get("token") for path, call in Lender.calls if path == "/schedule"],
    }


def raised(call: Any) -> list[str]:
    """The kind and the text of what a call raises."""
    try:
        call()
    except Exception as error:  # whatever it is, the test says what it should have been
        return [type(error).__name__, str(error)]
    return []


if __name__ == "__main__":
    pretend()
    print(json.dumps({"emulated": emulated, "called": called, "visited": visited}[sys.argv[2]](sys.argv[1])))
