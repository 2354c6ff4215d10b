"""The adaptive weight of a KL penalty.

Source: Schulman et al. 2017, https://arxiv.org/abs/1707.06347, section 4
"""

LEAST, MOST = 1e-6, 1e6
"""The weight stays between these: at 0 or infinity, where it would end, it could not adapt any more."""


def adapted_kl_coefficient(coefficient: float, *, mean_kl: float, target: float) -> float:
    """Return beta for the next batch: doubled where the policy moved too far, halved where too little.

    >>> [adapted_kl_coefficient(1.0, mean_kl=kl, target=0.01) for kl in (0.001, 0.01, 0.1)]
    [0.5, 1.0, 2.0]
    """
    if mean_kl > 1.5 * target:
        return min(2.0 * max(coefficient, LEAST), MOST)
    if mean_kl < target / 1.5:
        return max(0.5 * coefficient, LEAST)
    return coefficient
