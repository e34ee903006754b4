"""C1 to C11 and C14 to C19: what is typed, and what the environment says."""

import fcntl
import json
import os
import pty
import re
import resource
import signal
import socket
import subprocess
import sys
import termios
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import IO

import pytest

from archon_batch.cli import doctor
from tests.acceptance.stage import until
from tests.catalogue.desk import ARCH, DATABASE, ROWS, SECRETS, SUBMIT, Desk, entries, jsonl, told

#: A key of the right shape is never shown, nor one of the wrong shape.
SESAME = "sk-sesame-0123456789abcdef"
POOL = "queues: [calls]\n"


@pytest.mark.parametrize(
    ("flags", "says"),
    entries(
        *(
            (f"C1 {budget!r}", ("--budget", budget), f"such as 25 or 0.40; found {budget!r}")
            for budget in ("0", "-1", "nan", "inf", "1e9", "10 EUR", "1,5", "", "0x10", "10000001")
        ),
        ("C1 none", ("--budget",), "Option '--budget' requires an argument"),
        (
            "C2 pays for no row",
            ("--budget", "0.000001"),
            ("--budget: a row costs at least 0.", "of 0.000001 USD pays for none"),
        ),
        ("C3 no rows", ("--limit", "0"), "Invalid value for '--limit': 0 is not in the range x>=1"),
        ("C3 rows below 0", ("--limit", "-1"), "Invalid value for '--limit'"),
        ("C3 rows in words", ("--limit", "abc"), "Invalid value for '--limit': 'abc' is not a"),
        ("C3 no shard", ("--shard-size", "0"), "'--shard-size': 0 is not in the range 1<=x<=1000"),
        ("C3 a large shard", ("--shard-size", "1000000"), "is not in the range 1<=x<=1000"),
        ("C4 is there", ("-o", "there.jsonl"), "there.jsonl exists; --force overwrites it"),
        ("C4 a folder", ("-o", "folder"), "folder: the suffix says the format: .jsonl"),
        ("C4 a folder with a suffix", ("-o", "folder.csv"), "folder.csv is a folder; name a file"),
        ("C4 in no folder", ("-o", "no/out.jsonl"), "no/out.jsonl: no such folder: no"),
        ("C4 not writable", ("-o", "/proc/out.jsonl"), "/proc/out.jsonl: cannot be written"),
        ("C4 no format", ("-o", "out.docx"), "out.docx: the suffix says the format: .jsonl"),
        ("C4 standard output", ("-o", "-"), "-: the suffix says the format: .jsonl"),
        ("C4 the dataset", ("-o", "rows.jsonl", "--force"), "rows.jsonl is the dataset; name"),
        ("C4 the dataset by a link", ("-o", "link.jsonl", "--force"), "link.jsonl is the dataset"),
        ("C4 a device", ("-o", "full.jsonl", "--force"), "full.jsonl is not a regular file"),
        ("C4 a name too long", ("-o", "x" * 300 + ".jsonl"), "cannot be written: file name too"),
        (
            "C4 --detach",
            ("-o", "out.jsonl", "--detach"),
            "--detach does not wait for the end, so -o",
        ),
        ("no such flag", ("--concurency", "1"), "No such option '--concurency'"),
        ("no such flag, with a colour", ("--\x1b[31m", "1"), r"No such option '--\x1b[31m'"),
        ("one dataset too many", ("\x1b]0;x",), r"unexpected extra argument (\x1b]0;x)"),
        ("C7 a night without a job file", ("--continue",), "--date and --continue need a job file"),
    ),
)
def test_a_flag_is_refused(desk: Desk, flags: Sequence[str], says: str | tuple[str, ...]) -> None:
    desk.write("there.jsonl", "mine\n")
    for name in ("folder", "folder.csv"):
        (desk.folder / name).mkdir()
    (desk.folder / "link.jsonl").symlink_to("rows.jsonl")
    (desk.folder / "full.jsonl").symlink_to("/dev/full")

    desk.refuses(*SUBMIT, *flags, says=says)


def test_c1_without_a_budget_nothing_bounds_the_job_but_its_rows(desk: Desk) -> None:
    desk.takes()

    assert desk.json("status", "rows-arch")["budget_usd"] is None


