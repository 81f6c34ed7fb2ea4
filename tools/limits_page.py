"""docs/limits.md: every limit, what it protects, and what is counted or said where it cuts.

Names and defaults are read off the settings and off the limits that modules declare; the words for settings stand here,
and a test demands them for every setting that is a limit.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any

import analysis
import crawler
from crawler.settings.config import Config
from crawler.settings.declared_limits import DECLARED, DeclaredLimit

#: Groups of settings all of which are limits.
GROUPS = ("dns", "timeouts", "limits", "pacing", "https", "lists", "shards", "watch")

_WAITS = "nothing is cut: the rest waits"
_TIMEOUT = "`probes.outcome` is `timeout` in that `stage`; the manifest counts outcomes"
_EXCEEDED = "`probes.outcome` is `limit_exceeded`; the manifest counts outcomes"
_OVER = "`probes.outcome` is `over_budget`; the manifest counts outcomes"
_UNTRIED = "`domains.mta_sts_fetch` is null, `mta_sts_problem` says why"
_REFUSED = "the list is refused: one line, exit code 2, nobody is contacted"

#: Setting -> what it protects, and what is counted or said where it cuts.
WORDS: dict[str, tuple[str, str]] = {
    "limit": ("hosts", "the manifest's `configuration` says it; `stats` and `report` name it beside every figure"),
    "workers": ("hosts, our machine", _WAITS),
    "max_runtime": ("our time", "the run stays `interrupted`, and the same command continues it"),
    "dns.timeout": ("our time", "the question is asked again, up to `dns.tries` times"),
    "dns.tries": ("the resolver", "`timeout` in `domains.dns_error`, `hosts.ipv4_status`, `ipv6_status`; `lookup_failed` in `tlsa.status`"),
    "dns.in_flight": ("the resolver", _WAITS),
    "dns.sockets": ("our machine", _WAITS),
    "dns.rate": ("the resolver", _WAITS),
    "dns.udp_payload": ("the network", "a larger answer is asked for once more over TCP"),
    "dns.cache_size": ("our memory", "the oldest answers are forgotten and asked for again"),
    "dns.cache_ttl": ("the truth of answers", "the answer is asked for again"),
    "dns.use_0x20": ("the truth of answers", "an answer to another spelling is not taken"),
    "dns.max_mx": ("hosts", "`domains.mx_dropped`"),
    "dns.max_srv": ("hosts", "`domains.srv`, whose entries count them"),
    "dns.max_addresses": ("hosts", "`hosts.addresses_dropped`"),
    "dns.max_tlsa": ("our processor time", "`tlsa.records_dropped`; a mismatch is `unknown` then"),
    "dns.max_tlsa_bytes": ("our memory", "`tlsa.records_dropped`; a mismatch is `unknown` then"),
    "dns.text_bytes": ("our memory", "`domains.mta_sts_record` or `tlsrpt` is null"),
    "dns.domains_in_flight": ("our memory", _WAITS),
    "timeouts.connect": ("our time", _TIMEOUT),
    "timeouts.greeting": ("our time", _TIMEOUT),
    "timeouts.reply": ("our time", _TIMEOUT),
    "timeouts.handshake": ("our time", _TIMEOUT),
    "timeouts.quit": ("our time", "nothing: the finding stands before"),
    "timeouts.target": ("our time", _TIMEOUT),
    "limits.line_bytes": ("our memory", _EXCEEDED),
    "limits.reply_lines": ("our memory", _EXCEEDED),
    "limits.reply_bytes": ("our memory", _EXCEEDED),
    "limits.replies": ("our time", _EXCEEDED),
    "limits.handshake_bytes": ("our memory", _EXCEEDED),
    "limits.dh_bits": ("our processor time", "the host is asked once more without DHE; else `limit_exceeded`, `tls_reason` `dh key too large`"),
    "limits.long_handshakes": ("our memory", "`probes.outcome` is `limit_exceeded` in stage `after_tls`; the handshake's facts stand"),
    "limits.dh_seconds": ("our processor time", "as `limits.dh_bits`"),
    "limits.dh_seconds_per_domain": ("our processor time", "as `limits.dh_bits`"),
    "limits.certificates": ("our memory", "`probes.chain_dropped`; a chain that is not trusted without them is unknown"),
    "limits.reference_names": ("our memory, the disk", "`probes.reference_names` is null"),
    "limits.staple_bytes": ("the disk", "`probes.ocsp_staple` is null and `ocsp_staple_bytes` its size"),
    "limits.stored_bytes": ("the disk", "`certificates.over_budget`; the manifest counts `certificates_over_budget`, the summary too"),
    "limits.stored_bytes_per_domain": ("the disk", "as `limits.stored_bytes`"),
    "limits.plaintext_bytes": ("the disk", "`plaintext_after_upgrade` and `stray_bytes` have exactly so many bytes"),
    "limits.kept_text": ("the disk", "`probes.text_dropped`; verdicts are made from the whole text"),
    "pacing.in_flight": ("our machine", _WAITS),
    "pacing.per_network": ("hosts", _WAITS),
    "pacing.per_provider": ("hosts", _WAITS),
    "pacing.address_pause": ("hosts", _WAITS),
    "pacing.breaker_refusals": ("hosts", _WAITS),
    "pacing.breaker_pause": ("hosts", _WAITS),
    "pacing.breaker_trips": ("hosts", "`probes.outcome` is `not_run`; the manifest counts outcomes"),
    "pacing.names_per_address": ("hosts", "`probes.outcome` is `sampled_out`, with `representative_host`; the manifest counts outcomes"),
    "pacing.host_ports": ("hosts, whoever names them", "`asked_dropped` counts the ports of the host that are not asked"),
    "pacing.address_ports": ("addresses, whoever names them", _OVER),
    "pacing.silent_ports": ("our time", "the other ports of the address are `not_run`"),
    "pacing.domain_endpoints": ("hosts, whoever names them", _OVER),
    "pacing.network_endpoints": ("networks, whoever names them", _OVER),
    "pacing.network_endpoints_per_domain": ("networks, whoever names them", _OVER),
    "pacing.ordinary_seconds": ("our time", "nothing: seconds up to it are not counted"),
    "pacing.total_seconds": ("our time, networks, providers", _OVER),
    "pacing.total_seconds_per_domain": ("our time, networks, providers", _OVER),
    "pacing.certain_weight": ("our time, networks, providers", _OVER),
    "pacing.rate": ("the network that we are in", _WAITS),
    "pacing.attempts": ("hosts", "the last outcome stands; `probes.attempts` has all"),
    "pacing.retry_delay": ("hosts", _WAITS),
    "https.port": ("-", "-"),
    "https.timeout": ("our time", "`domains.mta_sts_fetch` is `timeout`"),
    "https.retry_delay": ("policy hosts", "there is no third try"),
    "https.connect_timeout": ("our time", "`domains.mta_sts_fetch` is `timeout`, where no other address answers"),
    "https.policy_bytes": ("our memory", "`domains.mta_sts_fetch` is `too_large`"),
    "https.overhead_bytes": ("our memory", "`domains.mta_sts_fetch` is `too_large`"),
    "https.addresses": ("policy hosts", f"where none of those tried answers, {_UNTRIED}"),
    "https.in_flight": ("our machine", _WAITS),
    "https.waiting": ("our memory", _WAITS),
    "https.per_address": ("policy hosts", _WAITS),
    "https.per_network": ("policy hosts", _WAITS),
    "https.rate": ("the network that we are in", _WAITS),
    "https.failures": ("our time, policy hosts", _UNTRIED),
    "https.ordinary_seconds": ("our time", "nothing: seconds up to it are not counted"),
    "https.slow_seconds": ("our time", _UNTRIED),
    "lists.memory_bytes": ("our memory", _REFUSED),
    "lists.unpacked_bytes": ("our time", _REFUSED),
    "lists.unpacked_ratio": ("our time", _REFUSED),
    "lists.lines": ("our time", _REFUSED),
    "shards.domains": ("our memory", "nothing is cut: there are more shards"),
    "shards.hosts": ("our memory", "nothing is cut: there are more shards"),
    "shards.endpoints": ("our memory", "nothing is cut: there are more shards"),
    "watch.connections": ("the truth of the run", "an outage is suspected; the manifest has `outages`"),
    "watch.networks": ("the truth of the run", "as `watch.connections`"),
    "watch.answering": ("the truth of the run", "as `watch.connections`"),
    "watch.failing_domains": ("the truth of the run", "as `watch.connections`"),
    "watch.witnesses": ("our memory", "the others are not remembered, which changes no finding"),
    "watch.withdrawals": ("hosts, our time", "what was found stands, and the run is `suspect`"),
    "watch.asked_again": ("hosts", "nothing is cut: the manifest names those that were asked (`outages`)"),
    "watch.pause": ("hosts", _WAITS),
    "watch.patience": ("our time", "the run stays `interrupted`, and the same command continues it"),
    "watch.given_up": ("the truth of the run", "the scan ends with exit code 1; what is finished is kept"),
    "watch.given_up_alone": ("our time", "`probes.outcome` is `gave_up`, `domains.dns_error` too; the manifest has `given_up`"),
    "watch.silence": ("our time", "the process is ended and another started; its shards are done again apart"),
    "watch.resolver_every": ("the resolver", _WAITS),
    "watch.least": ("the truth of the run", "nothing: below it no share is judged"),
    "watch.implausible": ("the truth of the run", "its state is `suspect`, with `suspicions`"),
    "watch.implausible_faults": ("the truth of the run", "its state is `suspect`, with `suspicions`"),
    "watch.implausible_connections": ("the truth of the run", "its state is `suspect`, with `suspicions`"),
}  # fmt: skip


def lines() -> Iterator[str]:
    """The derived half of the page."""
    config = Config()
    yield from ("## Settings", "", "Meaning, range and precedent of each are in [settings.md](settings.md).")
    for group in ("", *GROUPS):
        yield from ("", f"### `[{group}]`" if group else "### The run", "")
        yield from ("| setting | default | protects | where it cuts |", "|---|---|---|---|")
        for name, value in values(config, group):
            protects, cut = WORDS[name]
            yield f"| `{name}` | {shown(value, name.endswith('bytes'))} | {protects} | {cut} |"
    yield from ("", "## Limits that are no settings", "")
    yield from ("| in | limit | what it bounds | protects | where it cuts |", "|---|---|---|---|---|")
    for limit in declared():
        yield f"| `{limit.module}` | {shown(limit.value, limit.what.startswith('bytes'))} | {limit.what} | {limit.protects} | {limit.cut} |"


def values(config: Config, group: str) -> Iterator[tuple[str, Any]]:
    """The limits of a group of settings, as they are by default; of the settings without a group those that have words."""
    made = getattr(config, group) if group else config
    for field in fields(made):
        value, name = getattr(made, field.name), f"{group}.{field.name}" if group else field.name
        if not is_dataclass(value) and (group or name in WORDS):
            yield name, value


def declared() -> list[DeclaredLimit]:
    """What the modules declare, in the order of their names and then of their source."""
    for package in (crawler, analysis):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)
    return sorted(DECLARED, key=lambda limit: limit.module)


def shown(value: Any, is_bytes: bool) -> str:
    """A number as people read it."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value) if isinstance(value, str) else str(value).lower()
    if is_bytes and value >= 1 << 20 and value % (1 << 20) == 0:
        return f"{int(value) >> 20:,} MiB"
    return f"{value:,}"
