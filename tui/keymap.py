"""The one table of keys: bindings, footer, help and docs/keys.md are all made from it.

A user's own keys come from the table [keys] of `config.toml` in the settings folder, or from `keys.toml` there
(`action = "key"` or `action = ["key", "key"]`); what cannot be used there is reported and left out.
"""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from textual.binding import Binding, BindingType

from engine.text import sanitize, truncate

APP, RUN, LOG, DIFF, PROMPTS, LOSS, INPUT, REPORT, REVIEW, TRY, SHEET, RUNS, SETUP, EDITOR, LIST, ANSWERS = (
    "app",
    "run",
    "log",
    "diff",
    "prompts",
    "loss",
    "input",
    "report",
    "review",
    "try",
    "sheet",
    "runs",
    "setup",
    "constitution",
    "list",
    "answers",
)
"""Where a key works: everywhere, on the run screen, in one of its panes, on other screens."""

PLACES = {
    APP: "Everywhere",
    RUN: "Run screen",
    LOG: "Log",
    DIFF: "Comparison",
    PROMPTS: "Prompts",
    LOSS: "Loss",
    INPUT: "Evaluate a text",
    REPORT: "Report",
    REVIEW: "Blind reading",
    TRY: "Ask base and trained",
    SHEET: "Verdict and judges",
    RUNS: "List of runs",
    SETUP: "Set up the next run",
    EDITOR: "Constitution",
    LIST: "Lists and forms",
    ANSWERS: "Best and worst answers",
}
"""Place -> heading in the help."""


@dataclass(frozen=True)
class Key:
    """One thing that a key does.

    Args:
        action: id of the action; Textual calls `action_<id>` of the widget, screen or app that binds it. Arguments
            may follow in parentheses.
        keys: Textual's names, such as "ctrl+r"; the first is the one that is shown.
        label: a word or two for the footer.
        help: one sentence.
        place: one of `PLACES`.
        footer: place in the footer, 1 first; 0 is not in the footer.
        always: works while a text field has the focus.
    """

    action: str
    keys: tuple[str, ...]
    label: str
    help: str
    place: str = RUN
    footer: int = 0
    always: bool = False

    @property
    def id(self) -> str:
        """What the keys file calls it: the action's name, with its argument where it has one."""
        name = self.action.replace("', ", "-").replace("('", "-").replace("')", "")
        return name.replace("(", "-").replace(")", "").replace("_", "-")


