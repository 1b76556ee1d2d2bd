"""Single sounds of drum machines and other instruments."""

from pathlib import Path
from typing import ClassVar

import numpy as np

from metamae.benchmark.dataset import Challenge
from metamae.benchmark.pocket.base import PocketData
from metamae.data.readers import read

# Kind -> folders of its sounds, by what the package says is in them.
_KINDS = {
    "kick": "a/upper v/lower v/upper x/lower x/upper",
    "snare": "d/upper i/lower i/upper o/lower o/upper u/lower",
    "cymbal": "a/lower _/hyphen _/equals _/colon _/tilde _/hash",
    "clap": "h/lower h/upper _/asterix",
    "percussion": """c/lower d/lower e/lower e/upper f/lower k/lower k/upper l/upper m/lower
        m/upper p/lower p/upper s/lower s/upper t/lower t/upper y/lower _/ampersand _/bar""",
    "effect": """b/lower b/upper c/upper f/upper g/lower g/upper j/lower j/upper n/lower n/upper
        q/lower q/upper u/upper w/lower w/upper y/upper z/lower z/upper _/1 _/2 _/3 _/4 _/at
        _/backslash _/caret _/exclamation _/percent _/forwardslash""",
}


class Drums(PocketData):
    """One recorded sound of up to ten seconds, most below one, at rates from 22 to 96 kHz.

    Sounds lie in folders of one instrument, often of one machine or session, so that the folder
    is the group; folders of mixed content are left out. "effect" is all that is no drum: voices,
    chords, noises.
    """

    description = "294 sounds for music, below a second each; kick, snare, cymbal, clap, ..."
    modality = "audio"
    package = "FoxDot"
    licence: ClassVar[str] = "CC-BY-SA-4.0"
    source = "Kirkbride, FoxDot: Live coding with Python and SuperCollider, ICLC 2016"

    def read(self) -> Challenge:
        found = read(self._root())
        kinds = {folder: kind for kind, folders in _KINDS.items() for folder in folders.split()}
        folders = [name.rpartition("/")[0] for name in found.names or ()]
        kept = np.flatnonzero([folder in kinds for folder in folders])
        chosen = found.only(["audio", "rate"]).subset(kept)
        columns = dict(chosen.columns) | {
            "kind": np.array([kinds[folders[at]] for at in kept]),
            "folder": np.array([folders[at] for at in kept]),
        }
        return Challenge(
            name=self.name,
            records=self.records(columns, 294),
            label="kind",
            group="folder",
            settings={"modality": "audio"},
        )

    def _root(self) -> Path:
        """Return the folder of all sounds."""
        sound = self.files("*/snd/*/*/*.wav")[0]
        return sound.parents[2]
