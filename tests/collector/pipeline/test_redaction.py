from __future__ import annotations

import base64
import random

import pyarrow as pa
import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from pydantic import ValidationError

from collector.config import parse
from collector.errors import ConfigError
from collector.model.attributes import ValueType
from collector.model.ids import parse_trace_id
from collector.pipeline.intake import Intake
from collector.pipeline.logs import decode_logs
from collector.pipeline.redaction import MASK, Redactor, Rules, luhn
from collector.pipeline.redaction_config import RedactionConfig
from collector.pipeline.spans import decode_spans
from collector.storage.logs import LogQuery, LogReader
from collector.storage.traces.database import TelemetryDatabase
from collector.storage.traces.reader import TraceReader

TRACE_ID = parse_trace_id("0af7651916cd43dd8448eb211c80319c")
SECRETS = ["hunter2-hunter2", "4111 1111 1111 1111", "5500-0000-0000-0004", "378282246310005", "c2VjcmV0OnBhc3N3b3Jk"]


def redactor(**rules) -> Redactor:
    return Redactor(RedactionConfig(**rules).rules() or Rules((), (), cards=False))


def masked(text: str, **rules) -> str:
    return redactor(**rules).texts(pa.array(["before", text, "", "after"])).to_pylist()[1]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgres://shop:hunter2@db:5432/shop", f"postgres://shop:{MASK}@db:5432/shop"),
        ("redis://:hunter2@cache", f"redis://:{MASK}@cache"),
        ("https://shop/pay?api_key=abc&x=1", f"https://shop/pay?api_key={MASK}&x=1"),
        ("Authorization: Bearer abcdefgh.12345==", f"Authorization: Bearer {MASK}"),
        ("paid with 4111 1111 1111 1111 or 4242424242424242.", f"paid with {MASK} or {MASK}."),
        ("4111111111111111", MASK),
        ("card no.4111111111111111", f"card no.{MASK}"),
        ("card_4111111111111111_", f"card_{MASK}_"),
        ("4111111111111111.0", f"{MASK}.0"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln", MASK),
        ("key AKIAIOSFODNN7EXAMPLE!", f"key {MASK}!"),
    ],
)
def test_a_secret_is_masked_by_its_form(text, shown):
    assert masked(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "4111111111111112",  # the check digit is wrong
        "1700000000000000000",  # a Unix time
        "14111111111111111",  # no issuer has 17 digits
        "0.4111111111111111",  # the decimals of a ratio
        "1.4111111111111111e-05",
        "4bf4111111111111111ce929d0e0e473",  # part of an id in hex
        "http://127.0.0.1:8080/path@2x",
        "SELECT * FROM orders WHERE token = ?",
        "0af7651916cd43dd8448eb211c80319c",
    ],
)
def test_what_only_looks_like_a_secret_stays(text):
    assert masked(text) == text


def test_a_match_that_begins_in_another_row_hides_none():
    """The card of the second row, after digits at the end of the first one."""
    rows = pa.array(["411111111111", "4111111111111111", "4111", "1111", "5500000000000004"])
    assert redactor().texts(rows).to_pylist() == ["411111111111", MASK, "4111", "1111", MASK]


def test_own_rules_stand_beside_the_defaults_or_alone():
    assert masked("DE02120300000000202051", values=[r"^(DE\d{20})$"]) == MASK
    assert masked("x DE02120300000000202051", values=[r"^(DE\d{20})$"]) == "x DE02120300000000202051"
    assert masked("4111111111111111", defaults=False, card_numbers=False) == "4111111111111111"


@pytest.mark.parametrize(
    ("pattern", "why"),
    [("(", "not RE2"), ("a*", "empty text"), (r"\Aabc", "edges"), ("(a)(b)", "2 groups"), ("(?=a)", "not RE2")],
)
def test_a_pattern_that_cannot_be_used_is_refused_by_name(pattern, why):
    with pytest.raises(ValidationError, match=why):
        RedactionConfig(values=[pattern])


def test_the_section_of_the_configuration_file_is_read(tmp_path):
    section = {"defaults": False, "card_numbers": False, "keys": [r"(?i)^customer\.iban$"]}
    config = parse({"redaction": section}, source="file", directory=tmp_path)
    assert config.redaction.rules() == Rules((r"(?i)^customer\.iban$",), (), cards=False)
    with pytest.raises(ConfigError, match=r"file: redaction\.values: pattern '\(' is not RE2"):
        parse({"redaction": {"values": ["("]}}, source="file", directory=tmp_path)
    nothing = {"defaults": False, "card_numbers": False}
    assert parse({"redaction": nothing}, source="file", directory=tmp_path).redaction.rules() is None