KEYS: tuple[Key, ...] = (
    Key("run", ("ctrl+r",), "Run", "Start a run with the chosen preset.", RUN, 1, always=True),
    Key("pause", ("p",), "Pause", "Pause the run, or continue it.", RUN, 2),
    Key("resume", ("u",), "Resume", "Resume this run where it stopped.", RUN, 2),
    Key("stop", ("s",), "Stop", "Stop the run; asks first. What is finished is kept.", RUN, 9),
    Key(
        "answer_alarm",
        ("H",),
        "Alarm",
        "Answer an alarm of training: return to the last healthy checkpoint, or continue.",
        RUN,
        2,
    ),
    Key("detach", ("d",), "Detach", "Leave the screen; the run continues, and `redraft` shows it again.", RUN),
    Key(
        "verbosity_up",
        ("v",),
        "Verbosity",
        "Show more, of earlier records too: off, summary, key stages, all.",
        RUN,
        3,
    ),
    Key("verbosity_down", ("V",), "Less verbosity", "Show less.", RUN),
    Key("verbosity(0)", ("0",), "Log off", "Show nothing in the log.", RUN),
    Key("verbosity(1)", ("1",), "Log: summary", "Show one line per stage.", RUN),
    Key("verbosity(2)", ("2",), "Log: key stages", "Show key stages, texts cut to 500 characters.", RUN),
    Key("verbosity(3)", ("3",), "Log: everything", "Show everything in full.", RUN),
    Key("search", ("slash",), "Search", "Search the log; an empty search ends it.", RUN, 4),
    Key("next_hit", ("n",), "Next hit", "Go to the next record that holds the words searched for.", RUN),
    Key("previous_hit", ("N",), "Previous hit", "Go to the previous hit.", RUN),
    Key("only_hits", ("h",), "Only hits", "Show only records that hold the words, or all again.", RUN),
    Key("stage_filter", ("S",), "Stages", "Show only records of some stages: drafts, verdicts, pairs ...", RUN),
    Key("prompt_filter", ("P",), "Prompt", "Show only records of the marked record's prompt, or all again.", RUN),
    Key("principle_filter", ("R",), "Principle", "Show only records on one principle: broken, or criticized.", RUN),
    Key("follow", ("f",), "Follow", "Toggle following the end of the log.", RUN, 5),
    Key("compare_next", ("right_square_bracket",), "Compare", "Show the next comparison of base and trained.", RUN, 6),
    Key("compare_previous", ("left_square_bracket",), "Previous comparison", "Show the previous comparison.", RUN),
    Key(
        "compare_order",
        ("o",),
        "Comparison order",
        "Sort comparisons: largest change, as they came, got worse first, by principle.",
        RUN,
    ),
    Key("compare_mode", ("M",), "Diff mode", "Mark changed words, changed sentences, or show changed only.", RUN),
    Key("compare_pairs", ("B",), "Pairs", "Compare the two sides of each preference pair, or the answers.", RUN),
    Key("compare_records", ("C",), "Two records", "Compare the marked record with the one marked next.", RUN),
    Key("export", ("e",), "Export", "Write the records that the log shows into the run's folder.", RUN, 7),
    Key("copy", ("y",), "Copy", "Copy the marked record, comparison or report to the clipboard.", RUN, 13),
    Key("setup", ("c",), "Set up", "Choose preset, prompts, model and seed of the next run.", RUN, 10),
    Key(
        "edit_constitution",
        ("E",),
        "Constitution",
        "Edit the constitution of the next run, try it, run its tests.",
        RUN,
    ),
    Key("evaluate_text", ("i",), "Evaluate", "Go to the field for a text to judge.", RUN, 8),
    Key("verdict", ("w", "f3"), "Verdict", "Show the latest verdict in full: bars, marked words, reasons.", RUN),
    Key("judges", ("a", "f2"), "Judge", "Show the measured accuracy of the judges.", RUN),
    Key("agree", ("Y",), "Agree", "Keep the verdict in focus as a label: it is right.", RUN),
    Key("disagree", ("D",), "Disagree", "Keep a label that corrects the verdict in focus.", RUN),
    Key("report", ("r",), "Report", "Show the report of this run.", RUN, 11),
    Key("try", ("T",), "Try", "Ask base and trained model of this run, side by side.", RUN),
    Key("review", ("b",), "Blind reading", "Read answers without knowing which model wrote them.", RUN),
    Key("answers", ("W",), "Best and worst", "List the ten worst and the ten best answers of this run.", RUN),
    Key(
        "lineage",
        ("L",),
        "Training rows",
        "Show the training rows whose words are nearest to the trained answer that is compared.",
        RUN,
    ),
    Key("back", ("escape",), "All records", "Show all records again; close the line on how the run ended.", RUN),
    Key("runs", ("l",), "Runs", "List the runs on this machine and open one.", RUN, 12),
    Key("zoom", ("z",), "Zoom", "Show one pane on the whole screen, or all again.", RUN, 14),
    Key("widen(2)", ("greater_than_sign",), "Wider side panes", "Make the side panes wider.", RUN),
    Key("widen(-2)", ("less_than_sign",), "Narrower side panes", "Make the side panes narrower.", RUN),
    Key("resize_comparison(1)", ("plus", "equals_sign"), "Taller comparison", "Make the comparison taller.", RUN),
    Key("resize_comparison(-1)", ("minus",), "Lower comparison", "Make the comparison lower.", RUN),
    Key("pane(1)", ("tab",), "Next pane", "Go to the next pane.", RUN, always=True),
    Key("pane(-1)", ("shift+tab",), "Previous pane", "Go to the previous pane.", RUN, always=True),
    Key("pane_log", ("4",), "Log", "Go to the log.", RUN),
    Key("pane_input", ("5",), "Prompts", "Go to the prompts.", RUN),
    Key("pane_loss", ("6",), "Loss", "Go to the loss curve and the sample.", RUN),
    Key("pane_diff", ("7",), "Diff", "Go to the comparison.", RUN),
    Key("line(-1)", ("up",), "Up", "Move up a line.", LOG),
    Key("line(1)", ("down",), "Down", "Move down a line.", LOG),
    Key("page(-1)", ("pageup", "ctrl+b"), "Page up", "Move up a page.", LOG),
    Key("page(1)", ("pagedown",), "Page down", "Move down a page.", LOG),
    Key("first", ("home", "g"), "First", "Go to the first record.", LOG),
    Key("last", ("end", "G"), "Last", "Go to the last record and follow.", LOG),
    Key("mark(1)", ("j",), "Next record", "Mark the next record.", LOG),
    Key("mark(-1)", ("k",), "Previous record", "Mark the previous record.", LOG),
    Key("story", ("enter",), "Prompt", "Show only records of the marked record's prompt, or all again.", LOG),
    Key("fold", ("space",), "Fold", "Fold or unfold the marked record.", LOG),
    Key("jump('violation', 1)", ("full_stop",), "Next violation", "Go to the next violation.", LOG),
    Key("jump('violation', -1)", ("comma",), "Previous violation", "Go to the previous violation.", LOG),
    Key("jump('pair', 1)", ("right_parenthesis",), "Next pair", "Go to the next pair that was kept.", LOG),
    Key("jump('pair', -1)", ("left_parenthesis",), "Previous pair", "Go to the previous pair that was kept.", LOG),
    Key("jump('error', 1)", ("exclamation_mark",), "Next error", "Go to the next error.", LOG),
    Key("jump('error', -1)", ("quotation_mark",), "Previous error", "Go to the previous error.", LOG),
    Key("fold_all", ("x",), "Fold all", "Fold or unfold all records.", LOG),
    Key("line(-1)", ("up", "k"), "Up", "Move up a line.", DIFF),
    Key("line(1)", ("down", "j"), "Down", "Move down a line.", DIFF),
    Key("page(-1)", ("pageup",), "Page up", "Move up a page.", DIFF),
    Key("page(1)", ("pagedown", "space"), "Page down", "Move down a page.", DIFF),
    Key("side(0)", ("left",), "Left side", "Act on the left text.", DIFF),
    Key("side(1)", ("right",), "Right side", "Act on the right text.", DIFF),
    Key("row(-1)", ("up", "k"), "Up", "Go to the prompt above.", PROMPTS),
    Key("row(1)", ("down", "j"), "Down", "Go to the prompt below.", PROMPTS),
    Key("rows(-1)", ("pageup",), "Page up", "Go up a page.", PROMPTS),
    Key("rows(1)", ("pagedown",), "Page down", "Go down a page.", PROMPTS),
    Key("first", ("home", "g"), "First", "Go to the first prompt.", PROMPTS),
    Key("last", ("end", "G"), "Last", "Go to the last prompt.", PROMPTS),
    Key(
        "choose",
        ("enter",),
        "Show in log",
        "Show only the prompt's records in the log, from draft to answers.",
        PROMPTS,
    ),
    Key("filter", ("slash",), "Filter", "Show only prompts that hold the words to type; empty ends it.", PROMPTS),
    Key("which", ("full_stop",), "Which", "Show all prompts, those trained on, held out, kept or dropped.", PROMPTS),
    Key("cross(-1)", ("left",), "Crosshair left", "Show the values at a step; move to earlier ones.", LOSS),
    Key("cross(1)", ("right",), "Crosshair right", "Move to later steps.", LOSS),
    Key("cross(-10)", ("shift+left",), "Far left", "Move ten columns to earlier steps.", LOSS),
    Key("cross(10)", ("shift+right",), "Far right", "Move ten columns to later steps.", LOSS),
    Key("cross_end(-1)", ("home",), "First step", "Show the values at the first step.", LOSS),
    Key("cross_end(1)", ("end",), "Last step", "Show the values at the last step.", LOSS),
    Key("hide_cross", ("escape",), "No crosshair", "Hide the crosshair.", LOSS),
    Key("measure", ("m",), "Measure", "Show the reward margin, or the loss again.", LOSS),
    Key("letters", ("x",), "Letters", "Draw with letters instead of braille dots, or with dots again.", LOSS),
    Key("evaluate", ("enter",), "Evaluate", "Judge the text.", INPUT, 1),
    Key("newline", ("ctrl+j", "shift+enter"), "New line", "Insert a line break.", INPUT, 2),
    Key("verdict", ("f3",), "Verdict", "Show the latest verdict in full.", INPUT, 4),
    Key("judges", ("f2",), "Judge", "Show the measured accuracy of the judge.", INPUT, 5),
    Key("agree", ("f4",), "Agree", "Keep the verdict as a label: it is right.", INPUT, 6),
    Key("disagree", ("f6",), "Disagree", "Keep a label that corrects the verdict.", INPUT, 7),
    Key("leave", ("escape",), "Leave the field", "Leave the field; its text stays.", INPUT, 3),
    Key("close", ("escape", "q", "w", "f3"), "Back", "Go back.", SHEET, 3),
    Key("judges", ("a", "f2"), "Judge", "Show the measured accuracy of the judges.", SHEET, 1),
    Key("copy", ("y",), "Copy", "Copy what is shown to the clipboard.", SHEET, 2),
    Key("label(True)", ("Y", "f4"), "Agree", "Keep the verdict as a label: it is right.", SHEET, 4),
    Key("label(False)", ("D", "f6"), "Disagree", "Keep a label that corrects the verdict.", SHEET, 5),
    Key("close", ("escape", "q", "r"), "Back", "Go back to the run.", REPORT, 1),
    Key("answers", ("W",), "Best and worst", "List the ten worst and the ten best answers of this run.", REPORT, 2),
    Key("export", ("e",), "Export", "Write the run's records into its folder.", REPORT, 2),
    Key("copy", ("y",), "Copy", "Copy the report to the clipboard.", REPORT, 3),
    Key("review", ("b",), "Blind reading", "Read answers without knowing which model wrote them.", REPORT, 4),
    Key("html", ("h",), "HTML", "Write the report as one HTML file to send to others.", REPORT, 5),
    Key("prefer('left')", ("left", "1", "h"), "Left", "Prefer the left answer.", REVIEW, 1),
    Key("prefer('right')", ("right", "2", "l"), "Right", "Prefer the right answer.", REVIEW, 2),
    Key("prefer('fine')", ("f", "3"), "Both fine", "Prefer neither: both are fine.", REVIEW, 3),
    Key("prefer('bad')", ("b", "4"), "Both bad", "Prefer neither: both are bad.", REVIEW, 4),
    Key("prefer('skip')", ("s", "space"), "Skip", "Leave this pair undecided.", REVIEW, 5),
    Key(
        "previous",
        ("backspace", "p"),
        "Previous",
        "Go back to the previous pair, to read or decide it again.",
        REVIEW,
        6,
    ),
    Key("next", ("n",), "Next", "Go to the next pair without a decision.", REVIEW),
    Key("line(-1)", ("up", "k"), "Up", "Move both answers up a line.", REVIEW),
    Key("line(1)", ("down", "j"), "Down", "Move both answers down a line.", REVIEW),
    Key("page(-1)", ("pageup",), "Page up", "Move both answers up a page.", REVIEW),
    Key("page(1)", ("pagedown",), "Page down", "Move both answers down a page.", REVIEW),
    Key("close", ("escape", "q"), "Back", "Go back; decisions are kept.", REVIEW, 7),
    Key("again", ("ctrl+g",), "Again", "Ask the last prompt again with the next seed.", TRY, 1, always=True),
    Key("stop", ("ctrl+x",), "Stop", "Stop the answers; unfinished ones are dropped.", TRY, 2, always=True),
    Key("new", ("ctrl+n",), "New", "Start a new conversation.", TRY, 3, always=True),
    Key("keep('train')", ("ctrl+t",), "Train on it", "Keep the last prompt as a training prompt.", TRY, 4, always=True),
    Key(
        "keep('heldout')", ("ctrl+o",), "Hold it out", "Keep the last prompt as a held-out prompt.", TRY, 5, always=True
    ),
    Key("close", ("escape",), "Back", "Go back; the conversation is dropped.", TRY, 6),
    Key("pin", ("p",), "Pin", "Draw the loss of the marked run, too, or no longer.", RUNS, 8),
    Key("close", ("escape", "q"), "Back", "Go back.", RUNS, 2),
    Key("rename", ("r",), "Rename", "Rename the marked run; its folder is renamed.", RUNS, 3),
    Key("note", ("n",), "Note", "Write a note on the marked run.", RUNS, 4),
    Key("delete", ("d", "delete"), "Delete", "Move the marked run to the trash folder; asks first.", RUNS, 5),
    Key("resume", ("u",), "Resume", "Open the marked run and resume it where it stopped.", RUNS, 6),
    Key(
        "find",
        ("slash",),
        "Filter",
        "Show only runs whose name, model, outcome or note hold the words to type.",
        RUNS,
        7,
    ),
    Key("open", ("enter",), "Open", "Open the marked run.", RUNS, 1),
    Key(
        "pick",
        ("down", "f4"),
        "List",
        "Choose from a list: models, judges, profiles, files; else the next field.",
        SETUP,
        1,
    ),
    Key("accept", ("ctrl+s",), "Accept", "Take all fields, as Enter does.", SETUP, 2),
    Key("close", ("escape",), "Back", "Close the form; nothing is changed.", SETUP, 3),
    Key("save", ("ctrl+s",), "Save", "Save the file; a new one is asked for its name.", EDITOR, 1, always=True),
    Key("use", ("f9",), "Use it", "Save, and use the constitution for the next run.", EDITOR, 2, always=True),
    Key(
        "try", ("f2",), "Try", "Type a text to try: the verdict of the rules is shown at once.", EDITOR, 3, always=True
    ),
    Key("tests", ("f5",), "Tests", "Run the tests by the judge of the next run.", EDITOR, 4, always=True),
    Key("problem", ("f8",), "Problem", "Go to the line of the problem.", EDITOR, 5, always=True),
    Key("editor", ("f4",), "$EDITOR", "Edit the text in $VISUAL or $EDITOR.", EDITOR, 6, always=True),
    Key("add('principle')", ("ctrl+n",), "Principle", "Add a principle at the end.", EDITOR, 7, always=True),
    Key("add('rule')", ("f6",), "Rule", "Add a rule to the principle at the cursor.", EDITOR, 8, always=True),
    Key("add('test')", ("f7",), "Test", "Add a test to the principle at the cursor.", EDITOR, 9, always=True),
    Key("close", ("escape",), "Back", "Close; asks first if the text was changed.", EDITOR, 10),
    Key("close", ("escape",), "Back", "Close the list or form; nothing is changed.", LIST, 2),
    Key("lineage", ("L",), "Training rows", "Show the training rows nearest to the marked answer.", ANSWERS, 1),
    Key("theme", ("t",), "Theme", "Choose the theme.", APP, 15),
    Key("help", ("question_mark", "f1"), "Help", "Show the keys.", APP, 16),
    Key("jump_mode", ("J", "f10"), "Jump", "Show a letter over each pane and field; the letter goes there.", APP),
    Key("redraw", ("ctrl+l",), "Redraw", "Redraw the screen if another program wrote on it.", APP),
    Key("command_palette", ("ctrl+p",), "Commands", "Find a command by its name.", APP, 0, always=True),
    Key("suspend_process", ("ctrl+z",), "Suspend", "Suspend the app; `fg` brings it back.", APP, 0),
    Key("quit", ("ctrl+q",), "Quit", "Quit; asks first if a run is in progress.", APP, 17, always=True),
)

