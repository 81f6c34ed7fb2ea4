"""Mail hosts whose certificates are odd in form: senders read over it, and what they cannot read is unknown.

The rules of `behaviours/tls.py` hold here too.
"""

from __future__ import annotations

from crawler.lab.behaviours.vocabulary import Leaf, Tls, host, secured

_MODERN = secured("TLSv1.3", "x25519")

for _oddity, _about in {
    "version 4": "a certificate of version 4, which there is none of",
    "critical FALSE": "`critical` FALSE is written out, which DER forbids (X.690 §11.5)",
    "user notice": "a user notice in Latin-1 where RFC 5280 §4.2.1.4 knows but ASCII and Unicode",
    "ediPartyName": "an ediPartyName before the DNS name",
    "address as text": "an iPAddress of nine bytes, which are the address as text, before the DNS name",
}.items():
    host(
        f"odd-{_oddity.replace(' ', '-').lower()}",
        _about,
        share=0.5,
        truth=_MODERN,
        tls=Tls(leaf=Leaf(oddity=_oddity)),
    )
host(
    "unreadable-names",
    "a subjectAltName whose last name ends behind it: nobody can read the names, and OpenSSL refuses the certificate",
    share=0.5,
    truth=secured("TLSv1.3", "x25519", trusted=False, name_match=None),
    lacks="what would make it a certificate",
    tls=Tls(leaf=Leaf(oddity="name without an end")),
)
host(
    "undated-intermediate",
    "the intermediate is valid from 30 February on, which is no date",
    share=0.5,
    truth=secured("TLSv1.3", "x25519", within_validity=None),
    tls=Tls(leaf=Leaf(issuer="undated intermediate", chain=("undated intermediate",))),
)
host(
    "thousands-of-names",
    "a certificate for three thousand names, of which not all are stored; the host's stands last",
    share=0.5,
    truth=_MODERN,
    tls=Tls(leaf=Leaf(names=(*(f"n{number}.crowd.example" for number in range(3_000)), "{host}"))),
)
host(
    "too-costly",
    "a certificate for a thousand names under a CA with a hundred name constraints: more than one verdict may compare",
    share=0.5,
    truth=secured("TLSv1.3", "x25519", trusted=None),
    tls=Tls(
        leaf=Leaf(crowd=1_000, crowd_width=8, issuer="constrained intermediate", chain=("constrained intermediate",))
    ),
)
