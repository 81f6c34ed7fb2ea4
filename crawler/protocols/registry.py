"""Protocols by their names, as the command line has them: `imap` is the plain form, `imaps` the implicit one.

A file of this room is a protocol when it has a `PROTOCOL`.  Nothing else lists protocols.
"""

from __future__ import annotations

import pkgutil
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import NamedTuple

import crawler.protocols
from crawler.model.rows import Form
from crawler.protocols.protocol import Protocol


class Service(NamedTuple):
    """A protocol in one of its forms, as a port offers it."""

    name: str  #: on the command line
    protocol: Protocol
    form: Form
    port: int  #: the standard one
    srv: str  #: label of its SRV records; empty: it has none


def protocol(name: str) -> Protocol:
    """The protocol by the name of its plain form, e.g. `smtp`.  Raises `KeyError`."""
    return service(name).protocol


@cache
def service(name: str) -> Service:
    """The protocol and form of that name, e.g. `imaps`.  Raises `KeyError`."""
    if (module := _module_of(name)) is not None:
        found = getattr(import_module(module), "PROTOCOL", None)  # so a scan of SMTP imports SMTP
        if found is not None and found.name == name:
            return _forms_of(found)[0]
    return services()[name]


def _module_of(name: str) -> str | None:
    module = f"{crawler.protocols.__name__}.{name.replace('-', '_')}"
    return module if name.replace("-", "").isalnum() and find_spec(module) is not None else None


@cache
def family(word: str) -> tuple[str, ...]:
    """Names of the protocols that a word stands for, e.g. `mail`, in all their forms; none if it is no such word."""
    return () if _module_of(word) is not None else families().get(word, ())


@cache
def service_of(protocol: str, form: str) -> Service:
    """A protocol in one of its forms, by the words of the table `probes`.  Raises `KeyError`."""
    for found in _forms_of(service(protocol).protocol):
        if found.form == form:
            return found
    raise KeyError(f"{protocol} {form}")


def families() -> dict[str, tuple[str, ...]]:
    """Words that stand for several protocols in all their forms, e.g. `mail`, with the names of those."""
    words = dict.fromkeys(found.protocol.family for found in services().values() if found.protocol.family)
    return {word: tuple(name for name, found in services().items() if found.protocol.family == word) for word in words}


@cache
def services() -> dict[str, Service]:
    """Every protocol in each of its forms, by name."""
    modules = sorted(module.name for module in pkgutil.iter_modules(crawler.protocols.__path__))
    made = (getattr(import_module(f"{crawler.protocols.__name__}.{name}"), "PROTOCOL", None) for name in modules)
    return {form.name: form for found in made if found is not None for form in _forms_of(found)}


def _forms_of(found: Protocol) -> list[Service]:
    forms = [Service(found.name, found, Form.STARTTLS, found.port, found.srv)]
    if found.implicit is not None:
        forms.append(Service(found.implicit.name, found, Form.IMPLICIT, found.implicit.port, found.implicit.srv))
    return forms
