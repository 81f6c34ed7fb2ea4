"""One whole conversation with one endpoint, from connection to goodbye: bytes in, bytes out.

It has no sockets, and only the clock that it is given. `connection.py` moves the bytes and watches the deadlines, the
protocol's file has the words, and `handshake.py` does the handshake. This module puts them together, so a test can
play a conversation byte by byte.

    plain ──go-ahead──▶ handshake ──established──▶ after_tls ──▶ goodbye
                        handshake ──established──▶ greeting ──▶ after_tls ──▶ goodbye      the implicit form
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from OpenSSL import crypto

from crawler.model.rows import Form, Outcome, Probe, Stage, is_conclusive, printable, within
from crawler.probe.long_handshakes import LONG_HANDSHAKE, LongHandshakes
from crawler.protocols.protocol import Dialog, Ended, Protocol, Turn
from crawler.settings.config import Limits
from crawler.tls.handshake import TlsClient, TlsFailure, is_forward_secret, is_post_quantum

_MS_COLUMN: dict[Stage, str] = {stage: f"{stage}_ms" for stage in Stage if stage is not Stage.DONE}

#: Outcomes after which the host still expects us to take our leave.
_QUIT_EXPECTED = frozenset({Outcome.OK, Outcome.NOT_OFFERED, Outcome.UPGRADE_REFUSED, Outcome.REJECTED})

_HANDSHAKE = Turn(Stage.HANDSHAKE)
_RECORD_TYPES = range(20, 24)  # change_cipher_spec to application_data (RFC 8446 §5.1)


class Identity(NamedTuple):
    """The name that we give to the host, and the name that we ask for."""

    ehlo_name: bytes
    server_name: bytes | None  #: for SNI; None for an address literal


class Conversation:
    """Fills one `Probe` row.

    `connected` when the connection stands, `receive` for every piece of data, `end` for whatever
    ends it from outside (FIN, RST, deadline).  `ended` is true from the moment the row is complete;
    what `receive` returned last is still to be sent.
    """

    __slots__ = (
        "_buffer",
        "_clock",
        "_dialog",
        "_dropped",
        "_for_good",
        "_identity",
        "_inside",
        "_is_implicit",
        "_last_reply",
        "_limits",
        "_long",
        "_make_tls",
        "_protocol",
        "_replies",
        "_reply_count",
        "_since",
        "_tls",
        "_turn",
        "chain",
        "ended",
        "probe",
        "reply_code",
        "stage",
        "turns",
    )  # fmt: skip

    def __init__(
        self,
        probe: Probe,
        protocol: Protocol,
        identity: Identity,
        limits: Limits,
        make_tls: Callable[[bytes | None], TlsClient],
        clock: Callable[[], float],
        long: LongHandshakes | None = None,
    ) -> None:
        self.probe = probe
        self.stage = Stage.CONNECT
        self.ended = False
        self.chain: list[crypto.X509] = []  #: certificates as sent, for the judge
        self.reply_code: int | None = None  #: of the last reply, for the record of attempts
        self._protocol, self._identity, self._limits = protocol, identity, limits
        self.turns = 0  #: grows with every step taken, so that each step can have its own deadline
        self._make_tls, self._clock = make_tls, clock
        self._long = long or LongHandshakes(limits.long_handshakes)
        self._dialog: Dialog | None = None
        self._turn = Turn(Stage.CONNECT)
        self._is_implicit = probe.form is Form.IMPLICIT
        self._for_good = False  # the host meant its refusal to last
        self._replies = protocol.replies(limits)
        self._reply_count = 0
        self._last_reply = b""
        self._buffer = bytearray()
        self._tls: TlsClient | None = None
        self._dropped = 0  # characters of texts that are not kept
        self._inside = 0  # bytes received since the handshake
        self._since = clock()

    # --- what happens to us ---

    def connected(self) -> bytes:
        """The connection stands; returns what to send first."""
        if not self._is_implicit:
            return self._begin(self._protocol.plain)
        try:
            return self._upgrade()
        except TlsFailure as failure:  # a name that does not fit into SNI
            return self._fail_tls(failure)

    def receive(self, data: bytes) -> bytes:
        """Data came; returns what to send.  Never raises for anything the host does."""
        if self.ended:
            return b""
        try:
            if self._tls is None:
                self._buffer += data
                return self._converse()
            if not self._tls.established:
                return self._shake(data)
            return self._hear_inside(data)
        except Ended as end:
            self._for_good = end.for_good
            return self._finish(end.outcome)
        except TlsFailure as failure:
            return self._fail_tls(failure)

    def is_heavy(self, data: bytes) -> bool:
        """Whether `receive` may work long on this data, which it gets next: better not in a turn of the event loop."""
        tls = self._tls
        return tls is not None and not tls.established and not self.ended and tls.is_heavy(data)

    def end(self, outcome: Outcome) -> None:
        """Ended from outside: `closed` (FIN), `reset`, `timeout`, `connection_refused`, `unreachable` …"""
        if not self.ended:
            if outcome is Outcome.CLOSED:
                outcome = self._turn.if_closed
            self._finish(outcome)

    # --- plain ---

    def _begin(self, dialog: Callable[[Probe, bytes], Dialog]) -> bytes:
        self._dialog = dialog(self.probe, self._identity.ehlo_name)
        return self._take(next(self._dialog))

    def _take(self, turn: Turn) -> bytes:
        self._turn = turn
        self._replies.expect(turn)
        self.turns += 1
        if turn.stage is not self.stage:
            self._enter(turn.stage)
        return turn.say

    def _converse(self) -> bytes:
        """Answer every whole reply in the buffer; at the go-ahead turn to TLS."""
        out = b""
        assert self._dialog is not None
        while (reply := self._replies.cut(self._buffer)) is not None:
            self._reply_count += 1
            self.reply_code = reply.code
            self._last_reply = reply.raw
            if self._tls is not None:
                self.probe.negotiated = True
            if self._reply_count > self._limits.replies:
                raise Ended(Outcome.LIMIT_EXCEEDED)
            try:
                out += self._take(self._dialog.send(reply))
            except StopIteration:
                return out + (self._upgrade() if self._tls is None else self._finish(Outcome.OK))
        return out

    # --- TLS ---

    def _upgrade(self) -> bytes:
        """Begin TLS, after the go-ahead or at once.  Plaintext behind the go-ahead is recorded and discarded, never
        answered: kept across the upgrade it would be an injected response (CVE-2011-0411 and its kin)."""
        if self._buffer:
            self.probe.plaintext_after_upgrade = bytes(self._buffer[: self._limits.plaintext_bytes])
            self._buffer.clear()
        self._take(_HANDSHAKE)
        self.probe.tls_bytes = 0
        # Only now: an SSL object takes about 22 KiB, and most of a connection's life is waiting before this.
        self._tls = self._make_tls(self._identity.server_name)
        return self._tls.start()

    def _shake(self, data: bytes) -> bytes:
        probe, tls = self.probe, self._tls
        assert tls is not None and probe.tls_bytes is not None
        if self._buffer or (not probe.tls_bytes and data[0] not in _RECORD_TYPES):
            self._buffer += data[: self._limits.plaintext_bytes]  # not TLS; kept until OpenSSL has seen so too
        probe.tls_bytes += len(data)
        if probe.tls_bytes > self._limits.handshake_bytes:
            raise Ended(Outcome.LIMIT_EXCEEDED)
        out = tls.feed(data)
        if not tls.established:
            return out
        probe.tls_version, probe.tls_cipher, probe.tls_group = tls.version(), tls.cipher(), tls.group()
        probe.forward_secret = is_forward_secret(probe.tls_version, probe.tls_cipher or "")
        probe.post_quantum = is_post_quantum(probe.tls_group)
        probe.tls_alpn = tls.alpn()
        staple = tls.staple()
        if staple is not None:
            probe.ocsp_staple_bytes = len(staple)
            probe.ocsp_staple = staple if len(staple) <= self._limits.staple_bytes else None
        sent = tls.chain()
        self.chain = sent[: self._limits.certificates]
        probe.chain_dropped = len(sent) - len(self.chain)
        if probe.tls_bytes > LONG_HANDSHAKE and not self._long.has_room(probe.tls_bytes, tls):
            self._take(Turn(Stage.AFTER_TLS))
            self._finish(Outcome.LIMIT_EXCEEDED)
            return out + self._goodbye()
        # Our Finished and the first command travel in one flight.
        say = self._begin(self._protocol.inside if self._is_implicit else self._protocol.after_tls)
        out += tls.write(say) if say else b""
        return out + self._hear_inside(b"")

    def _hear_inside(self, data: bytes) -> bytes:
        assert self._tls is not None
        # Tickets, key updates and calls to renegotiate say nothing, cost much, and can go on for ever.
        self._inside += len(data)
        if self._inside > self._limits.handshake_bytes + self._limits.reply_bytes:
            raise Ended(Outcome.LIMIT_EXCEEDED)
        plain, closed = self._tls.read(data)
        self._buffer += plain
        say = self._converse()
        if closed and not self.ended:
            raise Ended(Outcome.CLOSED)
        return say if self.ended or not say else self._tls.write(say)

    def _fail_tls(self, failure: TlsFailure) -> bytes:
        self.probe.tls_alert, self.probe.tls_reason = failure.alert, failure.reason
        if self._buffer and self.stage is Stage.HANDSHAKE:  # the host's first words were not TLS
            self.probe.plaintext_after_upgrade = bytes(self._buffer[: self._limits.plaintext_bytes])
            self._last_reply = self.probe.plaintext_after_upgrade
        return self._finish(failure.outcome)

    # --- the end ---

    def _finish(self, outcome: Outcome) -> bytes:
        """Complete the row; returns the goodbye when the host still listens for one."""
        probe, stage = self.probe, self.stage
        if outcome is not Outcome.OK and self._tls is None and self._buffer:
            self._last_reply = bytes(self._buffer)
        if self._last_reply:
            self._dropped += max(0, len(self._last_reply) - self._limits.kept_text)
            probe.last_reply = printable(self._last_reply[: self._limits.kept_text].replace(b"\r\n", b"\n").rstrip())
        if self._replies.stray:
            probe.stray_bytes = bytes(self._replies.stray[: self._limits.plaintext_bytes])
        self._trim()
        self._enter(Stage.DONE if outcome is Outcome.OK else stage)
        probe.stage, probe.outcome = self.stage, outcome
        inside = probe.tls_version is not None
        probe.conclusive = is_conclusive(probe.stage, outcome, for_good=self._for_good, inside_tls=inside)
        if probe.negotiated is None and probe.conclusive:
            probe.negotiated = False
        self.ended = True
        return self._goodbye() if outcome in _QUIT_EXPECTED else b""

    def _trim(self) -> None:
        """Hold every text of the row to what is kept; nothing is judged from it any more."""
        probe = self.probe
        probe.greeting, probe.hello_reply = self._cut(probe.greeting), self._cut(probe.hello_reply)
        probe.capabilities = self._first_of(probe.capabilities)
        probe.capabilities_after_tls = self._first_of(probe.capabilities_after_tls)
        probe.text_dropped = self._dropped or None

    def _cut(self, text: str | None) -> str | None:
        if text is None or len(text) <= self._limits.kept_text:
            return text
        self._dropped += len(text) - self._limits.kept_text
        return text[: self._limits.kept_text]

    def _first_of(self, texts: list[str] | None) -> list[str] | None:
        if not texts:
            return texts
        kept = within(texts, self._limits.kept_text)
        self._dropped += sum(map(len, texts[len(kept) :]))
        return kept

    def _goodbye(self) -> bytes:
        if self._tls is None:
            return self._protocol.goodbye
        try:
            return self._tls.write(self._protocol.goodbye)
        except TlsFailure:  # the host has closed TLS already; nothing is owed
            return b""

    def _enter(self, stage: Stage) -> None:
        """Book the time since the last entry on the stage that is left."""
        now = self._clock()
        column = _MS_COLUMN[self.stage]
        setattr(self.probe, column, (getattr(self.probe, column) or 0) + round((now - self._since) * 1000))
        self._since = now
        self.stage = stage
