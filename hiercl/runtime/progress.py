"""Progress bars, where somebody looks at them: in a terminal and in a notebook, not in a log."""

from typing import Any

from tqdm.auto import tqdm


def progress_bar(items: Any = None, shown: bool = True, **options: Any) -> tqdm:
    """Makes a progress bar. Where the output is not a terminal or a notebook, it shows nothing.

    Args:
        items: what is counted; None: ``update`` is called.
        shown: False: it shows nothing anywhere.
        options: the other arguments of tqdm.

    Example:
        >>> list(progress_bar(range(3), desc="counting"))
        [0, 1, 2]
    """
    # None: tqdm looks for a terminal; its form for notebooks takes None for False.
    return tqdm(items, disable=None if shown else True, **options)
