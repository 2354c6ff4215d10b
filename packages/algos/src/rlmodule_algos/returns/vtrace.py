"""V-trace: value targets and policy-gradient advantages from another policy's actions, in NumPy.

Arrays are time-major: `[T, B]` is T steps of B rows, of which the first few are real and the rest
padding. Nothing here carries a gradient; the losses take the results as constants.

Source: Espeholt et al. 2018, "IMPALA", https://arxiv.org/abs/1802.01561, section 4. The lambda of the
advantages is that of generalized advantage estimation, https://arxiv.org/abs/1506.02438 (16).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.floating]
BoolArray = npt.NDArray[np.bool_]

MAX_LOG_RATIO = 20.0
"""Log-ratios are kept within plus and minus this much: exp of more says nothing and may overflow."""


class VTrace(NamedTuple):
    """`[T, B]` each; 0 on padding."""

    value_targets: FloatArray  # v_s
    advantages: FloatArray  # what multiplies grad log pi, the ratio included
    rhos: FloatArray  # rho_s


def vtrace(
    log_ratios: FloatArray,  # [T, B] log pi(a|x) - log mu(a|x), of what is learned and what acted
    rewards: FloatArray,  # [T, B]
    values: FloatArray,  # [T, B] V(x_t)
    next_values: FloatArray,  # [T, B] V(x_t+1) of the true successor, also where truncated
    terminated: BoolArray,  # [T, B] x_t+1 is worth 0
    ended: BoolArray,  # [T, B] terminated or truncated: nothing flows back over this edge
    mask: BoolArray | None = None,  # [T, B] False on padding, which may hold anything
    *,
    gamma: float,
    lambda_: float = 1.0,
    clip_rho: float = 1.0,
    clip_c: float = 1.0,
    clip_pg_rho: float = 1.0,
) -> VTrace:
    """Return V-trace's targets and advantages.

        rho_t   = min(rho_bar, pi/mu)      c_t = lambda min(c_bar, pi/mu)                  (Remark 2)
        delta_t = rho_t (r_t + gamma V(x_t+1) - V(x_t))
        v_t     = V(x_t) + delta_t + gamma c_t (v_t+1 - V(x_t+1))                  (1), as in Remark 1
        A_t     = rho_t (r_t + gamma ((1 - lambda) V(x_t+1) + lambda v_t+1) - V(x_t))    (section 4.2)

    Where an episode or a row ends, v_t+1 is V(x_t+1), and 0 if it terminated. At lambda 1 the advantage
    is the paper's; below it is generalized advantage estimation where pi is mu.

    >>> one, no = np.ones((2, 1)), np.zeros((2, 1), dtype=bool)
    >>> vtrace(0 * one, one, 0 * one, 0 * one, no, no, gamma=0.5).value_targets.ravel().tolist()
    [1.5, 1.0]
    """
    real = np.ones(rewards.shape, np.bool_) if mask is None else mask
    ratios = np.exp(np.clip(np.where(real, log_ratios, 0.0), -MAX_LOG_RATIO, MAX_LOG_RATIO))
    rewards, values = np.where(real, rewards, 0.0), np.where(real, values, 0.0)
    following = np.where(real & ~terminated, next_values, 0.0)  # b_t V(x_t+1)
    rhos = np.where(real, np.minimum(ratios, clip_rho), 0.0)
    goes_on = ~(terminated | ended)  # k_t; of padding that follows nothing comes, as its rho is 0
    excess = rhos * (rewards + gamma * following - values)  # delta_t; v_t - V(x_t) once summed
    carry = gamma * lambda_ * np.minimum(ratios, clip_c) * goes_on
    for t in range(len(excess) - 2, -1, -1):
        excess[t] += carry[t] * excess[t + 1]
    beyond = np.zeros_like(excess)  # v_t+1 - V(x_t+1); 0 at an edge
    beyond[:-1] = excess[1:] * goes_on[:-1]
    errors = rewards + gamma * (following + lambda_ * beyond) - values
    advantages = np.where(real, np.minimum(ratios, clip_pg_rho) * errors, 0.0)
    return VTrace(values + excess, advantages, rhos)
