"""What happens to a body: each row of the contract's table of verdicts, as bodies and what becomes of them."""

from __future__ import annotations

import codecs
import gzip
import json
import zlib
from typing import Any

import pytest

from rpi_health.errors import REASONS
from rpi_health.text import clean
from tests.unit.payload_helpers import SEED_EXAMPLE, body_of, read, rejection

GOOD = json.dumps(SEED_EXAMPLE, ensure_ascii=False)


def nested(depth: int) -> bytes:
    """A report that nests so deeply; its object is the first level."""
    return b'{"id":"pi","net_ifaces":' + b"[" * (depth - 1) + b"]" * (depth - 1) + b"}"


NOT_JSON = {
    "empty": b"",
    "blank": b" \n",
    "truncated": b'{"id":"pi","wifi_status":"conn',
    "truncated_object": b'{"id":"pi"',
    "two_documents": b'{"id":"pi"}{"id":"pi"}',
    "two_lines": b'{"id":"pi"}\n{"id":"pi"}',
    "trailing_comma": b'{"id":"pi",}',
    "trailing_comma_in_list": b'{"id":"pi","spi_buses":[1,]}',
    "line_comment": b'{"id":"pi"} // ok',
    "block_comment": b'{/* ok */"id":"pi"}',
    "python_true": b'{"id":"pi","led_internal_status":True}',
    "python_repr": b"{'a':1}",
    "bare_words": b"{id:pi}",
    "plain_text": b"hello",
    "leading_zero": b'{"id":"pi","gpio_used_count":03}',
    "hexadecimal": b'{"id":"pi","gpio_used_count":0x3}',
    "raw_control_outside_a_string": b'{"id":\x00"pi"}',
    "raw_form_feed_between_members": b'{"id":"pi",\x0c"a":1}',
    "escape_of_raw_newline": b'{"id":"pi","wifi_status":"a\\\nb"}',
    "invalid_escape": b'{"id":"pi","wifi_status":"\\x41"}',
    "unterminated_after_escapes": b'{"id":"' + b'\\"' * 1000,
    "mark_twice": codecs.BOM_UTF8 * 2 + b'{"id":"pi"}',
    "gzip_of_no_json": gzip.compress(b"hello"),
    "wrong_bracket_before_deep_nesting": b'{"id":"pi"]' + b"[" * 100,
    "binary_with_many_brackets": bytes(range(0x20, 0x7F)) * 100,
}
NOT_OBJECT = {
    "null": b"null",
    "number": b"42",
    "text": b'"pi"',
    "true": b"true",
    "nan": b"NaN",
    "list": b"[" + GOOD.encode() + b"]",
    "empty_list": b" [] ",
}
BAD_ENCODING = {
    "latin1_text": "não é JSON".encode("latin-1"),
    "latin1_in_broken_json": '{"id":"pi","cpu_temp":"48°C"'.encode("latin-1"),
    "random_bytes": bytes(range(128, 256)),
    "utf16_with_half_a_character": codecs.BOM_UTF16_LE + GOOD.encode("utf-16-le") + b"\x00",
    "utf16_with_a_lone_surrogate": codecs.BOM_UTF16_LE + '{"id":"pi","a":"'.encode("utf-16-le") + b"\x00\xd8\x22\x00",
    "utf32_beyond_unicode": codecs.BOM_UTF32_LE + b"\xff\xff\xff\xff",
    "utf16_without_mark": GOOD.encode("utf-16-be"),
}
TOO_DEEP = {
    "thirty_three": nested(33),
    "thousand": nested(1000),
    "hundred_thousand": nested(100_000),
    "lists_only": b"[" * 200_000,
    "lists_closed": b"[" * 1000 + b"]" * 1000,
    "objects_only": b'{"a":' * 40_000,
    "after_shallow_ones": b'{"a":[' + b"[[]],{}," * 100 + b"[" * 40,
    "brackets_in_strings_do_not_close": b'{"a":"]]]]]]]]]]]]\\"]]]]",' + b'"b":' + b"[" * 32 + b"]" * 32 + b"}",
}
TOO_LARGE = {
    "body": b'{"id":"' + b"x" * 262_144 + b'"}',
    "inflated": gzip.compress(b'{"id":"pi"}' + b" " * 1_048_576),
    "inflated_a_thousandfold": gzip.compress(b"\0" * 100_000_000),
    "inflated_in_members": gzip.compress(b" " * 600_000) * 2,
}
BROKEN_GZIP = {
    "truncated": gzip.compress(GOOD.encode())[:-9],
    "magic_only": b"\x1f\x8b",
    "corrupt": gzip.compress(GOOD.encode())[:20] + b"\xff" * 60,
    "wrong_checksum": gzip.compress(GOOD.encode())[:-8] + b"\0" * 8,
    "garbage_after": gzip.compress(GOOD.encode()) + b"garbage",
    "ten_thousand_members": gzip.compress(b"") * 10_000,
}
MISSING_ID = {
    "absent": b"{}",
    "null": b'{"id":null}',
    "empty": b'{"id":""}',
    "blank": b'{"id":" \\t\\r\\n "}',
    "unicode_blanks": '{"id":"\u00a0\u3000\u2003"}'.encode(),
    "other_case": b'{"ID":"pi","Id":"pi"}',
    "key_with_a_control": b'{"i\\u0000d":"pi"}',
}
BAD_ID = {
    "true": b'{"id":true}',
    "false": b'{"id":false}',
    "float": b'{"id":1.0}',
    "nan": b'{"id":NaN}',
    "list": b'{"id":["pi"]}',
    "object": b'{"id":{"id":"pi"}}',
    "too_long": b'{"id":"' + b"x" * 129 + b'"}',
    "far_too_long": b'{"id":"' + "é".encode() * 100_000 + b'"}',
    "too_long_an_integer": b'{"id":1' + b"0" * 128 + b"}",
    "too_long_a_negative_integer": b'{"id":-1' + b"0" * 127 + b"}",
    "five_thousand_digits": b'{"id":' + b"9" * 5000 + b"}",
    "nul": b'{"id":"pi\\u0000"}',
    "escape_sequence": b'{"id":"\\u001b[31mpi"}',
    "newline_within": b'{"id":"p\\ni"}',
    "raw_newline": b'{"id":"p\ni"}',
    "raw_newline_at_the_end": b'{"id":"pi\n"}',
    "raw_nul": b'{"id":"p\0i"}',
    "control_at_the_end": b'{"id":"pi\\u001c"}',
    "only_a_control": b'{"id":"\\u0000"}',
    "del": b'{"id":"pi\x7f"}',
    "c1": '{"id":"pi\u009b"}'.encode(),
    "bidi_override": '{"id":"pi\u202e01"}'.encode(),
    "bidi_isolate": '{"id":"pi\u206601"}'.encode(),
    "arabic_letter_mark": '{"id":"pi\u061c01"}'.encode(),
    "zero_width_space": '{"id":"p\u200bi"}'.encode(),
    "zero_width_joiner": '{"id":"👨\u200d👩"}'.encode(),
    "word_joiner": '{"id":"p\u2060i"}'.encode(),
    "soft_hyphen": '{"id":"p\u00adi"}'.encode(),
    "byte_order_mark": '{"id":"p\ufeffi"}'.encode(),
    "mongolian_vowel_separator": '{"id":"p\u180ei"}'.encode(),
    "grapheme_joiner": '{"id":"p\u034fi"}'.encode(),
    "hangul_filler": '{"id":"p\u3164i"}'.encode(),
    "line_separator": '{"id":"p\u2028i"}'.encode(),
    "tag": '{"id":"pi\U000e0041"}'.encode(),
    "unassigned": '{"id":"pi\u0378"}'.encode(),
    "noncharacter": '{"id":"pi\uffff"}'.encode(),
    "lone_surrogate": b'{"id":"pi\\ud800"}',
    "invalid_utf8": b'{"id":"pi\xff"}',
    "twice_different": b'{"id":"a","id":"b"}',
    "twice_different_types": b'{"id":1,"id":"1"}',
    "twice_true_and_one": b'{"id":true,"id":1}',
    "twice_with_null": b'{"id":null,"id":"a"}',
    "twice_escaped": b'{"id":"a","\\u0069d":"b"}',
    "twice_escaped_otherwise": b'{"i\\u0064":"a","\\u0069\\u0064":"b"}',
    "twice_around_nested_ones": b'{"id":"a","net_ifaces":[{"id":1},{"id":1}],"id":"b"}',
    "twice_with_a_raw_control_elsewhere": b'{"id":"a","wifi_status":"\t","id":"b"}',
}
OTHER_ENCODING = {
    "deflate": (zlib.compress(GOOD.encode()), "deflate"),
    "br": (b"\x0b\x02\x80{}\x03", "br"),
    "zstd": (b"\x28\xb5\x2f\xfd\x00", "zstd"),
    "not_json_at_all": (b"hello", "X-Secret"),
    "hostile_name": (b"hello", "\x1b[31m\u202e" * 100),
}

