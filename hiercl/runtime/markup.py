"""Names in Markdown: what a user calls a class, a level or a variant is shown as it is, and is never markup."""

import html
import re

SPACE = re.compile(r"\s+")
SPECIAL = re.compile(r"([\\`*\[\]|])")


def in_markdown(text: object) -> str:
    """Returns a text that Markdown shows as it is, in one line.

    Signs of HTML and Markdown are escaped. An underscore is not: within a word it means nothing.

    Args:
        text: a name, or anything with a text.

    Example:
        >>> in_markdown("<b>cats</b> | *dogs*")
        '&lt;b&gt;cats&lt;/b&gt; \\\\| \\\\*dogs\\\\*'
    """
    return SPECIAL.sub(r"\\\1", html.escape(SPACE.sub(" ", str(text)), quote=False))


def in_code(text: object) -> str:
    """Returns a text as code in Markdown, in one line.

    Example:
        >>> in_code("lr=0.1")
        '`lr=0.1`'
    """
    words = SPACE.sub(" ", str(text)).replace("`", "'")
    return f"`{words}`"
