"""HTML in which all text is escaped, because nothing but :class:`Markup` is taken as it is."""

import html


class Markup(str):
    """HTML that is ready to stand in a page. Any other string is data, and is escaped."""

    __slots__ = ()


# Elements that have no content and no end tag (HTML standard, 13.1.2).
_VOID = frozenset({'br', 'img', 'input', 'meta'})


def element(name: str, /, *content: object, **attributes: object) -> Markup:
    """An HTML or SVG element.

    Args:
        name: Its tag.
        content: What stands in it: :class:`Markup` as it is, anything else as escaped text, None not at all.
        attributes: Its attributes, escaped. ``_`` stands for ``-``, at the end for nothing (``class_``, ``for_``);
            None and False leave an attribute out, True writes it without a value.
    """
    parts = [name]
    for key, value in attributes.items():
        key = key.rstrip('_').replace('_', '-')
        if value is True:
            parts.append(key)
        elif value is not None and value is not False:
            parts.append(f'{key}="{html.escape(str(value))}"')
    start = f'<{" ".join(parts)}>'
    return Markup(start) if name in _VOID else Markup(f'{start}{joined(*content)}</{name}>')


def joined(*content: object) -> Markup:
    """Pieces of content one after the other, text escaped, None left out."""
    texts = (item if isinstance(item, Markup) else html.escape(str(item)) for item in content if item is not None)
    return Markup(''.join(texts))
