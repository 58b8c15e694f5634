"""Notices a run that went wrong, from the numbers that it logs, and keeps the record of what was done about it."""

import dataclasses
import json
import math
import time
from collections.abc import Mapping
from typing import Any

from etils import epath

from inr_gan_jax.config.parse import Config
from inr_gan_jax.storage import append_line

COLLAPSE_FILE = "guard.jsonl"
_SIGN, _CONTRAST = "logits/sign_real", "images/contrast"
_NOT_FINITE = "not_finite/"


@dataclasses.dataclass(frozen=True)
class Alarm:
    """Something that went wrong.

    Attributes:
        reason: one sentence.
        is_fatal: the numbers are not finite, so that the run cannot go on as it is.
        last_good_step: the newest step at which nothing was wrong.
    """

    reason: str
    is_fatal: bool
    last_good_step: int


class CollapseMonitor:
    """Looks at the numbers of a run.

    Args:
        config: of the run.
        best_metric: smallest metric so far and its step; None before the first evaluation.
        first_step: step that the run goes on from, taken to be good.
    """

    def __init__(self, config: Config, best_metric: tuple[float, int] | None, first_step: int) -> None:
        self._settings, self._batch_size = config.guard, config.training.batch_size
        # A relativistic discriminator compares; the sign of one logit means nothing.
        self._has_sign = config.loss.adversarial != "relativistic"
        self._best, self._last_good_step = best_metric, first_step
        self._streaks: dict[str, int] = {}

    def look_at_tick(self, step: int, means: Mapping[str, float]) -> Alarm | None:
        """Looks at the means of the numbers since the last tick."""
        for name, value in means.items():
            if not math.isfinite(value):
                return self._alarm(f"{name} became {value} at {self._kimg(step)}", is_fatal=True)
        findings = self._findings(means) if step * self._batch_size >= self._settings.warmup_kimg * 1000 else {}
        self._streaks = {name: self._streaks.get(name, 0) + 1 for name in findings}
        if not findings:
            self._last_good_step = step
        for name, finding in findings.items():
            if self._streaks[name] >= self._settings.num_ticks:
                return self._alarm(f"{finding} at {self._kimg(step)}, the {self._streaks[name]}th time in a row")
        return None

    def look_at_metric(self, step: int, value: float) -> Alarm | None:
        """Looks at a metric, smaller being better."""
        if not math.isfinite(value):
            return self._alarm(f"the metric became {value} at {self._kimg(step)}", is_fatal=True)
        if self._best is None or value < self._best[0]:
            self._best = (value, step)
        best, best_step = self._best
        # A measure of which more is better comes negated, and a factor says nothing about it.
        if best > 0 and value > self._settings.metric_factor * best:
            reason = f"the metric rose to {value:.4g} at {self._kimg(step)} from its best, {best:.4g}"
            return Alarm(reason, is_fatal=False, last_good_step=best_step)
        return None

    def is_best(self, value: float) -> bool:
        """Whether no metric so far is smaller."""
        return self._best is None or value <= self._best[0]

    def _findings(self, means: Mapping[str, float]) -> dict[str, str]:
        settings, found = self._settings, {}
        sign, contrast = means.get(_SIGN, 0.0), means.get(_CONTRAST, math.inf)
        if self._has_sign and sign > settings.max_sign:
            found["sign"] = f"the discriminator has won: the mean sign of its outputs on real images is {sign:.4f}"
        if contrast < settings.min_contrast:
            found["contrast"] = f"the generated images are all alike: their contrast is {contrast:.4f} of the real ones"
        num_bad = sum(value for name, value in means.items() if name.startswith(_NOT_FINITE))
        if num_bad > 0:
            found["gradients"] = f"{num_bad:.3g} entries of the gradients of a step were not finite"
        return found

    def _alarm(self, reason: str, is_fatal: bool = False) -> Alarm:
        return Alarm(reason, is_fatal, self._last_good_step)

    def _kimg(self, step: int) -> str:
        return f"{step * self._batch_size / 1000:.1f} kimg"


class CollapseRecord:
    """`guard.jsonl` of a run folder: one line an alarm, with what was done.

    Args:
        workdir: run folder.
    """

    def __init__(self, workdir: epath.PathLike) -> None:
        self._path = epath.Path(workdir) / COLLAPSE_FILE

    def lines(self) -> list[dict[str, Any]]:
        """What was recorded; a last line that was cut off in writing is left out."""
        lines = []
        for text in self._path.read_text().splitlines() if self._path.exists() else []:
            try:
                lines.append(json.loads(text))
            except json.JSONDecodeError:
                break
        return lines

    def rollbacks(self) -> list[dict[str, Any]]:
        """The times that the run went back."""
        return [line for line in self.lines() if line["action"] == "roll_back"]

    def add(self, **entries: Any) -> None:
        """Appends a line and puts it on disk, before anything is done."""
        append_line(self._path, json.dumps({"unix_time": time.time(), **entries}))
