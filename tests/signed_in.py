"""Somebody who has signed in with Hugging Face, as gradio keeps it; for tests, not a test."""

import hashlib
import json
from base64 import b64encode


def session_cookie(secret: str, name: str) -> str:
    """What gradio keeps of somebody who has signed in: its own session, signed with the Space's secret."""
    from itsdangerous import TimestampSigner

    person = {"name": name, "preferred_username": name, "profile": "", "picture": ""}
    told = {"oauth_info": {"userinfo": person, "access_token": "", "scope": "", "expires_at": 2**33}}
    key = hashlib.sha256(f"{secret}-v4".encode()).hexdigest()
    return TimestampSigner(key).sign(b64encode(json.dumps(told).encode())).decode()
