"""Rule files over HTTP, as an editor uses them: tried without effect, saved whole or not at all."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from collector.api.rule_files import rule_files_router
from collector.rules.manager import RuleManager
from collector.rules.rule_files import MAX_TEXT_BYTES, RuleFiles

RULES = "groups:\n  - name: shop\n    rules:\n      - {alert: Slow, expr: latency > 0.5, for: 1m}\n"
OTHER = "groups:\n  - name: other\n    rules:\n      - {record: one, expr: vector(1)}\n"
BROKEN = "groups:\n  - name: shop\n    rules:\n      - {alert: Slow, expr: 'latency >'}\n"
TESTS = """
rule_files: [../shop.yml]
evaluation_interval: 1m
tests:
  - interval: 1m
    input_series: [{series: 'latency{job="cart"}', values: '0.7 0.7 0.7'}]
    alert_rule_test:
      - {eval_time: 2m, alertname: Slow, exp_alerts: [{exp_labels: {job: cart}}]}
"""
BEARER = {"Authorization": "Bearer of-the-collector"}
PREFIX = "/api/v1/rule-files"


async def nobody(_alerts):
    pass


class Editor:
    def __init__(self, client: httpx.AsyncClient, folder: Path, manager: RuleManager) -> None:
        self.client, self.folder, self.manager = client, folder, manager
        self.file = str(folder / "shop.yml")

    async def read(self, file: str = ""):
        return (await self.client.get(f"{PREFIX}/content", params={"file": file or self.file})).json()["data"]

    async def save(self, text: str, *, version: str, file: str = ""):
        body = {"file": file or self.file, "text": text, "version": version}
        return await self.client.put(f"{PREFIX}/content", json=body, headers=BEARER)

    async def post(self, what: str, **body):
        return await self.client.post(f"{PREFIX}/{what}", json={"file": self.file, **body}, headers=BEARER)

    @property
    def in_force(self) -> list[str]:
        return [rule.rule.name for group in self.manager.groups for rule in group.rules]


@pytest.fixture
async def editor(tmp_path, engine, store, start_ms) -> AsyncIterator[Editor]:
    folder = tmp_path / "rules"
    (folder / "tests").mkdir(parents=True)
    (folder / "shop.yml").write_text(RULES)
    (folder / "other.yml").write_text(OTHER)
    (folder / "tests" / "shop_test.yml").write_text(TESTS)
    manager = RuleManager(
        files=[str(folder / "*.yml")],
        engine=engine,
        sink=store,
        source=store,
        notify=nobody,
        state_path=tmp_path / "alerts.json",
        evaluation_interval_s=1,
        external_url="http://c",
        clock=lambda: start_ms / 1000,
    )
    await manager.reload()
    app = FastAPI()
    app.include_router(rule_files_router(RuleFiles(manager, url="http://127.0.0.1:1"), token="of-the-collector"))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://c") as client:
        yield Editor(client, folder, manager)


async def test_files_in_force_are_listed_and_read_with_their_tests(editor):
    listed = (await editor.client.get(PREFIX)).json()["data"]["files"]
    assert [Path(each["file"]).name for each in listed] == ["other.yml", "shop.yml"]
    assert all(each["writable"] for each in listed)
    found = await editor.read()
    assert (found["text"], found["tests"]) == (RULES, TESTS)


async def test_a_saved_file_is_in_force_at_once_and_survives(editor):
    version = (await editor.read())["version"]
    changed = RULES.replace("Slow", "Slower")
    answer = await editor.save(changed, version=version)
    assert answer.status_code == 200, answer.text
    assert editor.in_force == ["one", "Slower"]
    assert (editor.folder / "shop.yml").read_text() == changed
    assert (await editor.read())["version"] == answer.json()["data"]["version"] != version


async def test_a_file_that_cannot_be_used_is_refused_with_its_place_and_the_old_one_stays(editor):
    answer = await editor.save(BROKEN, version=(await editor.read())["version"])
    assert answer.status_code == 400
    assert [(each["line"], each["rule"]) for each in answer.json()["problems"]] == [(4, "Slow")]
    assert (editor.folder / "shop.yml").read_text() == RULES
    assert editor.in_force == ["one", "Slow"]


async def test_a_file_that_is_right_alone_and_wrong_among_the_others_is_put_back(editor):
    (editor.folder / "other.yml").write_text(BROKEN)
    answer = await editor.save(RULES.replace("Slow", "Slower"), version=(await editor.read())["version"])
    assert answer.status_code == 400
    assert (editor.folder / "shop.yml").read_text() == RULES
    assert editor.in_force == ["one", "Slow"]


async def test_who_was_overtaken_is_told_and_overwrites_nothing(editor):
    version = (await editor.read())["version"]
    (editor.folder / "shop.yml").write_text(RULES.replace("Slow", "Mine"))
    assert (await editor.save(RULES, version=version)).status_code == 409
    assert "Mine" in (editor.folder / "shop.yml").read_text()


async def test_a_new_file_must_stand_where_rule_files_are_looked_for(editor):
    new = RULES.replace("shop", "new").replace("Slow", "New")
    made = await editor.save(new, version="", file=str(editor.folder / "new.yml"))
    assert made.status_code == 200, made.text
    assert "New" in editor.in_force
    again = await editor.save(new, version="", file=str(editor.folder / "new.yml"))
    assert again.status_code == 409


@pytest.mark.parametrize("file", ["../up.yml", "/etc/passwd", "{folder}/x.txt", "{folder}/tests/../../x.yml", "x.yml"])
async def test_no_other_file_is_read_or_written(editor, file):
    path = file.format(folder=editor.folder)
    for version in ("", "0" * 32):
        with pytest.raises(Exception, match=r"rule_files|in force"):
            await editor.save(RULES, version=version, file=path)
    with pytest.raises(Exception, match="in force"):
        await editor.client.get(f"{PREFIX}/content", params={"file": path})


async def test_a_text_is_checked_without_effect(editor):
    told = (await editor.post("check", text=BROKEN)).json()["data"]
    assert told["verdict"] == "error"
    assert (told["errors"][0]["file"], told["errors"][0]["line"]) == (editor.file, 4)
    assert (await editor.post("check", text=RULES)).json()["data"]["errors"] == []
    assert editor.in_force == ["one", "Slow"]


async def test_unit_tests_run_on_the_text_and_not_on_the_file(editor):
    assert (await editor.post("test", text=RULES, tests=TESTS)).json()["data"]["passed"] is True
    told = (await editor.post("test", text=RULES.replace("0.5", "0.9"), tests=TESTS)).json()["data"]
    assert told["passed"] is False
    assert "Slow" in told["failures"][0]


@pytest.mark.parametrize("what", ["check", "test", "backtest"])
async def test_trying_and_saving_want_the_token(editor, what):
    body = {"file": editor.file, "text": RULES}
    assert (await editor.client.post(f"{PREFIX}/{what}", json=body)).status_code == 401
    assert (await editor.client.put(f"{PREFIX}/content", json={**body, "version": ""})).status_code == 401


async def test_a_text_over_the_limit_and_a_window_that_is_none_are_refused(editor):
    assert (await editor.post("check", text="#" * (MAX_TEXT_BYTES + 1))).status_code == 422
    with pytest.raises(Exception, match="window"):
        await editor.post("backtest", text=RULES, from_unix_ms=5, to_unix_ms=5)
