"""HTML whose text is escaped."""

from sipe_mmseg.report.markup import element, joined


def test_text_and_attributes_are_escaped_and_markup_is_not() -> None:
    inner = element('b', '<script>&')
    assert inner == '<b>&lt;script&gt;&amp;</b>'
    assert element('p', inner, 'a<b', None, 3, title='"\'<') == (
        '<p title="&quot;&#x27;&lt;"><b>&lt;script&gt;&amp;</b>a&lt;b3</p>'
    )
    assert joined(inner, '<') == inner + '&lt;'


def test_names_of_attributes() -> None:
    assert element('li', class_='x', data_id=1, hidden=True, lang=None, tabindex=False) == (
        '<li class="x" data-id="1" hidden></li>'
    )
    assert element('meta', name='viewport') == '<meta name="viewport">'
