"""Sequences of symbols: letters, codes, k-mers or subwords, of any length."""

from metamae.modalities.form import Form
from metamae.modalities.gaps import Gaps
from metamae.modalities.symbols.gaps import SymbolsGaps
from metamae.modalities.symbols.spec import SymbolsSpec
from metamae.modalities.symbols.tokenizer import SymbolsTokenizer
from metamae.model.tokenizer import Tokenizer


class Symbols(SymbolsSpec):
    """Each symbol of a sequence is a token."""

    def tokenizer(self, width: int) -> Tokenizer:
        return SymbolsTokenizer(self, width)

    def gaps(self) -> Gaps:
        return SymbolsGaps(self)

    def form(self, part: str = "") -> Form:
        return Form("letters", part)

    @property
    def aligned(self) -> bool:
        return self.equal or not self.varies
