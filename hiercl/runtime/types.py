"""Array annotations: ``Float[Tensor, "anchors candidates"]`` says what a shape means, and tests check it.

The checks need jaxtyping and beartype (the ``dev`` extra); without them the annotations are plain documentation.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # type checkers see the array type; the text beside it is for people and for the tests
    from typing import Annotated as Bool
    from typing import Annotated as Float
    from typing import Annotated as Int
    from typing import Annotated as UInt8
    from typing import Annotated as UInt64
else:
    try:
        from jaxtyping import Bool, Float, Int, UInt8, UInt64
    except ImportError:

        class _Plain:
            """Stands in for a jaxtyping annotation: ``Float[Tensor, "n d"]`` is just ``Tensor``."""

            def __class_getitem__(cls, item):
                return item[0]

        Bool = Float = Int = UInt8 = UInt64 = _Plain

__all__ = ["Bool", "Float", "Int", "UInt8", "UInt64"]
