"""Bound how many requests a principal may send: a bucket of tokens each, filled evenly."""

import time
from collections import OrderedDict
from http import HTTPStatus
from math import ceil

from americano_pipelines.serving.problem_details import Problem

_MAX_BUCKETS = 10_000


class RateLimit:
    """Buckets of tokens by principal.

    A principal that was idle for a minute may send a whole minute's number at once.
    """

    def __init__(self, per_minute: int) -> None:
        self._per_minute = per_minute
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def check(self, name: str) -> None:
        """Count a request.

        Args:
            name: of the principal.

        Raises:
            Problem: 429, the bucket is empty.
        """
        moment = time.monotonic()
        tokens, counted_at = self._buckets.pop(name, (float(self._per_minute), moment))
        tokens = min(float(self._per_minute), tokens + (moment - counted_at) * self._per_minute / 60)
        allowed = tokens >= 1
        self._buckets[name] = (tokens - 1 if allowed else tokens, moment)
        if len(self._buckets) > _MAX_BUCKETS:
            self._buckets.popitem(last=False)
        if not allowed:
            seconds = ceil((1 - tokens) * 60 / self._per_minute)
            raise Problem(
                HTTPStatus.TOO_MANY_REQUESTS,
                "too-many-requests",
                f"at most {self._per_minute} requests a minute are answered; wait {seconds} s",
                headers={"Retry-After": str(seconds)},
            )
