"""Mail hosts that do TLS, and what is right or wrong with it.

It holds entries only.  Shares are weights among the hosts that domains run for themselves;
`behaviours/shares.py` says which published figures they follow.
"""

from __future__ import annotations

from crawler.lab.behaviours.vocabulary import EHLO, GO_AHEAD, GREETING, Act, Leaf, Pause, Pieces, Tls, host, secured

_BLOCKS = "ECDHE+AESGCM:@SECLEVEL=0"
_OLD = "ALL:!aNULL:@SECLEVEL=0"
_MODERN = secured("TLSv1.3", "x25519")

host("tls13-x25519", "TLS 1.3 with X25519, all in order", share=520, truth=_MODERN)
host(
    "tls13-pq",
    "TLS 1.3 with the hybrid X25519MLKEM768",
    share=3,
    truth=secured("TLSv1.3", "X25519MLKEM768", post_quantum=True),
    tls=Tls(groups="X25519MLKEM768:X25519"),
)
host(
    "tls13-p256",
    "TLS 1.3, group secp256r1 only",
    share=60,
    truth=secured("TLSv1.3", "secp256r1"),
    tls=Tls(groups="P-256"),
)
host(
    "tls13-rsa-certificate",
    "TLS 1.3 with an RSA certificate",
    share=40,
    truth=_MODERN,
    tls=Tls(leaf=Leaf(key="rsa")),
)
host(
    "tls13-ed25519-certificate",
    "TLS 1.3 with an Ed25519 certificate",
    share=1,
    truth=_MODERN,
    tls=Tls(leaf=Leaf(key="ed25519")),
)
host("tls13-only", "TLS 1.3 and nothing older", share=2, truth=_MODERN, tls=Tls(versions=("TLSv1.3", "TLSv1.3")))
host(
    "tls12-only",
    "TLS 1.2 with ECDHE over X25519",
    share=150,
    truth=secured("TLSv1.2", "x25519"),
    tls=Tls(versions=("TLSv1.2", "TLSv1.2")),
)
host(
    "tls12-p384",
    "TLS 1.2 with ECDHE over secp384r1",
    share=30,
    truth=secured("TLSv1.2", "secp384r1"),
    tls=Tls(versions=("TLSv1.2", "TLSv1.2"), groups="P-384", ciphers=_BLOCKS),
)
host(
    "tls12-dhe",
    "TLS 1.2 with finite-field DHE: forward secrecy without a named group",
    share=4,
    truth=secured("TLSv1.2", None),
    tls=Tls(
        versions=("TLSv1.2", "TLSv1.2"),
        groups="ffdhe2048",
        ciphers="DHE-RSA-AES128-GCM-SHA256:@SECLEVEL=0",
        leaf=Leaf(key="rsa"),
    ),
)
host(
    "tls12-rsa",
    "TLS 1.2 with RSA key exchange: no forward secrecy",
    share=12,
    truth=secured("TLSv1.2", None, forward_secret=False),
    tls=Tls(versions=("TLSv1.2", "TLSv1.2"), ciphers="AES128-GCM-SHA256:@SECLEVEL=0", leaf=Leaf(key="rsa")),
)
host(
    "tls11-only",
    "TLS 1.1 and nothing newer",
    share=2,
    truth=secured("TLSv1.1", "x25519"),
    tls=Tls(versions=("TLSv1.1", "TLSv1.1"), ciphers=_OLD),
)
host(
    "tls10-only",
    "TLS 1.0 and nothing newer",
    share=6,
    truth=secured("TLSv1", "x25519"),
    tls=Tls(versions=("TLSv1", "TLSv1"), ciphers=_OLD),
)
host(
    "tls10-rsa",
    "TLS 1.0 with RSA key exchange",
    share=3,
    truth=secured("TLSv1", None, forward_secret=False),
    tls=Tls(versions=("TLSv1", "TLSv1"), ciphers="AES128-SHA:@SECLEVEL=0", leaf=Leaf(key="rsa")),
)

# --- certificates -------------------------------------------------------------------------------

