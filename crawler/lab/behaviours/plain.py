"""Mail hosts that say no, or break off, before TLS.

It holds entries only.  Each stage has its silence, its close, its reset, and each
answer by which a host can refuse there.
"""

from __future__ import annotations

from crawler.lab.behaviours.vocabulary import (
    CAPABILITIES,
    EHLO_WITHOUT,
    Act,
    Pause,
    Port,
    Step,
    ended,
    host,
    secured,
)
from crawler.model.rows import Outcome, Stage

# --- no STARTTLS --------------------------------------------------------------------------------

_NOT_OFFERED = ended(Stage.CAPABILITIES, Outcome.NOT_OFFERED, conclusive=True)
_HELO_ONLY = ended(Stage.CAPABILITIES, Outcome.NOT_OFFERED, conclusive=True, hello_command="helo")

host("no-starttls", "STARTTLS is not among the keywords", share=26, truth=_NOT_OFFERED, plain={"EHLO": (EHLO_WITHOUT,)})
host(
    "masked",
    "a firewall has written XXXXXXXA over the keyword",
    share=3,
    truth=ended(Stage.CAPABILITIES, Outcome.NOT_OFFERED, conclusive=True, starttls_masked="XXXXXXXA"),
    plain={"EHLO": (CAPABILITIES + b"250-XXXXXXXA\r\n250 ENHANCEDSTATUSCODES\r\n",)},
)
host(
    "helo-only",
    "EHLO is answered with 502, HELO with 250",
    share=4,
    truth=_HELO_ONLY,
    plain={"EHLO": (b"502 5.5.1 Command not implemented\r\n",)},
)
host("no-keywords", "the reply to EHLO is one line", share=2, truth=_NOT_OFFERED, plain={"EHLO": (b"250 Hello\r\n",)})
host(
    "keyword-as-name",
    "the first line of the EHLO reply says STARTTLS, where the host's name belongs",
    share=0.5,
    truth=_NOT_OFFERED,
    plain={"EHLO": (b"250-STARTTLS\r\n250-X-STARTTLS\r\n250 SIZE\r\n",)},
)

# --- connect ------------------------------------------------------------------------------------

host(
    "refused",
    "nothing listens on the port",
    share=12,
    truth=ended(Stage.CONNECT, Outcome.CONNECTION_REFUSED),
    port=Port.REFUSED,
)
host(
    "dropped",
    "a packet filter swallows every SYN",
    share=10,
    truth=ended(Stage.CONNECT, Outcome.TIMEOUT),
    port=Port.DROPPED,
)
host(
    "unreachable",
    "an address without a route (the broadcast address of the loopback network)",
    share=1,
    truth=ended(Stage.CONNECT, Outcome.UNREACHABLE),
    port=Port.ELSEWHERE,
    address="127.255.255.255",
)
host(
    "private-address",
    "an address in private space, which is not contacted",
    share=0,
    truth=ended(None, Outcome.ADDRESS_NOT_ALLOWED),
    port=Port.ELSEWHERE,
    address="10.25.25.25",
)
host(
    "opted-out",
    "an address whose operator asked not to be probed",
    share=1,
    truth=ended(None, Outcome.OPTED_OUT),
)
host(
    "alias-opted-out",
    "an alias of a name whose owner asked not to be probed",
    share=0,
    truth=ended(None, Outcome.OPTED_OUT),
)

# --- greeting -----------------------------------------------------------------------------------


def _greeting(name: str, about: str, share: float, outcome: Outcome, *steps: Step, code: int | None = None) -> None:
    host(name, about, share=share, truth=ended(Stage.GREETING, outcome, greeting_code=code), greeting=steps)