REFUSED = [
    pytest.param(reason, body, id=f"{reason}-{name}")
    for reason, bodies in [
        ("bad_json", NOT_JSON),
        ("not_object", NOT_OBJECT),
        ("bad_encoding", BAD_ENCODING),
        ("too_deep", TOO_DEEP),
        ("too_large", TOO_LARGE),
        ("bad_content_encoding", BROKEN_GZIP),
        ("missing_device_id", MISSING_ID),
        ("bad_device_id", BAD_ID),
    ]
    for name, body in bodies.items()
]

STORED_AS_SENT = {
    "plain": GOOD.encode(),
    "ascii": json.dumps(SEED_EXAMPLE).encode(),
    "indented": json.dumps(SEED_EXAMPLE, indent=4).encode(),
    "surrounded_by_whitespace": b"\r\n\t " + GOOD.encode() + b" \r\n",
    "utf8_mark": GOOD.encode("utf-8-sig"),
    "utf16": GOOD.encode("utf-16"),
    "utf16_le_mark": codecs.BOM_UTF16_LE + GOOD.encode("utf-16-le"),
    "utf16_be_mark": codecs.BOM_UTF16_BE + GOOD.encode("utf-16-be"),
    "utf32": GOOD.encode("utf-32"),
    "utf32_le_mark": codecs.BOM_UTF32_LE + GOOD.encode("utf-32-le"),
    "utf32_be_mark": codecs.BOM_UTF32_BE + GOOD.encode("utf-32-be"),
    "gzip": gzip.compress(GOOD.encode()),
    "gzip_in_two_members": gzip.compress(GOOD[:50].encode()) + gzip.compress(GOOD[50:].encode()),
    "gzip_padded": gzip.compress(GOOD.encode()) + b"\0" * 512,
    "gzip_of_utf16": gzip.compress(GOOD.encode("utf-16")),
    "id_twice_the_same": GOOD.replace("{", '{"id":"raspberry-01",', 1).encode(),
    "id_escaped": GOOD.replace('"id"', '"\\u0069\\u0064"').encode(),
    "last_duplicate_wins": GOOD.replace("{", '{"cpu_percent":99,', 1).encode(),
}


