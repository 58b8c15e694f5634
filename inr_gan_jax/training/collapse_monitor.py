"""Detects a collapsing run from the scalars that it logs, decides what to do and records it."""

import dataclasses
import json
import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

from etils import epath

from inr_gan_jax.config.schema import Config
from inr_gan_jax.storage import append_line

COLLAPSE_FILE = "guard.jsonl"
_SIGN, _CONTRAST = "logits/sign_real", "images/contrast"
_NOT_FINITE = "not_finite/"


@dataclasses.dataclass(frozen=True)
class Alarm:
    """Something that went wrong.

    Attributes:
        reason: one sentence.
        is_fatal: numbers are not finite, so the run cannot continue as it is.
        last_good_step: the newest step without a finding.
    """

    reason: str
    is_fatal: bool
    last_good_step: int


class CollapseMonitor:
    """Checks the scalars and the metric of a run.

    Args:
        config: of the run.
        best_metric: smallest metric so far and its step; None before the first evaluation.
        first_step: step that the run starts or resumes from, assumed to be good.
    """

    def __init__(self, config: Config, best_metric: tuple[float, int] | None, first_step: int) -> None:
        self._settings, self._batch_size = config.guard, config.training.batch_size
        # A relativistic discriminator compares two logits; the sign of one means nothing.
        self._has_sign = config.loss.adversarial != "relativistic"
        self._best, self._last_good_step = best_metric, first_step
        self._streaks: dict[str, int] = {}

    def check_tick(self, step: int, means: Mapping[str, float]) -> Alarm | None:
        """Checks the means of the scalars since the last tick."""
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

    def check_metric_value(self, step: int, value: float) -> Alarm | None:
        """Checks a metric of which smaller is better."""
        if not math.isfinite(value):
            return self._alarm(f"the metric became {value} at {self._kimg(step)}", is_fatal=True)
        if self._best is None or value < self._best[0]:
            self._best = (value, step)
        best, best_step = self._best
        # A metric of which larger is better comes negated; a factor cannot be applied to it.
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
    """`guard.jsonl` of a run folder: one line per alarm, with what was done.

    Args:
        workdir: run folder.
    """

    def __init__(self, workdir: epath.PathLike) -> None:
        self._path = epath.Path(workdir) / COLLAPSE_FILE

    def lines(self) -> list[dict[str, Any]]:
        """All lines; an incomplete last line is ignored."""
        lines = []
        for text in self._path.read_text().splitlines() if self._path.exists() else []:
            try:
                lines.append(json.loads(text))
            except json.JSONDecodeError:
                break
        return lines

    def rollbacks(self) -> list[dict[str, Any]]:
        """The lines of rollbacks."""
        return [line for line in self.lines() if line["action"] == "roll_back"]

    def add(self, **entries: Any) -> None:
        """Appends a line and writes it to disk."""
        append_line(self._path, json.dumps({"unix_time": time.time(), **entries}))


def decide(
    alarm: Alarm, record: CollapseRecord, config: Config, step: int, saved_steps: Sequence[int]
) -> dict[str, Any]:
    """Decides what to do about an alarm, and records it.

    Args:
        alarm: what is wrong.
        record: of the run.
        config: of the run.
        step: at which it was noticed.
        saved_steps: of the checkpoints on disk.

    Returns:
        `action` (log, stop or roll_back), `reason`, `num_rollbacks` before it, and `to_step` of a rollback.
    """
    settings, kimg_per_step = config.guard, config.training.batch_size / 1000
    rollbacks = record.rollbacks()
    action = settings.action
    if action == "log" and alarm.is_fatal:
        action = "stop"
    if action == "roll_back" and len(rollbacks) >= settings.max_rollbacks:
        action = "stop"
    decision = {"step": step, "kimg": step * kimg_per_step, "reason": alarm.reason, "action": action}
    if action == "roll_back":
        # The same trouble again: the checkpoint that the run went back to may already have been bad.
        earlier_targets = [line["to_step"] - 1 for line in rollbacks if step <= line["step"]]
        limit = min([alarm.last_good_step, *earlier_targets])
        target = max((saved for saved in saved_steps if saved <= limit), default=0)
        decision |= {"to_step": target, "to_kimg": target * kimg_per_step}
    record.add(**decision)
    return {**decision, "num_rollbacks": len(rollbacks)}
