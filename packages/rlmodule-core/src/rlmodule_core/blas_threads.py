"""One thread for NumPy's linear algebra.

Acting and drawing orthogonal weights are products so small that a second thread costs more waiting than
it computes, and on a busy machine many times more.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import cache
from typing import Any

from threadpoolctl import ThreadpoolController


def one_blas_thread() -> AbstractContextManager[Any]:
    """Limit NumPy's BLAS to one thread inside, and restore what was set."""
    limiter: AbstractContextManager[Any] = _controller().limit(limits=1, user_api="blas")
    return limiter


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()  # looks at every loaded library, so once
