"""The HTML report holds what the run measured, nothing of it as markup, and works in a real browser."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from export_samples import report

from engine.errors import InputError, StorageError
from engine.export.html import charts
from engine.export.html.page import page
from engine.export.html.write import default_path, write
from engine.export.training_pairs import Lineage, NearestPrompts, TrainingPair, read_history


class Parsed(HTMLParser):
    """Tags, their attributes, and the visible text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside = tag

    def handle_data(self, data: str) -> None:
        if self._inside not in ("script", "style"):
            self.text += data


def made(run: Path) -> str:
    return page(run.name, json.loads((run / "report.json").read_text()), read_history(run))


def test_the_page_holds_figures_conditions_pairs_and_curves(run: Path) -> None:
    parsed = Parsed(made(run))
    words = " ".join(parsed.text.split())
    for expected in (
        "Improvement not confirmed",
        "0.90 → 0.30",
        "judge: panel · AUROC .94",
        "score · not met: needs about 2 more held-out prompts",
        "health · met",
        "You could ask first.",
        "Too harsh.",
        "A draft.",
        "expected score 1.50",
        "dropped: the samples do not differ",
        "Loss (dots: validation loss)",
        "1 the samples do not differ",
    ):
        assert expected in words, expected
    assert sum(tag == "polyline" for tag, _ in parsed.tags) == 2


def test_gain_and_damage_of_each_training_seed_are_drawn_and_listed(run: Path) -> None:
    html = made(run)
    parsed = Parsed(html)
    words = " ".join(parsed.text.split())
    for expected in (
        "Gain and damage of each training seed",
        "seed 7: gain +0.60, damage 0.021; seed 8: gain -0.10, damage 0.350",
        "Seed 8: compared is the adapter of step 6, the last healthy one of 9 steps.",
        "held-out answers that decline 3 11 40",
        "Benign prompts that only trained refused (1)",
    ):
        assert expected.replace(" ", "") in words.replace(" ", ""), expected
    (drawn,) = re.findall(r"<svg[^>]*><title>Gain and damage.*?</svg>", html, re.DOTALL)
    better, worse = re.findall(r'<circle class="mean (\w+)" cx="([\d.]+)" cy="([\d.]+)"', drawn)
    assert (better[0], worse[0]) == ("good", "bad")
    assert float(better[1]) < float(worse[1])
    assert float(better[2]) < float(worse[2])  # the vertical axis of SVG points down


def test_one_training_has_no_trade_off(run: Path) -> None:
    data = report()
    del data["summary"]["trainings"][1]
    (run / "report.json").write_text(json.dumps(data))
    assert "Gain and damage" not in made(run)


def test_words_that_differ_are_marked_on_both_sides(run: Path) -> None:
    html = made(run)
    assert re.search(r"<del>You must never ask\.?</del>|<del>must never</del>", html)
    assert re.search(r"<ins>[^<]*could[^<]*", html)
    assert "colo<u>u</u>r" in html


def test_texts_never_become_markup(run: Path) -> None:
    html = made(run)
    parsed = Parsed(html)
    assert not [tag for tag, _ in parsed.tags if tag == "img"]
    assert sum(tag == "script" for tag, _ in parsed.tags) == 1
    assert not [name for _, attributes in parsed.tags for name in attributes if name.startswith("on")]
    assert "\x1b" not in html
    assert "\u202e" not in html


