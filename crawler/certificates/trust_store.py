"""What a strict SMTP client would say of a chain: is there a path to a trust anchor, and when is it valid?

It does no I/O but reading the trust anchors once.  Verdicts are OpenSSL's own (RFC 5280 §6), for server purpose, over
certificates as sent. Time checks are off: the dates of the path are a window beside the verdict, so trust and expiry
stay two facts.  What is too weak in a path is found in `strength`.  An anchor is a root of the store (`judge`), or any
one certificate that a TLSA record names (`path_to`, RFC 7671 §5.2).

A chain is judged once per distinct chain.
"""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property, partial
from itertools import islice, pairwise
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

import certifi
from OpenSSL import crypto
from OpenSSL._util import ffi, lib

from crawler.certificates.cache import KEPT_CERTIFICATES, KEPT_CHAINS, LruCache
from crawler.certificates.chain_verdict import ChainVerdict
from crawler.certificates.constraint_work import path_work
from crawler.certificates.der_fields import instants_of
from crawler.certificates.effort import MOST
from crawler.certificates.guard import Unreadable, guarded
from crawler.certificates.parsing import Chain, ParsedCertificate, load, parse
from crawler.certificates.server_purpose import NO_CHECK_TIME, check_purpose_is_enforced, enforce_server_purpose
from crawler.certificates.signatures import is_issued_by
from crawler.certificates.strength import weakness
from crawler.certificates.validity import Window, dates_of
from crawler.model.errors import ConfigError
from crawler.model.rows import MISSING_ISSUER
from crawler.model.three_valued import all_of, any_of
from crawler.settings.declared_limits import limit, read_bounded

_MOST_ANCHORS = limit(16 << 20, "bytes of a file of trust anchors", protects="our memory", cut="a refusal, exit code 2")

#: certificates added to a chain at most; real paths have no more than five
_ADDED = limit(
    16,
    "certificates added to a chain that lacks some",
    protects="our processor time",
    cut="`incomplete_chains.trusted_if_known` is by what was added, and `error` says what is still missing",
)


Issuers = Callable[[bytes], Iterable[ParsedCertificate]]
"""Certificates by the DER of their subject."""


class TrustStore:
    """Trust anchors and the memory of what was judged by them.

    `ca_file` is a PEM file; empty means certifi's.  Raises `ConfigError` when it cannot be read.
    """

    def __init__(self, ca_file: str = "") -> None:
        self.path = Path(ca_file or certifi.where())
        self._store = _store(self.path)
        check_purpose_is_enforced()
        self._certificates: LruCache[bytes, ParsedCertificate] = LruCache(KEPT_CERTIFICATES, attrgetter("weight"))
        self._chains: LruCache[bytes, ChainVerdict] = LruCache(KEPT_CHAINS)
        self._completed: LruCache[bytes, ChainVerdict] = LruCache(KEPT_CHAINS)
        self._paths: dict[bool, LruCache[bytes, ChainVerdict]] = {
            expires: LruCache(KEPT_CHAINS) for expires in (True, False)
        }

    @cached_property
    def _for_any_purpose(self) -> crypto.X509Store:
        return _store(self.path, for_servers=False)

    def known(self, certificate: crypto.X509) -> ParsedCertificate:
        """The certificate with its facts, parsed now or remembered.  Raises `Unreadable` if it has no encoding."""
        der = guarded(crypto.dump_certificate, crypto.FILETYPE_ASN1, certificate)
        return self._certificates.of(hashlib.sha256(der).digest(), lambda: parse(certificate, der))

    def read(self, der: bytes) -> ParsedCertificate | None:
        """A stored certificate with its facts; None if OpenSSL cannot read it."""
        try:
            return self._certificates.of(hashlib.sha256(der).digest(), lambda: load(der))
        except Unreadable:
            return None

    def is_anchored(self, intermediate: ParsedCertificate) -> bool | None:
        """Whether an anchor of the store issued this CA certificate, whatever its dates and whatever it is for."""
        return _judge(self._for_any_purpose, [intermediate], datetime.now(UTC)).trusted

    def judge(self, chain: Chain, at: datetime | None = None) -> ChainVerdict:
        """The verdict on a received chain, leaf first, at a time (default: now).  The chain must not be empty."""
        at = at or datetime.now(UTC)
        return self._chains.of(_key(at, chain), lambda: _judge(self._store, chain, at))

    def judge_with(self, chain: Chain, issuers: Issuers, at: datetime | None = None) -> ChainVerdict:
        """The verdict if the sender knew missing intermediates, as some fetch or remember them.

        The verdict depends on which intermediates are known. So it is made over a whole run, whose certificates
        `issuers` finds by subject. A verdict made while probing would depend on the order of the probes.  A sender may
        prefer what it knows to what was sent, so the leaf alone is tried as well.
        """
        at = at or datetime.now(UTC)
        sent = verdict = self.judge(chain, at)
        for start in (chain, chain[:1]) if len(chain) > 1 else (chain,):
            if verdict.trusted:
                break
            whole = completed(start, issuers)
            if len(whole) == len(start):
                continue
            made = self._completed.of(_key(at, whole, chain), partial(_judge, self._store, whole, at, sent=chain))
            if made.trusted:
                verdict = replace(made, ordered=sent.ordered)
                continue
            if verdict is sent:  # the error that remains; the dates stay those of what was sent
                verdict = replace(sent, error_code=made.error_code, error_depth=made.error_depth, error=made.error)
            verdict = replace(verdict, trusted=any_of(verdict.trusted, made.trusted))
        return verdict

    def path_to(
        self, anchor: ParsedCertificate, chain: Chain, *, anchor_expires: bool, at: datetime | None = None
    ) -> ChainVerdict:
        """The verdict on a received chain if this one certificate were the trust anchor.

        RFC 5280 §6.1.1 (d) takes of an anchor its name and key only; `anchor_expires` says that its
        dates count as well.
        """
        at = at or datetime.now(UTC)
        return self._paths[anchor_expires].of(
            _key(at, [anchor, *chain]), lambda: _judge_below(anchor, chain, at, anchor_expires=anchor_expires)
        )


