"""DANE, MTA-STS and TLSRPT as figures."""

from __future__ import annotations

from typing import Any

import pytest

from analysis.figures.compute import figures, figures_by
from analysis.figures.shares import Share
from tests.kit.sender_figures import ENFORCED, USABLE, distribution, labels, share
from tests.kit.small_runs import domain, host, opened, probe, tlsa


def test_dane_is_counted_of_all_domains_and_of_signed_ones_by_dukhovnis_rule() -> None:
    with opened(
        domain("good.example", "good.example", dnssec="secure"),
        domain("half.example", "good.example", "none.example", dnssec="secure"),
        domain("down.example", "good.example", "down.example", dnssec="secure"),  # down accepts no connection
        domain("backup.example", ("good.example", 10), ("none.example", 20), dnssec="secure"),
        domain("unsigned.example", "good.example", dnssec="insecure"),
        domain("unsigned-too.example", "none.example", dnssec="insecure"),
        domain("unasked.example", "good.example", dnssec="unknown"),
        domain("broken.example", route="unknown", dns_error="bogus", dnssec="bogus"),
        host("good.example", "192.0.2.1"),
        host("none.example", "192.0.2.2"),
        host("down.example", "192.0.2.3"),
        tlsa("good.example", "usable"),
        tlsa("none.example", "absent"),
        tlsa("down.example", "usable"),
        probe("good.example", "192.0.2.1", "self_signed", **USABLE),
        probe("none.example", "192.0.2.2"),
        probe("down.example", "192.0.2.3", "connection_refused"),
    ) as run:
        made = figures(run)
    signed = share(made, "dane_authenticated_of_signed.domains.primary_all")
    assert (signed.yes, signed.no, signed.unknown) == (3, 1, 2)
    among_all = share(made, "dane_authenticated.domains.primary_all")
    assert (among_all.yes, among_all.no, among_all.unknown) == (3, 3, 2)
    assert share(made, "dane_authenticated_of_signed.domains.primary").yes == 3.5
    of_hosts = share(made, "dane_match.hosts.all")
    assert (of_hosts.yes, of_hosts.no, of_hosts.unknown) == (1, 1, 1)


def test_mta_sts_is_counted_by_what_is_published_and_by_what_is_kept() -> None:
    policy = {"mta_sts_mx": ["mx.example", "bad.example"]}
    with opened(
        domain("kept.example", "mx.example", **ENFORCED, **policy),
        domain("broken.example", "bad.example", **ENFORCED, **policy),
        domain("half.example", "mx.example", "bad.example", **ENFORCED, **policy),
        domain("testing.example", "mx.example", **(ENFORCED | {"mta_sts_mode": "testing"}), **policy),
        domain("nothing.example", "mx.example", mta_sts_record="absent"),
        domain("wrong.example", "mx.example", mta_sts_record="invalid"),
        domain("gone.example", "mx.example", mta_sts_record="valid", mta_sts_fetch="http"),
        domain("silent.example", "mx.example", mta_sts_record="valid", mta_sts_fetch="timeout"),
        domain("unasked.example", "mx.example"),
        domain("no-mail.example", route="null_mx", mta_sts_record="absent"),
        host("mx.example", "192.0.2.1"),
        host("bad.example", "192.0.2.2"),
        probe("mx.example", "192.0.2.1"),
        probe("bad.example", "192.0.2.2", "expired"),
    ) as run:
        made = figures(run)
    assert labels(made, "mta_sts.domains") == {
        "mode enforce": 3, "mode testing": 1, "no record": 1, "invalid record": 1, "record without a policy": 1,
    }  # fmt: skip
    assert distribution(made, "mta_sts.domains").unknown == 2
    assert labels(made, "mta_sts_sender.domains.primary") == {
        "encrypted and authenticated": 1.5, "refused": 1.5, "encrypted, unauthenticated": 4,
    }  # fmt: skip
    kept = share(made, "mta_sts_authenticated.domains.primary_all")
    assert (kept.yes, kept.no, kept.unknown) == (1, 6, 2)
    assert share(made, "mta_sts_refused.domains.any").yes == 2
    assert share(made, "mta_sts_refused.domains.all").yes == 1


