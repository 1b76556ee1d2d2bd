"""Sequences of symbols: letters, codes, k-mers or subwords, of any length."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from metamae.modalities.base import Look, Sure
from metamae.modalities.form import Form
from metamae.modalities.gaps import Gaps
from metamae.modalities.symbols.gaps import SymbolsGaps
from metamae.modalities.symbols.spec import SymbolsSpec
from metamae.modalities.symbols.tokenizer import SymbolsTokenizer
from metamae.model.tokenizer import Tokenizer

# Fields of strings whose name says that they are content, and no name or category.
TEXTS = ("text", "caption", "sentence", "description", "sequence", "smiles", "peptide", "dna")


class Symbols(SymbolsSpec):
    """Each symbol of a sequence is a token."""

    words: ClassVar[Mapping[str, Mapping[str, Any]]] = {"symbols": {}, "text": {}}
    remarks: ClassVar[bool] = True

    @classmethod
    def recognises(cls, field: Look) -> tuple[Sure, str] | None:
        if not field.holds_objects:
            return None
        if field.arrays:
            codes = all(a.ndim == 1 and a.dtype.kind in "iu" for a in field.arrays)
            return (Sure.SHAPE, "symbols") if codes else None
        return Sure.SHAPE if is_text(field.name, field.values) else Sure.FALLBACK, "symbols"

    def tokenizer(self, width: int) -> Tokenizer:
        return SymbolsTokenizer(self, width)

    def gaps(self) -> Gaps:
        return SymbolsGaps(self)

    def form(self, part: str = "") -> Form:
        return Form("letters", part)

    @property
    def aligned(self) -> bool:
        return self.equal or not self.varies


def is_text(name: str, values: Sequence[Any]) -> bool:
    """Whether strings are contents to learn from, and no names or categories."""
    texts = [value for value in values if isinstance(value, str)]
    if len(set(texts)) <= max(2, 0.5 * len(texts)):
        return False
    return name.lower() in TEXTS or sum(" " in text.strip() for text in texts) > 0.5 * len(texts)
