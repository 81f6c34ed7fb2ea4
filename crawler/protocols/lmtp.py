"""LMTP (RFC 2033): SMTP for the last step of a delivery, which says LHLO in place of EHLO."""

from __future__ import annotations

from dataclasses import replace

from crawler.model.rows import Probe, Stage
from crawler.protocols import smtp
from crawler.protocols.protocol import Dialog, Turn


def before_tls(probe: Probe, name: bytes) -> Dialog:
    """Say LHLO, then ask for STARTTLS if it is offered."""
    hello = yield Turn(Stage.CAPABILITIES, b"LHLO " + name + b"\r\n")
    probe.hello_reply = smtp.text(hello)
    smtp.expect(hello)
    probe.hello_command, probe.capabilities = "lhlo", smtp.capabilities(hello)
    yield from smtp.upgrade(probe)


def after_tls(probe: Probe, name: bytes) -> Dialog:
    """Say LHLO inside TLS."""
    hello = yield Turn(Stage.AFTER_TLS, b"LHLO " + name + b"\r\n")
    smtp.expect(hello)
    probe.capabilities_after_tls = smtp.capabilities(hello)


#: LMTP has no port of its own; 24 is registered for "any private mail system", and `--port lmtp=…` names another.
PROTOCOL = replace(smtp.PROTOCOL, name="lmtp", port=24, before_tls=before_tls, after_tls=after_tls, by_mx=False)
