"""What it costs to judge certificates that strangers made: one model of the work, in microseconds of processor time.

This module is pure.  Everything a stranger can multiply is weighed before it is done: signatures, names under name
constraints, names of subjects, and the bytes that OpenSSL takes apart again for each path. The key decides what a
signature costs: DSA over 10,000 bits takes 10 ms, and a chain may have twenty-five of them for each of eight anchors.
The numbers are measured; another machine differs by a factor, by which all of them differ.  They follow from the
certificates alone, so that a verdict is the same whenever it is made.
"""

from __future__ import annotations

from crawler.certificates.der import Element, element, elements, only
from crawler.settings.declared_limits import limit

MOST = limit(
    30_000.0,
    "microseconds of processor time, as estimated beforehand, for one verdict on a chain or on its TLSA records",
    protects="our processor time",
    cut="`probes.chain_trusted` is null and `chain_error` says that it would cost too much; `dane_error` is `too_costly`",
)
"""For one verdict: that of a store, that on TLSA records.  An honest one takes 100 to 2,000."""

COMPARISON = 0.42
"""A name held against a name constraint: 0.01 to 0.4.  So 1,000 names may be under 65 constraints."""

ELEMENT = 0.6
"""An element that OpenSSL takes apart: 0.25 in a list of names, 0.6 in the name of a subject."""

_FACTS = limit(
    1_200.0,
    "microseconds of processor time, as estimated beforehand, for the facts of one certificate, beside 0.2 for each of its bytes",
    protects="our processor time",
    cut="`certificates.self_signed`, `subject` and `issuer` are null",
)
_FACTS_PER_BYTE = 0.2
_ATTRIBUTE = 8.0  # of a subject's or an issuer's name, as an object of the library and as text
_SEQUENCE, _OID = 0x30, 0x06

_RSA = {bytes.fromhex("2a864886f70d010101"), bytes.fromhex("2a864886f70d01010a"), bytes.fromhex("55080101")}
_DSA = {bytes.fromhex("2a8648ce380401"), bytes.fromhex("2a8648ce380403"), bytes.fromhex("2b0e03020c")}
_EC = bytes.fromhex("2a8648ce3d0201")
#: How the usual keys begin, whole with the lengths, so that everything behind is where it must be.
_P256 = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d030107034200")
_RSA_2048 = bytes.fromhex("30820122300d06092a864886f70d01010105000382010f003082010a0282010100")
_USUAL_EXPONENT = bytes.fromhex("0203010001")

_RSA_BIT, _DSA_BIT, _EC_BIT = 3e-7, 4.1e-7, 2.2
_CALL = 20.0
_P256_SIGNATURE, _RSA_2048_SIGNATURE = 80.0, 42.0
_LARGEST_DSA = 10_000**2 * 256  # OpenSSL takes none that is larger
_OTHER_SIGNATURE = 2_000.0  # Ed25519 and Ed448 cost 120 and 240; hash-based ones have signatures of many thousand bytes


class TooCostly(Exception):
    """To find out would cost more than it may (our limit)."""


class Meter:
    """What may still be done."""

    __slots__ = ("left",)

    def __init__(self, left: float = MOST) -> None:
        self.left = left

    def take(self, work: float) -> None:
        """Take the work before it is done.  Raises `TooCostly` if less is left, and takes nothing then."""
        if work > self.left:
            raise TooCostly
        self.left -= work


def meter_of_facts(der: bytes) -> Meter:
    """For the facts of one certificate, whatever chain it is in: with its size, so that a chain has no more in many.

    What takes more is not read: a name of hundreds of attributes, a signature under a key that nobody uses.  RSA of
    16,384 bits and every curve are within it.
    """
    return Meter(_FACTS + _FACTS_PER_BYTE * len(der))


def reading_names(names: bytes) -> float:
    """What it costs to make text of names (DER): each attribute has an object identifier."""
    return _ATTRIBUTE * names.count(_OID)


def signature_under(public_key: bytes) -> float:
    """What it costs to check a signature under a key (SubjectPublicKeyInfo, DER).

    The structure is read and no library is asked: it may refuse a key that OpenSSL uses.
    """
    if public_key.startswith(_P256):
        return _P256_SIGNATURE
    if len(public_key) == 294 and public_key.startswith(_RSA_2048) and public_key.endswith(_USUAL_EXPONENT):
        return _RSA_2048_SIGNATURE
    try:
        return _CALL + _signature_under(public_key)
    except (IndexError, ValueError):
        return _OTHER_SIGNATURE


def _signature_under(der: bytes) -> float:
    whole = only(der, 0, len(der), _SEQUENCE)
    algorithm, bits = elements(der, whole.content, whole.end)
    oid, *parameters = elements(der, algorithm.content, algorithm.end)
    kind = der[oid.content : oid.end]
    if kind in _RSA:
        modulus, exponent = elements(der, *_within(element(der, bits.content + 1, bits.end)))
        return _RSA_BIT * _bits(der, modulus) ** 2 * _bits(der, exponent)
    if kind in _DSA:
        # Without parameters the key has those of its issuer.
        if not parameters or parameters[0].tag != _SEQUENCE:
            return _DSA_BIT * _LARGEST_DSA
        p, q, _ = elements(der, *_within(parameters[0]))
        return _DSA_BIT * min(_bits(der, p) ** 2 * _bits(der, q), _LARGEST_DSA)
    if kind == _EC:
        # An uncompressed point has two coordinates; a compressed one begins with 2 or 3.
        size = bits.end - bits.content - 2
        return _EC_BIT * 8 * (size if der[bits.content + 1] in (2, 3) else size // 2)
    return _OTHER_SIGNATURE


def _within(found: Element) -> tuple[int, int]:
    return found.content, found.end


def _bits(der: bytes, number: Element) -> int:
    return int.from_bytes(der[number.content : number.end]).bit_length()
