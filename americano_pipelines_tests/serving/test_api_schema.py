"""Requests of all kinds, made from the OpenAPI document: no defect, no answer that it does not describe."""

from collections import Counter
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import ignored_auth, positive_data_acceptance

from americano_pipelines_tests.serving.conftest import Api

pytestmark = pytest.mark.timeout(3600)
EXAMPLES = [2, pytest.param(40, marks=pytest.mark.slow)]


def requests_of(api: Api) -> Any:
    """The description as it is served, with requests to the real address."""
    headers = {"authorization": f"Bearer {api.key('admin')}"}
    schema = schemathesis.openapi.from_url(f"{api.url}/openapi.json", headers=headers)
    schema.config.update(base_url=api.url.removesuffix("/v1"))
    return schema


def try_operation(operation: Any, key: str | None, examples: int) -> Counter[int]:
    """The statuses of requests to a route, each answered as described; without a key none but health answers."""
    statuses: Counter[int] = Counter()

    @settings(
        max_examples=examples,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
        database=None,
    )
    @given(case=operation.as_strategy())
    def check(case: Any) -> None:
        answer = case.call(headers={"authorization": f"Bearer {key}"} if key else {})
        statuses[answer.status_code] += 1
        if key is None and operation.path != "/v1/health":
            assert answer.status_code == 401
        else:
            # There is no Dagster that could start anything.
            allowed = {502, 503} if "syncs" in operation.path or operation.method == "post" else {502}
            assert answer.status_code < 500 or answer.status_code in allowed, answer.text
            # No pattern says which token of a page a route has given out, nor which parameters a kind has.
            is_free = "page" in (case.query or {}) or operation.method == "post"
            excluded = [positive_data_acceptance] if is_free else []
            excluded += [not_a_server_error] if answer.status_code in allowed else []
            case.validate_response(answer, excluded_checks=[ignored_auth, *excluded])

    check()
    return statuses


@pytest.mark.parametrize("examples", EXAMPLES)
@pytest.mark.parametrize("with_key", [True, False], ids=["with a key", "without a key"])
def test_answers_are_as_described(api: Api, examples: int, *, with_key: bool) -> None:
    statuses: dict[str, Counter[int]] = {}
    for result in requests_of(api).get_all_operations():
        operation = result.ok()
        if not operation.path.endswith("/verify"):  # it starts a process each time
            statuses[f"{operation.method} {operation.path}"] = try_operation(
                operation, api.key("admin") if with_key else None, examples
            )

    whole = sum(statuses.values(), Counter())
    print(f"{whole.total()} requests to {len(statuses)} routes: {dict(whole)}")  # noqa: T201
    assert len(statuses) == 23