_NAMES = {
    "slash": "/",
    "full_stop": ".",
    "comma": ",",
    "left_parenthesis": "(",
    "right_parenthesis": ")",
    "exclamation_mark": "!",
    "quotation_mark": '"',
    "question_mark": "?",
    "left_square_bracket": "[",
    "right_square_bracket": "]",
    "greater_than_sign": ">",
    "less_than_sign": "<",
    "plus": "+",
    "equals_sign": "=",
    "minus": "-",
    "escape": "Esc",
    "enter": "Enter",
    "space": "Space",
    "pageup": "PgUp",
    "pagedown": "PgDn",
    "home": "Home",
    "end": "End",
    "up": "↑",
    "down": "↓",
    "left": "←",
    "right": "→",
    "backspace": "Bksp",
    "tab": "Tab",
    "shift+tab": "S-Tab",
    "shift+enter": "S-Enter",
    "shift+left": "S-←",
    "shift+right": "S-→",
    "delete": "Del",
    **{f"f{number}": f"F{number}" for number in range(1, 13)},
}
_TO_NAME = {shown: name for name, shown in _NAMES.items()}


def shown_key(key: str) -> str:
    """How a key is written on the screen: "^r", "?", "PgUp"."""
    if key in _NAMES:
        return _NAMES[key]
    return "^" + key.removeprefix("ctrl+") if key.startswith("ctrl+") else key


