"""What is misspelt is told as what it is, and all of a file's errors at once."""

import pytest

from tests.cli.terminal import Terminal

ARCH = """\
models:
  small: {model: openai/gpt-4o-mini}
layers:
  - {type: generator, model: small}
"""
JOB = "dataset: rows.jsonl\narchitecture: arch\n"


def changed(old: str, new: str) -> str:
    assert old in ARCH
    return ARCH.replace(old, new)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (changed("model: small", "model: small, max_token: 512"),
         "arch.yaml:4: layers[0][0].max_token: unknown key; did you mean 'max_tokens'?"),
        (changed("model: small", 'model: small, max_token: "512"'), "did you mean 'max_tokens'?"),
        (changed("model: small", "model: smal"),
         "layers[0][0].model: smal: no alias under models is called so; did you mean 'small'?"),
        (changed("layers", "layrs"), "arch.yaml:3: layrs: unknown key; did you mean 'layers'?"),
        (changed("model: openai", "modl: openai"), "models.small.modl: unknown key; did you mean 'model'?"),
        ("datset: a\narchitecture: b\n", "arch.yaml:1: datset: unknown key; did you mean 'dataset'?"),
        ("queus: [calls]\n", "arch.yaml:1: queus: unknown key; did you mean 'queues'?"),
    ],
)  # fmt: skip
def test_it_is_told_as_what_was_meant(terminal: Terminal, text: str, says: str) -> None:
    terminal.write("arch.yaml", text)

    ended = terminal.run("check", "arch.yaml")

    assert ended.status == 2
    assert says in ended.err
    assert ended.err.count("error: ") == 1
    assert "keys do not belong" not in ended.err


@pytest.mark.parametrize("key", ["token", "hf_token", "api_key", "password", "max_secret"])
@pytest.mark.parametrize("value", ["sesame", '"31337"'])
def test_a_secret_is_still_told_as_one(terminal: Terminal, key: str, value: str) -> None:
    terminal.write("arch.yaml", changed("model: small", f"model: small, {key}: {value}"))

    ended = terminal.run("check", "arch.yaml")

    assert "keys do not belong in files" in ended.err
    assert "sesame" not in ended.err


@pytest.mark.parametrize(
    ("typed", "meant"), [("sumbit", "submit"), ("staus", "status"), ("exprot", "export")]
)
def test_a_command_is_told_with_the_nearest(terminal: Terminal, typed: str, meant: str) -> None:
    ended = terminal.run(typed)

    assert ended.status == 2
    assert f"No such command '{typed}'. Did you mean '{meant}'?" in ended.err


def test_all_that_is_wrong_with_an_architecture_is_told_at_once(terminal: Terminal) -> None:
    terminal.write(
        "arch.yaml",
        """\
nmae: x
models:
  small: {model: openai/gpt-4o-mini, rpm: 0, price: {input: -1, output: x}}
defaults: {temprature: 1}
layers:
  - - {type: generator, model: small, samples: 0, max_tokens: no}
    - {type: generatr, model: small}
  - {type: fuser}
  - 7
""",
    )

    ended = terminal.run("check", "arch.yaml")

    assert ended.status == 2
    places = [line.split(": ")[1:3] for line in ended.err.splitlines()]
    assert places == [
        ["arch.yaml:1", "nmae"],
        ["arch.yaml:3", "models.small.rpm"],
        ["arch.yaml:3", "models.small.price.input"],
        ["arch.yaml:3", "models.small.price.output"],
        ["arch.yaml:4", "defaults.temprature"],
        ["arch.yaml:6", "layers[0][0].max_tokens"],
        ["arch.yaml:6", "layers[0][0].samples"],
        ["arch.yaml:7", "layers[0][1].type"],
        ["arch.yaml:8", "layers[1][0].model"],
        ["arch.yaml:9", "layers[2]"],
    ]


def test_ten_are_told_and_the_others_counted(terminal: Terminal) -> None:
    layers = "".join(f"  - {{type: generator, model: openai/gpt-4o, x{n}: 1}}\n" for n in range(14))
    terminal.write("arch.yaml", f"layers:\n{layers}")

    *first, last = terminal.run("check", "arch.yaml").err.splitlines()

    assert [line.split(": ")[1] for line in first] == [f"arch.yaml:{n}" for n in range(2, 12)]
    assert last == "and 4 more"


