"""The HTTP edge that all services share: problem documents, keys, health, metrics. No answer repeats a submitted value."""

import uuid
from collections.abc import Awaitable, Callable, Mapping
from importlib.metadata import version
from typing import Annotated, Any

import structlog
from fastapi import Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.exceptions import HTTPException

from shared.errors import Refusal, TransientFailure
from shared.runtime.settings import ApiKey, ApiKeys, Scope

PROBLEM_TYPE = "application/problem+json"
RETRY_AFTER_SECONDS = 2
_SLUGS = {
    400: ("bad-request", "The request cannot be read"),
    401: ("unauthorized", "A valid API key is needed"),
    403: ("forbidden", "This key may not do that"),
    404: ("not-found", "There is nothing here"),
    405: ("method-not-allowed", "This method is not for this address"),
    409: ("conflict", "This contradicts what is known"),
    413: ("too-large", "The request is too large"),
    415: ("unsupported-media-type", "This media type is not accepted here"),
    422: ("invalid", "The request does not mean anything we know"),
    429: ("too-many-requests", "Too many requests"),
    500: ("internal", "Something went wrong here"),
    503: ("unavailable", "Not available right now"),
}

log = structlog.get_logger()
_Presented = Annotated[HTTPAuthorizationCredentials | None, Depends(HTTPBearer(auto_error=False))]


class Problem(Exception):  # noqa: N818
    """An answer that is an RFC 9457 problem document. `extra` holds codes and ids only, never what was sent."""

    def __init__(
        self,
        status: int,
        slug: str | None = None,
        title: str | None = None,
        *,
        errors: list[dict[str, str]] | None = None,
        headers: Mapping[str, str] | None = None,
        **extra: Any,
    ) -> None:
        default_slug, default_title = _SLUGS.get(status, ("problem", "The request failed"))
        super().__init__(slug or default_slug)
        self.status = status
        self.slug = slug or default_slug
        self.title = title or default_title
        self.errors = errors
        self.headers = dict(headers or {})
        self.extra = extra
        if status == 503:
            self.headers.setdefault("retry-after", str(RETRY_AFTER_SECONDS))
        if status == 401:
            self.headers.setdefault("www-authenticate", "Bearer")

    def document(self) -> dict[str, Any]:
        body: dict[str, Any] = {"type": f"/problems/{self.slug}", "title": self.title, "status": self.status}
        if self.errors:
            body["errors"] = self.errors
        return body | self.extra

    def response(self) -> JSONResponse:
        return JSONResponse(self.document(), self.status, headers=self.headers, media_type=PROBLEM_TYPE)


def pointer(location: tuple[Any, ...] | list[Any]) -> str:
    """The JSON pointer of a place in a document (RFC 6901)."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in location)


def create_api(
    name: str,
    *,
    keys: ApiKeys,
    checks: Mapping[str, Callable[[], str | None]],
    degraded: Mapping[str, Callable[[], str | None]] | None = None,
) -> FastAPI:
    """A FastAPI application with what every service answers.

    Args:
        checks: by name, why the service is not ready, or None; read at every `/readyz`.
        degraded: the same for troubles with which the service still does its work.
    """
    api = FastAPI(title=f"Storytailor support: {name}", version=version(name), docs_url="/docs", redoc_url=None)
    api.state.keys = keys
    api.state.started = False

    @api.get("/livez", include_in_schema=False)
    async def livez() -> PlainTextResponse:
        return PlainTextResponse("ok")

    @api.get("/readyz", include_in_schema=False)
    async def readyz() -> JSONResponse:
        failing = _failing(checks) if api.state.started else {"start": "not finished"}
        body = {"ready": not failing, "failing": failing, "degraded": _failing(degraded or {})}
        return JSONResponse(body, 503 if failing else 200)

    @api.get("/metrics", include_in_schema=False)
    async def metrics() -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    @api.get("/version", include_in_schema=False)
    async def service_version() -> dict[str, str]:
        return {"service": name, "version": version(name)}

    _answer_with_problems(api)
    return api


def require(scope: Scope) -> Callable[..., Awaitable[ApiKey]]:
    """A dependency: the key of the caller, which must have this scope (401, 403)."""

    async def key(request: Request, presented: _Presented) -> ApiKey:
        found = authorise(request.app.state.keys, presented.credentials if presented else None, scope)
        request.state.key_name = found.name
        return found

    return key


def authorise(keys: ApiKeys, presented: str | None, scope: Scope) -> ApiKey:
    """The key that was presented.

    Raises:
        Problem: 401 without a valid key, 403 when it lacks the scope.
    """
    key = keys.find(presented or "")
    if key is None:
        raise Problem(401)
    if scope not in key.scopes:
        raise Problem(403, scope=scope.value)
    return key


def _route(request: Request) -> str | None:
    """The pattern of the address, without what stands in it."""
    return getattr(request.scope.get("route"), "path", None)


def _failing(checks: Mapping[str, Callable[[], str | None]]) -> dict[str, str]:
    return {name: reason for name, check in checks.items() if (reason := check()) is not None}


def _answer_with_problems(api: FastAPI) -> None:
    @api.exception_handler(Problem)
    async def problem(_: Request, error: Problem) -> JSONResponse:
        return error.response()

    @api.exception_handler(Refusal)
    async def refusal(request: Request, error: Refusal) -> JSONResponse:
        log.info("refused", slug=error.slug, route=_route(request), key=getattr(request.state, "key_name", None))
        title = (type(error).__doc__ or "Refused").strip().splitlines()[0]
        return Problem(error.status, error.slug, title, clause=error.clause).response()

    @api.exception_handler(TransientFailure)
    async def unavailable(_: Request, __: TransientFailure) -> JSONResponse:
        return Problem(503).response()

    @api.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        if any(one["type"] == "json_invalid" for one in error.errors()):
            return Problem(400, "invalid-json", "The body is not JSON").response()
        # Deeper places may be named by whoever sent them (the keys of a mapping), so only the field itself is told.
        errors = [{"pointer": pointer(one["loc"][1:2]), "detail": one["msg"]} for one in error.errors()]
        return Problem(422, errors=errors).response()

    @api.exception_handler(HTTPException)
    async def http(_: Request, error: HTTPException) -> JSONResponse:
        return Problem(error.status_code, headers=error.headers).response()

    @api.exception_handler(Exception)
    async def bug(request: Request, error: Exception) -> JSONResponse:
        incident = uuid.uuid4().hex
        log.error("request failed", exc_info=error, error_id=incident, path=request.scope.get("route_path"))
        return Problem(500, error_id=incident).response()
