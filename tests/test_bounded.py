"""No chat template runs for ever or fills the memory; those that people use run as they did."""

import sys
from typing import Any

import pytest
from conftest import TEMPLATE

from eft_core.bounded import MOST_STEPS, MOST_TEXT, Unbounded, check, within
from eft_core.template import pieces

ENDLESS = {
    "nested ranges": "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}",
    "a recursive loop": "{% for a in range(9999) recursive %}{{ loop(range(9999)) }}{% endfor %}",
    "a doubling macro": "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(40) }}",
    "a macro without an end": "{% macro f(x) %}{{ f(x ~ 'y') }}{% endmacro %}{{ f('') }}",
    "a doubling text": "{% set n = namespace(x='x') %}{% for a in range(60) %}{% set n.x = n.x ~ n.x %}{% endfor %}",
    "a doubling list": "{% set n = namespace(x=[1]) %}{% for a in range(60) %}{% set n.x = n.x + n.x %}{% endfor %}",
    "much output": "{% for a in range(9999) %}{{ 'x' * 100 }}{% endfor %}",
    "a product": "{{ 'x' * 9999999999 }}",
    "products in products": "{{ 'x' * 100 * 100 * 100 * 100 * 100 }}",
    "a product of names": "{% set n = 99999 %}{{ 'x' * n }}",
    "a power": "{{ 2 ** 999999999 }}",
    "a wide format": "{{ '%999999999d' % 1 }}",
    "a wide format of a function": "{{ '{:>999999999}'.format(1) }}",
    "a wide filter": "{{ 'x' | center(999999999) }}",
    "a wide argument by name": "{{ 'x' | indent(width=999999999) }}",
}
MESSAGE = "{{ messages[0]['content'] }}"


class Jinja:
    """The library's own rendering of a template, without a tokenizer."""

    chat_template = TEMPLATE

    def get_chat_template(self, chat_template: str | None) -> str:
        return chat_template or self.chat_template

    def apply_chat_template(self, messages: Any, chat_template: str, tokenize: bool, **given: Any) -> Any:
        from transformers.utils.chat_template_utils import render_jinja_template

        return render_jinja_template([messages], chat_template=chat_template, bos_token="<b>", **given)[0][0]


@pytest.mark.timeout(60)
@pytest.mark.parametrize("template", ENDLESS.values(), ids=ENDLESS)
def test_a_template_without_an_end_is_refused_with_the_remedy(template: str) -> None:
    with pytest.raises(ValueError, match=r"chat template cannot be used \(.*\): correct the template"):
        pieces(Jinja(), [("user", "Hello")], {"chat_template": MESSAGE + template})


def test_what_templates_do_is_left_alone() -> None:
    usual = "{% set x = '=' * 20 %}{% for a in range(99) %}{{ loop.index0 % 2 }}{% endfor %}{{ '%s' | format(x) }}"
    assert "=" * 20 in "".join(
        piece.text for piece in pieces(Jinja(), [("user", "Hi")], {"chat_template": MESSAGE + usual})
    )
    assert "".join(piece.text for piece in pieces(Jinja(), [("user", "Hi")], {})) == "<b>Question: Hi\nAnswer:"


def test_what_is_no_template_is_said_by_whoever_runs_it() -> None:
    check("{% for %}")
    with pytest.raises(Unbounded):
        check("{{ 2 ** 3 }}")


def test_a_tracer_that_was_there_is_there_again() -> None:
    def tracer(*_: Any) -> None:
        return None

    before = sys.gettrace()
    sys.settrace(tracer)
    try:
        assert within(lambda: "said") == "said"
        assert sys.gettrace() is tracer
    finally:
        sys.settrace(before)


def test_the_bounds_are_far_from_what_is_usual() -> None:
    assert MOST_STEPS >= 10_000
    assert MOST_TEXT >= 100_000
