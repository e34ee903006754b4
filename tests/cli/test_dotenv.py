"""The folder's .env: what is taken of it, and what is told."""

import os

import pytest

HARMFUL = [
    "LD_PRELOAD",
    "LD_LIBRARY_PATH",
    "PYTHONPATH",
    "PYTHONSTARTUP",
    "PATH",
    "HOME",
    "HTTPS_PROXY",
    "https_proxy",
    "ALL_PROXY",
    "NO_PROXY",
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_CA_BUNDLE",
    "AWS_ENDPOINT_URL",
    "AZURE_AUTHORITY_HOST",
    "LITELLM_LOG",
    "DISABLE_AIOHTTP_TRANSPORT",
    "GIT_SSH_COMMAND",
    "BASH_ENV",
    "TMPDIR",
    "archon_batch_log",
]
TAKEN = [
    "OPENAI_API_KEY",
    "ANTHROPIC_API_KEY",
    "OPENAI_API_BASE",
    "TOGETHERAI_API_KEY",
    "HF_TOKEN",
    "WATSONX_APIKEY",
    "AZURE_API_VERSION",
    "AZURE_AD_TOKEN",
    "AWS_ACCESS_KEY_ID",
    "AWS_REGION_NAME",
    "VERTEXAI_PROJECT",
    "OPENAI_BASE_URL",
    "ARCHON_BATCH_KEY_LLM_EXAMPLE_ORG",
    "ARCHON_BATCH_MAX_IN_FLIGHT",
]


@pytest.fixture(autouse=True)
def _environment():
    before = dict(os.environ)
    yield
    for name in os.environ.keys() - before.keys():
        del os.environ[name]


@pytest.mark.parametrize("name", HARMFUL)
def test_what_steers_a_program_is_told_and_not_taken(terminal, name):
    before = os.environ.get(name)
    terminal.write(".env", f"# mine\n\nexport {name}=/tmp/canary\n")

    ended = terminal.run("jobs")

    assert ended.status == 0
    assert f"warning: .env:3: {name} is not taken" in ended.err
    assert ended.err.count("\n") == 1
    assert "canary" not in ended.err
    assert os.environ.get(name) == before


def test_keys_of_providers_and_settings_are_taken(terminal):
    terminal.write(".env", "\ufeff" + "".join(f"{name}=7{n}\n" for n, name in enumerate(TAKEN)))

    ended = terminal.run("jobs")

    assert (ended.status, ended.err) == (0, "")
    assert [os.environ[name] for name in TAKEN] == [f"7{n}" for n in range(len(TAKEN))]


def test_what_docker_compose_reads_of_the_same_file_is_let_be(terminal):
    terminal.write(".env", "POSTGRES_PASSWORD=a\nREDIS_PASSWORD=b\nFLOWER_BASIC_AUTH=c:d\n")

    assert terminal.run("jobs").err == ""
    assert not {"POSTGRES_PASSWORD", "REDIS_PASSWORD", "FLOWER_BASIC_AUTH"} & os.environ.keys()


def test_the_environment_wins(terminal, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "mine")
    terminal.write(".env", "OPENAI_API_KEY=other\n")

    terminal.run("jobs")

    assert os.environ["OPENAI_API_KEY"] == "mine"


def test_many_unknown_names_are_one_line_and_a_misspelt_setting_has_its_own(terminal):
    terminal.write(".env", "A=1\nARCHON_BATCH_DATABSE_URL=x\nB=2\nA=3\nno value\n")

    ended = terminal.run("jobs")

    assert "warning: .env:1: A is not taken: neither a setting" in ended.err
    assert "; nor are B (3)\n" in ended.err
    assert (
        ".env:2: ARCHON_BATCH_DATABSE_URL is unknown: did you mean ARCHON_BATCH_DATABASE_URL?"
        in ended.err
    )
    assert ".env:5: ignored: not of the form NAME=VALUE" in ended.err
    assert ended.err.count("\n") == 3


def test_a_misspelt_setting_of_the_environment_is_told(terminal, monkeypatch):
    monkeypatch.setenv("ARCHON_BATCH_MAX_INFLIGHT", "4")
    # A command of on_failure is told so.
    monkeypatch.setenv("ARCHON_BATCH_STATE", "failed")

    ended = terminal.run("jobs")

    assert ended.err == (
        "warning: ARCHON_BATCH_MAX_INFLIGHT is unknown: did you mean ARCHON_BATCH_MAX_IN_FLIGHT?\n"
    )


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ("OPENAI_API_KEY=canary".encode("utf-16"), ".env:1: not UTF-8 at byte 1 (0xff): it is UTF-16"),
        ("OPENAI_API_KEY=canary".encode("utf-16-le"), ".env:1: has the byte 0x00; if it is UTF-16"),
        ("OPENAI_API_KEY=canary".encode("utf-32"), ".env:1: not UTF-8 at byte 1 (0xff): it is UTF-32"),
        ("A_API_KEY=1\n# caf\u00e9".encode("latin-1"), ".env:2: not UTF-8 at byte 18 (0xe9)"),
        (b"A=" + b"x" * (1 << 20), ".env: larger than 1 MiB"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_read_ends_the_command_in_words(terminal, tmp_path, data, says):
    (tmp_path / ".env").write_bytes(data)

    ended = terminal.run("jobs")

    assert (ended.status, ended.out) == (2, "")
    assert f"error: {says}" in ended.err
    assert "canary" not in ended.err
    assert not terminal.has("archon-batch.db")


def test_a_folder_of_that_name_is_no_such_file(terminal, tmp_path):
    (tmp_path / ".env").mkdir()

    assert terminal.run("jobs").status == 0
