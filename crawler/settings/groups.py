"""The limits, time-outs, rates and sizes of a run in their groups, each with the precedent it rests on.

A number that shapes a measurement stands here or in `Config`, and nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass

from crawler.settings.declared import setting


@dataclass(frozen=True, slots=True)
class DnsSettings:
    """How questions are asked."""

    timeout: float = setting(
        3.0,
        "seconds before a question is asked again (Unbound's own upper bound for a healthy server is about 1.5 s)",
        low=0.05,
        high=60,
    )
    tries: int = setting(4, "times a question is sent in all, alternating between resolvers", low=1, high=10)
    in_flight: int = setting(2_000, "questions under way at once in one process", low=1, high=60_000)
    sockets: int = setting(
        8, "UDP sockets shared by all questions; each has its own random source port", low=1, high=256
    )
    rate: float = setting(0.0, "questions a second to one resolver, per process; 0 is no limit", low=0, high=1e7)
    udp_payload: int = setting(1_232, "EDNS UDP size (DNS Flag Day 2020)", low=512, high=4096)
    cache_size: int = setting(
        20_000,
        "answers for host and policy names kept in one process; a large one counts once for each 512 bytes",
        low=0,
        high=10_000_000,
    )
    cache_ttl: float = setting(
        3_600.0, "seconds an answer is kept at most, and without a TTL of its own", low=0, high=86_400
    )
    use_0x20: bool = setting(False, "random letter case in questions (draft-vixie-dnsext-dns0x20); off on loopback")
    max_mx: int = setting(100, "MX records kept of one domain, by preference; the rest is counted", low=1, high=10_000)
    max_srv: int = setting(
        16, "SRV records kept of one service, by priority and weight; the rest is counted. Those in use have one or two",
        low=1, high=1_000,
    )  # fmt: skip
    max_addresses: int = setting(32, "addresses of one family kept of one host", low=1, high=1_000)
    max_tlsa: int = setting(
        32,
        "TLSA records kept of one host; those left out of a larger set might match where none of these does. RFC 7671 "
        "§8.1 needs two of a key while it changes, and a datagram of 1,232 bytes holds 25 digests",
        low=1,
        high=1_000,
    )
    max_tlsa_bytes: int = setting(
        16_384,
        "bytes of TLSA records kept of one host; the rest is as those beyond `max_tlsa`. A digest has 64 at most, a "
        "certificate in full 1 to 3 KiB",
        low=64,
        high=65_536,
    )
    text_bytes: int = setting(
        4_096,
        "bytes of a TXT record that is read for MTA-STS or TLSRPT; a longer one leaves its state null. Those in use have some hundred",
        low=255,
        high=65_535,
    )
    domains_in_flight: int = setting(500, "domains or hosts being resolved at once in one process", low=1, high=60_000)


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long each step may take, in seconds."""

    connect: float = setting(30.0, "TCP connection (Postfix smtp_connect_timeout is 30 s)", low=0.05, high=600)
    greeting: float = setting(
        60.0,
        "greeting; postscreen waits 6 s, tarpits 15 s and more, RFC 5321 §4.5.3.2 allows 5 min",
        low=0.05,
        high=600,
    )
    reply: float = setting(30.0, "any later reply", low=0.05, high=600)
    handshake: float = setting(30.0, "TLS handshake", low=0.05, high=600)
    quit: float = setting(2.0, "the reply to QUIT, which changes no finding", low=0.0, high=60)
    target: float = setting(
        120.0,
        "one attempt in all; step limits alone added up to ten minutes elsewhere (zgrab2 #526)",
        low=0.1,
        high=3_600,
    )


