"""Names of RLlib's model settings that are none of ours, and what to do instead.

Most have a better place: the environment's wrappers, the module itself, or a method of the catalog.
"""

from __future__ import annotations

_STACK = "stack frames in the environment: gymnasium.wrappers.FrameStackObservation(env, stack_size=4)"
_IMAGE = "prepare images in the environment: gymnasium.wrappers.AtariPreprocessing"
_ATTENTION = (
    "there is no attention encoder: bring a config of your own, with build(framework) and output_dim, by "
    "overriding Catalog.get_encoder_config"
)
_PREVIOUS = "put what the encoder shall see into the observation, with a wrapper of the environment"
_MODULE = "pass your module as rl_module_spec"
_INITIALIZER = "name one initializer for all layers: initializer"
_HEAD = "override Catalog.get_pi_head_config and get_vf_head_config"
_CHECKS = "every forward is checked against the module's specs (RLMODULE_CHECKS=off switches that off)"
_ONE_STACK = "leave it out: there is one kind of model here"
_TIME = "leave it out: recurrent modules see [B, T, ...]"

ANSWERS: dict[str, str] = {
    "custom_model": _MODULE,
    "custom_model_config": f"{_MODULE}, whose model_config_dict may hold any settings",
    "custom_action_dist": "override Catalog.get_action_dist_config",
    "custom_preprocessor": "transform observations with a wrapper: gymnasium.wrappers.TransformObservation",
    "framestack": _STACK,
    "num_framestacks": _STACK,
    "dim": f"{_IMAGE}(env, screen_size=84), or ResizeObservation(env, (84, 84))",
    "grayscale": f"{_IMAGE}(env, grayscale_obs=True), or GrayscaleObservation(env)",
    "zero_mean": f"{_IMAGE} (bytes are scaled to 0 .. 1 in the encoder), or normalize_observations",
    "lstm_use_prev_action": _PREVIOUS,
    "lstm_use_prev_reward": _PREVIOUS,
    "lstm_use_prev_action_reward": _PREVIOUS,
    "no_final_linear": _HEAD,
    "head_fcnet_hiddens": "write post_fcnet_hiddens",
    "head_fcnet_activation": "write post_fcnet_activation",
    "log_std_clip_param": "leave it out: log-stds of any size are computed exactly",
    "_use_default_native_models": _ONE_STACK,
    "_disable_preprocessor_api": "leave it out: observations reach the module as the environment gives them",
    "_disable_action_flattening": "leave it out: actions keep the form of their space",
    "always_check_shapes": _CHECKS,
    "_time_major": _TIME,
    "time_major": _TIME,
}


def rllib_answer(key: object) -> str | None:
    """Return what to do instead of one of RLlib's settings, or None if the key is none of theirs.

    >>> rllib_answer("custom_model")
    "'custom_model' is not a setting: pass your module as rl_module_spec"
    """
    if not isinstance(key, str):
        return None
    answer = ANSWERS.get(key)
    if key == "use_attention" or key.startswith("attention_"):
        answer = _ATTENTION
    if key.endswith(("_initializer", "_initializer_config", "_initializer_kwargs")):
        answer = _INITIALIZER
    return None if answer is None else f"{key!r} is not a setting: {answer}"