host(
    "wildcard",
    "certificate for its domain and the wildcard below it, one of which covers the host",
    share=60,
    truth=_MODERN,
    tls=Tls(leaf=Leaf(names=("*.{domain}", "{domain}"))),
)
host(
    "expired",
    "certificate expired ten days ago",
    share=20,
    truth=secured("TLSv1.3", "x25519", within_validity=False),
    tls=Tls(leaf=Leaf(valid=(-100, -10))),
)
host(
    "not-yet-valid",
    "certificate valid from tomorrow on",
    share=0.5,
    truth=secured("TLSv1.3", "x25519", within_validity=False),
    tls=Tls(leaf=Leaf(valid=(1, 90))),
)
host(
    "expired-intermediate",
    "fresh certificate under an intermediate that has expired",
    share=1,
    truth=secured("TLSv1.3", "x25519", within_validity=False),
    tls=Tls(leaf=Leaf(issuer="expired intermediate", chain=("expired intermediate",))),
)
host(
    "self-signed",
    "self-signed certificate with the right name",
    share=70,
    truth=secured("TLSv1.3", "x25519", trusted=False, certificates=1),
    tls=Tls(leaf=Leaf(issuer="itself", chain=())),
)
host(
    "self-signed-other-name",
    "self-signed certificate as an installer leaves it: another name, old key, expired",
    share=25,
    truth=secured("TLSv1.2", "x25519", trusted=False, name_match=False, within_validity=False, certificates=1),
    tls=Tls(
        versions=("TLSv1.2", "TLSv1.2"),
        leaf=Leaf(names=("localhost.localdomain",), issuer="itself", key="rsa", valid=(-3650, -5), chain=()),
    ),
)
host(
    "wrong-name",
    "trusted certificate for another name",
    share=75,
    truth=secured("TLSv1.3", "x25519", name_match=False),
    tls=Tls(leaf=Leaf(names=("www.elsewhere.example",))),
)
host(
    "wildcard-of-another-level",
    "wildcard that covers names one label longer than the host's (RFC 9525 §6.3: one label, no more)",
    share=2,
    truth=secured("TLSv1.3", "x25519", name_match=False),
    tls=Tls(leaf=Leaf(names=("*.mail.{domain}",))),
)
host(
    "partial-wildcard",
    "wildcard that is not the whole left-most label (RFC 9525 §6.3: not matched)",
    share=0.5,
    truth=secured("TLSv1.3", "x25519", name_match=False),
    tls=Tls(leaf=Leaf(names=("m*.{domain}",))),
)
host(
    "common-name-only",
    "the host's name stands in the subject's CN and not in the subjectAltName (RFC 9525: not matched)",
    share=3,
    truth=secured("TLSv1.3", "x25519", name_match=False),
    tls=Tls(leaf=Leaf(in_subject=True)),
)
host(
    "untrusted-root",
    "certificate under a root that nobody trusts, root sent along",
    share=15,
    truth=secured("TLSv1.3", "x25519", trusted=False),
    tls=Tls(leaf=Leaf(issuer="unknown root", chain=("unknown root",))),
)
host(
    "missing-intermediate",
    "the certificate that links leaf and root is not sent; other hosts send it",
    share=10,
    truth=secured("TLSv1.3", "x25519", trusted=False, certificates=1),
    lacks="intermediate",
    tls=Tls(leaf=Leaf(chain=())),
)
host(
    "missing-upper-intermediate",
    "of two intermediates the lower one is sent; other hosts send the upper one",
    share=1,
    truth=secured("TLSv1.3", "x25519", trusted=False, certificates=2),
    lacks="intermediate",
    tls=Tls(leaf=Leaf(issuer="lower intermediate", chain=("lower intermediate",))),
)
host(
    "missing-unknown-intermediate",
    "the certificate that links leaf and root is not sent, by no host",
    share=1,
    truth=secured("TLSv1.3", "x25519", trusted=False, certificates=1),
    lacks="unsent intermediate",
    tls=Tls(leaf=Leaf(issuer="unsent intermediate", chain=())),
)
host(
    "chain-out-of-order",
    "root before intermediate, and a stranger between them: a path exists all the same",
    share=3,
    truth=secured("TLSv1.3", "x25519", certificates=4),
    tls=Tls(leaf=Leaf(chain=("root", "unknown root", "intermediate"))),
)

host(
    "many-certificates",
    "forty certificates behind the leaf, of which a scan keeps the first",
    share=0.5,
    truth=secured("TLSv1.3", "x25519", certificates=32),
    tls=Tls(leaf=Leaf(chain=("intermediate",) * 40)),
)

