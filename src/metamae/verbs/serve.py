"""An encoder behind HTTP: what it answers to requests, and the web application around it."""

import asyncio
import json
import logging
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from metamae.checks import check_at_least
from metamae.errors import ConfigError, DataError
from metamae.extras import require
from metamae.pretrained import Pretrained, take
from metamae.verbs.wire import JSON, NPY, Refusal, read_samples, write_vectors
from metamae.version import VERSION

log = logging.getLogger("metamae")


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a request may cost.

    Args:
        samples: Of a request.
        bytes: Of a request's body.
        seconds: From the whole body to the answer, waiting for other requests included.
    """

    samples: int = 1024
    bytes: int = 32 * 2**20
    seconds: float = 30.0

    def __post_init__(self) -> None:
        check_at_least("Serve.samples", self.samples, 1)
        check_at_least("Serve.bytes", self.bytes, 1)
        if not self.seconds > 0:
            raise ConfigError(f"Serve.seconds must be above 0; got {self.seconds}. 30 would do.")


@dataclass(frozen=True)
class Service:
    """Answers requests, one at a time; the samples of a request are embedded in batches.

    Attributes:
        pretrained: The encoder.
        limits: What a request may cost.
    """

    pretrained: Pretrained
    limits: Limits
    lock: threading.Lock = field(default_factory=threading.Lock)

    def embed(self, media: str, accept: str, body: bytes) -> tuple[str, bytes]:
        """Return media type and body of the answer to a request.

        Raises:
            Refusal: If there is none: 4xx where the request is to blame, 503 where time ran out.
        """
        end = time.monotonic() + self.limits.seconds
        columns = self.pretrained.schema.modality.columns
        records = read_samples(media, body, columns, self.limits.samples)
        late = Refusal(
            503, f"no answer within {self.limits.seconds:g} seconds; send fewer samples."
        )
        if not self.lock.acquire(timeout=max(0.0, end - time.monotonic())):
            raise late

        def in_time(done: int, total: int) -> None:
            if time.monotonic() > end:
                raise late

        try:
            vectors = self.pretrained.embed(records, progress=in_time)
        except (DataError, ConfigError) as error:
            raise Refusal(422, str(error)) from error
        finally:
            self.lock.release()
        assert isinstance(vectors, np.ndarray)
        return write_vectors(vectors, accept)

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
            "schema": json.loads(self.pretrained.schema.to_json()),
        }


def build_app(service: Service) -> Any:
    """Return a FastAPI application: GET /health, GET /schema, POST /embed, GET /openapi.json.

    Raises:
        ConfigError: If FastAPI is not installed.
    """
    fastapi = require("fastapi", "serve", "metamae serve")
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
        try:
            body = await _body(request, service.limits.bytes)
            headers = request.headers
            media, answer = await asyncio.to_thread(
                service.embed, headers.get("content-type", ""), headers.get("accept", ""), body
            )
        except Refusal as refusal:
            return fastapi.responses.JSONResponse({"error": str(refusal)}, refusal.status)
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


REFUSALS = {
    400: "The body cannot be read.",
    413: "Too many bytes or samples.",
    415: "Neither JSON nor .npy.",
    422: "Samples that do not fit the schema.",
    503: "Time ran out.",
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

    Args:
        run: Folder of a run or of `save_pretrained`, or what `load` returned.
        host: Address to listen at; the machine itself if nothing else is said.
        port: Port to listen at.
        limits: What a request may cost.
        device: Where to embed.

    Raises:
        ConfigError: If a library is missing.
        ArtifactError: If the run cannot be loaded.
    """
    uvicorn = require("uvicorn", "serve", "metamae serve")
    require("fastapi", "serve", "metamae serve")
    app = build_app(Service(take(run, device=device), limits or Limits()))
    log.info("serving at http://%s:%d (GET /health, GET /schema, POST /embed)", host, port)
    uvicorn.run(app, host=host, port=port, log_level="warning")


async def _body(request: Any, most: int) -> bytes:
    """Read a request's body, and stop at the first byte too many.

    Raises:
        Refusal: 413 if there are more.
    """
    parts, size = [], 0
    async for part in request.stream():
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