def id_after(sent_id: Any) -> str:
    return read(json.dumps({"id": sent_id}).encode()).raspberry_id


@pytest.mark.parametrize(("reason", "body"), REFUSED)
def test_what_is_no_health_check_is_refused_for_its_reason(reason: str, body: bytes) -> None:
    refused = rejection(body)

    assert refused.reason == reason
    assert refused.reason in REASONS
    assert 0 < len(refused.detail) <= 300
    assert clean(refused.detail) == refused.detail


@pytest.mark.parametrize(("body", "encoding"), OTHER_ENCODING.values(), ids=OTHER_ENCODING)
def test_other_content_encoding_that_hides_no_json_is_refused_as_such(body: bytes, encoding: str) -> None:
    refused = rejection(body, content_encoding=encoding)

    assert refused.reason == "bad_content_encoding"
    assert len(refused.detail) <= 300
    assert clean(refused.detail) == refused.detail


@pytest.mark.parametrize("body", STORED_AS_SENT.values(), ids=STORED_AS_SENT)
def test_however_the_seeds_example_is_written_it_is_stored_alike(body: bytes) -> None:
    report = read(body)

    assert report.raspberry_id == "raspberry-01"
    assert report.state == read(GOOD.encode()).state
    assert report.state.report_warnings is None
    assert report.payload == SEED_EXAMPLE


