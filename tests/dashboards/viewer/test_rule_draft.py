"""What the rule editor saves, on the collector's own rule files."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from collector.api.rule_files import rule_files_router
from collector.query.promql.engine import Engine
from collector.rules.manager import RuleManager
from collector.rules.rule_files import RuleFiles as CollectorsRuleFiles
from collector.storage.metrics.store import MetricStore
from dashboards.errors import DraftError, PeerError
from dashboards.viewer.pages.rule_draft import Draft, begun, opened
from dashboards.viewer.peers.rule_files import RuleFiles

RULES = "groups:\n  - name: shop\n    rules:\n      - {alert: Slow, expr: latency > 0.5, for: 1m}\n"
LISTED = [{"file": "/etc/rules/shop.yml"}]


async def nobody(_alerts):
    pass


@dataclass
class Rules:
    folder: Path
    files: RuleFiles
    manager: RuleManager

    @property
    def in_force(self) -> list[str]:
        return [rule.rule.name for group in self.manager.groups for rule in group.rules]


@pytest.fixture
async def rules(tmp_path) -> AsyncIterator[Rules]:
    folder = tmp_path / "rules"
    folder.mkdir()
    (folder / "shop.yml").write_text(RULES)
    store = MetricStore.open(tmp_path / "metrics", retention_s=7200)
    manager = RuleManager(
        files=[str(folder / "*.yml")],
        engine=Engine(store),
        sink=store,
        source=store,
        notify=nobody,
        state_path=tmp_path / "alerts.json",
        evaluation_interval_s=1,
        external_url="http://c",
        clock=lambda: 1_700_000_000.0,
    )
    await manager.reload()
    app = FastAPI()
    app.include_router(rule_files_router(CollectorsRuleFiles(manager, url="http://127.0.0.1:1"), token="t"))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app)) as client:
        yield Rules(folder, RuleFiles(client, "http://c", "t"), manager)
    store.close()


async def test_each_save_replaces_what_the_one_before_saved(rules):
    draft = await opened(rules.files, await rules.files.files(), "")
    assert (Path(draft.file).name, draft.text, draft.is_new) == ("shop.yml", RULES, False)
    for name in ("Slower", "Slowest"):
        await draft.save(rules.files, RULES.replace("Slow", name))
        assert rules.in_force == [name]
    assert draft.text == (rules.folder / "shop.yml").read_text()


async def test_who_was_overtaken_is_told_and_nothing_is_written(rules):
    listed = await rules.files.files()
    mine, theirs = [await opened(rules.files, listed, "") for _ in range(2)]
    await theirs.save(rules.files, RULES.replace("Slow", "Theirs"))
    with pytest.raises(PeerError, match="has changed since it was read") as caught:
        await mine.save(rules.files, RULES.replace("Slow", "Mine"))
    assert caught.value.status == 409
    assert rules.in_force == ["Theirs"]
    assert mine.text == RULES  # so that what was written is not taken for saved


async def test_a_text_that_cannot_be_used_is_refused_and_the_next_save_still_replaces_the_file(rules):
    draft = await opened(rules.files, await rules.files.files(), "")
    with pytest.raises(PeerError, match="unexpected end of input"):
        await draft.save(rules.files, RULES.replace("> 0.5", ">"))
    assert rules.in_force == ["Slow"]
    await draft.save(rules.files, RULES.replace("Slow", "Slower"))
    assert rules.in_force == ["Slower"]


async def test_a_new_file_comes_to_be_when_it_is_saved_and_is_then_a_file_like_any_other(rules):
    listed = await rules.files.files()
    draft = begun(listed, "storefront-hosts")
    path = rules.folder / "storefront-hosts.yml"
    assert (draft.file, draft.is_new, path.exists()) == (str(path), True, False)
    report = await rules.files.check(draft.file, draft.text)
    assert report["errors"] == []  # what it begins with can be put in force

    await draft.save(rules.files, draft.text)
    assert not draft.is_new
    assert rules.in_force == ["Slow", "StorefrontHosts"]
    await draft.save(rules.files, draft.text.replace("StorefrontHosts", "HostDown"))
    assert rules.in_force == ["Slow", "HostDown"]
    again = await opened(rules.files, await rules.files.files(), str(path))
    assert (again.text, again.version) == (draft.text, draft.version)


async def test_a_new_file_that_somebody_else_made_meanwhile_is_not_overwritten(rules):
    listed = await rules.files.files()
    first, second = begun(listed, "hosts"), begun(listed, "hosts")
    await first.save(rules.files, first.text)
    with pytest.raises(PeerError, match="has changed"):
        await second.save(rules.files, RULES)
    assert (rules.folder / "hosts.yml").read_text() == first.text


async def test_a_new_file_that_cannot_be_used_is_not_there(rules):
    draft = begun(await rules.files.files(), "hosts")
    with pytest.raises(PeerError):
        await draft.save(rules.files, "groups: [{name: g, rules: [{alert: A}]}]")
    assert not (rules.folder / "hosts.yml").exists()
    assert draft.is_new


async def test_a_file_that_is_none_of_those_in_force_is_not_asked_for(rules):
    draft = await opened(rules.files, await rules.files.files(), "/etc/passwd")
    assert Path(draft.file).name == "shop.yml"


@pytest.mark.parametrize("name", ["", "../up", "A", "a b", "a.yaml", ".yml", "x" * 61, "shop", "shop.yml"])
def test_a_name_that_no_new_file_can_have_is_refused(name):
    with pytest.raises(DraftError, match=r"is named with|is there already"):
        begun(LISTED, name)


def test_the_new_file_stands_beside_the_others():
    assert begun(LISTED, "hosts.yml") == Draft("/etc/rules/hosts.yml", begun(LISTED, "hosts").text, "", "")
