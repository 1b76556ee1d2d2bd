"""An encoder behind HTTP: what it answers to requests, and the web application around it."""

import asyncio
import json
import logging
import math
import socket
from collections.abc import AsyncIterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from metamae.core.checks import check_at_least, check_between
from metamae.core.extras import require
from metamae.core.version import VERSION
from metamae.data.records import Records
from metamae.encoder.embedding import READ, Progress, Vectors, by_length
from metamae.encoder.pretrained import Pretrained, take
from metamae.errors import ConfigError, DataError
from metamae.uses.serve.batching import Merging
from metamae.uses.serve.protocol import JSON, NPY, Refusal, read_samples, write_vectors

log = logging.getLogger("metamae")


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a request may cost, and how requests share the encoder.

    Args:
        samples: Of a request.
        bytes: Of a request's body.
        seconds: From a request's first line to its answer, waiting for others included.
        batch: Samples, of one request or several, that are computed in one go; the next go is
            shared out anew among all that wait.
        wait: Milliseconds for which an idle encoder waits for more requests to compute together.
        queue: Requests at once, arriving, waiting or computed; more are sent away.
    """

    samples: int = 1024
    bytes: int = 32 * 2**20
    seconds: float = 30.0
    batch: int = 256
    wait: float = 2.0
    queue: int = 128

    def __post_init__(self) -> None:
        for name in ("samples", "bytes", "batch", "queue"):
            check_at_least(f"Serve.{name}", getattr(self, name), 1)
        if not 0 < self.seconds < math.inf:
            raise ConfigError(f"Serve.seconds must be above 0; got {self.seconds}. 30 would do.")
        check_between("Serve.wait", self.wait, 0, 1000, closed=True)


class Service:
    """Answers requests; samples of several are embedded together, with the same result as alone.

    Args:
        pretrained: The encoder.
        limits: What a request may cost.
    """

    def __init__(self, pretrained: Pretrained, limits: Limits):
        self.pretrained, self.limits, self.open = pretrained, limits, 0
        self.merging = Merging(self._embed, self._read, most=limits.batch, wait=limits.wait / 1000)

    async def embed(self, media: str, accept: str, body: AsyncIterable[bytes]) -> tuple[str, bytes]:
        """Return media type and body of the answer to a request.

        Args:
            media: Content type of the body.
            accept: Content types that the client takes.
            body: The request's body in parts, as they come.

        Raises:
            Refusal: If there is none: 4xx where the request is to blame, 503 where others are or
                time ran out.
        """
        columns, limits = self.pretrained.schema.modality.columns, self.limits
        whole = False
        with self._admitted():
            try:
                async with asyncio.timeout(limits.seconds):
                    sent = await _joined(body, limits.bytes)
                    whole = True
                    records = await asyncio.to_thread(
                        read_samples, media, sent, columns, limits.samples
                    )
                    vectors = await self.merging.embed(records)
                    return await asyncio.to_thread(write_vectors, vectors, accept)
            except TimeoutError as error:
                if whole:
                    text = f"no answer within {limits.seconds:g} seconds; send fewer samples."
                    raise Refusal(503, text) from error
                text = f"the body must be there within {limits.seconds:g} seconds; it is not."
                raise Refusal(408, text) from error
            except (DataError, ConfigError) as error:
                raise Refusal(422, str(error)) from error

    @contextmanager
    def _admitted(self) -> Iterator[None]:
        if self.open >= self.limits.queue:
            raise Refusal(503, f"{self.open} requests are under way already; try again later.")
        self.open += 1
        try:
            yield
        finally:
            self.open -= 1

    def _embed(self, records: Records, progress: Progress) -> Vectors:
        vectors = self.pretrained.embed(records, progress=progress)
        assert isinstance(vectors, np.ndarray)
        return vectors

    def _read(self, records: Records) -> None:
        spec = self.pretrained.schema.modality
        pieces, _ = spec.unfold(self.pretrained.records(records))
        for index, rows in by_length(spec, pieces, READ):
            for start in range(0, len(index), rows):
                spec.batch(pieces, index[start : start + rows])

    def schema(self) -> dict[str, Any]:
        """Say what samples look like, and what a request may cost."""
        spec = self.pretrained.schema.modality
        return {
            "sample": spec.describe(),
            "fields": list(spec.columns),
            "embedding_width": self.pretrained.embedding_width,
            "most_samples": self.limits.samples,
            "most_bytes": self.limits.bytes,
            "most_seconds": self.limits.seconds,
            "most_requests": self.limits.queue,
            "schema": json.loads(self.pretrained.schema.to_json()),
        }


def build_app(service: Service) -> Any:
    """Return a FastAPI application: GET /health, GET /schema, POST /embed, GET /openapi.json.

    Raises:
        ConfigError: If FastAPI is not installed.
    """
    fastapi = require("fastapi", "serve", "metamae serve")
    gone = require("starlette.requests", "serve", "metamae serve").ClientDisconnect
    # Their pages would fetch scripts from elsewhere.
    app = fastapi.FastAPI(title="metamae", version=VERSION, docs_url=None, redoc_url=None)

    async def health() -> dict[str, str]:
        """Say that the encoder is loaded."""
        return {"status": "ok", "version": VERSION}

    async def schema() -> dict[str, Any]:
        """Say what samples look like, and what a request may cost."""
        return service.schema()

    async def embed(request):  # type: ignore[no-untyped-def]  # its type is FastAPI's
        """Turn samples into vectors; JSON or .npy in, JSON or (with Accept) .npy out."""
        media, accept = (request.headers.get(key, "") for key in ("content-type", "accept"))
        try:
            media, answer = await service.embed(media, accept, request.stream())
        except Refusal as refusal:
            later = {"Retry-After": RETRY} if refusal.status == 503 else None
            return fastapi.responses.JSONResponse({"error": str(refusal)}, refusal.status, later)
        except gone:
            return fastapi.Response(status_code=400)  # the client left: nobody reads this
        return fastapi.Response(answer, media_type=media)

    embed.__annotations__ = {"request": fastapi.Request}
    app.add_api_route("/health", health)
    app.add_api_route("/schema", schema, response_model=None)
    app.add_api_route(
        *("/embed", embed),
        methods=["POST"],
        response_model=None,
        openapi_extra={"requestBody": _described()},
        responses={
            200: {"content": {NPY: {}, JSON: {}}, "description": "one vector per sample"},
            **{code: {"description": text} for code, text in REFUSALS.items()},
        },
    )
    return app


RETRY = "1"  # seconds after which a client may try again
REFUSALS = {
    400: "The body cannot be read.",
    408: "The body did not come in time.",
    413: "Too many bytes or samples.",
    415: "Neither JSON nor .npy.",
    422: "Samples that do not fit the schema.",
    503: "Too many requests at once, or time ran out; Retry-After says when to try again.",
}


def serve(
    run: str | Path | Pretrained,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    limits: Limits | None = None,
    device: str = "auto",
) -> None:
    """Serve an encoder over HTTP until the process is stopped. There is no authentication.

    Whoever stops it with SIGINT or SIGTERM waits until the requests under way are answered, which
    takes `limits.seconds` at most.

    Args:
        run: Folder of a run or of `save_pretrained`, or what `load` returned.
        host: Address to listen at; the machine itself if nothing else is said.
        port: Port to listen at; 0 for any that is free, which the log names.
        limits: What a request may cost.
        device: Where to embed.

    Raises:
        ConfigError: If a library is missing, or nothing can listen at that address.
        ArtifactError: If the run cannot be loaded.
    """
    uvicorn = require("uvicorn", "serve", "metamae serve")
    require("fastapi", "serve", "metamae serve")
    limits = limits or Limits()
    server = build_server(uvicorn, Service(take(run, device=device), limits))
    with _listening(host, port) as listening:
        at = f"[{host}]" if ":" in host else host
        log.info(
            "serving at http://%s:%d (GET /health, GET /schema, POST /embed)",
            *(at, listening.getsockname()[1]),
        )
        try:
            server.run(sockets=[listening])
        except KeyboardInterrupt:
            log.info("stopped")


def build_server(uvicorn: Any, service: Service) -> Any:
    """Return a uvicorn server that answers what is under way before it ends."""
    config = uvicorn.Config(
        build_app(service),
        log_level="warning",
        timeout_graceful_shutdown=math.ceil(service.limits.seconds) + 1,
    )
    return uvicorn.Server(config)


def _listening(host: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as error:
        raise ConfigError(
            f"Serve.host and Serve.port must be an address of this machine that is free; got "
            f"{host!r} and {port} ({error}). --port 0 would do: it takes any free one."
        ) from error


async def _joined(body: AsyncIterable[bytes], most: int) -> bytes:
    """Read a request's body, and stop at the first byte too many.

    Raises:
        Refusal: 413 if there are more.
    """
    parts, size = [], 0
    async for part in body:
        size += len(part)
        if size > most:
            raise Refusal(413, f"a request must hold at most {most} bytes.")
        parts.append(part)
    return b"".join(parts)


def _described() -> dict[str, Any]:
    """What OpenAPI says of the body of /embed."""
    rows: dict[str, Any] = {"type": "array", "items": {}}
    samples = {"oneOf": [rows, {"type": "object", "additionalProperties": rows}]}
    schema = {"type": "object", "required": ["samples"], "properties": {"samples": samples}}
    binary = {"type": "string", "format": "binary"}
    return {"required": True, "content": {JSON: {"schema": schema}, NPY: {"schema": binary}}}
