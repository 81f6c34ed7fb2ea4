"""The lab's adversary: domains that attack whoever measures them, each in one way and all of them in several.

This module does no I/O.  What a hostile domain serves is one entry of `attacks`; how its names lead there is in
`hostile_dns`.  None of it is part of the world: names, hosts and truth of all other domains are the same without it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from crawler.lab.adversary.names import hostile_names
from crawler.lab.adversary.policies import policies
from crawler.lab.behaviours.protection import StsBehaviour
from crawler.lab.behaviours.vocabulary import HOSTS, Act, Leaf, Server, Tls
from crawler.lab.world.world import World

ANCHORS = 8
"""CAs with name constraints, one below the other: `anchor 1` to `anchor 8`, and as many `cheap anchor`s."""

_NETWORK, _DARK = "127.252.{}", "127.253.{}"
_ADDRESSES = range(1, 65)  # last octets of a host's addresses; a scan keeps half of them
_AIMED = range(101, 165)  # last octets in the network of somebody else, where nobody else lives


@dataclass(frozen=True, slots=True)
class Attack:
    """What the mail hosts of a hostile domain are, and what their DNS holds."""

    name: str
    about: str
    servers: tuple[Server, ...] = ()  #: of the domain's addresses in turn
    tlsa: str = ""  #: `large`, `anchors`, `cheap anchors` or `leaf`
    aims_at: str = (
        ""  #: `bank`, an honest host's address; `dark`, silent addresses of its own and in the bank's network
    )
    many_labels: bool = False  #: names of its hosts have as many labels as a name can have


@dataclass(frozen=True, slots=True)
class Hostile:
    """One hostile domain."""

    name: str
    number: int
    attack: Attack
    policy: StsBehaviour


class Adversary:
    """The hostile domains of a lab; `size` scales how much each of them sends, so that a test is quick."""

    def __init__(self, world: World, honest: Iterable[str], count: int, size: float = 1.0) -> None:
        """`honest` is the list without them; one of its mail hosts is the bank that they aim at."""
        self.size = size
        self.mx = max(17, int(100 * size))  #: mail hosts of each domain; more than are probed at one address
        self.bank = _bank(world, honest)  #: the bank's address; empty if the list has no such host
        kinds, served = attacks(size), policies(size)
        self._domains = {
            name: Hostile(name, number, kinds[(number - 1) % len(kinds)], served[number % len(served)])
            for number, name in enumerate(hostile_names(count), 1)
        }

    def __iter__(self) -> Iterator[Hostile]:
        return iter(self._domains.values())

    def owner(self, name: str) -> Hostile | None:
        """The hostile domain that a name is or is in."""
        return self._domains.get(".".join(name.split(".")[-2:]))

    def addresses(self, domain: Hostile, host: int) -> list[str]:
        """Addresses of the mail host of this number, as its DNS has them."""
        match domain.attack.aims_at:
            case "bank" if self.bank:
                return [self.bank]
            case "dark" if self.bank and host % 2:
                return [f"{self.bank.rpartition('.')[0]}.{octet}" for octet in _AIMED]
            case "dark":
                return [f"{_DARK.format(domain.number)}.{octet}" for octet in _ADDRESSES]
        return [f"{_NETWORK.format(domain.number)}.{octet}" for octet in _ADDRESSES]

    def listeners(self) -> Iterator[tuple[str, Server]]:
        """Every address of the adversary's own, and silent ones in the bank's network, with who is there."""
        dark = HOSTS["dropped"].server
        for domain in self:
            if domain.attack.aims_at == "dark":
                for host in (0, 1):
                    yield from ((address, dark) for address in self.addresses(domain, host))
            elif not domain.attack.aims_at:
                for place, address in enumerate(self.addresses(domain, 0)):
                    yield address, self.server(domain, place)

    def server(self, domain: Hostile, place: int) -> Server:
        """The server at the domain's address of this number."""
        return domain.attack.servers[place % len(domain.attack.servers)]


