"""Every spelling of a name comes to one A-label, and every text that is no name says why."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.model.names import PSL_VERSION, InvalidName, a_label, suffixes


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("Example.COM", "example.com"),
        ("example.com.", "example.com"),
        ("münchen.de", "xn--mnchen-3ya.de"),
        ("MÜNCHEN.de", "xn--mnchen-3ya.de"),
        ("bu\u0308cher.example", "xn--bcher-kva.example"),  # combining diaeresis
        ("straße.de", "xn--strae-oqa.de"),  # non-transitional: its own name
        ("例え。テスト", "xn--r8jz45g.xn--zckzah"),  # ideographic full stop
        ("ｅｘａｍｐｌｅ．com", "example.com"),  # full-width
        ("xn--mnchen-3ya.de", "xn--mnchen-3ya.de"),
        ("_sip.münchen.de", "_sip.xn--mnchen-3ya.de"),
        ("com", "com"),
        ("1.2.3.4.in-addr.arpa", "1.2.3.4.in-addr.arpa"),
        ("r3---sn-4g5e.googlevideo.com", "r3---sn-4g5e.googlevideo.com"),
        ("a" * 63 + ".example", "a" * 63 + ".example"),
    ],
)
def test_a_name_comes_to_its_a_label(written: str, name: str) -> None:
    assert a_label(written) == name


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ("", "empty"),
        (".", "empty"),
        ("https://example.com/", "a URL"),
        ("example.com/path", "a URL"),
        ("*.example.com", "a wildcard"),
        ("postmaster@example.com", "a mail address"),
        ("example..com", "an empty label"),
        (".example.com", "an empty label"),
        ("example.com..", "an empty label"),
        ("192.0.2.1", "an IP address"),
        ("2001:db8::1", "an address or a port"),
        ("example.com:25", "an address or a port"),
        ("example.123", "the last label is a number"),
        ("exa mple.com", "character ' '"),
        ("example.com\x00", "character '\\x00'"),
        ("a" * 64 + ".example", "a label longer than 63"),
        (".".join(["a" * 60] * 5), "longer than 253"),
        ("-example.com", "hyphen"),
        ("example-.com", "hyphen"),
        ("☃\u200d.example", "not an internationalised"),
        ("\udcff.example", "not an internationalised"),
    ],
)
def test_what_is_not_a_name_says_why(written: str, reason: str) -> None:
    with pytest.raises(InvalidName, match=reason.replace("*", "[*]").replace("\\", "\\\\")):
        a_label(written)


@given(st.text(max_size=300))
def test_any_text_is_a_name_or_invalid_and_a_name_stays_itself(text: str) -> None:
    try:
        name = a_label(text)
    except InvalidName as error:
        assert str(error)
        return
    assert a_label(name) == name
    assert name.isascii() and name == name.lower() and 0 < len(name) <= 253


@pytest.mark.parametrize(
    ("name", "registrable", "suffix"),
    [
        ("www.example.com", "example.com", "com"),
        ("example.com", "example.com", "com"),
        ("com", None, "com"),
        ("a.b.example.co.uk", "example.co.uk", "co.uk"),
        ("co.uk", None, "co.uk"),
        ("www.city.kawasaki.jp", "city.kawasaki.jp", "kawasaki.jp"),  # an exception rule
        ("me.github.io", "me.github.io", "github.io"),  # the private section counts
        ("host.unlisted", "host.unlisted", "unlisted"),
        ("www.xn--55qx5d.cn", "www.xn--55qx5d.cn", "xn--55qx5d.cn"),
    ],
)
def test_suffixes_follow_the_public_suffix_list(name: str, registrable: str | None, suffix: str) -> None:
    assert suffixes(name) == (registrable, suffix)


def test_the_date_of_the_suffix_list_is_known() -> None:
    assert PSL_VERSION.startswith("20")
