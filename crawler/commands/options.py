"""Options that are settings, and the settings that come of them."""

from __future__ import annotations

import argparse
from pathlib import Path

from crawler.commands.arguments import named_port
from crawler.settings.config import Config


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Options of every command that measures; each is a setting of `Config`, and none has a default here."""
    group = parser.add_argument_group("settings", "Each may stand in a TOML file given by --config; options here win.")
    group.add_argument("--config", metavar="FILE.toml", type=Path, help="settings, and every limit and time-out")
    group.add_argument(
        "--resolver",
        metavar="HOST[:PORT]",
        action="append",
        help="validating resolver (default 127.0.0.1:53); repeatable",
    )
    group.add_argument("--trust-ad", action="store_true", default=None, help="trust a remote resolver's validation")
    group.add_argument("--ehlo-name", metavar="FQDN", help="who we say we are: this machine's full name")
    group.add_argument(
        "--protocol",
        metavar="NAME",
        action="append",
        help="what to probe: smtp (default), submission, imap, pop3 …, or begun with TLS: imaps …; `mail` is IMAP, POP3 and "
        "submission in both forms, at the hosts that SRV records name; repeatable",
    )
    group.add_argument(
        "--port", metavar="NAME=PORT", action="append", type=named_port, help="a protocol's port, e.g. smtp=2525"
    )
    group.add_argument(
        "--allow-network",
        metavar="CIDR",
        action="append",
        help="special-purpose space that may be contacted; repeatable",
    )
    group.add_argument("--exclude", metavar="FILE", help="names and networks that asked not to be probed")
    group.add_argument("--ca-file", metavar="PEM", help="trust anchors (default: certifi's)")
    group.add_argument("--vantage", metavar="NAME", help="name of the place measured from")
    group.add_argument(
        "--source-address", metavar="IP", action="append", help="address to connect from; one per family"
    )
    for name, asked in (("tlsa", "TLSA records"), ("mta-sts", "MTA-STS"), ("tlsrpt", "TLSRPT")):
        dest = name.replace("-", "_")
        group.add_argument(
            f"--no-{name}", dest=dest, action="store_false", default=None, help=f"do not ask for {asked}"
        )
    group.add_argument("--ipv4", action="store_true", help="IPv4 only (with --ipv6: both, whatever the file says)")
    group.add_argument("--ipv6", action="store_true", help="IPv6 only")


_SETTINGS = (
    "resolver", "trust_ad", "ehlo_name", "protocol", "hosts", "allow_network", "exclude", "ca_file", "vantage", "source_address",
    "tlsa", "mta_sts", "tlsrpt", "limit", "workers", "max_runtime",
)  # fmt: skip


def config_of(options: argparse.Namespace) -> Config:
    """The settings of a command: defaults, then the file, then its options.  Raises `ConfigError`."""
    flags = {name: value for name in _SETTINGS if (value := getattr(options, name, None)) is not None}
    if options.port:
        flags["port"] = dict(options.port)
    if options.ipv4 or options.ipv6:
        flags |= {"ipv4": options.ipv4, "ipv6": options.ipv6}
    return Config.load(options.config, flags)
