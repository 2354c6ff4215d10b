"""The names of the columns that modules, fragments and losses exchange."""

from typing import Final


class Columns:
    """Column names; a batch is a mapping from these to arrays of one framework."""

    OBS: Final = "obs"
    ACTIONS: Final = "actions"
    REWARDS: Final = "rewards"
    TERMINATED: Final = "terminated"  # the successor is worth 0
    TRUNCATED: Final = "truncated"  # the episode was cut; the successor keeps its value
    NEXT_OBS: Final = "next_obs"  # the true successor, taken before any reset

    ACTION_DIST: Final = "action_dist"
    ACTION_DIST_INPUTS: Final = "action_dist_inputs"  # the distribution's flat parameters
    ACTION_LOGP: Final = "action_logp"  # of the policy that acted
    VF_PREDS: Final = "vf_preds"

    STATE_IN: Final = "state_in"
    STATE_OUT: Final = "state_out"
    IS_FIRST: Final = "is_first"  # an episode starts here, so the state is reset before this step
    MASK: Final = "mask"  # True on real rows, False on padding
    LOSS_MASK: Final = "loss_mask"  # True on the rows that a loss counts: real ones behind a burn-in

    ADVANTAGES: Final = "advantages"
    VALUE_TARGETS: Final = "value_targets"