@pytest.mark.parametrize(
    "encoding", [None, "", "utf-8", "UTF-8", "identity", "gzip", "GZIP", "deflate", "br", "latin-1"]
)
def test_content_encoding_does_not_matter_when_the_body_is_json(encoding: str) -> None:
    assert read(GOOD.encode(), content_encoding=encoding).state == read(GOOD.encode()).state


@pytest.mark.parametrize("encoding", [None, "gzip", "x-gzip", "utf-8", "br", b"gzip", 7])
def test_gzip_is_undone_whatever_is_announced(encoding: Any) -> None:
    assert read(gzip.compress(GOOD.encode()), content_encoding=encoding).raspberry_id == "raspberry-01"


@pytest.mark.parametrize("encoding", [None, "utf-8", "identity", "gzip"])
def test_plain_text_that_is_no_json_is_bad_json_under_a_known_encoding(encoding: str) -> None:
    assert rejection(b"hello", content_encoding=encoding).reason == "bad_json"


def test_body_at_the_limit_is_stored() -> None:
    body = body_of().ljust(262_144)

    assert read(body).raspberry_id == "pi"


def test_body_inflating_to_the_limit_is_stored() -> None:
    body = gzip.compress(body_of().ljust(1_048_576))

    assert read(body).raspberry_id == "pi"


def test_nesting_to_the_limit_is_stored() -> None:
    assert read(nested(32)).state.net_ifaces is not None


def test_many_brackets_are_not_deep() -> None:
    body = body_of(net_ifaces=[{"a": [[]], "b]": "[[["} for _ in range(1000)])

    assert len(read(body).state.net_ifaces) == 1000


def test_json_error_is_located() -> None:
    assert rejection(b'{"id":"pi",\n"a" 1}').detail == "Expecting ':' delimiter: line 2 column 5"


def test_bad_encoding_is_located() -> None:
    assert "byte 6" in rejection(b'{"id":\xff').detail


@pytest.mark.parametrize(
    "sent_id", ["[red]x", "'; DROP TABLE", "<script>", "=cmd", "../x", "🍓", "❤️", "樹莓派", "Küche", "a b"]
)
def test_id_that_other_media_would_have_to_escape_is_stored_as_is(sent_id: str) -> None:
    assert id_after(sent_id) == sent_id


@pytest.mark.parametrize("sent_id", [" pi ", "\tpi\r\n", "\u00a0pi\u3000"])
def test_id_is_trimmed(sent_id: str) -> None:
    assert id_after(sent_id) == "pi"


def test_id_is_normalized_before_it_is_measured() -> None:
    assert id_after("e\u0301" * 128) == "é" * 128


def test_id_of_128_characters_is_stored() -> None:
    assert id_after("x" * 128) == "x" * 128


@pytest.mark.parametrize("number", [0, 7, -7, 10**20, 10**127])
def test_integer_id_becomes_its_decimal_text(number: int) -> None:
    assert id_after(number) == str(number)


def test_id_keeps_its_case() -> None:
    assert id_after("PI-1") != id_after("pi-1")


def test_replacement_character_that_was_sent_is_no_invalid_utf8() -> None:
    assert id_after("pi\ufffd") == "pi\ufffd"


def test_nested_ids_are_no_second_id() -> None:
    report = read(b'{"id":"pi","net_ifaces":[{"id":"a"},{"id":"b","id":"c"}]}')

    assert report.state.net_ifaces == [{"id": "a"}, {"id": "c"}]
