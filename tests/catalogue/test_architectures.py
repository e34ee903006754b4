"""A1 to A24: architectures that cannot be run as they are, and those that only look so."""

from itertools import pairwise

import pytest

from tests.catalogue.desk import ARCH, SECRETS, SUBMIT, Desk, entries

LAYERS = "layers:\n  - {type: generator, model: one}\n"
BOMB = "a: &a [x, x]\n" + "".join(
    f"{name}: &{name} [*{before}, *{before}]\n" for before, name in pairwise("abcdefgh")
)


def knob(text: str) -> str:
    """With this in the place of the generator's samples, on line 4."""
    return ARCH.replace("samples: 1", text)


def model(text: str) -> str:
    """With this among what is said of the model, on line 2."""
    return ARCH.replace("price:", f"{text}, price:")


def at(address: str) -> str:
    return ARCH.replace("URL", f'"{address}"')


def more(text: str) -> str:
    """With another layer."""
    return f"{ARCH}  - {text}\n"


KNOB = "arch.yaml:4: layers[0][0]."
MODEL = "arch.yaml:2: models.one."
NO_ADDRESS = f"{MODEL}api_base: expected an address such as"
TAG, ALIAS = "tags are not allowed", "anchors and aliases are not allowed"


@pytest.mark.parametrize(
    ("content", "says"),
    entries(
        ("A1 empty", "", "arch.yaml: expected a mapping with layers, found nothing"),
        ("A1 null", "null", "arch.yaml: expected a mapping with layers, found nothing"),
        ("A1 a list", "- a", "arch.yaml: expected a mapping with layers, found a list"),
        ("A1 text", "hello", "arch.yaml: expected a mapping with layers, found 'hello'"),
        ("A2 a tab", "layers:\n\t- {}", "arch.yaml:2:1: while scanning for the next token"),
        ("A2 bad indent", "layers:\n  - a\n - b\n", "arch.yaml:3:2: while parsing a block"),
        ("A3 a Python object", LAYERS + "name: !!python/object:os.system x", f"3:7: {TAG}"),
        ("A3 any other tag", LAYERS + "name: !env HOME", f"arch.yaml:3:7: {TAG}"),
        ("A4 two documents", LAYERS + "---\n" + LAYERS, "arch.yaml:3:1: expected a single"),
        (
            "A5 a key twice",
            LAYERS + LAYERS,
            "3:1: the key 'layers' appears twice, on lines 1 and 3",
        ),
        ("A6 an anchor", LAYERS + "name: &x y", f"arch.yaml:3:7: {ALIAS}"),
        ("A6 an alias", LAYERS + "name: *x", f"arch.yaml:3:7: {ALIAS}"),
        (
            "A6 a merge key",
            "models: {a: {<<: {rpm: 1}, model: b}}\n" + LAYERS,
            "models.a.<<: unknown key",
        ),
        ("A6 a cycle", "layers: &a [*a]", f"arch.yaml:1:9: {ALIAS}"),
        ("A6 a bomb", BOMB + LAYERS, f"arch.yaml:1:4: {ALIAS}"),
        (
            "A7 no",
            ARCH.replace("openai/stand-in", "no"),
            f"{MODEL}model: expected a valid string, found no (false); put it in quotes",
        ),
        ("A7 on", "on: x\n" + LAYERS, "arch.yaml:1: on: unknown key"),
        ("A7 a date", knob("samples: 2026-01-02"), f"{KNOB}samples: expected a valid integer"),
        ("A7 012", knob("samples: 012"), f"{KNOB}samples: expected a valid integer, found '012'"),
        (
            "A7 1:30",
            knob("samples: 1:30"),
            f"{KNOB}samples: expected a valid integer, found '1:30'",
        ),
        (
            "A8 1e3",
            knob("temperature: 1e3"),
            f"{KNOB}temperature: expected less than or equal to 2",
        ),
        ("A8 .nan", knob("temperature: .nan"), f"{KNOB}temperature: expected a valid number"),
        ("A8 .inf", knob("temperature: .inf"), f"{KNOB}temperature: expected a valid number"),
        ("A8 -1", knob("temperature: -1"), f"{KNOB}temperature: expected greater than or equal to"),
        ("A8 3", knob("temperature: 3"), f"{KNOB}temperature: expected less than or equal to 2"),
        ("A9 true", knob("samples: true"), f"{KNOB}samples: expected a valid integer, found yes"),
        ("A9 text", knob("samples: '3'"), f"{KNOB}samples: expected a valid integer, found '3'"),
        ("A9 3.0", knob("samples: 3.0"), f"{KNOB}samples: expected a valid integer, found 3.0"),
        (
            "A9 0",
            knob("samples: 0"),
            f"{KNOB}samples: expected greater than or equal to 1, found 0",
        ),
        ("A9 -1", knob("samples: -1"), f"{KNOB}samples: expected greater than or equal to 1"),
        (
            "A9 1e9",
            knob("samples: 1000000000"),
            f"{KNOB}samples: expected less than or equal to 1000",
        ),
        (
            "A10 misspelt",
            knob("temprature: 1"),
            f"{KNOB}temprature: unknown key; did you mean 'temperature'?",
        ),
        (
            "A10 a provider of the reference's",
            knob("model_type: OpenAI"),
            f"{KNOB}model_type: no provider 'OpenAI'; did you mean 'OpenAI_API'?",
        ),
        ("A10 a colour", knob('"\\e[31m": 1'), r"layers[0][0].'\x1b[31m': unknown key"),
        (
            "A12 a ranker that takes no messages",
            more("{type: ranker, model_type: Together_API, model: llm-blender/PairRM}"),
            "5: layers[1][0].model: llm-blender/PairRM takes no messages",
        ),
        ("A11 no layers", "models: {}", "arch.yaml: layers: missing"),
        ("A11 an empty list", "layers: []", "arch.yaml:1: layers: there is no layer"),
        ("A11 an empty layer", more("[]"), "arch.yaml:5: layers[1]: the layer is empty"),
        (
            "A11 nothing before a fuser",
            ARCH.replace("generator", "fuser"),
            "arch.yaml:4: layers[0][0]: a fuser needs candidates, and no layer before it produces",
        ),
        (
            "A11 no tests to evaluate",
            more("{type: unit_test_evaluator, model: one}"),
            "arch.yaml:5: layers[1][0]: a unit_test_evaluator needs unit tests",
        ),
        (
            "A11 a first layer that makes nothing",
            "layers:\n  - {type: voter, extract: text}\n",
            "arch.yaml:2: layers[0][0]: a voter needs candidates",
        ),
        ("A12 unknown", more("{type: fusser, model: one}"), "5: layers[1][0].type: no component"),
        ("A12 not text", more("{type: [fuser], model: one}"), "5: layers[1][0].type: no component"),
        ("A12 without", more("{model: one}"), "arch.yaml:5: layers[1][0].type: missing; known are"),
        (
            "A13 no price",
            ARCH.replace(", price: {input: 1, output: 1}", ""),
            "openai/stand-in: no price is known; give it one under models",
        ),
        (
            "A13 unknown model",
            "layers: [{type: generator, model: openai/gpt-4o-mni}]",
            "did you mean openai/gpt-4o-mini",
        ),
        (
            "A13 no provider",
            "layers: [{type: generator, model: nobody/knows}]",
            "unknown provider",
        ),
        (
            "A13 a price below 0",
            ARCH.replace("input: 1", "input: -1"),
            f"{MODEL}price.input: expected greater than or equal to 0",
        ),
        (
            "A13 a price of nan",
            ARCH.replace("input: 1", "input: .nan"),
            f"{MODEL}price.input: expected",
        ),
        ("A14 none", ARCH.replace("64", "~"), f"{KNOB}max_tokens: expected a valid integer, found"),
        (
            "A14 0",
            ARCH.replace("64", "0"),
            f"{KNOB}max_tokens: expected greater than or equal to 1",
        ),
        (
            "A15 too many calls",
            knob("samples: 100") + "  - {type: verifier, model: one, samples: 100}\n",
            "arch.yaml:5: layers[1]: a row would need up to 20,100 calls; the most allowed is 10,000",
        ),
        ("A16 a file", at("file:///etc/passwd"), NO_ADDRESS),
        ("A16 another scheme", at("gopher://example.org"), NO_ADDRESS),
        ("A16 no scheme", at("example.org/v1"), NO_ADDRESS),
        ("A16 a host that only looks so", at("http://\u0430pi.openai.com/v1"), NO_ADDRESS),
        ("A16 full-width digits", at("http://\uff11\uff12\uff17.0.0.1/v1"), NO_ADDRESS),
        ("A16 a space", at("http://example.org /v1"), NO_ADDRESS),
        ("A16 port 0", at("http://example.org:0/v1"), NO_ADDRESS),
        ("A16 no port", at("http://example.org:walrus/v1"), NO_ADDRESS),
        (
            "A16 a password",
            at("http://me:sesame@example.org/v1"),
            f"{MODEL}api_base: this looks like a key",
        ),
        (
            "A16 an address as a name",
            "layers: [{type: generator, model: 'http://a/b'}]",
            "unknown provider",
        ),
        (
            "A17 a key",
            model("api_key: sesame"),
            f"{MODEL}api_key: keys do not belong in files; set the provider's variable",
        ),
        (
            "A17 elsewhere",
            "openai_api_key: sesame\n" + LAYERS,
            "1: openai_api_key: keys do not belong in files",
        ),
        (
            "A17 as a header",
            model("authorization: Bearer sesame"),
            f"{MODEL}authorization: keys do not belong in files",
        ),
        (
            "A17 as a value",
            ARCH.replace("openai/stand-in", "sk-proj-sesame0123456789"),
            f"{MODEL}model: this looks like a key",
        ),
        (
            "A17 in an address",
            at("http://example.org/v1?key=sesame"),
            f"{MODEL}api_base: this looks like a key",
        ),
        (
            "A18 os.environ",
            model("api_key: os.environ/OPENAI_API_KEY"),
            "api_key: keys do not belong in files",
        ),
        (
            "A18 as a model",
            "layers: [{type: generator, model: os.environ/HOME}]",
            "os.environ/HOME",
        ),
        (
            "A18 ${VAR}",
            knob('samples: "${HOME}"'),
            f"{KNOB}samples: expected a valid integer, found",
        ),
        ("A18 Jinja", knob("samples: '{{ 1 }}'"), f"{KNOB}samples: expected a valid integer"),
        *(
            (f"A19 {key}", model(f"{key}: {{a: 1}}"), f"{MODEL}{key}: unknown key")
            for key in (
                "extra_headers",
                "extra_body",
                "callbacks",
                "fallbacks",
                "num_retries",
                "cache",
                "mock_response",
                "custom_llm_provider",
                "proxy",
            )
        ),
        ("A20 a prompt of its own", knob('system: "{x.__class__}"'), f"{KNOB}system: unknown key"),
        ("A21 10 MB", LAYERS + "#" * (10 << 20), "arch.yaml: larger than 1 MiB"),
        ("A21 3,000 deep", "- " * 3_000 + "a", "arch.yaml:1:129: nested deeper than 64"),
        ("A21 3,000 deep in braces", "[" * 3_000, "arch.yaml:1:65: nested deeper than 64"),
        ("A22 UTF-16", ARCH.encode("utf-16"), "arch.yaml:1: not UTF-8 at byte 1 (0xff)"),
        ("A22 Latin-1", b"name: caf\xe9\n" + LAYERS.encode(), "arch.yaml:1: not UTF-8 at byte 10"),
        ("A22 NUL", LAYERS + 'name: "\\0"', "arch.yaml:3:7: U+0000 and unpaired surrogates are"),
        ("A22 a bell", LAYERS + "name: \x07", "arch.yaml:3: U+0007 is not allowed"),
        (
            "A23 include",
            "include: ../../etc/passwd\n" + LAYERS,
            "arch.yaml:1: include: unknown key",
        ),
        ("A23 !include", LAYERS + "name: !include ../secret.yaml", f"arch.yaml:3:7: {TAG}"),
        (
            "A24 components in Python",
            knob("model_type: Groq_API") + "custom: true\n",
            "arch.yaml:5: custom: components of one's own are Python code",
        ),
        ("A24 execute", knob("execute: true"), f"{KNOB}execute: unknown key"),
    ),
)
def test_it_is_refused_with_its_place(desk: Desk, content: bytes | str, says: str) -> None:
    desk.write("arch.yaml", content)

    ended = desk.refuses(*SUBMIT, says=("error: arch.yaml", says))

    assert "sesame" not in ended.err
    assert ended.err.count("error: ") == 1