_greeting(
    "greeting-554",
    "refuses us for good in its greeting",
    4,
    Outcome.REJECTED,
    b"554 5.7.1 No mail from your network\r\n",
    Act.CLOSE,
    code=554,
)
_greeting(
    "greeting-421",
    "too many connections, for now",
    4,
    Outcome.REJECTED,
    b"421 4.3.2 Too many connections, try again later\r\n",
    Act.CLOSE,
    code=421,
)
_greeting("greeting-450", "not now", 1, Outcome.REJECTED, b"450 4.3.2 Please try later\r\n", Act.CLOSE, code=450)
_greeting("silence", "accepts and never says a word", 5, Outcome.TIMEOUT, Act.SILENCE)
_greeting("close-on-connect", "accepts and closes", 3, Outcome.CLOSED, Act.CLOSE)
# A moment later: an RST on the heels of the SYN-ACK may reach a client before it knows that it is connected.
_greeting("reset-on-connect", "accepts and resets", 2, Outcome.RESET, Pause(0.1), Act.RESET)
_greeting(
    "half-greeting", "falls silent in the middle of its greeting", 1, Outcome.TIMEOUT, b"220-mx.lab.ex", Act.SILENCE
)
_greeting("greeting-cut", "closes in the middle of its greeting", 1, Outcome.CLOSED, b"220 mx.lab.exa", Act.CLOSE)
_greeting(
    "garbage-greeting", "greets with bytes that are no protocol", 1, Outcome.PROTOCOL_ERROR, b"\x00\xf7\x13\x01\n"
)
host(
    "greeting-250",
    "greets with another code than 220",
    share=0.5,
    truth=secured("TLSv1.3", "x25519", greeting_code=250),
    greeting=(b"250 mx.lab.example\r\n",),
)
_greeting("ssh", "an SSH server", 1, Outcome.WRONG_PROTOCOL, b"SSH-2.0-OpenSSH_9.9\r\n")
_greeting(
    "http",
    "a web server that answers before it is asked",
    1,
    Outcome.WRONG_PROTOCOL,
    b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n",
    Act.CLOSE,
)
_greeting("imap", "an IMAP server", 0.5, Outcome.WRONG_PROTOCOL, b"* OK [CAPABILITY IMAP4rev1] ready\r\n")

# --- capabilities -------------------------------------------------------------------------------


def _capabilities(name: str, about: str, share: float, outcome: Outcome, *steps: Step) -> None:
    host(name, about, share=share, truth=ended(Stage.CAPABILITIES, outcome), plain={"EHLO": steps, "HELO": steps})


_capabilities("ehlo-554", "refuses EHLO and HELO for good", 1, Outcome.REJECTED, b"554 5.7.1 Go away\r\n")
_capabilities(
    "ehlo-421", "is closing down when EHLO comes", 1, Outcome.REJECTED, b"421 4.3.2 Shutting down\r\n", Act.CLOSE
)
_capabilities("ehlo-silence", "never answers EHLO", 2, Outcome.TIMEOUT, Act.SILENCE)
_capabilities("ehlo-close", "closes on EHLO", 1, Outcome.CLOSED, Act.CLOSE)
_capabilities("ehlo-reset", "resets on EHLO", 1, Outcome.RESET, Act.RESET)
_capabilities(
    "ehlo-garbage", "a line without a code in its EHLO reply", 0.5, Outcome.PROTOCOL_ERROR, b"250-mx\r\nwhat now?\r\n"
)

# --- upgrade ------------------------------------------------------------------------------------


def _upgrade(
    name: str,
    about: str,
    share: float,
    outcome: Outcome,
    *steps: Step,
    code: int | None = None,
    final: bool = False,
) -> None:
    truth = ended(Stage.UPGRADE, outcome, conclusive=final, starttls_code=code)
    host(name, about, share=share, truth=truth, plain={"STARTTLS": steps})


_upgrade(
    "starttls-454",
    "offers STARTTLS and has no TLS now",
    4,
    Outcome.UPGRADE_REFUSED,
    b"454 4.7.0 TLS not available due to temporary reason\r\n",
    code=454,
)
_upgrade(
    "starttls-502",
    "offers STARTTLS and does not know the command",
    2,
    Outcome.UPGRADE_REFUSED,
    b"502 5.5.1 Command not implemented\r\n",
    code=502,
    final=True,
)
host(
    "starttls-250",
    "agrees with another code than 220, and does TLS",
    share=0.5,
    truth=secured("TLSv1.3", "x25519", starttls_code=250),
    plain={"STARTTLS": (b"250 OK\r\n", Act.START_TLS)},
)
_upgrade("starttls-354", "asks for more", 0.5, Outcome.PROTOCOL_ERROR, b"354 Go on\r\n", code=354, final=True)
_upgrade("starttls-garbage", "answers in no grammar", 0.5, Outcome.PROTOCOL_ERROR, b"TLS? What TLS?\r\n", final=True)
_upgrade("starttls-silence", "never answers STARTTLS", 1, Outcome.TIMEOUT, Act.SILENCE)
_upgrade("starttls-close", "closes on STARTTLS", 1, Outcome.CLOSED, Act.CLOSE)
_upgrade("starttls-reset", "resets on STARTTLS", 1, Outcome.RESET, Act.RESET)
