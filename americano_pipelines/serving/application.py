"""Build the application."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from importlib.metadata import version

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from americano_pipelines.serving import problem_details
from americano_pipelines.serving.api_description import describe
from americano_pipelines.serving.head_requests import HeadRequests
from americano_pipelines.serving.host_guard import HostGuard
from americano_pipelines.serving.pages.chart_routes import ROUTER as CHARTS
from americano_pipelines.serving.pages.page_routes import ROUTER as PAGES
from americano_pipelines.serving.pages.sign_in_routes import ROUTER as SIGN_IN
from americano_pipelines.serving.record_routes import ROUTER as RECORDS
from americano_pipelines.serving.repeated_requests import RepeatedRequests
from americano_pipelines.serving.service import Service
from americano_pipelines.serving.service_routes import ROUTER as SERVICE
from americano_pipelines.serving.table_routes import table_router
from americano_pipelines.serving.trigger_routes import ROUTER as TRIGGERS
from americano_pipelines.settings import Settings


def build_application(settings: Settings) -> ASGIApp:
    """The application of a data folder.

    Raises:
        ConfigError: AMERICANO_TENANTS or AMERICANO_JWT_JWKS cannot be used.
    """
    service = Service(settings)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        watcher = asyncio.create_task(service.look_after_files())
        yield
        watcher.cancel()
        with suppress(asyncio.CancelledError):
            await watcher
        await service.close_background()
        service.close()

    app = FastAPI(
        title="americano",
        version=version("americano-pipelines"),
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
        exception_handlers={
            problem_details.Problem: problem_details.answer_problem,
            HTTPException: problem_details.answer_http_error,
            RequestValidationError: problem_details.answer_invalid_request,
            Exception: problem_details.answer_defect,
        },
    )
    app.state.service = service
    app.add_middleware(RepeatedRequests, service=service)
    for router in (SERVICE, table_router(), RECORDS, TRIGGERS, PAGES, CHARTS, SIGN_IN):
        app.include_router(router)
    app.openapi = lambda: describe(app)  # type: ignore[method-assign]
    return HeadRequests(HostGuard(app, settings.americano_api_hosts, service.metrics))
