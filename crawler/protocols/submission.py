"""Submission (RFC 6409): SMTP for mail clients, on ports of its own; RFC 8314 prefers the implicit form."""

from __future__ import annotations

from dataclasses import replace

from crawler.protocols import smtp
from crawler.protocols.protocol import Implicit

PROTOCOL = replace(
    smtp.PROTOCOL, name="submission", port=587, srv="_submission", implicit=Implicit("submissions", 465, "_submissions"),
    by_mx=False, family="mail", fallbacks=("smtp", "mail"),
)  # fmt: skip
