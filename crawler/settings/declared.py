"""How a setting is declared, read from plain values such as a TOML file's, and checked.

This module knows no setting by name.  Whatever is wrong is one line that says what, where
and what would be right.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import field, fields
from functools import lru_cache
from typing import Any, get_type_hints

from crawler.model.errors import ConfigError


def setting(default: Any, doc: str, *, low: float | None = None, high: float | None = None) -> Any:
    """Declare a setting: default, meaning with its source, and the range it is checked against."""
    made: dict[str, Any] = {"metadata": {"doc": doc, "low": low, "high": high}}
    made["default_factory" if callable(default) else "default"] = default
    return field(**made)


@lru_cache
def _hints(cls: type) -> dict[str, Any]:
    return get_type_hints(cls)


def build(cls: Any, values: Any, where: str, prefix: str = "") -> Any:
    """An object of a class of settings from a mapping, with the classes of settings inside it.

    `where` the values come from and the `prefix` of their names are for the message.  Raises `ConfigError` for
    unknown names, wrong types and values out of range.
    """
    if not isinstance(values, dict):
        raise ConfigError(f"{where}: {prefix.rstrip('.')} must be a table of settings")
    known = {f.name: f for f in fields(cls)}
    if unknown := sorted(set(values) - set(known)):
        raise ConfigError(f"{where}: unknown setting {prefix}{unknown[0]}; known here: {', '.join(sorted(known))}")
    made = {}
    for name, value in values.items():
        kind = _hints(cls)[name]
        if dataclasses.is_dataclass(kind):
            made[name] = build(kind, value, where, f"{prefix}{name}.")
        else:
            made[name] = _coerced(kind, value, f"{where}: {prefix}{name}")
    try:
        return cls(**made)
    except ConfigError as error:
        raise ConfigError(str(error) if str(error).startswith(where) else f"{where}: {prefix}{error}") from None


def _coerced(kind: Any, value: Any, where: str) -> Any:
    text = str(kind)
    if text.startswith("tuple"):
        values = [value] if isinstance(value, str) else value
        if not isinstance(values, (list, tuple)) or not all(isinstance(item, str) for item in values):
            raise ConfigError(f"{where} must be a list of strings, not {_shown(value)}")
        return tuple(values)
    if text.startswith("dict"):
        if not isinstance(value, dict) or not all(type(number) is int for number in value.values()):
            raise ConfigError(f"{where} must be a table of whole numbers, e.g. {{smtp = 2525}}")
        return dict(value)
    if kind is float and type(value) is int:
        try:
            return float(value)
        except OverflowError:
            raise ConfigError(f"{where} is too large: {_shown(value)}") from None
    if type(value) is not kind:
        raise ConfigError(f"{where} must be {_WORDS[kind]}, not {_shown(value)}")
    return value


_WORDS = {float: "a number", int: "a whole number", bool: "true or false", str: "text"}


def _shown(value: object) -> str:
    """A value for a message; Python writes out no number of thousands of digits."""
    try:
        text = repr(value)
    except ValueError:
        return "a number of thousands of digits"
    return text if len(text) <= 80 else f"{text[:80]}…"


def check_ranges(settings: Any, prefix: str = "") -> None:
    """Raises `ConfigError` for a number outside the range it was declared with."""
    for f in fields(settings):
        value = getattr(settings, f.name)
        if dataclasses.is_dataclass(value):
            check_ranges(value, f"{prefix}{f.name}.")
        if isinstance(value, float) and not math.isfinite(value):
            raise ConfigError(f"{prefix}{f.name}={_shown(value)} is no finite number")
        low, high = f.metadata["low"], f.metadata["high"]
        # `not >=` instead of `<`, so that NaN is refused too.
        if (low is not None and not value >= low) or (high is not None and not value <= high):
            bounds = f"between {low:g} and {high:g}" if high is not None else f"at least {low:g}"
            raise ConfigError(f"{prefix}{f.name}={_shown(value)} is out of range; it must be {bounds}")


def check_form(parse: Callable[[str], object], text: str, name: str, wanted: str) -> None:
    """Raises `ConfigError` for a text that `parse` refuses; `wanted` says what it takes."""
    try:
        parse(text)
    except ValueError as error:
        raise ConfigError(f"{name}: {text!r} is not {wanted} ({error})") from None
