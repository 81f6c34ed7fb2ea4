"""One verdict per host and protocol, from both of its forms."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from tests.kit.small_runs import host, opened, probe

TLS, PLAIN, CLOSED, SILENT = "strict", "not_offered", "connection_refused", "connect_timeout"
ANSWERED = (TLS, PLAIN, CLOSED)


def verdict(by_starttls: str | None, implicit: str | None, *more: Any, protocol: str = "pop3", **columns: Any) -> Any:
    """The row of one host with one address, each form of which ended so; None: it was not asked."""
    rows = [
        probe("mx.example", "192.0.2.1", kind, protocol=protocol, form=form, port=port, **columns)
        for form, port, kind in (("starttls", 110, by_starttls), ("implicit", 995, implicit))
        if kind is not None
    ]
    with opened(host("mx.example", "192.0.2.1"), *rows, *more) as run:
        (row,) = run.frame("FROM host_forms").to_dict("records")
    return row


@pytest.mark.parametrize(
    ("by_starttls", "implicit", "forms"),
    [
        (TLS, TLS, "both"),
        (TLS, CLOSED, "starttls_only"),
        (PLAIN, TLS, "implicit_only"),
        (CLOSED, TLS, "implicit_only"),
        (PLAIN, CLOSED, "plain_only"),
        (CLOSED, CLOSED, "neither"),
        (SILENT, TLS, "unknown"),
        (TLS, SILENT, "unknown"),
        (CLOSED, SILENT, "unknown"),
        (TLS, None, "unknown"),
        (None, TLS, "unknown"),
        ("not_run", CLOSED, "unknown"),
        ("preauthenticated", CLOSED, "plain_only"),
    ],
)
def test_two_forms_make_one_verdict_and_what_was_not_seen_is_unknown(
    by_starttls: str | None, implicit: str | None, forms: str
) -> None:
    assert verdict(by_starttls, implicit)["forms"] == forms


@pytest.mark.parametrize(
    ("by_starttls", "implicit", "both", "implicit_only", "without_tls"),
    [
        (TLS, TLS, True, False, False),
        (TLS, SILENT, None, False, False),
        (CLOSED, SILENT, False, None, None),
        (SILENT, CLOSED, False, False, None),
        (SILENT, TLS, None, None, False),
        (SILENT, SILENT, None, None, None),
        (PLAIN, CLOSED, False, False, True),
        (CLOSED, CLOSED, False, False, False),
    ],
)
def test_a_share_is_settled_as_soon_as_one_form_settles_it(
    by_starttls: str, implicit: str, both: bool | None, implicit_only: bool | None, without_tls: bool | None
) -> None:
    row = verdict(by_starttls, implicit)
    assert [None if pd.isna(row[name]) else row[name] for name in ("both_forms", "implicit_only", "without_tls")] == [
        both, implicit_only, without_tls,
    ]  # fmt: skip


@pytest.mark.parametrize("order", [1, -1])
def test_one_address_with_tls_is_enough_and_all_must_be_without(order: int) -> None:
    second = [
        probe("mx.example", "192.0.2.2", kind, protocol="pop3", form=form, port=port)
        for form, port, kind in (("starttls", 110, CLOSED), ("implicit", 995, CLOSED))
    ][::order]
    assert verdict(TLS, TLS, *second)["forms"] == "both"
    assert verdict(PLAIN, CLOSED, *second)["forms"] == "plain_only"
    silent = probe("mx.example", "192.0.2.2", SILENT, protocol="pop3", form="implicit", port=995)
    assert verdict(TLS, CLOSED, silent)["forms"] == "unknown"


def test_a_host_with_addresses_that_are_not_known_may_have_tls_there() -> None:
    rows = [
        probe("mx.example", "192.0.2.1", kind, protocol="imap", form=form, port=port)
        for form, port, kind in (("starttls", 143, CLOSED), ("implicit", 993, TLS))
    ]
    with opened(host("mx.example", "192.0.2.1", dropped=3), *rows) as run:
        (row,) = run.frame("FROM host_forms").to_dict("records")
    assert (row["by_starttls"], row["implicit"], row["forms"]) == ("unknown", "tls", "unknown")


def test_only_protocols_that_can_be_desynchronised_are_exposed_by_both_forms() -> None:
    assert verdict(TLS, TLS, protocol="pop3")["opossum_exposed"] is True
    assert verdict(TLS, TLS, protocol="submission")["opossum_exposed"] is True
    row = verdict(TLS, TLS, protocol="imap")
    assert (row["both_forms"], row["opossum_exposed"]) == (True, False)


def test_smtp_between_servers_has_one_form_and_no_row() -> None:
    with opened(host("mx.example", "192.0.2.1"), probe("mx.example", "192.0.2.1")) as run:
        assert run.frame("FROM host_forms").empty


def test_the_forms_are_compared_where_both_have_tls() -> None:
    row = verdict(TLS, TLS, plaintext_login=True)
    assert (row["same_certificate"], row["implicit_not_older"], row["plaintext_login"]) == (True, True, True)
    older = [probe("mx.example", "192.0.2.2", "static_rsa", protocol="pop3", form="implicit", port=995)]
    assert verdict(TLS, TLS, *older)["implicit_not_older"] is False
    other = [probe("mx.example", "192.0.2.2", "self_signed", protocol="pop3", form="implicit", port=995)]
    assert verdict(TLS, TLS, *other)["same_certificate"] is False
    row = verdict(TLS, CLOSED)
    assert pd.isna(row["same_certificate"]) and pd.isna(row["implicit_not_older"])