def _store(path: Path, *, for_servers: bool = True) -> crypto.X509Store:
    store = crypto.X509Store()
    try:
        if stat.S_ISFIFO(path.stat().st_mode):
            raise ConfigError(f"{path}: is a pipe, and trust anchors are read more than once; give a file by --ca-file")
        read_bounded(path, _MOST_ANCHORS, "a file of trust anchors that is read here")
        store.load_locations(str(path))
    except OSError as error:
        raise ConfigError(f"{path}: trust anchors cannot be read ({error.strerror}); check --ca-file") from error
    except crypto.Error as error:
        raise ConfigError(f"{path}: holds no PEM certificates; check --ca-file") from error
    if for_servers:
        enforce_server_purpose(store)
    store.set_flags(NO_CHECK_TIME)
    return store


def completed(chain: Chain, issuers: Issuers) -> Chain:
    """The chain, with issuers of its certificates, and theirs, that it lacks; at most `_ADDED` in all."""
    made = list(chain)
    subjects = {known.der_fields.subject for known in made if known.der_fields is not None}
    for known in made:  # grows while it is gone through
        if known.der_fields is None or known.der_fields.issuer in subjects:
            continue
        subjects.add(known.der_fields.issuer)
        fitting = (issuer for issuer in issuers(known.der_fields.issuer) if is_issued_by(known.der, issuer.der))
        made += islice(fitting, max(0, len(chain) + _ADDED - len(made)))
    return made


def _judge_below(anchor: ParsedCertificate, chain: Chain, at: datetime, *, anchor_expires: bool) -> ChainVerdict:
    """The verdict of a store with this one anchor, which a stranger chose; a path may end there wherever it stands."""
    store = crypto.X509Store()
    enforce_server_purpose(store)
    store.set_flags(NO_CHECK_TIME | crypto.X509StoreFlags.PARTIAL_CHAIN)
    try:
        guarded(store.add_cert, anchor.openssl)
    except Unreadable as error:
        return _without_path(_Refusal(None, None, str(error)), chain)
    return _judge(store, chain, at, anchor_expires=anchor_expires, work=work_below(anchor, chain, at))


def work_below(anchor: ParsedCertificate, chain: Chain, at: datetime) -> float:
    """The most that it may cost to find a path from a chain to an anchor. The anchor may have been sent as well."""
    return path_work([anchor, *chain]) * len(_tries(chain, at))


def _tries(chain: Chain, at: datetime) -> list[Chain]:
    """What is offered beside the leaf, in turn, until there is a path.

    With time checks off OpenSSL may take an expired intermediate where its renewed twin was sent too; with them on, as
    every sender has them, it would not.  So first without what is expired, and if that leads nowhere, with it.
    """
    others = chain[1:]
    current = [known for known in others if _is_current(known, at)]
    return [others] if len(current) == len(others) else [current, others]


def _key(at: datetime, *chains: Chain) -> bytes:
    """What a verdict depends on, in few bytes: the certificates, and which of them are within their dates."""
    certificates = [
        (known.row.sha256, number > 0 and _is_current(known, at)) for c in chains for number, known in enumerate(c)
    ]
    return hashlib.sha256(repr((certificates, list(map(len, chains)))).encode()).digest()