def test_numbers_that_are_no_cards_stay_as_they_are():
    """One ratio in fifty has decimals that would pass for a card's."""
    chance = random.Random(7)
    texts = [repr(chance.random() * 10 ** chance.randrange(-3, 4)) for _ in range(2000)]
    kinds = pa.array([ValueType.DOUBLE] * len(texts), pa.uint8())
    assert redactor().any_values(kinds, pa.array(texts))[1].to_pylist() == texts


def test_luhn_knows_the_check_digit():
    assert luhn(b"79927398713")
    assert [digit for digit in range(10) if luhn(b"7992739871%d" % digit)] == [3]


def test_no_secret_reaches_a_file(tmp_path, trace_request):
    per_resource = trace_request.resource_spans[0]
    root, child = per_resource.scope_spans[0].spans
    put(per_resource.resource, "deployment.password", SECRETS[0])
    put(per_resource.scope_spans[0].scope, "note", f"https://u:{SECRETS[0]}@h")
    header = root.attributes.add(key="http.request.header.authorization").value
    header.array_value.values.add(string_value=f"Basic {SECRETS[4]}")
    put(root, "url.full", f"https://u:{SECRETS[0]}@shop/")
    root.attributes.add(key="card").value.int_value = int(SECRETS[3])
    nested = root.attributes.add(key="body").value.kvlist_value
    nested.values.add(key="card").value.string_value = SECRETS[1]
    nested.values.add(key="x-api-key").value.bytes_value = SECRETS[0].encode()
    root.attributes.add(key="raw").value.bytes_value = f"card {SECRETS[2]}".encode()
    put(root.events[0], "exception.message", f"card {SECRETS[1]} declined")
    put(root.links[0], "cookie", SECRETS[0])
    root.status.message = f"cannot connect to amqp://u:{SECRETS[0]}@bus"
    child.name = f"GET /pay/{SECRETS[3]}"
    logs = ExportLogsServiceRequest()
    records = logs.resource_logs.add().scope_logs.add().log_records
    records.add(time_unix_nano=1).body.string_value = f"Authorization: Basic {SECRETS[4]}"
    body = records.add(time_unix_nano=2).body.kvlist_value.values
    body.add(key="password").value.string_value = SECRETS[0]
    body.add(key="amount").value.int_value = 3

    intake = Intake(redactor=redactor())
    database = TelemetryDatabase.open(tmp_path / "telemetry.duckdb")
    database.write(
        [
            decode_spans(trace_request.SerializeToString(), received_ms=1, intake=intake),
            decode_logs(logs.SerializeToString(), received_ms=1, intake=intake),
        ]
    )
    assert_absent(tmp_path)  # from the write-ahead log
    trace = TraceReader(database).trace(TRACE_ID)
    attributes = {item.key: item.value for item in trace.spans[0].attributes}
    assert attributes["http.request.header.authorization"] == attributes["card"] == attributes["raw"] == MASK
    assert attributes["url.full"] == f"https://u:{MASK}@shop/"
    assert attributes["body"] == {"card": MASK, "x-api-key": MASK}
    assert (attributes["i"], attributes["y"], attributes["a"]) == (-(2**63), b"\x00\xff", ["x", {"deep": 1}])
    assert trace.spans[0].status_message == f"cannot connect to amqp://u:{MASK}@bus"
    assert trace.spans[1].name == f"GET /pay/{MASK}"
    records = LogReader(database).find(LogQuery(start_unix_nano=0, end_unix_nano=9, limit=9))
    assert [record.body.value for record in records] == [
        {"password": MASK, "amount": 3},
        f"Authorization: Basic {MASK}",
    ]
    database.close()
    assert_absent(tmp_path)  # from the file


def put(holder, key: str, value: str) -> None:
    holder.attributes.add(key=key).value.string_value = value


def assert_absent(folder) -> None:
    files = [path for path in folder.rglob("*") if path.is_file()]
    content = b"".join(path.read_bytes() for path in files)
    assert b"GET /products" in content  # what is no secret is there, uncompressed as a secret would be
    for secret in SECRETS:
        assert secret.encode() not in content
        assert base64.b64encode(secret.encode())[:12] not in content
