"""What went wrong between here and the Hub, in one sentence with its remedy. No token is ever part of it."""

import errno
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from eft_core.located import Checkpoint

_TOKEN = "set HF_TOKEN to a token of yours (https://huggingface.co/settings/tokens), or run `hf auth login`"


class NotYet(ValueError):
    """The Hub could not be asked, or would not give it now: with a network, a licence or a token it may."""


@contextmanager
def explained(place: Checkpoint) -> Iterator[None]:
    """Within it, whatever the library, the network or the disk raises becomes a ValueError with the remedy; NotYet
    unless the Hub says that there is no such thing."""
    import httpx2
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        yield
    except LocalEntryNotFoundError as error:  # the library's word for "could not ask"; why is in its cause
        cause = error.__cause__
        raise _told(cause if isinstance(cause, Exception) else error, place) from error
    except (OSError, httpx2.HTTPError, json.JSONDecodeError) as error:
        raise _told(error, place) from error


def _told(error: Exception, place: Checkpoint) -> ValueError:
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError

    gone = isinstance(error, HfHubHTTPError) and error.response.status_code in (401, 404)
    return (ValueError if gone and not isinstance(error, GatedRepoError) else NotYet)(_reason(error, place))


def _reason(error: Exception, place: Checkpoint) -> str:
    import httpx2
    from huggingface_hub import constants
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    if isinstance(error, OfflineModeIsEnabled):
        return f"{place} was not asked for: HF_HUB_OFFLINE is set. Unset it, then try again."
    if isinstance(error, HfHubHTTPError):
        return _refused(error, place)
    if isinstance(error, httpx2.TimeoutException):
        return (
            f"{constants.ENDPOINT} did not answer in time: try again, or set HF_HUB_ETAG_TIMEOUT and "
            "HF_HUB_DOWNLOAD_TIMEOUT to more seconds. What came so far is kept."
        )
    if isinstance(error, httpx2.HTTPError):
        return (
            f"{constants.ENDPOINT} cannot be reached ({type(error).__name__}): check the network, the proxy "
            "(HTTPS_PROXY) and HF_ENDPOINT, then try again. What came so far is kept."
        )
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return (
            f"the disk filled up while {place} came: make room in {constants.HF_HUB_CACHE}, or set HF_HOME to a "
            "folder on a larger disk, then try again. What came so far is kept."
        )
    if isinstance(error, OSError) and error.errno is not None:
        return f"{place} cannot be kept in {constants.HF_HUB_CACHE}: {error.strerror}. Set HF_HOME to another folder."
    return f"what answers at {constants.ENDPOINT} is no model hub: correct HF_ENDPOINT, or leave it unset."


def _refused(error: Any, place: Checkpoint) -> str:
    """Why the Hub would not give it."""
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    page, response = f"https://huggingface.co/{place.location}", error.response
    if isinstance(error, GatedRepoError):
        return f"{place} is gated: accept its licence at {page}, then {_TOKEN}."
    if isinstance(error, RevisionNotFoundError):
        return f"{place.location} has no revision {place.revision!r}: those it has are at {page}/tree/main."
    if response.status_code == 401 and response.headers.get("X-Error-Message", "").startswith("Invalid cred"):
        return f"the Hub does not know the token that it was sent: {_TOKEN}; or unset HF_TOKEN for public models."
    if isinstance(error, RepositoryNotFoundError):
        return f"there is no model {place.location} on the Hub, or it is private: correct the id, or {_TOKEN}."
    if response.status_code in (401, 403):
        return f"the Hub refuses {place} ({response.status_code}): {_TOKEN} that may read it."
    if response.status_code == 429:
        return f"the Hub was asked too often: wait some minutes, or {_TOKEN}, which may ask more."
    if response.status_code == 404:
        return f"{place} has lost a file since it was listed: try again."
    return f"the Hub failed at {place} ({response.status_code}): try again later. What came so far is kept."
