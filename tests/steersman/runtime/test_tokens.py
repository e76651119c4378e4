from __future__ import annotations

from pathlib import Path

import pytest

from steersman.runtime.tokens import bearer_matches, ensure_token, read_token


def test_token_is_made_once_and_readable_by_its_owner_alone(tmp_path: Path):
    path = tmp_path / "secrets" / "load.token"
    token = ensure_token(path)
    assert len(token) >= 43  # 32 bytes in base64
    assert path.stat().st_mode & 0o777 == 0o600
    assert ensure_token(path) == read_token(path) == token


def test_token_file_left_open_to_others_is_closed(tmp_path: Path):
    path = tmp_path / "load.token"
    path.write_text("restored\n")
    path.chmod(0o644)
    assert ensure_token(path) == "restored"
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("content", ["", "\n", "  \n"])
def test_empty_token_is_refused(tmp_path: Path, content: str):
    path = tmp_path / "load.token"
    path.write_text(content)
    with pytest.raises(ValueError, match="is empty"):
        ensure_token(path)


@pytest.mark.parametrize("header", ["Bearer abc", "bearer abc", "BEARER  abc "])
def test_right_token_passes_whatever_the_case_of_the_scheme(header: str):
    assert bearer_matches(header, "abc")


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "abc", "Bearer abcd", "Basic abc", "Bearer ab\xe9"])
def test_anything_else_does_not(header: str | None):
    assert not bearer_matches(header, "abc")
