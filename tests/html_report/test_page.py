"""The page in a browser: content, phone width, themes, and hostile text."""

import pytest

from archon_batch import html_report
from archon_batch.archon import Question, Reply
from archon_batch.html_report import collect
from archon_batch.html_report.collect import collect_report_data
from archon_batch.scores import Score
from tests.builders import a_question
from tests.html_report.jobs import a_finished_job

HOSTILE = (
    '</pre></details><script>document.title = "owned"</script>'
    '<img src="http://127.0.0.1:9/x" onerror="document.title = 1">'
    '<svg onload="document.title = 2"><a href="javascript:document.title = 3">x</a>'
    "<style>body { display: none }</style>{{ 7 * 7 }} \u202e"
)
LAYERS = ({"type": "generator", "samples": 3}, "critic", "ranker", "fuser")
SAID = {"critic": "[1] a\n[2] b\n[3] c", "ranker": "Answer: [2] > [1] > [3]", "fuser": "It is 4."}


def plain(ix, call):
    """Three candidates with the same number, except in every fourth row."""
    return SAID.get(call.component_type, f"It is {call.key.request_index if ix % 4 == 0 else 4}.")


@pytest.fixture
def written(store, tmp_path):
    def write(job, **knobs):
        path = tmp_path / "report.html"
        html_report.write_report(store, job, path, force=True, **knobs)
        return path

    return write


def test_the_page_shows_the_job_and_unfolds_to_every_call(store, written, look) -> None:
    job = a_finished_job(store, 3, plain, *LAYERS)

    page = look(written(job))

    assert page.get_by_role("heading", level=1).inner_text().startswith("nightly")
    assert "100 %" in page.locator(".tiles").inner_text()
    row = page.locator(".row").first
    call = row.locator(".call").first.locator(".text")
    assert not call.is_visible()
    row.locator("summary").first.click()
    row.locator(".layer > summary").first.click()
    row.locator(".call > summary").first.click()
    assert call.inner_text() == "It is 0."
    assert row.locator(".layer").count() == 4


def test_text_of_models_and_rows_is_escaped(store, written, look) -> None:
    question = Question(f"row {HOSTILE}", a_question(HOSTILE).messages)
    job = a_finished_job(
        store,
        [question],
        lambda _, call: (
            Reply(None, failure=HOSTILE)
            if call.component_type == "critic"
            else f"{HOSTILE}\x00\ud800"
        ),
        *LAYERS,
        models={"x": {"model": "openai/<b>$x_1$</b>\u202e"}},
        defaults={"model": "x"},
        name="<i>n</i>",
    )

    path = written(job)
    page = look(path)

    assert page.title() == "nightly · archon-batch"
    assert page.locator("script, img, a, iframe, object, link, base, form").count() == 0
    assert page.locator("style").count() == 1
    assert page.locator("body").is_visible()
    assert page.evaluate("[...document.querySelectorAll('*')].every(e =>"
                         " [...e.attributes].every(a => !/^on|^style$/.test(a.name)))")  # fmt: skip
    assert "document.title = 3" in page.locator(".text").first.text_content()
    assert "<b>$x_1$</b>" in page.locator("svg.chart").last.text_content()
    assert "{{ 7 * 7 }}" in page.locator(".text").first.text_content()


def test_the_policy_blocks_injected_content(store, written, look) -> None:
    path = written(a_finished_job(store, 1, plain))
    text = path.read_text()
    evil = (
        '<script>document.title = "owned"</script><style>h1 { color: rgb(1, 2, 3) }</style>'
        '<p style="position: fixed">x</p><img src="data:image/gif;base64,R0lGODlhAQABAAAAACw=">'
    )
    path.write_text(text.replace("<header>", f"{evil}<header>"))

    page = look(path)

    assert page.title() == "nightly · archon-batch"
    colour, position = (
        page.locator(of).evaluate(f"e => getComputedStyle(e).{what}")
        for of, what in (("h1", "color"), ("p[style]", "position"))
    )
    assert (colour != "rgb(1, 2, 3)", position) == (True, "static")
    assert page.locator("img").evaluate("e => e.naturalWidth") == 0


def test_the_page_makes_no_request_and_violates_no_policy(store, written, look) -> None:
    path = written(a_finished_job(store, 2, plain, *LAYERS))
    asked: list[str] = []
    console: list[str] = []
    page = look(path)
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: console.append(message.text))
    page.reload(wait_until="networkidle")

    assert (asked, console) == ([path.as_uri()], [])


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_a_phone_and_has_enough_contrast(store, written, look, scheme) -> None:
    long = "a" * 300
    job = a_finished_job(
        store,
        [a_question(long, row=long), a_question()],
        lambda ix, call: long if ix == 0 else plain(ix, call),
        *LAYERS,
        models={"x": {"model": f"openai/{'m' * 120}"}},
        defaults={"model": "x"},
    )
    page = look(written(job), 390, scheme)
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")

    assert page.evaluate("document.documentElement.scrollWidth") == 390
    smallest = page.evaluate(
        "Math.min(...[...document.querySelectorAll('svg.chart text')]"
        ".map(t => t.getBoundingClientRect().height))"
    )
    assert smallest >= 10
    for of in (".card .quiet", ".card h2", ".chip", ".card td", "svg.chart text"):
        assert page.locator(of).first.evaluate(_CONTRAST) >= 4.5, of


