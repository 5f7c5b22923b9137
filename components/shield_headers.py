"""The headers that keep a browser from doing what this page never needs. Pure.

'unsafe-inline' and 'unsafe-eval' are gradio's: its page has inline scripts with the configuration in them, and gr.HTML
compiles its templates. The policy still keeps every script, style, picture and connection on this host.
"""

from collections.abc import Sequence

SPACE_ANCESTORS = ("https://huggingface.co", "https://*.huggingface.co", "https://*.hf.space")
_HUB = "https://huggingface.co"  # where gradio's page asks, on a Space, whether it is awake
_UNUSED = ("camera", "microphone", "geolocation", "payment", "usb", "serial", "bluetooth", "midi", "display-capture")


def security_headers(space: bool, ancestors: Sequence[str] = ()) -> tuple[tuple[bytes, bytes], ...]:
    """For every answer. `space`: this is a Space of Hugging Face; `ancestors` may show the page in a frame too."""
    values = {
        "content-security-policy": content_policy(space, ancestors),
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-resource-policy": "same-origin",
        "permissions-policy": ", ".join(f"{name}=()" for name in _UNUSED),
        "referrer-policy": "same-origin",  # addresses carry prompts
        "x-content-type-options": "nosniff",
    }
    return tuple((name.encode(), value.encode()) for name, value in values.items())


def content_policy(space: bool, ancestors: Sequence[str] = ()) -> str:
    """The Content-Security-Policy."""
    hub = [_HUB] if space else []
    framing = [*(SPACE_ANCESTORS if space else ()), *ancestors]
    rules = {
        "default-src": ["'self'"],
        "script-src": ["'self'", "'unsafe-inline'", "'unsafe-eval'"],
        "style-src": ["'self'", "'unsafe-inline'"],
        "img-src": ["'self'", "data:", "blob:", *hub],
        "font-src": ["'self'", "data:"],
        "connect-src": ["'self'", "data:", *hub],
        "worker-src": ["'self'", "blob:"],
        "frame-src": ["'none'"],
        "object-src": ["'none'"],
        "base-uri": ["'self'"],
        "form-action": ["'self'"],
        "frame-ancestors": ["'self'", *framing],
    }
    return "; ".join(f"{name} {' '.join(sources)}" for name, sources in rules.items())
