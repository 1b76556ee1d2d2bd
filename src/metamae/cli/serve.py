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
    device: str = "auto",
) -> None:
    """Serve an encoder over HTTP: samples in, vectors out; no authentication.

    GET /health, GET /schema and POST /embed, described in GET /openapi.json. Samples come as .npy
    (application/x-npy) or JSON; a path is never taken, nothing is unpickled.

    Args:
        run: Folder that was --out of `metamae pretrain`, or one of `save_pretrained`.
        host: Address to listen at.
        port: Port to listen at.
        samples: Most samples of a request.
        megabytes: Most of a request's body.
        seconds: Longest time to an answer.
        device: cpu, cuda, or auto.
    """
    show_log()
    from metamae.verbs.serve import Limits
    from metamae.verbs.serve import serve as verb

    limits = Limits(samples=samples, bytes=megabytes * 2**20, seconds=seconds)
    verb(run, host=host, port=port, limits=limits, device=device)
