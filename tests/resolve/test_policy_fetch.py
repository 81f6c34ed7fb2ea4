"""MTA-STS policies over HTTPS: what is a policy, and what is told of one that is none."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import socket
from collections.abc import Awaitable, Callable

import pytest
from cryptography import x509

from crawler.model.rows import MtaStsFetch, MtaStsMode, MtaStsRecord, Policy
from crawler.policies.senders import mta_sts_enforced
from tests.kit.chains import Subject
from tests.kit.policy_hosts import HOST, POLICY, ROOT, Scene, Web, response


async def cut_off(writer: asyncio.StreamWriter) -> None:
    """End the connection in good order, but say nothing of it inside TLS."""
    await writer.drain()
    writer.transport.get_extra_info("socket").shutdown(socket.SHUT_WR)
    await asyncio.sleep(0.2)


def then_cut_off(said: bytes) -> Callable[[asyncio.StreamWriter], Awaitable[None]]:
    async def send(writer: asyncio.StreamWriter) -> None:
        writer.write(said)
        await cut_off(writer)

    return send


def test_a_policy_is_fetched_read_and_kept(scene: Scene) -> None:
    ((row, policies),) = scene.fetch()
    assert (row.mta_sts_fetch, row.mta_sts_mode, row.mta_sts_mx) == (
        MtaStsFetch.OK,
        MtaStsMode.ENFORCE,
        ["*.a.example"],
    )
    assert row.mta_sts_max_age == 86_400 and row.mta_sts_problem is None and row.mta_sts_cnames == []
    assert policies == [Policy(hashlib.sha256(POLICY).hexdigest(), POLICY.decode())]
    assert row.policy_sha256 == policies[0].sha256


def test_the_request_says_who_asks_and_asks_for_nothing_else(scene: Scene) -> None:
    scene.one(contact="https://probe.example/")
    (request,) = scene.web.requests
    assert request.startswith(b"GET /.well-known/mta-sts.txt HTTP/1.1\r\nHost: mta-sts.a.example")
    assert b"User-Agent: starttls-crawler/" in request and b"(+https://probe.example/)" in request
    assert b"Accept-Encoding: identity" in request and b"cookie" not in request.lower()


@pytest.mark.parametrize("kind", ["text/plain", "text/plain; charset=utf-8", "TEXT/PLAIN ;x=y"])
def test_the_media_type_may_have_parameters(scene: Scene, kind: str) -> None:
    assert scene.one(Web(response(Content_Type=kind))).mta_sts_fetch is MtaStsFetch.OK


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (response(Content_Type="text/html"), "media type text/html"),
        (response(Content_Type=""), "media type missing"),
        (response(Content_Type="text/plainer"), "media type text/plainer"),
        (response(status="404 Not Found"), "status 404"),
        (response(status="204 No Content", Content_Length=""), "status 204"),
        (response(gzip.compress(POLICY), Content_Encoding="gzip"), "content encoding"),
        (response(status="301 Moved", Location="https://127.0.0.1/x"), "status 301 to https://127.0.0.1/x"),
        (response(status="302 Found", Location="file:///etc/passwd"), "status 302 to file:///etc/passwd"),
        (b"SSH-2.0-OpenSSH_9\r\n\r\n", "illegal"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "conflicting Content-Length"),
        (b"\x00" * 300_000, "illegal"),
    ],
    ids=range(11),
)
def test_only_a_200_with_text_plain_is_a_policy_and_no_redirect_is_followed(
    scene: Scene, answer: bytes, problem: str
) -> None:
    row = scene.one(Web(answer))
    assert row.mta_sts_fetch is MtaStsFetch.HTTP
    assert problem in (row.mta_sts_problem or "") and scene.web.connections == 1


@pytest.mark.parametrize(
    ("answer", "fetch", "problem"),
    [
        (response(status="500 Oops"), MtaStsFetch.UNAVAILABLE, "status 500"),
        (response(status="503 Busy"), MtaStsFetch.UNAVAILABLE, "status 503"),
        (response(status="429 Too Many Requests"), MtaStsFetch.UNAVAILABLE, "status 429"),
        (b"", MtaStsFetch.BROKEN_OFF, "without sending a response"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 999\r\n\r\nversion",
            MtaStsFetch.BROKEN_OFF,
            "received 7 bytes, expected 999",
        ),
    ],
    ids=["500", "503", "429", "hangs up", "half"],
)
def test_a_host_that_breaks_off_or_is_ill_is_asked_once_more_and_tells_nothing_of_a_policy(
    scene: Scene, answer: bytes, fetch: MtaStsFetch, problem: str
) -> None:
    row = scene.one(Web(answer), https={"retry_delay": 0.01})
    assert (row.mta_sts_fetch, scene.web.connections) == (fetch, 2)
    assert problem in (row.mta_sts_problem or "")
    row.mta_sts_record = MtaStsRecord.VALID
    assert mta_sts_enforced(row) is None, "another sender may have more luck"


def test_a_connection_that_ends_in_the_handshake_is_none_that_failed_for_its_certificate(scene: Scene) -> None:
    row = scene.one(Web(b"", speaks_tls=False), https={"retry_delay": 0.01})
    assert (row.mta_sts_fetch, scene.web.connections) == (MtaStsFetch.BROKEN_OFF, 2)


def test_a_host_that_answers_the_second_time_has_its_policy(scene: Scene) -> None:
    web = Web()

    async def answer(writer: asyncio.StreamWriter) -> None:
        if web.connections > 1:
            writer.write(response(POLICY))
            await writer.drain()
            await asyncio.sleep(0.2)

    web.answer = answer
    row = scene.one(web, https={"retry_delay": 0.01})
    assert (row.mta_sts_fetch, row.mta_sts_problem, web.connections) == (MtaStsFetch.OK, None, 2)


@pytest.mark.parametrize(
    ("certificate", "problem"),
    [
        (lambda s: ROOT.issue(s, ca=False, names=["a.example"]), "Hostname mismatch"),
        (lambda s: ROOT.issue(s, ca=False, names=["m*.a.example"]), "Hostname mismatch"),
        (lambda s: ROOT.issue(s, ca=False), "Hostname mismatch"),  # CN alone
        (lambda s: ROOT.issue(s, ca=False, names=[HOST], days=(-30, -1)), "expired"),
        (lambda s: s.issue(s, ca=True, names=[HOST]), "self-signed certificate"),
        (lambda s: Subject("Elsewhere").issue(s, ca=False, names=[HOST]), "unable to get local issuer"),
        (
            lambda s: ROOT.issue(s, ca=False, names=[HOST], usage=[x509.ExtendedKeyUsageOID.CLIENT_AUTH]),
            "unsuitable certificate purpose",
        ),
    ],
    ids=["other name", "partial wildcard", "CN alone", "expired", "self-signed", "unknown root", "for clients"],
)
def test_without_a_valid_certificate_for_the_policy_host_there_is_no_policy(
    scene: Scene, certificate: Callable[[Subject], x509.Certificate], problem: str
) -> None:
    row = scene.one(Web(certificate=certificate))
    assert row.mta_sts_fetch is MtaStsFetch.TLS and problem in (row.mta_sts_problem or "")
    assert scene.web.requests == []


def test_a_wildcard_certificate_is_fine(scene: Scene) -> None:
    web = Web(certificate=lambda subject: ROOT.issue(subject, ca=False, names=["*.a.example"]))
    assert scene.one(web).mta_sts_fetch is MtaStsFetch.OK


def test_a_web_server_that_speaks_no_tls_is_a_matter_of_tls(scene: Scene) -> None:
    assert scene.one(Web(b"HTTP/1.1 400 Bad Request\r\n\r\n", speaks_tls=False)).mta_sts_fetch is MtaStsFetch.TLS


HALF = b"version: STSv1\r\nmode: enforce\r\nmax_age: 86400\r\nmx: mx1.a.example\r\n"


CHUNKED = b"%x\r\n%s\r\n" % (len(HALF), HALF)


def test_a_policy_that_only_the_end_of_the_connection_ends_needs_the_end_of_tls(scene: Scene) -> None:
    """Anybody on the path can end a TCP connection, after half of the `mx` lines as well (RFC 9112 §9.8)."""
    row = scene.one(Web(then_cut_off(response(HALF, Content_Length=""))))
    assert (row.mta_sts_fetch, row.mta_sts_mode, row.mta_sts_mx) == (MtaStsFetch.HTTP, None, None)
    assert "cut off" in (row.mta_sts_problem or "")


def test_a_policy_is_whole_whose_end_tls_has_said(scene: Scene) -> None:
    row = scene.one(Web(response(HALF, Content_Length="")))
    assert (row.mta_sts_fetch, row.mta_sts_mx) == (MtaStsFetch.OK, ["mx1.a.example"])


@pytest.mark.parametrize(
    "said",
    [response(HALF), response(CHUNKED + b"0\r\n\r\n", Content_Length="", Transfer_Encoding="chunked")],
    ids=["length", "last chunk"],
)
def test_a_policy_that_says_its_length_is_whole_however_the_connection_ends(scene: Scene, said: bytes) -> None:
    assert scene.one(Web(then_cut_off(said))).mta_sts_fetch is MtaStsFetch.OK


@pytest.mark.parametrize(
    "said",
    [response(HALF, Content_Length="500"), response(CHUNKED, Content_Length="", Transfer_Encoding="chunked")],
    ids=["length", "no last chunk"],
)
def test_a_policy_shorter_than_it_says_is_none_and_no_name_of_a_class_says_why(scene: Scene, said: bytes) -> None:
    row = scene.one(Web(then_cut_off(said)), https={"retry_delay": 0.01})
    assert (row.mta_sts_fetch, row.mta_sts_mx) == (MtaStsFetch.BROKEN_OFF, None)
    assert "Error" not in (row.mta_sts_problem or "")
