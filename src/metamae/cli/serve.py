"""`metamae serve`."""

from pathlib import Path

from metamae.cli.console import show_log


def serve(
    run: Path,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    samples: int = 1024,
    megabytes: int = 32,
    seconds: float = 30.0,
    batch: int = 256,
    wait: float = 2.0,
    queue: int = 128,
    device: str = "auto",
) -> None:
    """Serve an encoder over HTTP: samples in, vectors out; no authentication.

    GET /health, GET /schema and POST /embed, described in GET /openapi.json. Samples come as .npy
    (application/x-npy) or JSON; a path is never taken, nothing is unpickled. Samples of several
    requests are computed together, which changes no digit of an answer.

    Args:
        run: Folder that was --out of `metamae pretrain`, or one of `save_pretrained`.
        host: Address to listen at.
        port: Port to listen at; 0 for any that is free.
        samples: Most samples of a request.
        megabytes: Most of a request's body.
        seconds: Longest time to an answer.
        batch: Most samples, of one request or several, that are computed in one go.
        wait: Milliseconds for which an idle encoder waits for more requests.
        queue: Most requests at once; others get 503 and Retry-After.
        device: cpu, cuda, or auto.
    """
    show_log()
    from metamae.core.checks import check_at_least
    from metamae.uses.serve.serve import Limits
    from metamae.uses.serve.serve import serve as verb

    check_at_least("Serve.megabytes", megabytes, 1)
    limits = Limits(
        samples=samples,
        bytes=megabytes * 2**20,
        seconds=seconds,
        batch=batch,
        wait=wait,
        queue=queue,
    )
    verb(run, host=host, port=port, limits=limits, device=device)
