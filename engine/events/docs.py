"""The reference of the journal's format, docs/journal.md, made from what the code knows; a test holds them equal."""

from __future__ import annotations

from collections.abc import Iterator

from engine.events.codec import VERSION
from engine.events.stages import STAGES, Stage
from engine.runs.journal_reader import JOURNAL

_BEGINNING = f"""# The journal

Everything that happens in a run is an event, and every event is a line of `{JOURNAL}` in the run's folder. The app, the
plain display, `redraft watch`, exports, reports and resuming read this file and nothing else. This page is made by
`redraft journal-reference > docs/journal.md` from the stages that the code knows; do not edit it.

## A line

A line is a JSON object in UTF-8, so that any tool for JSON lines reads a journal:

    {{"v":1,"seq":17,"time":1735689599.25,"stage":"INITIAL-GENERATION","level":2,"summary":"62 tokens in 1.1 s",
     "item":"train-003","texts":{{"draft":"..."}},"raw":{{"request":"..."}},"data":{{"tokens":62}},"crc":"8c0f2a11"}}

(broken over two lines here for reading only).

| member | type | meaning |
|:--|:--|:--|
| `v` | number | version of the format; this program writes and reads {VERSION} |
| `seq` | number | position in the journal, from 0, without gaps |
| `time` | number | seconds since 1970-01-01 00:00 UTC by the writer's clock; it may jump, `seq` gives the order |
| `stage` | text | name of the stage, see below |
| `level` | number | lowest verbosity that shows the event: 1 summary, 2 key stages, 3 everything |
| `summary` | text | one line without a word of any prompt or answer |
| `item` | text | id of the prompt or text that it is about; absent where there is none |
| `texts` | label -> text | shown from verbosity 2 on, there cut to 500 characters; absent where there are none |
| `raw` | label -> text | shown at verbosity 3 only; absent where there are none |
| `data` | object | figures, ids and flags, never texts; null for numbers that are not finite; may be absent |
| `crc` | text | CRC-32, eight hexadecimal digits, of all bytes of the line before `,"crc":`; always the last member |

## What holds

- The file is only ever appended to, by one process: it holds a lock on the file `lock` beside it, which the kernel
  frees when the process dies. Reading needs no lock and never slows the writer.
- A line is whole when its checksum fits. Readers pass over every other line, say where it is, and read on. Where
  records are missing between two lines, the gap in `seq` is told. A resumed run says in a NOTICE what was damaged, and
  does again whatever was lost.
- Unknown members and unknown stages are ignored. Journals of older versions stay readable. A line of a newer version
  is passed over and told like damage; a journal that ends in one is never appended to: only the newer program can.
- A file that became shorter, or was replaced by a shorter one, is said to have lost bytes; what was read is not given
  again, and reading goes on at its end.
- A last line without a newline is still being written, or was cut off by a crash. The next writer moves such bytes to
  `journal.torn-OFFSET`, says so in a NOTICE, and appends after the last whole line.
- Where the disk is full, the part of a line that was written is taken back, and the run stops with an error.
- The folder and its files can be read by their owner only. With `--no-texts` the labels in `texts` stay, with empty
  texts, and `raw` is left out; no prompt and no answer is in the journal.
- Control characters are kept as JSON escapes; whatever shows a text strips them.

## Stages

`*` stands for a number. TRAINING-EXAMPLE and COMPARISON-TEST end in ` i/n`.
"""


def reference() -> str:
    """The whole page."""
    return _BEGINNING + "".join(_section(stage) for stage in STAGES)


def _section(stage: Stage) -> str:
    return f"\n### {stage.pattern.replace('*', chr(92) + '*')}\n\n{stage.meaning}\n" + "".join(_lists(stage))


def _lists(stage: Stage) -> Iterator[str]:
    labels = [(name, members) for name, members in (("texts", stage.texts), ("raw", stage.raw)) if members]
    if labels:
        yield "\n"
    for name, members in labels:
        yield f"- {name}: {', '.join(f'`{label}`' for label in members)}\n"
    if stage.data:
        yield "\n| data | meaning |\n|:--|:--|\n"
        for key, meaning in stage.data.items():
            keys = ", ".join(f"`{part.strip()}`" for part in key.split(","))
            yield f"| {keys} | {meaning.replace('|', chr(92) + '|')} |\n"