@dataclass(frozen=True, slots=True)
class Limits:
    """What a hostile server may make us take; beyond it the outcome is `limit_exceeded`."""

    line_bytes: int = setting(
        4_096, "one reply line with its end; RFC 5321 §4.5.3.1.5 allows 512", low=64, high=1_000_000
    )
    reply_lines: int = setting(256, "lines of one reply; large real EHLO replies have about 30", low=1, high=100_000)
    reply_bytes: int = setting(32_768, "one reply", low=512, high=10_000_000)
    replies: int = setting(16, "replies of one conversation", low=4, high=1_000)
    handshake_bytes: int = setting(
        131_072,
        "bytes received during the handshake (OpenSSL's own cap for a chain is 100 KiB); inside TLS as many again and a reply",
        low=4_096,
        high=10_000_000,
    )
    dh_bits: int = setting(
        8_192,
        "bits of the prime in a finite-field key exchange (DHE); the largest group of RFC 7919 has 8,192, OpenSSL takes 10,000. "
        "The work grows with the third power: one handshake costs 50 ms of processor time at 4,096 and 400 ms at 8,192, over the "
        "known primes of RFC 3526 and 7919 a tenth or less of it",
        low=1_024,
        high=10_000,
    )
    dh_seconds: float = setting(
        1.0,
        "seconds of our processor time for key exchanges over primes that cost more than 10 ms each, as estimated by their size, of "
        "one provider, in the whole run; beyond them such a prime is too large, and the host is asked once more without DHE",
        low=0,
        high=1e6,
    )
    dh_seconds_per_domain: float = setting(
        0.2,
        "the same for each listed domain that sends mail there, beside those: four handshakes at 4,096 bits",
        low=0,
        high=1e6,
    )
    long_handshakes: int = setting(
        8_388_608,
        "bytes of handshakes longer than 16 KiB whose connections one process has in hand: inside TLS such a chain takes up to "
        "twenty times as much memory. Beyond it a host's chain is judged and the rest left (`limit_exceeded` in `after_tls`)",
        low=0,
        high=1_000_000_000,
    )
    certificates: int = setting(32, "certificates kept of one received chain", low=1, high=1_000)
    reference_names: int = setting(
        16,
        "names of the domains that lead to an endpoint that are held against its certificate; where there are more, the "
        "certificate's stored names say what it names. A host of one's own has one or two",
        low=1,
        high=1_000,
    )
    staple_bytes: int = setting(
        16_384, "a stapled OCSP response that is kept; real ones have 0.5 to 5 KiB", low=0, high=10_000_000
    )
    stored_bytes: int = setting(
        4_194_304,
        "bytes of certificates and stapled OCSP responses stored for one provider (registrable domain of the mail host), all "
        "processes together and divided among shards by its endpoints; a certificate beyond it has a row without its bytes and names. "
        "Some 2,000 of usual size",
        low=0,
        high=1_000_000_000_000,
    )
    stored_bytes_per_domain: int = setting(
        65_536, "the same for each listed domain that sends mail there, beside those", low=0, high=1_000_000_000
    )
    plaintext_bytes: int = setting(1_024, "plaintext kept from behind the go-ahead", low=0, high=1_000_000)
    kept_text: int = setting(4_096, "characters kept of a reply's text", low=64, high=1_000_000)


