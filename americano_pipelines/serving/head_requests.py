"""Answer HEAD like GET, without the body: `curl -I` and clients of Parquet files look at the headers first."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from americano_pipelines.serving.answer_stream import CutShortError


class HeadRequests:
    """Wrap an app that knows only GET."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return

        async def send_head(message: Message) -> None:
            await send({**message, "body": b"", "more_body": False} if "body" in message else message)
            if message.get("more_body", False):
                raise CutShortError  # nobody reads the rest of a streamed answer

        # A copy, because the server looks at the method of its own when it sends.
        await self._app({**scope, "method": "GET"}, receive, send_head)