@pytest.mark.parametrize("width", ["0", "-1", "1000000", "abc", "1.5", "true"])
@pytest.mark.parametrize("key", ["concurrency", "processes", "max_in_flight"])
def test_c3_a_pool_has_a_width_that_can_be(desk: Desk, key: str, width: str) -> None:
    desk.write("pool.yaml", f"{POOL}{key}: {width}\n")

    desk.refuses("check", "pool.yaml", says=f"error: pool.yaml:2: {key}: expected ")


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    entries(
        *(
            (
                f"C3 {value}",
                "ARCHON_BATCH_MAX_IN_FLIGHT",
                value,
                f"from 1 to 100000; found {value!r}",
            )
            for value in ("0", "-1", "1e6", "1000000", "abc", "1.5")
        ),
        ("C3 no time", "ARCHON_BATCH_CALL_TIMEOUT", "0", "expected seconds, more than 0 and at"),
        ("C3 for ever", "ARCHON_BATCH_CALL_TIMEOUT", "inf", "expected seconds, more than 0 and at"),
        ("C3 no number", "ARCHON_BATCH_CALL_TIMEOUT", "nan", "expected seconds, more than 0 and"),
        ("C8 a loud log", "ARCHON_BATCH_LOG", "loud", "expected one of debug, info, warning"),
        (
            "C8 no format",
            "ARCHON_BATCH_LOG_FORMAT",
            "xml",
            "expected one of text, json; found 'xml'",
        ),
        (
            "C14 no address",
            "ARCHON_BATCH_BROKER_URL",
            "redis://:se#ame@h:x",
            "not a URL; write / : ",
        ),
    ),
)
def test_a_variable_is_refused(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, says: str
) -> None:
    monkeypatch.setenv(variable, value)

    ended = desk.refuses(*SUBMIT, says=("error: ARCHON_BATCH_", says))

    assert "sesame" not in ended.err


@pytest.mark.parametrize(
    "command", ["status", "cost", "show", "verify", "export", "resume", "retry", "cancel"]
)
def test_c6_a_job_that_is_not_there_is_said_to_be_not_there(desk: Desk, command: str) -> None:
    desk.takes()
    sent = desk.provider.request_count

    for ref in ("nothing", "", "%", "\x1b[31m", "x" * 10_000):
        ended = desk.run(command, ref)
        assert ended.status == 2, ended
        assert "no job with this id or name; archon-batch jobs lists them" in ended.err
        told(ended)
    assert desk.provider.request_count == sent


def test_c6_a_prefix_of_two_lists_both(desk: Desk) -> None:
    desk.takes(*SUBMIT, "--name", "night-1")
    desk.run(*SUBMIT, "--name", "night-2", "--detach")

    ended = desk.run("cancel", "night")

    assert ended.status == 2
    assert re.search(
        r"several jobs match: \w{12} \(night-[12]\), \w{12} \(night-[12]\)\n", ended.err
    )
    assert [job["state"] for job in desk.json("jobs")] == ["running"] * 2


def test_c6_a_row_that_is_not_there_is_said_to_be_not_there(desk: Desk) -> None:
    desk.takes()

    ended = desk.run("show", "rows-arch", "nobody\x1b[31m")

    assert ended.status == 2
    assert r"nobody\x1b[31m" in ended.err


@pytest.mark.parametrize(
    ("state", "command", "says"),
    entries(
        ("C7 resume what is done", "done", "resume", "is done; archon-batch retry runs its rows"),
        ("C7 cancel what is done", "done", "cancel", "is done already"),
        ("C7 retry what is answered", "done", "retry", "has no failed or cancelled row"),
        ("C7 resume what is cancelled", "cancelled", "resume", "is cancelled; archon-batch retry"),
        ("C7 cancel twice", "cancelled", "cancel", "is cancelled already"),
        ("C7 submit what is cancelled", "cancelled", "submit", "is cancelled; archon-batch retry"),
    ),
)
def test_a_job_in_another_state_is_left_as_it_is(
    desk: Desk, state: str, command: str, says: str
) -> None:
    job = desk.takes()
    assert desk.run("resume" if state == "done" else "cancel", job).status == 0
    before, sent = desk.json("status", job), desk.provider.request_count

    ended = desk.run(*(SUBMIT if command == "submit" else (command, job)))

    assert ended.status == 2
    assert f"{job} {says}" in ended.err
    assert (desk.json("status", job), desk.provider.request_count) == (before, sent)


def test_c7_a_job_under_way_is_exported_as_far_as_it_is(desk: Desk) -> None:
    desk.takes()

    exported = desk.run("export", "rows-arch")

    assert (exported.status, json.loads(exported.out)["status"]) == (0, "open")


def _command(*arguments: str, **environment: str) -> list[str]:
    changes = [f"{name}={value}" for name, value in environment.items()]
    return ["/usr/bin/env", *changes, sys.executable, "-m", "archon_batch", *arguments]