@dataclass(frozen=True, slots=True)
class Pacing:
    """How many at once and how often; the targets' interest, not ours.

    To one address there is never more than one connection at a time: big providers allow about two
    a minute (Internet.nl #400).
    """

    in_flight: int = setting(2_000, "connections open at once in one process", low=1, high=60_000)
    per_network: int = setting(8, "connections at once to one /24 or /48, all processes together", low=1, high=10_000)
    per_provider: int = setting(
        32,
        "connections at once to the hosts of one provider (registrable domain of the mail host), all processes together",
        low=1,
        high=100_000,
    )
    address_pause: float = setting(
        1.0, "seconds between two connections to one address, of names that share it", low=0.0, high=600
    )
    breaker_refusals: int = setting(
        10, "refusals in a row after which a provider is left alone for a while; 0: never", low=0, high=10_000
    )
    breaker_pause: float = setting(60.0, "seconds it is left alone, doubled each time", low=0.0, high=3_600)
    breaker_trips: int = setting(4, "times it is left alone before its endpoints are `not_run`", low=1, high=100)
    names_per_address: int = setting(
        16, "host names probed at one address; the rest is `sampled_out`, inferred from one of them", low=1, high=1e6
    )
    host_ports: int = setting(
        16,
        "ports asked at one host beside those that every host is asked; the rest is not asked and is counted. Nine are "
        "registered; names of the list must not be able to have a stranger's ports tried one by one",
        low=1,
        high=65_535,
    )
    address_ports: int = setting(
        16,
        "ports tried at one address, those of the protocols first, whatever names lead there; the rest is `over_budget`. "
        "Nine are registered",
        low=1,
        high=65_535,
    )
    silent_ports: int = setting(
        2,
        "ports of an address that take no connection in time, and none that does, after which it is not asked on another. "
        "A firewall that drops what is sent to one port, as to 143 where only 993 is offered, says nothing of the next",
        low=1,
        high=65_535,
    )
    domain_endpoints: int = setting(
        64,
        "endpoints that one listed domain may cause, divided among its mail hosts (each may have one); the rest is "
        "`over_budget`. Gmail's five hosts have ten",
        low=1,
        high=1_000_000,
    )
    network_endpoints: int = setting(
        256, "endpoints in one /24 or /48, one for each address of a /24, whoever sends mail there", low=1, high=1e9
    )
    network_endpoints_per_domain: int = setting(
        32, "endpoints in it for each listed domain that sends mail there, beside those", low=0, high=1e6
    )
    ordinary_seconds: float = setting(
        5.0,
        "seconds of each connection that no budget of time counts: what an ordinary one takes, and our own delay",
        low=0,
        high=600,
    )
    total_seconds: float = setting(
        900.0,
        "seconds of connections to one network or provider in all, beyond the ordinary; the rest is `over_budget`. Eight at once "
        "that are silent for 30 s have spent it in two and a half minutes",
        low=1,
        high=1e9,
    )
    total_seconds_per_domain: float = setting(
        60.0, "seconds of connections for each listed domain that sends mail there, beside those", low=0, high=1e6
    )
    certain_weight: float = setting(
        0.25,
        "listed domains that send mail to a registrable domain's hosts in a network from which on it is certain to be tried where "
        "neighbours have spent the network's time; a lighter one is by chance, in proportion. Few domains spread their mail hosts "
        "over more than four registrable domains",
        low=0.001,
        high=1_000,
    )
    rate: float = setting(0.0, "new connections a second, all processes together; 0 is no limit", low=0, high=1e6)
    attempts: int = setting(2, "tries of an endpoint whose first outcome was transient", low=1, high=5)
    retry_delay: float = setting(
        300.0, "seconds between tries; greylisting and 421 pass in minutes", low=0.0, high=86_400
    )


@dataclass(frozen=True, slots=True)
class Https:
    """How MTA-STS policies are fetched (RFC 8461 §3.3)."""

    port: int = setting(443, "port of policy hosts; RFC 8461 knows no other than 443, a lab may", low=1, high=65_535)
    timeout: float = setting(60.0, "one fetch in all; RFC 8461 §3.3 suggests a minute", low=0.05, high=600)
    connect_timeout: float = setting(15.0, "TCP connection to one address", low=0.05, high=600)
    policy_bytes: int = setting(65_536, "a policy; RFC 8461 §3.3 suggests 64 KiB", low=64, high=10_000_000)
    overhead_bytes: int = setting(
        65_536,
        "bytes received for one fetch beside the policy: handshake, headers, framing. An ordinary fetch has 3 to 8 KiB in all",
        low=16_384,
        high=10_000_000,
    )
    addresses: int = setting(4, "addresses of a policy host tried until one takes the connection", low=1, high=32)
    retry_delay: float = setting(
        5.0,
        "seconds before the second and last try at a policy host that broke off or could not answer",
        low=0,
        high=600,
    )
    in_flight: int = setting(250, "fetches under way at once in one process", low=1, high=10_000)
    waiting: int = setting(
        2_000, "domains of one shard that wait for their policy while others are resolved", low=1, high=100_000
    )
    per_address: int = setting(
        4,
        "fetches at once from one address, which may serve many domains, all processes together (each may have one)",
        low=1,
        high=1_000,
    )
    per_network: int = setting(
        16, "fetches at once from one /24 or /48, all processes together (each may have one)", low=1, high=10_000
    )
    rate: float = setting(0.0, "new fetches a second, all processes together; 0 is no limit", low=0, high=1e6)
    failures: int = setting(
        5, "time-outs in a row after which an address is asked no more; a dead provider would hold up the run",
        low=1, high=1_000_000,
    )  # fmt: skip
    ordinary_seconds: float = setting(3.0, "seconds that a fetch may take without being slow", low=0, high=600)
    slow_seconds: float = setting(
        300.0,
        "seconds beyond those that policy hosts under one registrable domain may take in all, in one process; the rest "
        "is not tried. Six that are silent to the end have spent it",
        low=0.05,
        high=1e9,
    )
