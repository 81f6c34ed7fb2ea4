"""Options that are settings, and the settings that come of them."""

from __future__ import annotations

import argparse
from dataclasses import fields
from pathlib import Path

from crawler.commands.arguments import named_port
from crawler.settings.config import Config


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Options of every command that measures; each is a setting of `Config`, and none has a default here."""
    group = parser.add_argument_group("settings", "Each may stand in a TOML file given by --config; options here win.")
    group.add_argument("--config", metavar="FILE.toml", type=Path, help="settings, and every limit and time-out")
    for name, metavar in (("resolver", "HOST[:PORT]"), ("protocol", "NAME"), ("allow_network", "CIDR")):
        group.add_argument(_option(name), metavar=metavar, action="append", help=f"{words_of(name)}; repeatable")
    group.add_argument(
        "--port", metavar="NAME=PORT", action="append", type=named_port, help=f"{words_of('port')}, e.g. smtp=2525"
    )
    group.add_argument("--source-address", metavar="IP", action="append", help=words_of("source_address"))
    group.add_argument("--trust-ad", action="store_true", default=None, help=words_of("trust_ad"))
    for name, metavar in (("ehlo_name", "FQDN"), ("exclude", "FILE"), ("ca_file", "PEM"), ("vantage", "NAME")):
        group.add_argument(_option(name), metavar=metavar, help=words_of(name))
    for name in ("tlsa", "mta_sts", "tlsrpt"):
        option = _option(name).replace("--", "--no-")
        group.add_argument(option, dest=name, action="store_false", default=None, help=f"do not {words_of(name)}")
    group.add_argument("--ipv4", action="store_true", help="IPv4 only (with --ipv6: both, whatever the file says)")
    group.add_argument("--ipv6", action="store_true", help="IPv6 only")


def words_of(name: str) -> str:
    """What a setting of `Config` means, for the help of the option that sets it."""
    return next(str(one.metadata["doc"]) for one in fields(Config) if one.name == name)


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


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