@pytest.mark.parametrize(
    ("place", "says"),
    entries(
        ("A1 missing", "gone.yaml", "gone.yaml: no such file"),
        ("A1 a folder", ".", ".: is a folder"),
        ("A1 a device", "/dev/zero", "/dev/zero: is not a regular file"),
        ("A23 another file", "../secret.yaml", "../secret.yaml"),
    ),
)
def test_a_place_without_an_architecture_is_refused(desk: Desk, place: str, says: str) -> None:
    (desk.folder.parent / "secret.yaml").write_text("root:x:0:sesame\nname: sesame\n- sesame")

    ended = desk.refuses("submit", "rows.jsonl", "--arch", place, says=says)

    assert "sesame" not in ended.err


def test_a1_a_name_is_shown_and_not_obeyed(desk: Desk) -> None:
    desk.refuses("check", "\x1b]0;title", says=r"error: \x1b]0;title: no such file")


@pytest.mark.parametrize("command", ["check", "plan"])
def test_other_commands_refuse_alike(desk: Desk, command: str) -> None:
    desk.write("arch.yaml", knob("sampels: 2"))
    asked = ("check", "arch.yaml") if command == "check" else ("plan", *SUBMIT[1:])

    desk.refuses(*asked, says="error: arch.yaml:4: layers[0][0].sampels: unknown key; did you mean")