class Keymap:
    """The table with a person's own keys in it."""

    def __init__(self, keys: tuple[Key, ...] = KEYS, problems: tuple[str, ...] = ()) -> None:
        self.keys = keys
        self.problems = problems
        """What could not be used of the keys file, one sentence each."""

    def of(self, *places: str) -> list[Key]:
        """The keys of these places, in the table's order."""
        return [key for key in self.keys if key.place in places]

    def footer(self, *places: str) -> list[Key]:
        """The keys of these places that belong into the footer, most important first."""
        return sorted((key for key in self.of(*places) if key.footer), key=lambda key: key.footer)

    def shown(self, action: str, place: str = RUN) -> str:
        """The key of an action, as it is written; "" where it has none."""
        for key in self.keys:
            if key.action == action and key.place == place and key.keys:
                return shown_key(key.keys[0])
        return ""


def bindings(*places: str) -> list[BindingType]:
    """Textual's bindings for a class that owns these places. A person's own keys replace them by id when the app
    starts (`overrides`)."""
    return [
        Binding(
            ",".join(key.keys),
            key.action,
            key.label,
            show=False,
            priority=key.always,
            tooltip=key.help,
            id=binding_id(key),
        )
        for key in KEYS
        if key.place in places
    ]


def binding_id(key: Key) -> str:
    """The id under which Textual knows the binding."""
    return f"{key.place}.{key.id}"


