"""Debian's Postfix as a sender: what it does with a message to a domain, at each of three security levels.

Rule of this file: a recipient `LEVEL@DOMAIN` is sent to at that level; what became of it is read from Postfix's log.
"""

from __future__ import annotations

import re
import smtplib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.real import servers

#: Transport -> its smtp_tls_security_level, and what it relies on in the words of `crawler.policies.senders`.
LEVELS = {"opportunistic": "may", "pkix_strict": "verify", "dane": "dane"}

_SUBMISSION = 2500


class SendingPostfix:
    """A running Postfix, and its log."""

    def __init__(self, log: Path) -> None:
        self._log = log

    def send(self, domains: Iterable[str], *, seconds: float = 60) -> dict[str, str]:
        """Send to each domain at each level; recipient -> what became of it, as `crawler.policies.senders` words it."""
        recipients = [f"{level}@{domain}" for domain in domains for level in LEVELS]
        with smtplib.SMTP("127.0.0.1", _SUBMISSION, "sender.example", timeout=30) as client:
            for recipient in recipients:
                client.sendmail("", [recipient], "Subject: x\r\n\r\nx\r\n")  # from nobody, so that no bounce follows
        servers.wait_until(
            lambda: all(f"to=<{recipient}>" in self._text() for recipient in recipients),
            seconds=seconds,
            words=self._text,
        )
        return {recipient: self._fate(recipient) for recipient in recipients}

    def _text(self) -> str:
        return self._log.read_text(errors="replace")

    def _fate(self, recipient: str) -> str:
        """A host that heard of the recipient, which it then refuses, would have got the message."""
        level = recipient.partition("@")[0]
        (ended,) = re.findall(rf"to=<{re.escape(recipient)}>, relay=(\S+), .* status=(\w+ \(.*\))", self._text())
        relay, words = ended
        if "in reply to RCPT TO command" not in words:
            return f"refused: {words}"
        address = relay.rpartition("[")[2].partition("]")[0]
        spoken = re.findall(
            rf"{level}/smtp\[\d+\]: (\w+) TLS connection established to \S+\[{re.escape(address)}\]:25", self._text()
        )
        assert len(spoken) <= 1, f"{recipient}: {address} serves one domain only"
        if not spoken:
            return "clear"
        return "authenticated" if spoken == ["Verified"] else "encrypted"


@contextmanager
def postfix(directory: Path, roots: Path) -> Iterator[SendingPostfix]:
    """Postfix that asks the system's resolver, sends to port 25, and trusts the roots where it must verify."""
    directory.mkdir(mode=0o755)
    transports = "".join(f"/^{level}@/ {level}:\n" for level in LEVELS)
    (directory / "transport").write_text(transports)
    main = {
        "myhostname": "sender.example",
        "mynetworks": "127.0.0.0/8",
        "transport_maps": f"regexp:{directory}/transport",
        "smtpd_peername_lookup": "no",
        "smtp_dns_support_level": "dnssec",
        "smtp_host_lookup": "dns",
        "smtp_tls_CAfile": roots,
        "smtp_tls_loglevel": "1",
        "smtp_connection_cache_on_demand": "no",
        "smtp_tls_connection_reuse": "no",
        # The mail host alone: who the MX record names is whom a PKIX-strict sender believes.
        "smtp_tls_verify_cert_match": "hostname",
        "dnssec_probe": "",
        "notify_classes": "",
    }
    master = [
        f"127.0.0.1:{_SUBMISSION} inet n - n - - smtpd",
        "cleanup unix n - n - 0 cleanup",
        "qmgr unix n - n 300 1 qmgr",
        "tlsmgr unix - - n 1000? 1 tlsmgr",
        "rewrite unix - - n - - trivial-rewrite",
        *(f"{name} unix - - n - 0 bounce" for name in ("bounce", "defer", "trace")),
        "proxymap unix - - n - - proxymap",
        "anvil unix - - n - 1 anvil",
        "error unix - - n - - error",
        "retry unix - - n - - error",
        "scache unix - - n - 1 scache",
    ]
    for transport, level in LEVELS.items():
        options = {"syslog_name": f"postfix/{transport}", "smtp_tls_security_level": level}
        master += [f"{transport} unix - - n - - smtp", *(f"  -o {name}={value}" for name, value in options.items())]
    with servers.postfix_instance(directory, main, master, lambda: servers.accepts("127.0.0.1", _SUBMISSION)) as log:
        yield SendingPostfix(log)
