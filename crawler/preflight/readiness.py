"""What a scan must know of this machine before it contacts anybody: every check, made once, and what it found."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from crawler.certificates.trust_store import TrustStore
from crawler.politeness.exclusions import Exclusions
from crawler.politeness.opt_out_file import OptOuts
from crawler.preflight.checks import (
    Resolver,
    ask_resolvers,
    check_identity,
    check_source_addresses,
    raise_descriptor_limit,
)
from crawler.preflight.routes import without_a_way
from crawler.settings.config import Config
from crawler.tls.handshake import offered


@dataclass(frozen=True, slots=True)
class Readiness:
    """A machine that can measure, and with what it does so."""

    opt_outs: OptOuts
    trust_anchors: Path  #: a file of PEM that was read and holds some
    tls_offered: dict[str, Any]  #: what our ClientHello offers
    no_way_to: tuple[tuple[str, str], ...] = ()  #: families of addresses that nothing can be reached by; what to do
    resolvers: tuple[Resolver, ...] = ()  #: empty until they are asked

    def with_resolvers(self, config: Config) -> Readiness:
        """The same with what the resolvers answered.  Raises `Unready` if none does.

        It is the one check that waits for another machine, so it comes last.
        """
        return replace(self, resolvers=tuple(ask_resolvers(config)))


def check_readiness(config: Config) -> Readiness:
    """Check all that can be checked without asking others; raises this process's limit of open files.

    Raises `ConfigError` for a setting that cannot be used here, and `Unready`.
    """
    check_identity(config)
    check_source_addresses(config)
    raise_descriptor_limit(config)
    return Readiness(
        opt_outs=Exclusions(config).opt_outs,
        trust_anchors=TrustStore(config.ca_file).path,
        tls_offered=offered(post_quantum=config.post_quantum),
        no_way_to=() if config.allow_network else tuple(without_a_way(config)),
    )
