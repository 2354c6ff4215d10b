"""Generalized advantage estimation, once, in NumPy.

Arrays are time-major: `[T, B]` is T steps of B rows, of which the first few are real and the rest
padding. Nothing here carries a gradient; the losses take the results as constants.

Source: Schulman et al. 2016, https://arxiv.org/abs/1506.02438
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.floating]
BoolArray = npt.NDArray[np.bool_]


def gae(
    rewards: FloatArray,  # [T, B]
    values: FloatArray,  # [T, B] V(s_t)
    next_values: FloatArray,  # [T, B] V(s_t+1) of the true successor, also where truncated
    terminated: BoolArray,  # [T, B] s_t+1 is worth 0
    ended: BoolArray,  # [T, B] terminated or truncated: the sum stops here
    mask: BoolArray | None = None,  # [T, B] False on padding, which may hold anything
    *,
    gamma: float,
    lambda_: float,
) -> FloatArray:
    """Return the advantages, `[T, B]`; 0 on padding.

        delta_t = r_t + gamma V(s_t+1) - V(s_t)
        A_t     = delta_t + gamma lambda A_t+1                      (16), as a recursion

    >>> one, no = np.ones((2, 1)), np.zeros((2, 1), dtype=bool)
    >>> gae(one, 0 * one, 0 * one, no, no, gamma=0.5, lambda_=1.0).ravel().tolist()
    [1.5, 1.0]
    """
    deltas = rewards + gamma * np.where(terminated, 0.0, next_values) - values
    if mask is not None:
        deltas = np.where(mask, deltas, 0.0)
    decay = gamma * lambda_ * ~(ended | terminated)  # 0 where nothing flows back from t+1
    advantages = deltas  # overwritten from the last step back
    for t in range(len(deltas) - 2, -1, -1):
        advantages[t] += decay[t] * advantages[t + 1]
    return advantages
