"""GBNF grammars without recursion, as this language understands them."""

import re

from archon_batch.archon import ReplyFormat

#: A literal, a character class, a repetition, a bracket, an alternative, or a rule name.
TOKEN = re.compile(
    r'"(?P<literal>(?:[^"\\]|\\.)*)"|(?P<kind>\[(?:[^\]\\]|\\.)*\])|(?P<times>\{\d+(?:,\d+)?\}|\?)'
    r"|(?P<bracket>[()])|(?P<bar>\|)|(?P<rule>[a-z][a-z0-9-]*)"
)


def admits(form: ReplyFormat, text: str) -> bool:
    return re.fullmatch(as_regex(form), text) is not None


def as_regex(form: ReplyFormat) -> str:
    """The form's grammar as one regular expression."""
    rules = _rules(form)

    def written(token: re.Match[str]) -> str:
        if token["literal"] is not None:
            return f"(?:{re.escape(_said(token['literal']))})"
        if token["rule"]:
            return f"(?:{expanded(token['rule'])})"
        return "(?:" if token["bracket"] == "(" else token[0]

    def expanded(name: str) -> str:
        return "".join(written(token) for token in TOKEN.finditer(rules[name]))

    return expanded("root")


def language(form: ReplyFormat) -> list[str]:
    """Every text that a grammar of literals and rules admits."""
    rules = _rules(form)

    def expanded(name: str) -> list[str]:
        choices: list[list[str]] = [[""]]
        for token in TOKEN.finditer(rules[name]):
            if token["bar"]:
                choices.append([""])
            else:
                more = expanded(token["rule"]) if token["rule"] else [_said(token["literal"])]
                choices[-1] = [text + end for text in choices[-1] for end in more]
        return [text for choice in choices for text in choice]

    return expanded("root")


def _rules(form: ReplyFormat) -> dict[str, str]:
    assert form.grammar is not None
    rules = dict(line.split(" ::= ", 1) for line in form.grammar.splitlines())
    # Unknown syntax must not be skipped.
    assert not "".join(TOKEN.sub("", rule) for rule in rules.values()).strip()
    return rules


def _said(literal: str) -> str:
    return re.sub(r"\\(.)", lambda escape: {"n": "\n"}.get(escape[1], escape[1]), literal)