def test_nothing_is_loaded_from_elsewhere(run: Path) -> None:
    parsed = Parsed(made(run))
    policy = next(a["content"] for tag, a in parsed.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    links = [a[name] for _, a in parsed.tags for name in ("src", "href") if name in a]
    assert links
    assert all(link is not None and link.startswith("#") for link in links)


def test_links_lead_from_answers_to_pairs_and_back(run: Path) -> None:
    parsed = Parsed(made(run))
    ids = {a["id"] for _, a in parsed.tags if "id" in a}
    links = {a["href"] for tag, a in parsed.tags if tag == "a"}
    assert "#pair-t1" in links
    assert "#compared-0" in links
    assert all(link is not None and link[1:] in ids for link in links)


def test_a_damaged_report_still_becomes_a_page(run: Path) -> None:
    (run / "report.json").write_text('{"summary": {"outcome": 3, "score": []}, "prompts": [4, {}], "versions": 7}')
    assert "Compared answers" in made(run)


def test_a_run_without_texts_says_so(run: Path) -> None:
    (run / "report.json").write_text(json.dumps({**report(), "prompts": []}))
    assert "This run keeps no texts." in made(run)


def test_a_run_without_a_report_is_refused(run: Path) -> None:
    (run / "report.json").unlink()
    with pytest.raises(InputError, match="has no report"):
        write(run, default_path(run))


def test_a_file_that_cannot_be_written_is_named(run: Path) -> None:
    (run / "file").write_text("")
    with pytest.raises((StorageError, InputError), match="file"):
        write(run, run / "file" / "x.html")


def test_the_most_similar_training_prompts_come_first() -> None:
    found = NearestPrompts(["how to bake rye bread", "how to sell a car", "how to bake a cake"])
    assert found.nearest("how do I bake rye bread at home?")[0][0] == 0
    assert found.nearest("quantum") == []
    assert NearestPrompts([]).nearest("anything") == []


def test_a_long_curve_keeps_its_peaks() -> None:
    line = [(float(n), 50.0 if n == 4321 else 1.0) for n in range(10_000)]
    svg = charts.curve("loss", line, [], [])
    points = re.search(r'points="([^"]*)"', svg)
    assert points is not None
    heights = [float(point.split(",")[1]) for point in points[1].split()]
    assert len(heights) <= 800
    assert min(heights) < 30


CHROMIUM = next(
    (
        found
        for name in ("chromium-headless-shell", "chromium", "google-chrome", "chrome")
        if (found := shutil.which(name))
    ),
    None,
)
browser = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")


def in_browser(html: str, folder: Path, script: str, width: int = 1280) -> dict[str, Any]:
    """What a script returns that runs in the page; fails where the page wrote to the browser's console."""
    assert CHROMIUM is not None
    path = folder / "page.html"
    probe = (
        "<script>addEventListener('load', async () => { const wait = (n) => new Promise((r) => setTimeout(r, n));"
        f"const found = await (async () => {{ {script} }})(); const made = document.createElement('pre');"
        "made.id = 'probe'; made.textContent = JSON.stringify(found); document.body.append(made); });</script></body>"
    )
    path.write_text(html.replace("</body>", probe))
    done = subprocess.run(
        [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--window-size={width},900", "--dump-dom",
         "--virtual-time-budget=4000", "--enable-logging=stderr", path.as_uri()],
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    assert "CONSOLE" not in done.stderr, done.stderr
    result = re.search(r'<pre id="probe">(.*?)</pre>', done.stdout, re.DOTALL)
    assert result is not None, done.stdout[-2000:]
    found: dict[str, Any] = json.loads(result[1])
    return found


@browser
def test_filters_order_theme_and_links_work_in_a_browser(run: Path, tmp_path: Path) -> None:
    found = in_browser(
        made(run),
        tmp_path,
        """
        const out = {}, form = document.querySelector("#compared form");
        const all = () => [...document.querySelectorAll("#compared article")];
        const shown = () => all().filter((a) => !a.hidden).map((a) => a.id);
        const choose = async (name, value) => {
          form.elements[name].value = value;
          form.elements[name].dispatchEvent(new Event("input", {bubbles: true}));
          form.elements[name].dispatchEvent(new Event("change", {bubbles: true}));
        };
        out.all = shown();
        await choose("set", "benign"); out.benign = shown(); out.count = form.querySelector("output").value;
        await choose("set", "");
        await choose("change", "better"); out.better = shown();
        await choose("change", "none"); out.none = shown();
        await choose("change", "");
        await choose("principle", "fairness"); out.fairness = shown();
        await choose("principle", "");
        await choose("kind", "prescriptive to suggestive"); out.kind = shown();
        await choose("search", "LADDER NUMBER 2"); out.search = shown();
        form.reset(); await wait(50); out.reset = shown();
        await choose("order", "size"); out.first = shown()[0];
        await choose("search", "nothing like this"); out.nothing = shown();
        location.hash = "#compared-1"; await wait(300); out.revealed = shown().length;
        const before = getComputedStyle(document.body).backgroundColor;
        document.querySelector(".theme").click();
        out.themed = before !== getComputedStyle(document.body).backgroundColor;
        out.title = document.title;
        return out;
        """,
    )
    names = [f"compared-{number}" for number in range(5)]
    assert found["all"] == names
    assert (found["benign"], found["count"]) == (["compared-4"], "1 of 5")
    assert found["better"] == ["compared-0"]
    assert found["none"] == ["compared-3"]
    assert found["fairness"] == names[:4]
    assert found["kind"] == ["compared-0"]
    assert found["search"] == []
    assert found["reset"] == names
    assert found["first"] in names[:2]
    assert found["nothing"] == []
    assert found["revealed"] == 5
    assert found["themed"]
    assert found["title"] == "Improvement not confirmed · small"


@browser
@pytest.mark.parametrize("width", [390, 1280])
def test_no_width_makes_the_page_scroll_sideways(run: Path, tmp_path: Path, width: int) -> None:
    text = made(run).replace("You could ask first.", "word" * 400)
    found = in_browser(
        text,
        tmp_path,
        """
        for (const one of document.querySelectorAll("details")) one.open = true;
        const sides = document.querySelector(".sides");
        return {wide: document.documentElement.scrollWidth, inner: innerWidth,
                columns: getComputedStyle(sides).gridTemplateColumns.split(" ").length};
        """,
        width,
    )
    assert found["wide"] <= found["inner"]
    assert found["columns"] == (1 if found["inner"] <= 640 else 2)


@browser
def test_a_phone_shows_each_outcome_whole_in_one_line(run: Path, tmp_path: Path) -> None:
    data = report()
    one = data["summary"]["principles"][0]
    data["summary"]["principles"] = [{**one, "principle": "autonomy_respect", "outcome": "unclear"}]
    found = in_browser(
        page(run.name, data, read_history(run)),
        tmp_path,
        """
        const cell = [...document.querySelectorAll(".scroll td")].find((one) => one.textContent === "unclear");
        const range = document.createRange(); range.selectNodeContents(cell);
        return {lines: range.getClientRects().length, right: cell.getBoundingClientRect().right, inner: innerWidth};
        """,
        390,
    )
    assert found["lines"] == 1
    assert found["right"] <= found["inner"]


@browser
def test_printing_opens_what_is_folded(run: Path, tmp_path: Path) -> None:
    found = in_browser(
        made(run),
        tmp_path,
        """
        const open = () => document.querySelectorAll("details[open]").length;
        const before = open(); dispatchEvent(new Event("beforeprint")); const during = open();
        dispatchEvent(new Event("afterprint"));
        return {before, during, after: open(), all: document.querySelectorAll("details").length};
        """,
    )
    assert (found["before"], found["after"]) == (0, 0)
    assert found["during"] == found["all"] > 0


def test_without_scripts_every_pair_is_there(run: Path) -> None:
    articles = [attributes for tag, attributes in Parsed(made(run)).tags if tag == "article"]
    assert len(articles) == 7
    assert not any("hidden" in attributes for attributes in articles)


def test_the_nearest_training_pairs_come_first_and_only_those_trained_on() -> None:
    rye, car, cake = (
        TrainingPair("a", "how to bake rye bread", chosen="Mix rye flour and water.", kept=True),
        TrainingPair("b", "how to sell a car", chosen="Wash it first.", kept=True),
        TrainingPair("c", "how to bake rye bread", chosen="Mix rye flour and water.", kept=False),
    )
    found = Lineage([rye, car, cake]).near("how do I bake rye bread?", "Buy rye flour.")
    assert [one.pair.item for one in found] == ["a", "b"]
    assert 0 < found[0].answer < found[0].question < 1
    assert found[0].nearness == (found[0].question + found[0].answer) / 2
    assert Lineage([rye]).near("quantum", "entanglement") == []
    assert Lineage([]).near("anything", "at all") == []
