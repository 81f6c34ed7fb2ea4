"""What one process measures with: DNS client, prober and policy fetcher, wired together once."""

from __future__ import annotations

from collections.abc import Iterable

from crawler.dns.client import DnsClient
from crawler.model.rows import MailHost, Target
from crawler.politeness.opt_out_file import OptOuts
from crawler.probe.prober import Heard, Prober
from crawler.resolve.domains import resolve_domains
from crawler.resolve.hosts import resolve_hosts
from crawler.resolve.listed_hosts import resolve_listed_hosts
from crawler.resolve.lookups import Emit
from crawler.resolve.policy_fetch import PolicyFetcher
from crawler.settings.config import Config


class Instruments:
    """RESOLVE and PROBE for one process, under one set of limits and opt-outs.

    Raises `ConfigError` when the trust anchors or the opt-outs cannot be read.
    """

    def __init__(
        self,
        config: Config,
        dns: DnsClient,
        processes: int = 1,
        heard: Heard | None = None,
        opt_outs: OptOuts | None = None,
    ) -> None:
        """`processes` share the limits that hold for the whole run; `heard` is told of every attempt of PROBE.

        `opt_outs` are those that were read already.
        """
        self._config = config
        self._dns = dns
        self.prober = Prober(config, processes, heard, opt_outs)
        self._policies = PolicyFetcher(config, dns, self.prober.exclusions, self.prober.trust.path, processes)

    async def resolve_domains(self, targets: Iterable[Target], emit: Emit) -> None:
        """Emit one `Domain` for each target, and the policies that were fetched."""
        if self._config.hosts:
            await resolve_listed_hosts(targets, self._config, emit, excluded=self.prober.exclusions.domain)
            return
        await resolve_domains(
            targets, self._dns, self._config, emit,
            excluded=self.prober.exclusions.domain, fetch_policy=self._policies.fetch,
        )  # fmt: skip

    async def resolve_hosts(self, hosts: Iterable[MailHost], emit: Emit) -> None:
        """Emit one `Host`, and one `Tlsa` for each port that it is asked on, for each mail host."""
        await resolve_hosts(hosts, self._dns, self._config, emit)