def test_a_valid_certificate_and_a_sender_that_knows_what_is_due_are_two_series() -> None:
    with opened(
        domain("pkix.example", "mx.example", dnssec="insecure", mta_sts_record="absent"),
        domain("sts.example", "mx.example", dnssec="insecure", **ENFORCED, mta_sts_mx=["mx.example"]),
        domain("dane.example", "own.example", dnssec="secure", mta_sts_record="absent"),
        host("mx.example", "192.0.2.1"),
        host("own.example", "192.0.2.2"),
        tlsa("mx.example", "insecure"),
        tlsa("own.example", "usable"),
        probe("mx.example", "192.0.2.1"),
        probe("own.example", "192.0.2.2", "self_signed", **USABLE),
    ) as run:
        made = figures(run)
        groups = figures_by(run, "tld")
    assert share(made, "strict_validation.domains.primary") == Share(2, 1, 0)
    assert share(made, "downgrade_resistant.domains.primary") == Share(2, 1, 0)
    assert share(made, "dane_authenticated.domains.primary") == Share(1, 2, 0)
    assert share(made, "mta_sts_authenticated.domains.primary") == Share(1, 2, 0)
    assert [f.value for f in groups if f.indicator.name == "downgrade_resistant"] == [Share(2, 1, 0)]


@pytest.mark.parametrize(
    ("status", "kind", "facts", "label"),
    [
        ("absent", "strict", {"dane": "absent"}, "no records"),
        ("insecure", "not_offered", {}, "no DNSSEC"),
        ("unusable", "strict", {"dane": "unusable"}, "unusable records"),
        ("bogus", "strict", {"dane": "bogus"}, "bogus"),
        ("usable", "strict", USABLE, "match"),
        ("usable", "not_offered", {"dane": "unknown"}, "usable records, but no TLS"),
        ("usable", "strict", {"dane": "mismatch", "dane_error": "no_match"}, "mismatch: certificate in no record"),
        ("usable", "strict", {"dane": "mismatch", "dane_error": "path"}, "mismatch: no path to the anchor"),
        ("usable", "strict", {"dane": "mismatch", "dane_error": "expired"}, "mismatch: expired"),
        ("usable", "strict", {"dane": "mismatch", "dane_error": "name"}, "mismatch: names another host"),
        ("usable", "greeting_timeout", {"dane": "unknown"}, None),
        ("lookup_failed", "strict", {"dane": "unknown"}, None),
        ("not_asked", "strict", {"dane": "unknown"}, None),
    ],
)
def test_every_end_of_tlsa_records_has_its_words_and_what_is_not_known_has_none(
    status: str, kind: str, facts: dict[str, Any], label: str | None
) -> None:
    with opened(
        domain("a.example", "mx.example"),
        host("mx.example", "192.0.2.1"),
        tlsa("mx.example", status),
        probe("mx.example", "192.0.2.1", kind, **facts),
    ) as run:
        made = figures(run)
    assert labels(made, "tlsa.endpoints") == ({label: 1} if label else {})
    assert distribution(made, "tlsa.endpoints").unknown == (0 if label else 1)


def test_tlsrpt_and_dnssec_are_counted_over_domains_whose_mail_has_somewhere_to_go() -> None:
    with opened(
        domain("a.example", "mx.example", tlsrpt="valid", dnssec="secure"),
        domain("b.example", "mx.example", tlsrpt="absent", dnssec="insecure"),
        domain("c.example", "mx.example", tlsrpt=None, dnssec="unknown"),
        domain("d.example", "gone.example", tlsrpt="valid", dnssec="secure"),  # no address: takes no mail
        host("mx.example", "192.0.2.1"),
        host("gone.example"),
    ) as run:
        made = figures(run)
    assert labels(made, "tlsrpt.domains") == {"valid": 1, "absent": 1}
    assert labels(made, "dnssec.domains") == {"secure": 1, "insecure": 1}
    assert distribution(made, "tlsrpt.domains").unknown == distribution(made, "dnssec.domains").unknown == 1
