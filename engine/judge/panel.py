"""Several judges that decide as one: the rules say what can be said exactly, a model gives its own words.

Who decides is set once, by name, and every verdict says which of them did.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

from engine.control import Control
from engine.judge.generative import ModelJudge
from engine.judge.rules import RulesJudge
from engine.judge.verdict import Judged, Verdict


class PanelJudge:
    """Rules together with a model's own verdict.

    Args:
        rules: always asked.
        model: asked too; None where no model takes part.
        model_decides: True takes the model's verdict where its answer is usable and the rules' where it is not;
            False takes the rules' verdict and shows the model's words beside it.
    """

    def __init__(self, rules: RulesJudge, model: ModelJudge | None, *, model_decides: bool) -> None:
        self._rules = rules
        self._model = model
        self._model_decides = model_decides
        if model is None:
            self.name = rules.name
        elif model_decides:
            self.name = f"{model.name}, else {rules.name}"
        else:
            self.name = rules.name

    def judge(self, texts: Sequence[Judged], control: Control) -> Iterator[Verdict]:
        """One verdict a text."""
        by_rules = {verdict.key: verdict for verdict in self._rules.judge(texts, control)}
        if self._model is None:
            yield from by_rules.values()
            return
        for verdict in self._model.judge(texts, control):
            yield self._together(by_rules[verdict.key], verdict)

    def quick(self) -> PanelJudge:
        """The same decision without words where the model does not decide: for texts that nobody reads one by one."""
        return self if self._model_decides else PanelJudge(self._rules, None, model_decides=False)

    def _together(self, rules: Verdict, model: Verdict) -> Verdict:
        if self._model_decides and model.flagged is not None:
            return dataclasses.replace(model, findings=rules.findings, judge=self.name)
        if self._model_decides:
            note = f"{model.note} The rules decided."
        elif model.flagged is None:
            note = f"{model.note} The rules decide in any case."
        else:
            said = f"flagged {model.category}" if model.flagged else "found nothing"
            note = f"The model {said}; its own verdict is shown but does not count."
        return dataclasses.replace(
            rules,
            response=model.response,
            request=model.request,
            seconds=rules.seconds + model.seconds,
            note=" ".join(part for part in (rules.note, note) if part),
        )
