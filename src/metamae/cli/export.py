"""`metamae export`."""

from pathlib import Path

from metamae.cli.console import show_log


def export(run: Path, *, out: Path, format: str = "torch", data: str | None = None) -> None:
    """Write an encoder in a form to hand on, or that other programs run.

    A program takes scaled samples and gives vectors, for any number of samples and, where samples
    differ in it, of tokens; reading and scaling stay with metamae. Before it is written it is run
    on samples and compared with its source.

    Args:
        run: Folder that was --out of `metamae pretrain`.
        out: New or empty folder.
        format: torch (torch.export), onnx, or huggingface (folder with a model card, read by
            `metamae.from_pretrained`).
        data: Samples to check a program on; those of the training if not given.
    """
    show_log()
    import logging

    from metamae.uses.export.export import export as verb

    verb(run, out, format=format, data=data)
    logging.getLogger("metamae").info("written to %s", out)