@pytest.mark.parametrize(
    "content",
    entries(
        ("A8 1e0 is a number", knob("temperature: 1e0")),
        ("A14 a default that bounds the bill", ARCH.replace(", max_tokens: 64", "")),
        ("A22 a byte order mark", "\ufeff" + ARCH),
        ("A22 CR LF", ARCH.replace("\n", "\r\n")),
    ),
)
def test_it_is_taken_as_it_was_meant(desk: Desk, content: str) -> None:
    desk.write("arch.yaml", content)

    assert desk.asked(desk.takes()) == {"a": "Why?"}


def test_a11_several_candidates_at_the_end_are_warned_of_and_the_first_answers(desk: Desk) -> None:
    desk.write("arch.yaml", knob("samples: 2"))

    ended = desk.run("check", "arch.yaml")

    assert ended.status == 0
    assert "warning: arch.yaml:3: layers: up to 2 candidates are left at the end" in ended.err


def test_a14_every_request_bounds_its_reply(desk: Desk) -> None:
    desk.write("arch.yaml", ARCH.replace(", max_tokens: 64", ""))

    assert desk.run(*SUBMIT).status == 0

    _, body = desk.provider.recent_requests[-1]
    assert body.get("max_tokens", body.get("max_completion_tokens")) == 2048


