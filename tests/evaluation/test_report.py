import base64
import json
import re
import shutil
import xml.etree.ElementTree as ET
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser

import pytest

from memformer.evaluation import machine
from memformer.evaluation.arms import usual_arms
from memformer.evaluation.report import write_report
from memformer.evaluation.run import evaluate
from tests.evaluation.story import LetterGroups, backwards, manuscript

ARMS = usual_arms(window=16, n_sink=2, n_retrieved=(2, 4), max_distance=100, controls=True)
HOSTILE = "</script><img src=x onerror=alert(1)>&amp; | pipe"
PLOTS = ["gain", "distance", "classes", "retrieval"]


def go(folder, model, books, arms=ARMS, **more):
    options = {"n_tokens": 240, "block_len": 16, "n_draw": 50, **more}
    evaluate(model, LetterGroups(), books, arms, folder, **options)
    return write_report(folder)


class Page(HTMLParser):
    """What a browser would see: tags with attributes, and text outside script and style."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.text, self.scripts, self._inside = [], "", [], ""
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self._inside = tag

    def handle_endtag(self, tag):
        self._inside = ""

    def handle_data(self, data):
        if self._inside == "script":
            self.scripts.append(data)
        elif self._inside != "style":
            self.text += data


@pytest.fixture(scope="module")
def run(tmp_path_factory, model):
    folder = tmp_path_factory.mktemp("report")
    text = manuscript().text.replace(". ", f". {HOSTILE} ")
    hostile = replace(manuscript(text=text), title=f"The {HOSTILE}", author=HOSTILE)
    paths = go(folder, model, [hostile, backwards()])
    return folder, paths


@pytest.fixture(scope="module")
def page(run):
    return Page(run[1].html.read_text())


@pytest.fixture(scope="module")
def data(page):
    return json.loads(page.scripts[0])


def test_the_page_fetches_nothing(page):
    sources = [a[name] for _, a in page.tags for name in ("src", "srcset") if name in a]
    assert len(sources) == 2 * len(PLOTS)
    assert all(source.startswith("data:image/svg+xml;base64,") for source in sources)
    links = [a["href"] for tag, a in page.tags if "href" in a]
    assert all(link.startswith("#") for link in links)
    assert not any(tag in ("link", "iframe", "object") for tag, _ in page.tags)


def test_every_plot_is_an_svg_with_a_name(page, run):
    for tag, attributes in page.tags:
        if tag == "img":
            svg = base64.b64decode(attributes["src"].partition(",")[2])
            assert ET.fromstring(svg).tag.endswith("svg") and attributes["alt"]
    assert [path.stem for path in run[1].plots] == PLOTS
    assert all(ET.parse(path).getroot().tag.endswith("svg") for path in run[1].plots)


def test_text_of_a_book_cannot_become_markup(page, data):
    assert not any(attributes.get("onerror") for _, attributes in page.tags)
    assert len(page.scripts) == 2
    assert "onerror" in page.text  # as text: in the title, the passage and the excerpts
    assert "onerror" in "".join(token["text"] for token in data[0]["tokens"])


def test_every_retrieved_token_links_to_an_excerpt_that_holds_it(page, data):
    ids = {attributes["id"] for _, attributes in page.tags if "id" in attributes}
    n_link = 0
    for number, passage in enumerate(data):
        for token in passage["tokens"]:
            for found in token["found"]:
                assert f"place-{number}-{found['place']}" in ids
                n_link += 1
    assert n_link > 100


def test_excerpts_mark_the_retrieved_tokens(run, data):
    places = re.findall(r'id="place-0-(\d+)">(.*?)</p>', run[1].html.read_text(), re.S)
    marked = {
        int(i): [unescape(hit) for hit in re.findall("<mark>(.*?)</mark>", text, re.S)]
        for i, text in places
    }
    token = next(t for t in data[0]["tokens"] if t["found"])
    found = token["found"][0]
    assert found["text"] in marked[found["place"]]
    assert found["distance"] == token["at"] - 1 - found["token"] >= 16


def test_tokens_of_the_passage_are_the_books_own(page, data):
    text = "".join(token["text"] for token in data[1]["tokens"])
    assert text in backwards().text
    spans = [a for tag, a in page.tags if tag == "span" and a.get("class") == "t"]
    assert len(spans) == sum(bool(t["text"].strip()) for p in data for t in p["tokens"])


def test_retrievals_name_the_chapter(data):
    chapters = {f["chapter"] for t in data[0]["tokens"] for f in t["found"]}
    assert chapters and chapters <= {"Chapter I", "Chapter II"}


def test_the_page_says_its_limits_and_the_markdown_too(page, run):
    markdown = run[1].markdown.read_text()
    for text in (" ".join(page.text.split()), markdown):
        assert "it has probably read these books" in text
        assert "The controls leak" in text


def test_both_forms_hold_the_same_numbers(page, run):
    result = json.loads((run[0] / "result.json").read_text())
    markdown = run[1].markdown.read_text()
    for arm in result["metrics"]["all"]["arms"].values():
        value = f"{arm['nats_per_token']['value']:,.3f}"
        assert value in page.text and value in markdown


def test_markdown_shows_plots_that_exist_and_whole_tables(run):
    markdown = run[1].markdown.read_text()
    links = re.findall(r"\]\((.+?)\)", markdown)
    assert len(links) == len(PLOTS) and all((run[0] / link).exists() for link in links)
    for table in re.findall(r"(?:^\|.*\n)+", markdown, re.M):
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in table.splitlines()}) == 1


def test_markdown_quotes_no_book(run):
    assert "Abernathy" not in run[1].markdown.read_text()


def test_same_result_same_report(run):
    before = run[1].html.read_bytes()
    assert write_report(run[0]).html.read_bytes() == before


def test_report_of_arms_without_memory_has_no_retrieval(model, tmp_path):
    paths = go(tmp_path, model, [manuscript()], ARMS[:4])
    page = Page(paths.html.read_text())
    assert [path.stem for path in paths.plots] == PLOTS[:3]
    assert "No arm of this evaluation had its memory on." in page.text
    assert json.loads(page.scripts[0]) == []


def test_report_of_one_arm_is_its_table(model, tmp_path):
    paths = go(tmp_path, model, [manuscript()], ARMS[3:4])
    assert paths.plots == [] and "window + sinks" in paths.markdown.read_text()


def test_report_without_a_rival_names_no_gap(model, tmp_path):
    paths = go(tmp_path, model, [manuscript()], ARMS[3:5])
    text = paths.markdown.read_text()
    assert "Share of the gap" not in text and "memory, K = 2" in text
    assert "the gap to" not in text and "full attention" not in text


@pytest.fixture(scope="module")
def three_books():
    return [manuscript(f"book-{i}", manuscript().text[60 * i :]) for i in range(3)]


def test_books_trained_on_are_named_and_not_pooled(model, tmp_path, three_books):
    paths = go(tmp_path, model, three_books, ARMS[3:5], trained_on=["book-1"])
    text = paths.markdown.read_text()
    result = json.loads((tmp_path / "result.json").read_text())
    assert [book["trained_on"] for book in result["books"]] == [False, True, False]
    levels = {name: each["arms"]["memory-2"]["nats_per_token"]["value"]
              for name, each in result["metrics"].items()}  # fmt: skip
    assert levels["all"] == pytest.approx((levels["book-0"] + levels["book-2"]) / 2, rel=1e-6)
    assert result["metrics"]["all"]["n_tokens"] == 2 * 239
    assert "**both held-out books**" in text and "**The book-1 (trained on)**" in text
    assert "tokens, trained on; The book-2 by A. Nobody" in text
    assert f"{240:,} of {result['books'][2]['n_total']:,} tokens, held out." in text


def test_one_held_out_book_stands_for_all(model, tmp_path, three_books):
    paths = go(tmp_path, model, three_books[:2], ARMS[3:5], trained_on=["book-0"])
    assert set(json.loads((tmp_path / "result.json").read_text())["metrics"]) == {
        "book-0", "book-1",
    }  # fmt: skip
    text = paths.markdown.read_text()
    first, second = text.index("**The book-1**"), text.index("**The book-0 (trained on)**")
    assert first < second


def test_books_all_trained_on_are_pooled_and_named_so(model, tmp_path, three_books):
    ids = [book.id for book in three_books]
    paths = go(tmp_path, model, three_books, ARMS[3:5], trained_on=ids)
    assert "**all 3 trained-on books**" in paths.markdown.read_text()


def test_nothing_is_said_of_books_where_it_is_not_known(run):
    markdown = run[1].markdown.read_text()
    assert "held out" not in markdown and "trained on" not in markdown
    assert "**both books**" in markdown


def test_many_books_share_one_panel(model, tmp_path):
    books = [manuscript(f"book-{i}", manuscript().text[60 * i :]) for i in range(5)]
    paths = go(tmp_path, model, books, ARMS[3:5])
    assert "5 books, read through a window of 16 tokens" in paths.markdown.read_text()


def test_folder_without_a_result_is_refused(tmp_path):
    with pytest.raises(ValueError, match="holds no result.json: run `memformer evaluate` first"):
        write_report(tmp_path)


def test_result_of_another_schema_is_refused(run, tmp_path):
    (tmp_path / "result.json").write_text('{"schema": 99}')
    with pytest.raises(ValueError, match="has schema 99, this version reads 1"):
        write_report(tmp_path)


def test_result_cut_short_is_refused(run, tmp_path):
    (tmp_path / "result.json").write_text((run[0] / "result.json").read_text()[:500])
    with pytest.raises(ValueError, match="is not a whole JSON file"):
        write_report(tmp_path)


def test_missing_tokens_are_named(run, tmp_path):
    shutil.copy(run[0] / "result.json", tmp_path)
    with pytest.raises(FileNotFoundError, match=r"ferry.npz"):
        write_report(tmp_path)


def test_commit_is_none_where_another_checkout_holds_the_package(monkeypatch):
    monkeypatch.setattr(machine, "_git", lambda folder, *what: None)
    assert machine.commit() is None


def test_commit_says_when_files_differ(monkeypatch):
    answers = {"ls-files": "machine.py", "rev-parse": "abc123", "status": " M x.py"}
    monkeypatch.setattr(machine, "_git", lambda folder, what, *rest: answers[what])
    assert machine.commit() == "abc123-dirty"


def test_no_git_is_no_commit(monkeypatch):
    def missing(*arguments, **options):
        raise FileNotFoundError("git")

    monkeypatch.setattr(machine.subprocess, "run", missing)
    assert machine.commit() is None