#: The contrast of an element's text with its background, by WCAG 2.
_CONTRAST = """element => {
  const light = colour => {
    const [r, g, b] = colour.match(/[\\d.]+/g).slice(0, 3).map(Number)
      .map(c => c / 255).map(c => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b
  }
  const style = getComputedStyle(element)
  let behind = element
  while (/, 0\\)|transparent/.test(getComputedStyle(behind).backgroundColor)) behind = behind.parentElement
  const text = light(element.tagName === "text" ? style.fill : style.color)
  const background = light(getComputedStyle(behind).backgroundColor)
  return (Math.max(text, background) + 0.05) / (Math.min(text, background) + 0.05)
}"""


def test_light_and_dark_themes_have_the_same_text(store, written, look) -> None:
    path = written(a_finished_job(store, 2, plain, *LAYERS))

    pages = [look(path, scheme=scheme) for scheme in ("light", "dark")]

    papers = [
        page.locator("body").evaluate("e => getComputedStyle(e).backgroundColor") for page in pages
    ]
    bars = [
        page.locator("svg.chart path[fill='var(--s1)']").first.evaluate(
            "e => getComputedStyle(e).fill"
        )
        for page in pages
    ]
    assert len(set(papers)) == len(set(bars)) == 2
    assert pages[0].locator("body").inner_text() == pages[1].locator("body").inner_text()


def test_scores_come_first_and_order_the_rows(store, written, look) -> None:
    job = a_finished_job(store, 12, plain, *LAYERS)
    right = {ix: Score(float(ix != 7)) for ix in range(11)} | {
        11: Score(None, unparsed_reason="rubbish")
    }
    store.scores.replace(job.id, "number against gold", right)
    store.scores.replace(job.id, "rating", {0: Score(7.0), 1: Score(9.0)})

    page = look(written(job, extreme_rows=2))

    first = page.locator(".tile").first.inner_text()
    assert "Score, number against gold" in first
    assert "0.9091" in first
    assert "95 % interval 0.7273 to 1" in first
    table = page.locator("table").first.inner_text().split("\n")
    assert [line.split("\t")[0] for line in table] == ["metric", "number against gold", "rating"]
    assert table[1].endswith("11\t1\t1")
    assert page.locator(".rows .id").all_inner_texts() == ["row-7", "row-0", "row-10", "row-9"]
    bands = page.locator("table").nth(1).inner_text().split("\n")
    assert bands[1:] == ["all agree\t9\t0.875", "no two agree\t3\t1"]
    assert "8 rows of 12 are not shown" in page.locator(".order").inner_text()


def test_a_chosen_metric_orders_the_rows(store) -> None:
    job = a_finished_job(store, 3, plain)
    store.scores.replace(job.id, "a", {0: Score(1.0)})
    store.scores.replace(job.id, "rating", {0: Score(7.0), 1: Score(9.0), 2: Score(3.0)})

    found = collect_report_data(store, job, extreme_rows=5, metric="rating")

    assert [row["id"] for row in found.worst] == ["row-2", "row-0", "row-1"]


def test_a_running_job_has_a_page(store, written, look) -> None:
    page = look(written(a_finished_job(store, 5, plain, *LAYERS, rows=2)))

    assert "2 of 5, 3 open" in page.locator(".tiles").inner_text()
    assert page.locator(".row").count() == 2


def test_a_job_without_calls_has_a_page(store, written, look) -> None:
    page = look(written(a_finished_job(store, 5, plain, rows=0)))

    assert "0 of 5, 5 open" in page.locator(".tiles").inner_text()
    assert page.locator("svg.chart").count() == 0


def test_rows_without_an_answer_show_the_reason(store, written, look) -> None:
    refused = Reply(None, failure="refused: not this")
    job = a_finished_job(store, 2, lambda *_: refused)

    page = look(written(job))

    assert (
        "refused: not this" in page.locator(".card", has_text="Warnings and failures").inner_text()
    )
    assert page.locator(".row .top .chip.bad", has_text="failed").count() == 2


def test_the_page_says_if_only_some_rows_were_compared(store, written, look, monkeypatch) -> None:
    job = a_finished_job(store, 9, plain, {"type": "generator", "samples": 3})
    every = look(written(job)).inner_text("body")
    monkeypatch.setattr(collect, "_MAX_COMPARED_ROWS", 4)

    page = look(written(job)).inner_text("body")

    data = collect_report_data(store, job, extreme_rows=5, metric=None)
    assert data.aggregates.agreement.rows_by_band.total() == 3
    assert "One row in 3 was compared." in page
    assert "was compared" not in every
