"""Who a visitor is: the address, behind as many proxies as the settings say, whatever a browser writes itself."""

import pytest

from components.models_rights import Caller
from components.visitors import UNKNOWN, Visitors
from eft_core.allowance import OWNER

FORGED = "9.9.9.9"
ALONE, SPACE = Visitors(), Visitors(space=True)


def caller(client: str, forwarded: str | None = None, **headers: str) -> Caller:
    sent = {name.replace("_", "-"): text for name, text in headers.items()}
    return Caller(client, "127.0.0.1", sent if forwarded is None else sent | {"x-forwarded-for": forwarded})


@pytest.mark.parametrize(
    ("visitors", "asked", "key"),
    [
        (ALONE, caller("127.0.0.1"), OWNER),
        (ALONE, caller("::1"), OWNER),
        (ALONE, caller("::ffff:127.0.0.1"), OWNER),
        (Visitors(0), caller("127.0.0.1"), OWNER),
        (ALONE, caller("192.168.1.7"), "192.168.1.7"),
        (ALONE, caller("::ffff:192.168.1.7"), "192.168.1.7"),
        (ALONE, caller(""), UNKNOWN),
        (ALONE, caller("testclient"), UNKNOWN),
        # one household
        (ALONE, caller("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::/64"),
        (ALONE, caller("2001:db8:1:2:ffff::1"), "2001:db8:1:2::/64"),
        (ALONE, caller("2001:db8:1:3::1"), "2001:db8:1:3::/64"),
        (ALONE, caller("fe80::1%eth0"), "fe80::/64"),
        # whoever comes through a proxy is not at this machine, though the proxy is
        (ALONE, caller("127.0.0.1", FORGED), "127.0.0.1"),
        (ALONE, caller("127.0.0.1", via="1.1 nginx"), "127.0.0.1"),
        (Visitors(1), caller("127.0.0.1"), "127.0.0.1"),
        # without a proxy of ours nobody writes the header but the browser
        (ALONE, caller("8.8.8.8", FORGED), "8.8.8.8"),
        (Visitors(0), caller("8.8.8.8", FORGED), "8.8.8.8"),
        # each proxy adds where it was asked from, at the end
        (Visitors(1), caller("10.0.0.1", f"{FORGED}, 8.8.8.8"), "8.8.8.8"),
        (Visitors(2), caller("10.0.0.1", f"{FORGED}, 8.8.8.8, 10.0.0.9"), "8.8.8.8"),
        (Visitors(2), caller("10.0.0.1", "8.8.8.8"), "8.8.8.8"),
        (Visitors(1), caller("10.0.0.1", "8.8.8.8:4711"), "8.8.8.8"),
        (Visitors(1), caller("10.0.0.1", "[2001:db8:1:2::9]:4711"), "2001:db8:1:2::/64"),
        (Visitors(1), caller("10.0.0.1", "2001:db8:1:2::9"), "2001:db8:1:2::/64"),
        (Visitors(1), caller("10.0.0.1", "not an address"), UNKNOWN),
        (Visitors(1), caller("10.0.0.1", " , ,"), "10.0.0.1"),
        # a Space: internal addresses at the end are the host's own
        (SPACE, caller("10.16.3.80", f"{FORGED}, 8.8.8.8"), "8.8.8.8"),
        (SPACE, caller("10.16.3.80", f"{FORGED}, 8.8.8.8, 10.16.3.1"), "8.8.8.8"),
        (SPACE, caller("10.16.3.80"), "10.16.3.80"),
        (SPACE, caller("127.0.0.1"), "127.0.0.1"),
        (Visitors(0, space=True), caller("10.16.3.80", FORGED), "10.16.3.80"),
    ],
)
def test_the_key_of_a_visitor(visitors: Visitors, asked: Caller, key: str) -> None:
    assert visitors.key(asked) == key


@pytest.mark.parametrize("text", ["x" * 1_000_000, ",".join(["1.2.3.4"] * 100_000), "\x00", "::" * 1000, "[[]]", "a,b"])
def test_keys_are_short_whatever_is_sent(text: str) -> None:
    for visitors in (ALONE, SPACE, Visitors(1), Visitors(7)):
        assert len(visitors.key(caller("10.0.0.1", text))) < 50
        assert len(visitors.key(caller(text))) < 50


def test_a_space_is_known_by_its_variable() -> None:
    assert Visitors.of(None, {"SPACE_ID": "a/b"}) == SPACE
    assert Visitors.of(None, {}) == ALONE
    assert Visitors.of(3, {}) == Visitors(3)
