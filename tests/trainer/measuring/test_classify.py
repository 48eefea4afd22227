from __future__ import annotations

import unicodedata

from trainer.measuring.classify import match_classes


def test_names_match_whatever_their_case_and_composition() -> None:
    decomposed = unicodedata.normalize("NFD", "고양이")
    matched = match_classes(["Dog", decomposed, "Straße", "owl"], ["cat", "고양이", "STRASSE", "dog"])
    assert matched.positions == {"Dog": 3, decomposed: 1, "Straße": 2}
    assert matched.renamed == {"Dog": "dog", decomposed: "고양이", "Straße": "STRASSE"}
    assert (matched.only_in_data, matched.only_in_checkpoint) == (["owl"], ["cat"])