def overrides(keymap: Keymap) -> dict[str, str]:
    """What `App.set_keymap` takes: id of a binding -> keys, for those that differ from the table."""
    return {
        binding_id(mine): ",".join(mine.keys)
        for mine, default in zip(keymap.keys, KEYS, strict=True)
        if mine.keys != default.keys
    }


def load(path: Path) -> Keymap:
    """The table with the keys of a person's file; without the file the table as it is. Never raises."""
    try:
        wanted = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Keymap()
    except (OSError, ValueError, RecursionError) as error:
        return Keymap(problems=(f"{path}: the keys file cannot be read ({truncate(sanitize(str(error)), 200)}).",))
    return with_keys(wanted, str(path))


def with_keys(wanted: Mapping[str, object], where: str, start: Keymap | None = None) -> Keymap:
    """The table (or `start`) with these keys: `place.action` or `action` -> key or list of keys.

    An entry is left out, with a sentence in `problems`, where the action is unknown, the value is no key, or the key
    already does something else in the same place.
    """
    start = start or Keymap()
    keys, problems = list(start.keys), list(start.problems)
    for name, value in _by_full_name(wanted).items():
        found = [number for number, key in enumerate(keys) if name in (key.id, binding_id(key))]
        texts = [value] if isinstance(value, str) else value
        if not found:
            problems.append(f"{where}: there is no action {truncate(sanitize(name), 60)!r}; docs/keys.md lists them.")
        elif not (isinstance(texts, list) and texts and all(isinstance(text, str) and text.strip() for text in texts)):
            problems.append(f'{where}: {truncate(sanitize(name), 60)} is no key; write "ctrl+r" or ["p", "space"].')
        else:
            for number in found:
                keys[number] = dataclasses.replace(keys[number], keys=tuple(_named(text) for text in texts))
    checked = _without_clashes(keys, problems, where)
    return Keymap(tuple(checked), tuple(problems))


