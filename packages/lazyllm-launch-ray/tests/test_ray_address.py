"""Where the cluster is looked for, and what is sent along to be let in."""

from __future__ import annotations

from pathlib import Path

import pytest

from lazyllm.errors import ConfigError, InputError
from lazyllm_launch_ray.address import find_url, headers, shown, url_of


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("http://head:8265/", "http://head:8265"),
        ("https://gate.example/ray/a/", "https://gate.example/ray/a"),
        ("head:9000", "http://head:9000"),
        ("head", "http://head:8265"),
        ("[::1]:8265", "http://[::1]:8265"),
        ("ray://head:10001", "http://head:8265"),
        ("http://head", "http://head"),
    ],
)
def test_an_address_may_be_short(given: str, url: str) -> None:
    assert url_of(given, "address") == url


@pytest.mark.parametrize(
    "given", ["", " ", "ftp://head:1", "http://", "head:port", "head:99999", "he ad", "h\n", 8265, None]
)
def test_what_is_no_address_is_refused(given: object) -> None:
    with pytest.raises(InputError, match="is no address of a Ray dashboard"):
        url_of(given, "address")


def test_the_nearest_setting_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_url(None) == "http://127.0.0.1:8265"
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.9:6379")  # Ray's own port, as it stands in a job's environment
    assert find_url(None) == "http://10.0.0.9:8265"
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    assert find_url(None) == "http://127.0.0.1:8265"
    monkeypatch.setenv("RAY_ADDRESS", "http://a:1")
    assert find_url(None) == "http://a:1"
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "http://b:2")
    assert find_url(None) == "http://b:2"
    monkeypatch.setenv("LAZYLLM_RAY_ADDRESS", "http://c:3")
    assert find_url(None) == "http://c:3"
    assert find_url("d:4") == "http://d:4"


def test_a_bad_setting_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAZYLLM_RAY_ADDRESS", "gopher://head")
    with pytest.raises(
        InputError, match=r"ray_address \(environment LAZYLLM_RAY_ADDRESS\)='gopher://head' is no address"
    ):
        find_url(None)


def test_a_password_in_the_address_is_never_shown() -> None:
    assert shown("https://me:secret@head:1/x") == "https://head:1/x"
    assert shown("https://head:1/x") == "https://head:1/x" and shown("me:secret@head") == "head"


@pytest.mark.parametrize(
    "given",
    ["ftp://me:secret@head:1", "http://me:se/secret@head:99999", "http://me:12/secret@head", "http://me:a?secret@head",
     "http://me:a#secret@head", "http://me:a://secret@head:x", "me:secret/secret@head"],
)  # fmt: skip
def test_a_password_in_what_is_no_address_is_not_shown(given: str) -> None:
    with pytest.raises(InputError) as error:
        url_of(given, "address")
    assert "secret" not in str(error.value) and "head" in str(error.value)


def test_headers_are_rays_or_the_configurations(monkeypatch: pytest.MonkeyPatch) -> None:
    assert headers() == {}
    monkeypatch.setenv("RAY_JOB_HEADERS", '{"X-Gate": "open"}')
    assert headers() == {"X-Gate": "open"}
    monkeypatch.setenv("LAZYLLM_RAY_HEADERS", '{"Authorization": "Bearer mine"}')
    assert headers() == {"Authorization": "Bearer mine"}


def test_the_token_is_found_where_ray_finds_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("RAY_AUTH_MODE")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert headers() == {}
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray/auth_token").write_text("home\n")
    assert headers() == {"Authorization": "Bearer home"}
    (tmp_path / "token").write_text(" file ")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "token"))
    assert headers() == {"Authorization": "Bearer file"}
    monkeypatch.setenv("RAY_AUTH_TOKEN", "variable")
    assert headers() == {"Authorization": "Bearer variable"}
    monkeypatch.setenv("RAY_JOB_HEADERS", '{"authorization": "Basic x"}')
    assert headers() == {"authorization": "Basic x"}
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.delenv("RAY_JOB_HEADERS")
    assert headers() == {}


@pytest.mark.parametrize("text", ["token", "[1]", '{"a": 1}', '{"a": "x\\ny"}', '{"é": "x"}'])
def test_headers_that_are_none_are_refused_unseen(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_JOB_HEADERS", text)
    with pytest.raises(ConfigError) as error:
        headers()
    assert "header" in str(error.value).lower() and "x\ny" not in str(error.value)


def test_a_token_file_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("RAY_AUTH_MODE")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "none"))
    with pytest.raises(ConfigError, match="RAY_AUTH_TOKEN_PATH names cannot be read: No such file"):
        headers()
