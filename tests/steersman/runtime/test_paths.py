from __future__ import annotations

from pathlib import Path

import pytest

from steersman.runtime.paths import DataDir, shipped


def test_data_directory_is_absolute_and_creates_nothing_until_asked(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data_dir = DataDir.at(Path("here"))
    assert data_dir.root == tmp_path / "here"
    assert not data_dir.root.exists()


def test_secrets_folder_is_closed_to_others(tmp_path: Path):
    data_dir = DataDir.at(tmp_path / "a" / "b")
    data_dir.create()
    data_dir.create()
    assert data_dir.secrets.stat().st_mode & 0o777 == 0o700
    assert data_dir.logs.is_dir()


def test_home_is_understood(monkeypatch, tmp_path: Path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert DataDir.at(Path("~/x")).root == tmp_path / "x"


def test_what_ships_is_found_and_what_does_not_is_named():
    assert shipped("rules").is_dir()
    with pytest.raises(FileNotFoundError, match="'no-such-thing' is neither in"):
        shipped("no-such-thing")