def _by_full_name(wanted: Mapping[str, object]) -> dict[str, object]:
    """The entries of tables (a place's keys) beside those at the top, as `place.action`."""
    flat: dict[str, object] = {}
    for name, value in wanted.items():
        if isinstance(value, Mapping):
            flat.update({f"{name}.{inner}": member for inner, member in value.items()})
        else:
            flat[name] = value
    return flat


def _named(text: str) -> str:
    text = text.strip()
    if text.startswith("^") and len(text) == 2:
        return f"ctrl+{text[1].lower()}"
    return _TO_NAME.get(text, text)


def _without_clashes(keys: list[Key], problems: list[str], where: str) -> list[Key]:
    """Give changed actions their own keys back where the new ones do something else in the same place."""
    for number, key in enumerate(keys):
        if key.keys == KEYS[number].keys:
            continue
        for other in keys:
            clash = set(key.keys) & set(other.keys)
            if other is not key and clash and _meet(key.place, other.place):
                problems.append(
                    f"{where}: {shown_key(clash.pop())} for {key.id} already means {other.id}; its own key stays."
                )
                keys[number] = KEYS[number]
                break
    return keys


def _meet(one: str, other: str) -> bool:
    """Whether keys of these places can be meant at the same moment."""
    on_run = {APP, RUN}
    return (
        one == other
        or APP in (one, other)
        or (RUN in (one, other) and {one, other} - on_run <= {LOG, DIFF, PROMPTS, LOSS})
    )


def as_markdown() -> str:
    """docs/keys.md."""
    lines = [
        "# Keys",
        "",
        "Made from `tui/keymap.py` by `python -m tui.keymap`; a test compares them.",
        "",
        "While a text field has the focus, letters are typed; Esc leaves the field. Nothing needs a mouse.",
        "Your own keys go into `config.toml` in the settings folder (`redraft doctor` names it; see "
        "[app.md](app.md#the-settings-file)), by the ids below. The file `keys.toml` of earlier versions, without the "
        "first line, is read, too.",
        "",
        "```toml",
        "[keys]",
        'pause = ["p", "f8"]',
        'run = ["ctrl+r", "f5"]',
        "[keys.log]",
        'fold = "f4"',
        "```",
    ]
    for place, heading in PLACES.items():
        lines += ["", f"## {heading}", "", "| key | id | what it does |", "|---|---|---|"]
        for key in KEYS:
            if key.place == place:
                shown = " ".join(f"`{shown_key(name)}`" for name in key.keys)
                lines.append(f"| {shown} | `{key.id}` | {key.help} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    (Path(__file__).parent.parent / "docs" / "keys.md").write_text(as_markdown(), encoding="utf-8")
