"""Events of a whole run: its start and end, the models and judges that it uses, and the progress of its stages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from engine.events.base import ALL
from engine.events.schema import Event, Members, data, text


@dataclass(frozen=True, kw_only=True)
class RunStart(Event):
    """A run began."""

    STAGE = "RUN-START"
    config: Mapping[str, Any] = data("The run's settings.", absent={})
    hashes: Mapping[str, str] = data("SHA-256 of the constitution and of each prompt set.", absent={})
    versions: Mapping[str, str] = data("Package -> version.", absent={})
    machine: Mapping[str, Any] = data("Cores, operating system, and memory in bytes.", absent={})
    smallest_detectable: float | None = data(
        "Change of the expected score that so many held-out prompts usually show with 80 % power.",
        absent=None,
        digits=4,
    )
    max_score: float | None = data("Highest score that a text can have: the sum of all weights.", absent=None)


@dataclass(frozen=True, kw_only=True)
class RunResumed(Event):
    """An interrupted run was resumed."""

    STAGE = "RUN-RESUMED"
    reused: int = data("Records taken from the journal.", absent=0)
    changed: tuple[str, ...] = data("Inputs that are not what the run began with.", absent=())


@dataclass(frozen=True, kw_only=True)
class RunPaused(Event):
    """The run was paused."""

    STAGE = "RUN-PAUSED"


@dataclass(frozen=True, kw_only=True)
class RunContinued(Event):
    """The run continued after a pause."""

    STAGE = "RUN-CONTINUED"


@dataclass(frozen=True, kw_only=True)
class RunStopped(Event):
    """The run was stopped before its end; it can be resumed."""

    STAGE = "RUN-STOPPED"
    running: str = data("The stage that was stopped; empty before the first.", key="stage", absent="")


@dataclass(frozen=True, kw_only=True)
class PairCounts(Members):
    """How many preference pairs a run made."""

    examples: int = data("Training prompts.", absent=0)
    kept: int = data("Pairs that were trained on.", absent=0)
    dropped: int = data("Pairs that were not.", absent=0)
    demonstrations: int = data("Kept pairs whose chosen answer came with the prompt; no model wrote it.", absent=0)
    reasons: Mapping[str, int] = data("Reason -> pairs dropped for it, most frequent first.", absent={})


@dataclass(frozen=True, kw_only=True)
class RunComplete(Event):
    """The run reached its end, and its report is written."""

    STAGE = "RUN-COMPLETE"
    seconds: float = data("Wall time since the run was started or resumed.", absent=0.0, digits=1)
    report: str = data("File name of the report in the run's folder.", absent="")
    pairs: PairCounts = data(
        "Preference pairs.", absent=PairCounts(examples=0, kept=0, dropped=0, demonstrations=0, reasons={})
    )
    outcome: str = data("Result of the comparison in one or two words.", absent="")


@dataclass(frozen=True, kw_only=True)
class ModelLoading(Event):
    """A model is being read, converted or downloaded: once at the beginning, then at most once a second."""

    STAGE = "MODEL-LOADING"
    model: str = data("Name of the model.", absent="")
    fraction: float | None = data("Done so far, 0 to 1; absent from the first event.", optional=True, digits=4)


@dataclass(frozen=True, kw_only=True)
class ModelLoaded(Event):
    """A model is ready."""

    STAGE = "MODEL-LOADED"
    model: str = data("Name of the model.", absent="")
    sha256: str = data("SHA-256 of its weights.", absent="")
    parameters: int = data("Number of parameters.", absent=0)
    dtype: str = data("Data type of the computation.", absent="")
    device: str = data("Device of the computation.", absent="")
    context: int = data("Longest sequence in tokens.", absent=0)
    seconds: float = data("Load time; 0 where the model was loaded already.", absent=0.0, digits=3)


@dataclass(frozen=True, kw_only=True)
class JudgeAccuracyData(Members):
    """How good a judge was measured to be."""

    name: str = data("Name of the judge.", absent="")
    accuracy: str = data("A sentence; empty where it was never measured.", absent="")
    measures: Mapping[str, Any] = data("Set of texts -> metrics, each [value, low, high].", absent={})


@dataclass(frozen=True, kw_only=True)
class JudgesChosen(Event):
    """Which judge decides what from here on, and how good each was measured to be."""

    STAGE = "JUDGES"
    shown: JudgeAccuracyData | None = data(
        "Judge of drafts, candidates and revisions, and of texts typed in.", absent=None
    )
    comparison: JudgeAccuracyData | None = data("Judge of the comparison; absent outside a run.", optional=True)
    independent: bool | None = data(
        "Whether the judge of the comparison is neither the trained model nor the judge that chose the pairs; absent "
        "outside a run.",
        optional=True,
    )


@dataclass(frozen=True, kw_only=True)
class StageStart(Event):
    """A stage began."""

    STAGE = "STAGE-START"
    name: str = data("Name of the stage.")
    total: int = data("Items of the stage; 0 where that is not known yet.", absent=0)
    done: int = data("Items that were finished before an interruption.", absent=0)


@dataclass(frozen=True, kw_only=True)
class StageProgress(Event):
    """Progress of the running stage; at most once a second."""

    STAGE = "PROGRESS"
    level: int = ALL
    name: str | None = data("Name of the stage.", absent=None)
    done: int = data("Items finished.", absent=0)
    total: int = data("Items of the stage.", absent=0)
    tokens: int = data("Tokens generated since the stage began.", absent=0)
    rate: float | None = data("Tokens per second; null where the stage generates none.", absent=None, digits=1)
    seconds: float | None = data("Wall time since the stage began, pauses excluded.", absent=None, digits=3)
    part: float | None = data("Items' worth of work done in the batch that is not finished.", optional=True, digits=2)
    left: float | None = data(
        "Seconds until the end of the stage at the measured speed; absent before that can be known.",
        optional=True,
        digits=1,
    )
    writing: str = text("The end of a text that is being written.", optional=True)


@dataclass(frozen=True, kw_only=True)
class StageEnd(Event):
    """A stage ended; its records are on the disk."""

    STAGE = "STAGE-END"
    name: str = data("Name of the stage.", absent="")
    done: int = data("Items finished.", absent=0)
    total: int = data("Items of the stage.", absent=0)
    seconds: float | None = data("Wall time of the stage, pauses excluded.", absent=None, digits=3)
    tokens: int = data("Tokens generated.", absent=0)
    rate: float | None = data("Tokens per second; null where the stage generates none.", absent=None, digits=1)
