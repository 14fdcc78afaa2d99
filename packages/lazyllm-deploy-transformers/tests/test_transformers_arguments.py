"""The server's command line and what it does before anything is loaded."""

import socket

import pytest

from lazyllm.errors import LauncherError
from lazyllm.jobs.keys import API_KEY
from lazyllm_deploy_transformers.address import bind, url_of
from lazyllm_deploy_transformers.arguments import KEY, Settings, parse, parse_size
from lazyllm_deploy_transformers.engine import TransformersDeploy
from lazyllm_deploy_transformers.threads import default_threads


def test_sizes_and_wrong_options(capsys):
    assert [parse_size(t) for t in ("512M", "1.5GiB", "1000")] == [2**29, 3 * 2**29, 1000]
    assert parse(["--model", "x", "--threads", "2"]).threads == 2
    for argv in (
        ["--model", "x", "--port", "99999"], [], ["--model", "x", "--kv-cache-memory", "9" * 400],
        ["--model", "x", "--threads", "1000000"], ["--model", "x", "--kv-cache-memory", "lots"],
    ):  # fmt: skip
        with pytest.raises(SystemExit) as e:
            parse(argv)
        assert e.value.code == 2
    assert "expected bytes such as" in capsys.readouterr().err


def test_options_that_are_not_given_are_the_same_on_every_road():
    settings = parse(["--model", "x"])
    assert settings == Settings("x") and (settings.max_num_seqs, settings.shutdown_timeout) == (64, 30.0)
    own = {"port", "host", "start_timeout"}
    assert {n: v for n, v in TransformersDeploy.defaults.items() if n not in own} == {
        n: getattr(settings, n) for n in TransformersDeploy.defaults if n not in own
    }
    assert KEY == API_KEY


def test_threads_follow_omp_num_threads(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert default_threads() == 3
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert default_threads() >= 1


@pytest.mark.parametrize(
    "option, value, said",
    [
        ("--port", "abc", "expected a port from 1 to 65535 (0 for a free one), not 'abc'"),
        ("--port", "-1", "expected a port"),
        ("--shutdown-timeout", "soon", "expected seconds, 0 or more, not 'soon'"),
        ("--shutdown-timeout", "nan", "expected seconds"),
        ("--max-num-seqs", "many", "expected a whole number from 1 to 65536, not 'many'"),
        ("--device", "tpu", "expected auto, cpu, cuda or cuda:N, not 'tpu'"),
        ("--log-level", "loud", "choose from"),
    ],
)
def test_a_wrong_value_is_told_in_the_options_own_words(capsys, option, value, said):
    with pytest.raises(SystemExit) as e:
        parse(["--model", "x", f"{option}={value}"])
    told = capsys.readouterr().err
    assert e.value.code == 2 and f"argument {option}: " in told and said in told and "_port" not in told


@pytest.mark.parametrize("host", ["x" * 64, "a..b", "\udcff", "nowhere"])
def test_a_name_that_no_address_has_is_told(monkeypatch, host):
    def unknown(*args, **kw):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    if host == "nowhere":  # a resolver may take long to say so
        monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(LauncherError, match="is no address that can be found: ") as e:
        bind(host, 0)
    assert "127.0.0.1" in e.value.hint


def test_the_url_of_what_is_bound():
    with bind("127.0.0.1", 0) as sock:
        assert url_of(sock) == f"http://127.0.0.1:{sock.getsockname()[1]}/v1"
    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    with socket.socket(socket.AF_INET6) as sock:
        try:
            sock.bind(("::1", 0))
        except OSError:
            pytest.skip("no IPv6 here")
        assert url_of(sock) == f"http://[::1]:{sock.getsockname()[1]}/v1"