def test_a16_no_key_goes_where_a_file_points_but_the_one_bound_to_that_host(desk: Desk) -> None:
    assert desk.run(*SUBMIT).status == 0

    headers, _ = desk.provider.recent_requests[-1]
    assert headers["Authorization"] == f"Bearer {SECRETS['ARCHON_BATCH_KEY_127_0_0_1']}"
    assert not [value for value in headers.values() if SECRETS["OPENAI_API_KEY"] in value]


def test_a16_without_a_key_bound_to_that_host_none_is_sent(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ARCHON_BATCH_KEY_127_0_0_1")
    assert desk.run(*SUBMIT).status == 0

    headers, _ = desk.provider.recent_requests[-1]
    assert "Authorization" not in headers
    assert not [secret for secret in SECRETS.values() if secret in str(dict(headers))]


@pytest.mark.parametrize(
    ("template", "says"),
    entries(
        ("A20 an unknown key", "{txt}", "rows.jsonl:1: template: the row has no 'txt'"),
        ("A20 a lone brace", "a { b", "template: a lone { at character 3; write {{ for a brace"),
        ("A20 an attribute", "{prompt.__class__}", "template: the row has no 'prompt.__class__'"),
        ("A20 an index", "{prompt[0]}", "template: the row has no 'prompt[0]'"),
        ("A20 a place without a name", "{}", "template: the row has no ''"),
        ("A20 a colour", "{\x1b[31m}", r"template: the row has no '\x1b[31m'"),
        ("A20 a file that is gone", "@gone.txt", "--template: gone.txt: no such file"),
        ("A20 a folder", "@.", "--template: .: cannot be read: is a directory"),
        ("A20 not UTF-8", "@latin.txt", "--template: latin.txt:1: not UTF-8 at byte 1 (0xe9)"),
    ),
)
def test_a_template_that_cannot_be_filled_is_refused(desk: Desk, template: str, says: str) -> None:
    desk.write("latin.txt", b"\xe9 {prompt}")

    desk.refuses(*SUBMIT, "--template", template, says=says)