def _is_current(known: ParsedCertificate, at: datetime) -> bool:
    """Whether it is known to be within its dates: what is not yields to what is."""
    start, end = known.row.not_before, known.row.not_after
    return start is not None and end is not None and start <= at <= end


def _judge(
    store: crypto.X509Store,
    chain: Chain,
    at: datetime,
    *,
    anchor_expires: bool = True,
    sent: Chain | None = None,
    work: float | None = None,
) -> ChainVerdict:
    """The verdict of a store; where not all of the chain was `sent`, it says what of the rest is on the path."""
    try:
        chain = [
            known if known.kept else replace(known, kept=known.openssl) for known in chain
        ]  # opened once for all tries
    except Unreadable as error:
        return _without_path(_Refusal(None, None, str(error)), chain)
    tries = _tries(chain, at)
    if (work or path_work(chain) * len(tries)) > MOST:
        if any(_may_lead_up(store, known) for known in chain):
            return _without_path(_TOO_COSTLY, chain)
        tries = tries[-1:]  # where no path is, nobody checks a signature or compares names
    for offered in tries:
        path = _path(store, chain[0], offered)
        if not isinstance(path, _Refusal):
            break
    if isinstance(path, _Refusal):
        return _without_path(path, chain)
    window, ordered = Window.of(map(dates_of, path if anchor_expires else path[:-1])), _is_ordered(chain)
    if (weak := weakness(path)) is not None:
        return ChainVerdict(False, *weak, _words(weak[0]), window, ordered)
    return ChainVerdict(True, 0, None, None, window, ordered, () if sent is None else _added(path, chain, sent))


class _Refusal(NamedTuple):
    """Why there is no verified path: OpenSSL's verdict; or none, as it could not judge."""

    code: int | None
    depth: int | None
    words: str


_TOO_COSTLY = _Refusal(None, None, "to judge it would cost too much (our limit)")


def _may_lead_up(store: crypto.X509Store, certificate: ParsedCertificate) -> bool:
    """Whether an anchor may have issued the certificate; where none has any of a chain, OpenSSL compares no names."""
    path = _path(store, certificate, [])
    return not isinstance(path, _Refusal) or path.code not in _WITHOUT_ANCHOR


_WITHOUT_ANCHOR = (*MISSING_ISSUER, 18, 19)  # the latter: what signed itself and is no anchor


def _without_path(refusal: _Refusal, chain: Chain) -> ChainVerdict:
    """Dates are then those of all that was received."""
    trusted = None if refusal.code is None else False
    window = Window.of((None, None) if known.der_fields is None else instants_of(known.der_fields) for known in chain)
    return ChainVerdict(trusted, *refusal, window, _is_ordered(chain), too_costly=refusal is _TOO_COSTLY)


def _path(store: crypto.X509Store, leaf: ParsedCertificate, others: Chain) -> list[crypto.X509] | _Refusal:
    """The verified path, anchor last; or why there is none.

    An exception would be kept by what it refers to, and with it a copy of the certificate that OpenSSL stopped at.
    """

    def verified() -> list[crypto.X509]:
        context = crypto.X509StoreContext(store, leaf.openssl, [known.openssl for known in others])
        return context.get_verified_chain()

    try:
        return guarded(verified)
    except Unreadable as error:
        if isinstance(error.__cause__, crypto.X509StoreContextError):
            return _Refusal(*error.__cause__.errors)
        return _Refusal(None, None, str(error))
    finally:
        lib.ERR_clear_error()  # or a signature that fails here is the first cause of what fails in a connection next


def _words(code: int) -> str:
    """What OpenSSL says for an error of verification."""
    return ffi.string(lib.X509_verify_cert_error_string(code)).decode("ascii")  # type: ignore[no-any-return]


def _added(path: list[crypto.X509], chain: Chain, sent: Chain) -> tuple[str, ...]:
    on_path = {guarded(crypto.dump_certificate, crypto.FILETYPE_ASN1, certificate) for certificate in path}
    known = {known.row.sha256 for known in sent}
    return tuple(str(k.row.sha256) for k in chain if k.row.der in on_path and k.row.sha256 not in known)


def _is_ordered(chain: Chain) -> bool | None:
    """Each certificate is followed by one that bears its issuer's name (RFC 5246 §7.4.2; RFC 8446 only advises it)."""
    return all_of(
        *(
            None
            if known.der_fields is None or follower.der_fields is None
            else known.der_fields.issuer == follower.der_fields.subject
            for known, follower in pairwise(chain)
        )
    )