@pytest.mark.slow
def test_c8_no_terminal_is_too_narrow_and_no_reader_leaves_too_early(desk: Desk) -> None:
    # More than a pipe holds.
    desk.write("rows.jsonl", jsonl(*({"prompt": f"Γιατί {n}? {'ά' * 99}"} for n in range(2_000))))
    desk.takes()
    plain = {"LANG": "C", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    narrow = _command("show", "rows-arch", "7", COLUMNS="20", NO_COLOR="1", TERM="xterm", **plain)
    left = _command("show", "rows-arch", "--json", **plain)

    status, page = _on_a_terminal(narrow)
    with subprocess.Popen(left, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.readline()
        process.stdout.close()
        err = process.stderr.read()

    assert status == 0, page
    # Bold and dim are no colours.
    assert not re.search(r"\x1b\[[0-9;]*[34][0-9]", page)
    lines = re.sub(r"\x1b\[[0-9;]*m", "", page).splitlines()
    assert "  | Γιατί 6?" in lines
    assert max(len(line) for line in lines if line.startswith("  |")) <= 20
    assert (process.returncode, err) == (0, b"")


def _on_a_terminal(line: Sequence[str]) -> tuple[int, str]:
    """How the command ends, and what it writes when somebody watches."""
    our_end, terminal_end = pty.openpty()
    with os.fdopen(our_end, "rb", buffering=0) as screen:
        process = subprocess.Popen(line, stdout=terminal_end, stderr=terminal_end)
        os.close(terminal_end)
        page = b""
        try:
            while more := screen.read(4096):
                page += more
        except OSError:
            # Nobody has the other end any more.
            pass
    return process.wait(30), page.decode()


@pytest.mark.slow
def test_c9_an_interrupt_while_rows_are_read_leaves_nothing(desk: Desk) -> None:
    line = _command("submit", "-", *SUBMIT[2:])
    pipes = {"stdin": subprocess.PIPE, "stderr": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(line, **pipes) as process:  # type: ignore[call-overload]
        process.stdin.write(ROWS.encode() * 3)
        process.stdin.flush()
        until(lambda: _is_read(process.stdin))
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)

    assert (process.returncode, out, err.strip()) == (130, b"", b"interrupted")
    assert not (desk.folder / DATABASE).exists()


def _is_read(pipe: IO[bytes]) -> bool:
    """Whether nothing is left in it that was written."""
    left = fcntl.ioctl(pipe, termios.FIONREAD, bytes(4))
    return int.from_bytes(left, sys.byteorder) == 0


def test_c10_all_keys_that_are_missing_are_named_at_once(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    desk.write(
        "arch.yaml",
        """\
layers:
  - - {type: generator, model: openai/gpt-4o-mini}
    - {type: generator, model: anthropic/claude-haiku-4-5}
  - {type: fuser, model: openai/gpt-4o-mini}
""",
    )

    desk.refuses(
        *SUBMIT,
        says="keys: not set: ANTHROPIC_API_KEY (for anthropic/claude-haiku-4-5), "
        "OPENAI_API_KEY (for openai/gpt-4o-mini); set them in the environment or in .env",
    )


def test_with_a_broker_submit_needs_no_key(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SECRETS:
        monkeypatch.delenv(name)
    desk.write("arch.yaml", "layers: [{type: generator, model: openai/gpt-4o-mini}]\n")
    desk.refuses(*SUBMIT, "--detach", says="keys: not set: OPENAI_API_KEY")

    monkeypatch.setenv("ARCHON_BATCH_BROKER_URL", "redis://127.0.0.1:1/0")
    monkeypatch.setattr("archon_batch.engine.broker.check_broker", lambda: "redis://127.0.0.1:1/0")

    assert desk.takes()


@pytest.mark.parametrize("variable", ["OPENAI_API_KEY", "ARCHON_BATCH_KEY_127_0_0_1"])
@pytest.mark.parametrize(
    ("value", "what"),
    entries(
        ("C11 a line break", f"{SESAME}\n", "a line break"),
        ("C11 a space", f"{SESAME} # mine", "a space"),
        ("C11 quotes", f'"{SESAME}"', "a quote"),
        ("C11 an accent", f"{SESAME}é", "a character that no header can hold"),
        ("C11 a placeholder", "sk-...", "a placeholder from a manual"),
        ("C11 another placeholder", "<your-sesame-key>", "a placeholder from a manual"),
    ),
)
def test_a_malformed_key_is_refused_and_not_shown(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, what: str
) -> None:
    monkeypatch.setenv(variable, value)

    ended = desk.refuses(
        *SUBMIT, says=f"error: {variable}: looks wrong: it contains {what}; set it"
    )
    looked = desk.run("doctor")

    assert f"FAILED keys: {variable} looks wrong: it contains {what}" in looked.out
    assert "sesame" not in ended.err + looked.out + looked.err


def test_c11_a_key_that_nothing_here_uses_is_let_be(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOMEBODYS_API_KEY", "two words")

    assert desk.asked(desk.takes()) == {"a": "Why?"}


@pytest.mark.parametrize("silent", [False, True], ids=["C14 nobody there", "C14 nobody answers"])
@pytest.mark.slow
def test_a_broker_out_of_reach_is_told_in_time_and_without_its_password(
    desk: Desk, silent: bool
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1] if silent else 1
        url = f"redis://:sesame@127.0.0.1:{port}/0"
        line = _command(*SUBMIT, ARCHON_BATCH_BROKER_URL=url)
        ended = subprocess.run(line, capture_output=True, text=True, check=False, timeout=30)

    assert ended.returncode == 3, ended.stderr
    assert ended.stderr.startswith(f"error: broker redis://:**@127.0.0.1:{port}/0: ")
    assert ended.stderr.count("\n") == 1
    assert "sesame" not in ended.stderr
    assert not (desk.folder / DATABASE).exists()


@pytest.mark.parametrize("variable", ["BROKER_URL", "RESULT_URL", "DATABASE_URL"])
@pytest.mark.parametrize(
    "sign", ["#", "?", "/", ":", "@", "%", ";", "[", "]", "&", "=", "#@", "@/", "@#", "@?"]
)
def test_no_sign_in_a_password_shows_a_part_of_it(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, variable: str, sign: str
) -> None:
    scheme = "postgresql+psycopg" if variable == "DATABASE_URL" else "redis"
    monkeypatch.setattr(doctor, "_CHECKS", {k: doctor._CHECKS[k] for k in ("database", "broker")})
    for password in (f"walrus{sign}sesame", f"12{sign}sesame"):
        address = f"{scheme}://me:{password}@127.0.0.1:1/0"
        monkeypatch.setenv(f"ARCHON_BATCH_{variable}", address)

        looked = desk.run("doctor")

        said = looked.out + looked.err
        assert not re.search("walrus|sesame", said)
        assert "should not happen" not in said


def test_c15_a_job_keeps_its_prices_in_every_environment(desk: Desk) -> None:
    job = desk.takes()
    desk.write("arch.yaml", ARCH.replace("input: 1, output: 1", "input: 900, output: 900"))
    billed = desk.provider.bill

    assert desk.run("resume", job).status == 0

    cost = round(desk.json("cost", job)["usd"] * 10**9)
    assert cost == desk.provider.bill - billed


@pytest.mark.parametrize("variable", ["OPENAI_BASE_URL", "OPENAI_API_BASE"])
def test_c16_an_address_in_the_environment_is_named_and_not_followed(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, desk.provider.url)
    desk.write("arch.yaml", "layers: [{type: generator, model: openai/gpt-4o-mini}]\n")
    sent = desk.provider.request_count

    ended = desk.run(*SUBMIT)

    assert ended.status == 2
    assert f"{variable} is not supported; set api_base on the model" in ended.err
    assert (desk.provider.request_count, desk.json("cost", "rows-arch")["usd"]) == (sent, 0)


def test_c16_a_proxy_is_named_without_its_password(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://me:sesame@proxy.example:3128/")

    ended = desk.run(*SUBMIT)

    assert ended.status == 0, ended.err
    assert "warning: HTTPS_PROXY is set: calls may use the proxy proxy.example:3128\n" in ended.err
    assert "sesame" not in ended.err


def _looked(desk: Desk, what: str) -> list[tuple[bool, str]]:
    """What doctor says of it."""
    lines = json.loads(desk.run("doctor", "--json").out)
    return [(line["ok"], line["detail"]) for line in lines if line["check"] == what]


def test_c18_doctor_reports_a_full_disk_and_a_low_limit(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Blocks of 4 KiB, of which few are free; files, of which none can be made.
    full = os.statvfs_result((4096, 4096, 1_000_000, 9_999, 9_999, 1_000, 0, 0, 0, 255))
    monkeypatch.setattr(os, "statvfs", lambda _folder: full)
    monkeypatch.setattr(resource, "getrlimit", lambda _limit: (256, 256))
    monkeypatch.setenv("ARCHON_BATCH_MAX_IN_FLIGHT", "512")

    files, disk = _looked(desk, "files"), _looked(desk, "disk")

    assert files == [(False, "a limit of 256 on open files (ulimit -Hn); 512 calls need 576")]
    assert disk == [
        (False, "0.0 GiB free in this folder"),
        (False, "out of inodes in this folder"),
    ]
    assert desk.run("doctor").status == 3


def test_c19_doctor_reports_a_clock_that_went_back(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = desk.takes()
    monkeypatch.setattr(doctor, "now", lambda: datetime.now(UTC) - timedelta(hours=1))

    *_, last = _looked(desk, "database")

    assert last == (False, f"job {job} is dated in the future: check this machine's clock")


def test_no_file_contains_a_secret(desk: Desk) -> None:
    assert desk.run(*SUBMIT, "-o", "out.jsonl").status == 0

    files = [path.read_bytes() for path in desk.folder.parent.rglob("*") if path.is_file()]

    assert len(files) >= 4
    assert not [secret for secret in SECRETS.values() for file in files if secret.encode() in file]