# --- manners that must not matter ---------------------------------------------------------------

host("late-greeting", "greets after a second and a half", share=5, truth=_MODERN, greeting=(Pause(1.5), GREETING))
host(
    "split-replies",
    "every reply arrives three bytes at a time",
    share=2,
    truth=_MODERN,
    greeting=(Pieces(GREETING),),
    plain={"EHLO": (Pieces(EHLO),), "STARTTLS": (Pieces(GO_AHEAD), Act.START_TLS)},
    inside={"EHLO": (Pieces(EHLO.replace(b"250-STARTTLS\r\n", b"")),)},
)
host("split-handshake", "the handshake arrives in segments of 64 bytes", share=1, truth=_MODERN, tls=Tls(segment=64))
host(
    "not-utf8",
    "greets in Latin-1",
    share=2,
    truth=_MODERN,
    greeting=(b"220 mx.lab.example Gr\xfc\xdf Gott, B\xf6rse \xff\r\n",),
)
host(
    "long-greeting",
    "a greeting of many lines, as providers with terms of use send it",
    share=5,
    truth=_MODERN,
    greeting=(b"".join(b"220-mx.lab.example rule %d: no unsolicited mail\r\n" % n for n in range(40)), GREETING),
)
host("trimmed-greeting", "greets with nothing but the code", share=5, truth=_MODERN, greeting=(b"220\r\n",))
host(
    "lower-case-keyword",
    "offers `starttls` in lower case, between keywords that contain the word",
    share=2,
    truth=_MODERN,
    plain={"EHLO": (b"250-mx.lab.example\r\n250-X-STARTTLS-NOTE\r\n250-starttls\r\n250 SIZE\r\n",)},
)
host(
    "asks-for-certificate",
    "asks the client for a certificate and does without",
    share=10,
    truth=_MODERN,
    tls=Tls(wants_certificate=True),
)
host(
    "injected-plaintext",
    "a plaintext reply stands behind the go-ahead, in the same segment",
    share=1,
    truth=secured("TLSv1.3", "x25519", injected=True),
    plain={"STARTTLS": (GO_AHEAD + b"250-injected.example\r\n250 AUTH PLAIN\r\n", Act.START_TLS)},
)
host(
    "renegotiates",
    "asks for a second handshake inside TLS 1.2 and goes on when that is declined",
    share=0.5,
    truth=secured("TLSv1.2", "x25519"),
    tls=Tls(versions=("TLSv1.2", "TLSv1.2")),
    after_handshake=(Act.RENEGOTIATE,),
)
host(
    "pq-intolerant",
    "resets when the ClientHello is larger than one segment, as hybrids make it",
    share=2,
    truth=secured("TLSv1.2", "x25519", pq_intolerant=True),
    tls=Tls(versions=("TLSv1.2", "TLSv1.2"), largest_hello=1_100),
)
host(
    "hello-window",
    "does not answer a ClientHello of 256 to 511 bytes, as some load balancers do (RFC 7685 §4)",
    share=0.5,
    truth=secured("TLSv1.3", "x25519"),
    tls=Tls(deaf_to=((256, 511),)),
)
host(
    "hello-window-and-large",
    "the same, and none of more than 1,400 bytes",
    share=0.5,
    truth=secured("TLSv1.2", "x25519", pq_intolerant=True),
    tls=Tls(versions=("TLSv1.2", "TLSv1.2"), deaf_to=((256, 511), (1_401, 65_535))),
)
host(
    "weak-dhe-and-ecdhe",
    "DHE over 512 bits where DHE is offered, ECDHE where it is not",
    share=0.5,
    truth=secured("TLSv1.2", "x25519"),
    tls=Tls(versions=("TLSv1.2", "TLSv1.2"), dhe_bits=512),
)
host(
    "empty-line-behind-greeting",
    "an empty line behind the greeting, which Postfix reads over and Exim does not",
    share=0.5,
    truth=secured("TLSv1.3", "x25519", stray=True),
    greeting=(GREETING + b"\r\n",),
)
host(
    "ipv6",
    "the only host on IPv6, `::1`: TLS 1.3, certificate by SNI",
    share=0,
    truth=_MODERN,
    address="::1",
)
