"""In which shares the lab mixes its behaviours, and which published figures they follow.

It holds numbers only.  The weight of a behaviour stands in its entry; the published
figures are those of `data/reference/adoption_history.csv`:

* *STARTTLS offered* by 94 % (2019-03) and 97 % (2019-09) of Dutch government domains (Forum
  Standaardisatie): here by 97 of a hundred hosts that answer EHLO.
* *Post-quantum*: 0.26 % of the MX hosts of the Tranco top million complete X25519MLKEM768 (Schaumann,
  2026-01-23): the same share of the hosts here that offer STARTTLS.
* *TLS 1.3*: 79 % of the TLS messages at a university's MX (Siebenmann, 2025-05): the same share of hosts here.
* *Certificates*: about 40 % of domains with STARTTLS presented an invalid one (Durumeric et al. in
  the words of EFF, 2015), against the 95 % of Facebook's mail by volume that was strictly valid (2014).
  Here about a fifth of the hosts that domains run for themselves fail, and no big provider does.
* *Plaintext injection*: 2 % of the servers of 2021 (Poddebniak et al.) answered commands injected by a client;
  what the lab shows, plaintext behind the go-ahead, is rarer: 0.1 %.

No published figure covers how many domains have null MX, fail in DNS, or are signed. These shares are set by hand and
say nothing about the Internet.  Lists of fewer than some thousand names show every behaviour at least once, which
makes the rare ones more frequent there than these weights say.
"""

from __future__ import annotations

from dataclasses import dataclass

SIGNED = 0.06
"""Share of zones that are DNSSEC-signed."""

DUAL_STACK = 0.03
"""Share of the ordinary hosts that have IPv6 as well."""


@dataclass(frozen=True, slots=True)
class Provider:
    """A company whose mail hosts many domains use."""

    name: str
    share: float  #: weight among the domains that use a provider
    hosts: tuple[str, ...]
    behaviour: str


def _provider(name: str, share: float, hosts: int, behaviour: str = "tls13-x25519") -> Provider:
    return Provider(name, share, tuple(f"in{n}.{name}" for n in range(1, hosts + 1)), behaviour)


PROVIDERS = (
    _provider("alpha-mail.example", 45, 5),
    _provider("beta-mail.example", 35, 2, "wildcard"),
    _provider("gamma-mail.example", 8, 3, "tls13-p256"),
    _provider("delta-mail.example", 6, 2, "tls12-only"),
    _provider("epsilon-hosting.test", 4, 2, "wrong-name"),
    _provider("zeta-hosting.test", 2, 1, "self-signed"),
)
