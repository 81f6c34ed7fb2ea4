"""The one door to libraries that read bytes of strangers."""

from __future__ import annotations

import ast

import pytest

from crawler.certificates.guard import Unreadable, guarded
from tests.kit.source import MODULES, imports_of

#: Libraries that raise whatever they like at hostile bytes.
LIBRARIES = ("cryptography", "OpenSSL", "service_identity")

#: Modules that call them, and where every call on bytes of strangers goes through `guarded`.  `crawler.tls.handshake`
#: has none: pyOpenSSL states what a handshake raises (`SSL.Error`), and the chain is only handed on.
CALLERS = {
    "crawler.certificates.name_match", "crawler.certificates.parsing", "crawler.certificates.signatures", "crawler.certificates.validity", "crawler.certificates.trust_store", "crawler.certificates.strength", "crawler.policies.dane",
    "crawler.certificates.server_purpose", "crawler.tls.handshake", "crawler.probe.conversation",
}  # fmt: skip


class PanicException(BaseException):
    """As PyO3 makes it of a panic in Rust: no `Exception`, and nowhere to be imported from."""


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ValueError("x"), "x"),
        (KeyError(1), "1"),
        (RecursionError(), "the library does not say why"),
        (PanicException("index out of range"), "index out of range"),
    ],
)
def test_whatever_a_library_raises_is_a_finding_in_its_own_words(error: BaseException, words: str) -> None:
    def read(data: bytes) -> bytes:
        raise error

    with pytest.raises(Unreadable) as raised:
        guarded(read, b"")
    assert str(raised.value) == words, "and no name of a class, which would be no reason to anybody"
    assert raised.value.__cause__ is error


def test_its_words_are_printable_and_short() -> None:
    def read() -> None:
        raise ValueError("\udcff\x00\n" + "x" * 10_000)

    with pytest.raises(Unreadable) as raised:
        guarded(read)
    assert len(str(raised.value)) <= 500 and "\x00" not in str(raised.value)


@pytest.mark.parametrize("error", [MemoryError(), KeyboardInterrupt(), SystemExit(), GeneratorExit()])
def test_what_is_not_about_the_bytes_goes_through(error: BaseException) -> None:
    def read() -> None:
        raise error

    with pytest.raises(type(error)):
        guarded(read)


def test_what_a_library_returns_is_returned() -> None:
    assert guarded(int, "12", base=8) == 10


def test_only_known_modules_call_the_libraries_that_read_certificates() -> None:
    callers = {
        module
        for module in MODULES
        if not module.startswith("crawler.lab") and any(name.split(".")[0] in LIBRARIES for name in imports_of(module))
    }
    assert callers == CALLERS


@pytest.mark.parametrize("module", sorted(CALLERS - {"crawler.tls.handshake", "crawler.probe.conversation"}))
def test_no_list_of_exceptions_stands_for_what_they_may_raise(module: str) -> None:
    """But for a bad signature and an extension that is not there, which are verdicts."""
    caught = {
        name.attr if isinstance(name, ast.Attribute) else name.id
        for handler in ast.walk(ast.parse(MODULES[module].read_text("utf-8")))
        if isinstance(handler, ast.ExceptHandler) and handler.type is not None
        for name in ast.walk(handler.type)
        if isinstance(name, (ast.Name, ast.Attribute))
    } - {"crypto", "x509"}
    ours = {"Unreadable", "TooCostly", "KeyError"}  # `KeyError` of our own memory
    verdicts = {"InvalidSignature", "ExtensionNotFound"}
    our_own = {
        "crawler.certificates.trust_store": {"OSError", "Error"},
        "crawler.certificates.server_purpose": {"X509StoreContextError"},
    }
    assert caught - ours - verdicts <= our_own.get(module, set())  # the file of anchors; the self-test
