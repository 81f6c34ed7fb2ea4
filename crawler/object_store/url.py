"""Where a dataset lies when it is no directory: `s3://BUCKET/PREFIX` or `gs://BUCKET/PREFIX`, as `--data` names it.

An address holds no secret, so that it may be shown, logged and stored.  One that does is
refused, in words that do not repeat it.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from urllib.parse import unquote

from crawler.model.errors import UsageError

#: What may stand behind the `?` of an address; pyarrow knows what each means.
_OPTIONS = {
    "s3": ("region", "scheme", "endpoint_override", "tls_ca_file_path"),
    "gs": ("scheme", "endpoint_override", "retry_limit_seconds"),
}
#: What we add: one request for a small object in place of three; no quarter of an hour of tries within one request.
_OURS = {"s3": {"allow_delayed_open": "true"}, "gs": {"retry_limit_seconds": "60"}}
_KEYS = {
    "s3": "the AWS libraries look (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile)",
    "gs": "Google's libraries look (GOOGLE_APPLICATION_CREDENTIALS)",
}
_OPTION = re.compile(r"[a-z_]{1,30}").fullmatch
_ENDPOINT = re.compile(
    r"(?:https?://)?(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?(?:/[A-Za-z0-9._/-]*)?"
).fullmatch
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,221}").fullmatch


@dataclass(frozen=True, slots=True)
class Location:
    """A prefix on an object store."""

    name: str  #: `s3://BUCKET/PREFIX`, for people
    uri: str  #: with its options, for pyarrow

    @property
    def bucket(self) -> str:
        return self.name.partition("://")[2].partition("/")[0]

    @property
    def cache_key(self) -> str:
        """The name and whose it is: two stores may have buckets of one name."""
        return f"{self.uri} {os.environ.get('AWS_ENDPOINT_URL_S3') or os.environ.get('AWS_ENDPOINT_URL') or ''}"


def _decoded(text: str) -> str:
    """The text without percent-encoding, also where it was encoded a few times: errors show what pyarrow has decoded."""
    for _ in range(8):
        text = unquote(text)
    return text


def is_location(data: str) -> bool:
    """Whether `--data` names a store, well or badly, and no directory."""
    return "://" in data or data.lower().startswith(("s3:", "gs:"))


def parse_location(data: str) -> Location:
    """The store that `--data` names.  Raises `UsageError`."""
    scheme, _, rest = data.partition("://")
    scheme = scheme.lower()
    if scheme not in _OPTIONS:
        known = " or ".join(f"{name}://BUCKET/PREFIX" for name in _OPTIONS)
        raise UsageError(
            f"--data: {scheme.partition(':')[0]}: is no store that is known here; give {known}, or a directory"
        )
    place, _, query = rest.partition("?")
    options = dict(pair.partition("=")[::2] for pair in query.split("&") if pair)
    host, slash, prefix = place.partition("/")
    user, at, bucket = host.rpartition("@")
    hidden = any("@" in _decoded(text) for text in (user, bucket, query))
    if hidden or (at and (scheme, user) != ("gs", "anonymous")):
        raise UsageError(
            f"--data: an address must hold no credentials, as every user of this machine can see them; put them where {_KEYS[scheme]}"
        )
    if unknown := sorted(name for name in options if name not in _OPTIONS[scheme]):
        named = f"option {unknown[0]!r}" if _OPTION(unknown[0]) else "an option"
        raise UsageError(f"--data: {named} of the address is unknown; there are {', '.join(_OPTIONS[scheme])}")
    endpoint = _decoded(options.get("endpoint_override", ""))
    if endpoint and not _ENDPOINT(endpoint):
        raise UsageError("--data: endpoint_override of the address must be HOST, HOST:PORT or https://HOST:PORT")
    if not _BUCKET(bucket):
        raise UsageError(f"--data: names no bucket; give {scheme}://BUCKET/PREFIX")
    if wrong := next((mark for mark in prefix if mark in "#%" or mark.isspace()), None):
        raise UsageError(f"--data: the prefix holds {wrong!r}, which an address cannot say; name another")
    prefix = prefix.strip("/")
    name = f"{scheme}://{bucket}{slash if prefix else ''}{prefix}"
    query = "&".join(f"{option}={value}" for option, value in (_OURS[scheme] | options).items())
    return Location(name, f"{name.replace('://', f'://{user}{at}', 1)}?{query}")
