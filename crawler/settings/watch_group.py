"""When a scan doubts its own network, its own processes, and its result: limits with the precedent each rests on."""

from __future__ import annotations

from dataclasses import dataclass

from crawler.settings.declared import setting


@dataclass(frozen=True, slots=True)
class Watch:
    """When a scan doubts its own network, its own processes, and its result."""

    connections: int = setting(
        60, "the last connections of a process that are looked at together", low=10, high=100_000
    )
    networks: int = setting(
        30,
        "networks (/24, /48) in which they must have failed: so many do not fail together by chance",
        low=2,
        high=100_000,
    )
    answering: float = setting(
        0.05, "share of them that may have stood all the same; even lists of dead domains have more", low=0, high=0.9
    )
    failing_domains: float = setting(
        0.2,
        "listed domains that the hosts that failed must stand for, for each of these connections. The hosts of one domain stand for one, "
        "whatever it publishes, and those of one provider for at most one: a stranger with ten domains makes no alarm",
        low=0,
        high=1,
    )
    witnesses: int = setting(
        512,
        "hosts kept, by chance and weight, of all that answered a process, to be asked again on alarm",
        low=3,
        high=100_000,
    )
    asked_again: int = setting(
        20,
        "endpoints of different networks and providers that are asked again for one alarm, in all: half of them at once, the others "
        "in the course of the outage",
        low=1,
        high=1_000,
    )
    withdrawals: int = setting(
        2,
        "times that a shard is done again for outages; then what it finds stands, and the run is `suspect`: for ever is no cure, and "
        "honest hosts would be contacted each time",
        low=0,
        high=100,
    )
    pause: float = setting(
        5.0, "seconds before they are asked again in an outage, doubled up to a minute", low=0.05, high=3_600
    )
    patience: float = setting(
        900.0, "seconds of an outage after which the scan ends, to be continued", low=0.1, high=86_400
    )
    silence: float = setting(
        120.0,
        "seconds without a sign of life after which a worker process is stuck, or stopped, and is ended; one says something each second",
        low=1,
        high=86_400,
    )
    given_up: int = setting(
        50,
        "registrable domains of which something is given up, as it ends the process that measures it, before the scan ends; "
        "more is a fault of ours, or of the machine",
        low=0,
        high=100_000,
    )
    given_up_alone: int = setting(
        8,
        "rows of one registrable domain that are found one by one; then what is found with no other domain's is given up together",
        low=1,
        high=1_000,
    )
    resolver_every: float = setting(
        5.0, "seconds between two questions whether a resolver answers", low=0.05, high=3_600
    )
    least: int = setting(50, "domains or endpoints from which on shares of them are judged", low=1, high=1_000_000)
    implausible: float = setting(
        0.5, "share of domains or mail hosts whose DNS failed that makes a run `suspect`; top lists have 2 to 5 %",
        low=0.01, high=1,
    )  # fmt: skip
    implausible_faults: float = setting(
        0.05,
        "share of endpoints not measured for a fault on our side (`internal_error`) that makes a run `suspect`; a healthy machine has none",
        low=0,
        high=1,
    )
    implausible_connections: float = setting(
        0.8,
        "share of SMTP endpoints without a connection or a word that makes a run `suspect`; top lists have about 10 %, lists of "
        "old domains up to a half. A run of other protocols alone is `suspect` when no endpoint answers at all",
        low=0.01,
        high=1,
    )
