"""About how many bytes a row holds, where strangers have a say in it.

It is asked for every row, so it looks at what may be large and at nothing else.  A class that is not
here has rows of a few hundred bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from crawler.model.rows import Certificate, Domain, Endpoint, MailHost, Policy, Probe, Target, Tlsa

_OBJECT = 64  # bytes of a short text, or of a small object


def _of_certificate(row: Certificate) -> int:
    names = row.names or ()
    return (
        len(row.der or b"")
        + sum(map(len, names))
        + _OBJECT * len(names)
        + _texts(row.subject, row.issuer, row.common_name)
    )


def _of_probe(row: Probe) -> int:
    listed = (
        row.received_chain,
        row.capabilities,
        row.capabilities_after_tls,
        row.reference_names,
        row.reference_matches,
    )
    said = _texts(row.greeting, row.hello_reply, row.last_reply) + len(row.ocsp_staple or b"")
    return said + 2 * _OBJECT * sum(len(values) for values in listed if values)


def _of_records(records: list[dict[str, Any]] | None) -> int:
    return sum(len(record["data"]) + 4 * _OBJECT for record in records or ())


def _texts(*texts: str | None) -> int:
    return sum(len(text) for text in texts if text)


def _count(*lists: list[Any] | None) -> int:
    return _OBJECT * sum(len(values) for values in lists if values)


#: By the class of the row.
WEIGHTS: dict[type, Callable[[Any], int]] = {
    Certificate: _of_certificate,
    Domain: lambda row: _count(row.mta_sts_mx, row.mx) + 8 * _count(row.services, row.srv) + _texts(row.input),
    MailHost: lambda row: sum(4 * _OBJECT + _count(entry["reference_names"]) for entry in row.asked or ()),
    Endpoint: lambda row: _of_records(row.tlsa) + _count(row.reference_names),
    Policy: lambda row: _texts(row.text),
    Probe: _of_probe,
    Target: lambda row: _texts(row.input, row.problem),
    Tlsa: lambda row: _of_records(row.records),
}
