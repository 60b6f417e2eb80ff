"""The words in the drawings: English, or as in the catalogue of the language that MINITRANSFORMER_LANGUAGE names.

    from minitransformer.course.words import _

    axes.set(xlabel=_("training steps"))

The catalogues lie in `locales/`, a folder a language. What has no translation stays English.
"""

import gettext
import os
from pathlib import Path

LOCALES = Path(__file__).parent / "locales"

_ = gettext.translation("figures", LOCALES, [os.environ.get("MINITRANSFORMER_LANGUAGE", "en")], fallback=True).gettext


def later(word: str) -> str:
    """Mark a word for the catalogues that is itself as it stands here, and shown through `_` elsewhere."""
    return word
