"""What the ClientHello offers is read off the hello itself."""

from __future__ import annotations

from crawler.tls import CLASSICAL_GROUPS, offered, offered_groups
from crawler.verdicts import all_of


def test_the_manifest_tells_the_groups_that_go_over_the_wire() -> None:
    with_hybrid, without = offered(), offered(post_quantum=False)
    assert with_hybrid["groups"][0] == "X25519MLKEM768" and "x25519" in with_hybrid["groups"]
    assert with_hybrid["groups_of_second_try"] == without["groups"]
    assert len(without["groups"]) == len(CLASSICAL_GROUPS.split(b":"))
    assert not any("MLKEM" in group for group in without["groups"])
    assert offered_groups(bytes.fromhex(with_hybrid["client_hello"])) == with_hybrid["groups"]


def test_three_valued_and() -> None:
    assert all_of(True, True) is True
    assert all_of(True, None) is None
    assert all_of(False, None) is False
