"""Fragment of an older policy -> batch of real steps with what V-trace makes of them.

The rows of a batch are as in `on_policy`: steps of a stateless module, sequences of a stateful one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from rlmodule_algos.batching.evaluation import Evaluation
from rlmodule_algos.batching.fragment import Fragment
from rlmodule_algos.batching.on_policy import rows_to_learn
from rlmodule_algos.returns import MAX_LOG_RATIO, vtrace
from rlmodule_core import Columns
from rlmodule_core.nest import Nest, map_nest

FloatArray = npt.NDArray[np.float32]

LOG_RATIOS: Final = "log_ratios"
"""Column of log pi(a|x) - log mu(a|x), as V-trace took it; for reports, no loss looks at it."""
TARGET_LOGP: Final = "target_logp"
"""Column of the log-probs of a target network."""


@dataclass(frozen=True)
class VTraceSettings:
    """What V-trace is told."""

    gamma: float
    lambda_: float
    clip_rho: float
    clip_c: float
    clip_pg_rho: float


@np.errstate(over="ignore", invalid="ignore")  # the learner refuses what is not finite
def vtrace_batch(
    fragment: Fragment,
    evaluation: Evaluation,  # of the module that learns, as it is now
    settings: VTraceSettings,
    target: Evaluation | None = None,  # of the target network, whose ratio to what acted corrects
) -> dict[str, Nest]:
    """Return the real steps with V-trace's targets and advantages, which are not standardised.

    Without a target network the ratio is that of the module itself. With one, its log-probs and the
    parameters of its distributions are in the batch too.
    """
    corrected_by = evaluation if target is None else target
    log_ratios = corrected_by.logp - fragment.action_logp
    corrected = vtrace(
        log_ratios,
        fragment.rewards,
        evaluation.values,
        evaluation.next_values,
        fragment.terminated,
        fragment.terminated | fragment.truncated,
        fragment.mask if fragment.padded else None,
        gamma=settings.gamma,
        lambda_=settings.lambda_,
        clip_rho=settings.clip_rho,
        clip_c=settings.clip_c,
        clip_pg_rho=settings.clip_pg_rho,
    )
    columns: dict[str, Nest] = {
        Columns.OBS: map_nest(lambda array: array[:-1], fragment.obs),
        Columns.ACTIONS: fragment.actions,
        Columns.ACTION_LOGP: fragment.action_logp,
        Columns.VF_PREDS: evaluation.values,
        Columns.ADVANTAGES: corrected.advantages,
        Columns.VALUE_TARGETS: corrected.value_targets,
        LOG_RATIOS: log_ratios,
    }
    if target is not None:
        columns[TARGET_LOGP] = target.logp
        if target.dist_inputs is not None:
            columns[Columns.ACTION_DIST_INPUTS] = target.dist_inputs
    return rows_to_learn(columns, evaluation.index, fragment)


def ratio_statistics(log_ratios: FloatArray, clip_rho: float) -> dict[str, float]:
    """Return what log-ratios `[N]` tell of how far two policies are apart.

    `mean_rho` is the mean of min(rho_bar, pi/mu), 1 where they are equal (and rho_bar is 1); the estimate
    of KL(mu || pi) is mean(r - 1 - log r); `clip_fraction` is the share of ratios that rho_bar cut, by
    more than the noise of float32.

    >>> ratio_statistics(np.log([0.5, 1.0, 2.0, 1.0]), clip_rho=1.0)["mean_rho"]
    0.875
    """
    kept = np.clip(log_ratios, -MAX_LOG_RATIO, MAX_LOG_RATIO)
    ratios = np.exp(kept)
    return {
        "mean_rho": float(np.minimum(ratios, clip_rho).mean()),
        "mean_kl": float((ratios - 1.0 - kept).mean()),
        "clip_fraction": float((ratios > clip_rho * (1.0 + 1e-4)).mean()),
    }