@pytest.mark.parametrize(
    ("text", "places"),
    [
        (JOB + "budget: 3\nlimit: 0\npriority: soon\n", ["5: budget", "4: limit", "5: priority"]),
        ("queues: [call]\nconcurency: 3\nprocesses: 0\n", ["2: concurency", "1: queues", "3: processes"]),
    ],
)  # fmt: skip
def test_all_that_is_wrong_with_a_job_or_a_pool_is_told_at_once(
    terminal: Terminal, text: str, places: list[str]
) -> None:
    terminal.write("file.yaml", text)

    ended = terminal.run("check", "file.yaml")

    assert ended.status == 2
    assert len(ended.err.splitlines()) == len(places)
    for place in places:
        assert place.split(": ")[1] in ended.err


@pytest.mark.parametrize("command", ["check job.yaml", "submit --job job.yaml --detach"])
@pytest.mark.parametrize(
    ("template", "says"),
    [
        ('"@gone.txt"', "job.yaml:3: template: gone.txt: no such file"),
        ('"@latin.txt"', "job.yaml:3: template: latin.txt:1: not UTF-8 at byte 1 (0xe9)"),
        ("no key", "no {key} in it, so that all rows would have the same prompt"),
        ('"@plain.txt"', "no {key} in it, so that all rows would have the same prompt"),
        ('"{"', "a lone { at character 1"),
    ],
)
def test_a_template_of_a_job_file_is_read_and_refused_as_on_the_command_line(
    terminal: Terminal, tmp_path, command: str, template: str, says: str
) -> None:
    terminal.write("arch.yaml", "layers: [{type: generator, model: scripted/plausible}]\n")
    terminal.write("rows.jsonl", '{"text": "a"}\n')
    terminal.write(
        "job.yaml", f"dataset: rows.jsonl\narchitecture: arch.yaml\ntemplate: {template}\n"
    )
    terminal.write("plain.txt", "no key at all")
    (tmp_path / "latin.txt").write_bytes(b"\xe9 {text}")

    ended = terminal.run(*command.split())

    assert ended.status == 2
    assert says in ended.err
    assert not terminal.has("archon-batch.db")


def test_a_template_beside_its_job_file_is_what_is_asked(terminal: Terminal, tmp_path) -> None:
    terminal.write("arch.yaml", "layers: [{type: generator, model: scripted/plausible}]\n")
    terminal.write("rows.jsonl", '{"text": "a"}\n')
    (tmp_path / "nights").mkdir()
    terminal.write(
        "nights/job.yaml",
        'dataset: rows.jsonl\narchitecture: arch.yaml\nname: n\ntemplate: "@p.txt"\n',
    )
    terminal.write("nights/p.txt", "Label {text}!")

    assert terminal.run("submit", "--job", "nights/job.yaml", "--detach").status == 0

    assert terminal.json("show", "n", "1")["messages"] == [{"role": "user", "content": "Label a!"}]


@pytest.mark.parametrize("address", ["https://llm-a.example.org/v1", "http://10.0.0.7:8000/v1"])
def test_an_address_without_a_key_is_told_with_its_variable(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    variable = {"https": "LLM__A_EXAMPLE_ORG", "http": "10_0_0_7"}[
        address.split(":", maxsplit=1)[0]
    ]
    terminal.write("arch.yaml", changed("gpt-4o-mini", f"gpt-4o-mini, api_base: {address}"))

    without = terminal.run("check", "arch.yaml").err
    monkeypatch.setenv(f"ARCHON_BATCH_KEY_{variable}", "mine")

    assert f"if it needs one, set ARCHON_BATCH_KEY_{variable}" in without
    assert "without a key" not in terminal.run("check", "arch.yaml").err


def test_a_server_of_this_machine_is_asked_without_a_word(terminal: Terminal) -> None:
    terminal.write(
        "arch.yaml", changed("gpt-4o-mini", "gpt-4o-mini, api_base: http://localhost:1/v1")
    )

    assert terminal.run("check", "arch.yaml").err == ""
