"""The page about verdicts (docs/trust.md): its words are all those there are, and its senders do what they do."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest

from crawler.model.rows import (
    DaneError,
    DaneStatus,
    MtaStsFetch,
    MtaStsMode,
    MtaStsRecord,
    Probe,
    Tlsa,
    TlsaStatus,
    TlsrptStatus,
)
from crawler.policies.senders import Delivery, Sender, deliveries
from tests.kit.small_runs import domain, known, probe

PAGE = (Path(__file__).resolve().parent.parent.parent / "docs" / "trust.md").read_text("utf-8")
MX = "mx.provider.example"
Table = list[list[str]]


def tables() -> list[Table]:
    """Every table of the page: rows of cells, the head first."""
    found = re.findall(r"^\|(?:.*\n\|)+.*$", PAGE, re.MULTILINE)
    rows = [[[cell.strip() for cell in line.strip("|").split("|")] for line in text.split("\n")] for text in found]
    return [[table[0], *table[2:]] for table in rows]


def table(head: str) -> Table:
    """The rows of the table whose first column is called so."""
    (rows,) = [rows[1:] for rows in tables() if rows[0][0] == head]
    return rows


def words(text: str) -> list[str]:
    return re.findall(r"`(\w+)`", text)


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        ("`status`", TlsaStatus),
        ("`dane`", DaneStatus),
        ("`mta_sts_record`", MtaStsRecord),
        ("`mta_sts_fetch`", MtaStsFetch),
        ("`tlsrpt`", TlsrptStatus),
    ],
)
def test_every_word_of_a_verdict_is_explained_once(head: str, kind: type[StrEnum]) -> None:
    assert sorted(word for row in table(head) for word in words(row[0])) == sorted(kind)


def test_every_reason_mode_and_sender_is_named() -> None:
    (mismatch,) = [row for row in table("`dane`") if row[0] == "`mismatch`"]
    assert words(mismatch[1])[1:] == [error for error in DaneError if error is not DaneError.TOO_COSTLY]
    (unknown,) = [row for row in table("`dane`") if row[0] == "`unknown`"]
    assert words(unknown[1]) == ["dane_error", DaneError.TOO_COSTLY]
    (modes,) = re.findall(r"^Modes are (.+?) \(", PAGE, re.MULTILINE)
    assert sorted(words(modes)) == sorted(MtaStsMode)
    assert [row[0][1:] for row in tables() if row[0][0] == "what there is"] == [[f"`{sender}`" for sender in Sender]]


def stated(cell: str) -> Delivery | None:
    """The answer that a cell of the page gives."""
    assert cell == "unknown" or words(cell), cell
    return None if cell == "unknown" else Delivery(words(cell)[0])


def answer(sender: Sender, kind: str, tlsa: str = "absent", facts: dict[str, Any] | None = None, **of: Any) -> Any:
    row = domain("example.org", MX, **({"dnssec": "secure", "mta_sts_record": "absent"} | of))
    ended: Probe = probe(MX, "192.0.2.1", kind, **(facts or {}))
    return deliveries(row, Tlsa(host=MX, port=25, status=tlsa), ended, known("example.org"))[sender]


def test_the_senders_that_ask_nobody_do_what_the_page_says() -> None:
    rows = table("what there is")
    for row, kind in zip(rows[:3], ("not_offered", "self_signed", "strict"), strict=True):
        assert answer(Sender.OPPORTUNISTIC, kind) is stated(row[1]), row[0]
        assert answer(Sender.PKIX_STRICT, kind) is stated(row[2]), row[0]


#: A row of the page by its beginning -> what is so then; of several each.
_TLSA: dict[str, list[dict[str, Any]]] = {
    "`usable`, `match`, secure": [{"tlsa": "usable", "facts": {"dane": "match"}}],
    "`usable`, `match`, insecure": [{"tlsa": "usable", "facts": {"dane": "match"}, "dnssec": "insecure"}],
    "`usable`, `mismatch` by": [{"tlsa": "usable", "facts": {"dane": "mismatch", "dane_error": "name"}}],
    "`usable`, any other": [
        *({"tlsa": "usable", "facts": {"dane": "mismatch", "dane_error": e}} for e in ("no_match", "path", "expired")),
        {"tlsa": "usable", "facts": {"dane": "mismatch", "dane_error": "name"}, "dnssec": "insecure"},
    ],
}
_ENFORCED = {"mta_sts_record": "valid", "mta_sts_fetch": "ok", "mta_sts_mode": "enforce", "mta_sts_mx": [MX]}
_POLICY: dict[str, list[dict[str, Any]]] = {
    "`enforce`, host in a": [_ENFORCED],
    "`enforce`, host in no": [_ENFORCED | {"mta_sts_mx": ["other.example"]}],
    "`testing` or": [_ENFORCED | {"mta_sts_mode": mode} for mode in ("testing", "none")],
}


def test_the_dane_sender_does_what_the_page_says() -> None:
    seen = []
    for row in table("TLSA records of the mail host"):
        scenes = next((made for begin, made in _TLSA.items() if row[0].startswith(begin)), None)
        scenes = scenes or [{"tlsa": word} for word in words(row[0])]
        for scene in scenes:
            seen.append(scene["tlsa"])
            without = scene | {"facts": {"dane": "unknown"}}
            assert answer(Sender.DANE, "self_signed", **scene) is stated(row[1]), row[0]
            assert answer(Sender.DANE, "not_offered", **without) is stated(row[2]), row[0]
    assert set(seen) == set(TlsaStatus)


def test_the_mta_sts_sender_does_what_the_page_says() -> None:
    seen = set()
    for row in table("MTA-STS policy of the domain"):
        scenes = next((made for begin, made in _POLICY.items() if row[0].startswith(begin)), None)
        if scenes is None and row[0].startswith("record"):
            scenes = [{"mta_sts_record": word} for word in words(row[0])]
        scenes = scenes or [{"mta_sts_record": "valid", "mta_sts_fetch": word} for word in words(row[0])]
        for scene in scenes:
            seen |= {scene.get("mta_sts_record"), scene.get("mta_sts_fetch"), scene.get("mta_sts_mode")}
            assert answer(Sender.MTA_STS_ENFORCING, "strict", **scene) is stated(row[1]), row[0]
            assert answer(Sender.MTA_STS_ENFORCING, "not_offered", **scene) is stated(row[2]), row[0]
    assert seen - {None} == {*MtaStsRecord, *MtaStsFetch, *MtaStsMode}
    assert answer(Sender.MTA_STS_ENFORCING, "self_signed", **_ENFORCED) is Delivery.REFUSED