def _bank(world: World, honest: Iterable[str]) -> str:
    """The address of an honest host that is in perfect order: one that a domain runs for itself, if there is any."""
    found: dict[str, str] = {}
    for name in honest:
        domain = world.domain(name)
        for host in (world.host(host) for _, host in domain.mail_hosts):
            if host is not None and host.behaviour.truth.strict_valid and len(host.addresses) == 1:
                is_own = host.behaviour.name == "tls13-x25519" and domain.behaviour.name == "own-host"
                found.setdefault("own" if is_own else host.behaviour.name, host.addresses[0])
    return next((found[kind] for kind in ("own", "tls13-x25519", "tls13-p256", "wildcard") if kind in found), "")


def attacks(size: float) -> tuple[Attack, ...]:
    """One of each kind; a hostile domain has the kind of its number."""

    def some(number: int) -> int:
        return max(1, int(number * size))

    def bulky(**leaf: int) -> Tls:
        return Tls(leaf=Leaf(**leaf))  # type: ignore[arg-type]

    costly, cheap = (
        tuple(f"{kind} {number}" for number in range(ANCHORS, 0, -1)) for kind in ("anchor", "cheap anchor")
    )
    unnamed = ("other.{host}",)  # it does not name the host, so that every anchor is tried
    odd = ("name without an end", "version 4", "user notice", "address as text")
    slow = (
        *("tarpit", "tarpit-lines", "endless-greeting", "endless-line", "huge-ehlo", "endless-starttls", "tls-drip"),
        *("slow-everywhere", "endless-inside", "silence", "huge-chain"),
    )
    return (
        Attack(
            "names",
            "a hundred names on the same 64 addresses, and one certificate of 30,000 names",
            (Server(tls=Tls(leaf=Leaf(names=("crowd.bad.test",), crowd=some(30_000)))),),
        ),
        Attack(
            "pending",
            "certificates of 70 KB with 3,500 names, another for each name; hosts that close when the handshake is over and "
            "are tried again; TLSA record sets of 64,000 bytes",
            (Server(tls=bulky(crowd=some(3_500), crowd_width=18), after_handshake=(Act.CLOSE,)),),
            tlsa="large",
        ),
        Attack("random", "certificates of 95 KB of random bytes, another for each name", (Server(tls=bulky(ballast=some(95_000))),)),
        Attack("dark", "addresses that drop every packet, in one network of its own and in the bank's", aims_at="dark"),
        Attack("bank", "a hundred names on the address of an honest host", aims_at="bank"),
        Attack(
            "dhe",
            "TLS 1.2 with DHE over 9,600 bits, over 8,192 with a good signature, and where the client offers no DHE without",
            (
                HOSTS["huge-dhe"].server,
                Server(tls=Tls(versions=("TLSv1.2", "TLSv1.2"), dhe_bits=8_192, dhe_is_signed=True)),
                HOSTS["huge-dhe-and-ecdhe"].server,
            ),
        ),
        Attack(
            "labels",
            "answers of 64 KB, and names of more than 120 labels",
            (HOSTS["tls13-x25519"].server,),
            many_labels=True,
        ),
        Attack(
            "anchors",
            "eight trust anchors (DANE-TA) under name constraints for thousands of names: half just beyond the bound, half within",
            (
                Server(tls=Tls(leaf=Leaf(names=unnamed, crowd=some(4_000), crowd_width=8, issuer=costly[0], chain=costly))),
                Server(tls=Tls(leaf=Leaf(names=unnamed, crowd=700, crowd_width=8, issuer=cheap[0], chain=cheap))),
            ),
            tlsa="anchors",
        ),
        Attack(
            "odd",
            "a CA valid from 30 February; TLSA records that hold the leaf itself in full; certificates that are half readable",
            (
                Server(tls=Tls(leaf=Leaf(issuer="undated intermediate", chain=("undated intermediate",)))),
                Server(tls=Tls(leaf=Leaf(issuer="itself", chain=()))),
                *(Server(tls=Tls(leaf=Leaf(oddity=oddity))) for oddity in odd),
            ),
            tlsa="leaf",
        ),
        Attack("slow", "tarpits and endless replies of every kind", tuple(HOSTS[name].server for name in slow)),
    )  # fmt: skip
