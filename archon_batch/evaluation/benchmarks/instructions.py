"""The 25 instructions of IFEval that a program can check (Zhou et al., arXiv 2311.07911).

Written from their published description and the keys of its data. Where the description leaves
room, the reading is told at the check. Each takes the response and the instruction's own keys.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from archon_batch.evaluation.benchmarks.language import language

InstructionKwargs = Mapping[str, Any]
_WORD = re.compile(r"\w+")
#: A sentence ends with these, with quotes or brackets that close there, before white space.
_SENTENCE_END = re.compile(r"(?<=[.!?\u3002\u0964])[\"'\u201d\u2019)\]*_]*(?:\s+|\Z)|\n{2,}")
#: What ends with a full stop and ends no sentence.
_ABBREVIATION = re.compile(
    r"(?:\b(?i:mr|mrs|ms|dr|prof|st|vs|etc|e\.g|i\.e|jr|sr|no|inc|ltd|u\.s)"
    r"|(?<![\w'\u2019])[A-HJ-Z])\.\Z"
)
#: Characters at a part's end that tell whether it ends with such a word.
_ENDING = 10
_ASTERISKS = re.compile(r"\s?\*{3}\s?")
_REPLIES = ("My answer is yes.", "My answer is no.", "My answer is maybe.")


def follows_instruction(instruction: str, kwargs: InstructionKwargs, response: str) -> bool:
    """Whether a response does what one instruction asks. An empty response does nothing.

    Raises:
        ValueError: there is no such instruction, or it lacks a key.
    """
    check = _CHECKS.get(instruction)
    if check is None:
        raise ValueError(f"no instruction {instruction!r}")
    if not response.strip():
        return False
    try:
        return check(response, kwargs)
    except KeyError as error:
        raise ValueError(f"{instruction} has no {error.args[0]}") from None


def loose_variants(response: str) -> Sequence[str]:
    """The response as the loose figure takes it: also without its first line, its last, both.

    And each of the four without asterisks: a preface, a farewell or a bold letter is no matter.
    """
    lines = response.split("\n")
    cut = (lines, lines[1:], lines[:-1], lines[1:-1])
    texts = ["\n".join(some).strip() for some in cut]
    return [variant for text in texts for variant in (text, text.replace("*", ""))]


def count_sentences(text: str) -> int:
    """How many sentences there are; a list's lines count as they are punctuated."""
    parts = [part.strip() for part in _SENTENCE_END.split(text)]
    found, says = 0, False
    for part in parts:
        if not part:
            continue
        says = says or _WORD.search(part) is not None
        if _ABBREVIATION.search(part[-_ENDING:]):
            continue
        found += says
        says = False
    return found + says


def _satisfies_relation(found: int, keys: InstructionKwargs, relation: str, limit: str) -> bool:
    """``less than`` or ``at least``: the two relations of the data."""
    match keys[relation]:
        case "less than":
            return found < int(keys[limit])
        case "at least":
            return found >= int(keys[limit])
        case other:
            raise ValueError(f"no relation {other!r}")


def _contains_word(word: str, text: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text, re.IGNORECASE) is not None


def _keyword_existence(text: str, keys: InstructionKwargs) -> bool:
    """Anywhere, within other words too, as the published checks look for them."""
    return all(word.lower() in text.lower() for word in keys["keywords"])


def _keyword_frequency(text: str, keys: InstructionKwargs) -> bool:
    found = text.lower().count(str(keys["keyword"]).strip().lower())
    return _satisfies_relation(found, keys, "relation", "frequency")


def _no_forbidden_words(text: str, keys: InstructionKwargs) -> bool:
    """As whole words."""
    return not any(_contains_word(word, text) for word in keys["forbidden_words"])


def _letter_frequency(text: str, keys: InstructionKwargs) -> bool:
    """In either case."""
    found = text.lower().count(str(keys["letter"]).lower())
    return _satisfies_relation(found, keys, "let_relation", "let_frequency")


def _language(text: str, keys: InstructionKwargs) -> bool:
    return language(text) == str(keys["language"])


def _sentence_count(text: str, keys: InstructionKwargs) -> bool:
    return _satisfies_relation(count_sentences(text), keys, "relation", "num_sentences")


def _word_count(text: str, keys: InstructionKwargs) -> bool:
    return _satisfies_relation(len(_WORD.findall(text)), keys, "relation", "num_words")


def _paragraph_count(text: str, keys: InstructionKwargs) -> bool:
    """Between lines of three asterisks; one between two of those is not to be empty."""
    parts = [part.strip() for part in _ASTERISKS.split(text)]
    full = [place for place, part in enumerate(parts) if part]
    parts = parts[full[0] : full[-1] + 1] if full else []
    return all(parts) and len(parts) == int(keys["num_paragraphs"])


def _nth_first_word(text: str, keys: InstructionKwargs) -> bool:
    """Paragraphs are two line ends apart; quotes before the word, and marks after it, are no matter."""
    parts = [part.strip() for part in re.split(r"\n\n", text)]
    full = [part for part in parts if part]
    place = int(keys["nth_paragraph"]) - 1
    if len(full) != int(keys["num_paragraphs"]) or not 0 <= place < len(full):
        return False
    first = re.split(r"[.,?!'\"]", full[place].split()[0].lstrip("'\""))[0]
    return first.lower() == str(keys["first_word"]).lower()


def _placeholders(text: str, keys: InstructionKwargs) -> bool:
    found = 0
    for line in text.split("\n"):
        begin = line.find("[")
        while begin >= 0 and (end := line.find("]", begin)) >= 0:
            found, begin = found + 1, line.find("[", end)
    return found >= int(keys["num_placeholders"])


def _postscript(text: str, keys: InstructionKwargs) -> bool:
    """Spaces between its letters are no matter; "P.P.S." holds a "P.S."."""
    marker = str(keys["postscript_marker"]).lower()
    letters = [c for c in marker if c.isalpha()]
    if set(letters) - {"p", "s"}:
        return marker in text.lower()
    pattern = r"\.\s?".join(letters) + (r"\." if marker.endswith(".") else "")
    return re.search(rf"(?<!\w){pattern}(?!\w)", text.lower()) is not None


def _bullet_count(text: str, keys: InstructionKwargs) -> bool:
    """Lines that begin with an asterisk or a dash: just so many. Bold text begins no bullet."""
    lines = [line.strip() for line in text.split("\n")]
    found = [s for s in lines if len(s) > 1 and s[0] in "*-" and s[:2] != "**"]
    return len(found) == int(keys["num_bullets"])


def _constrained_response(text: str, keys: InstructionKwargs) -> bool:
    del keys
    return any(reply in text for reply in _REPLIES)


def _highlight_count(text: str, keys: InstructionKwargs) -> bool:
    """In one or two asterisks, within a line; a bold one that holds a simple one counts twice."""
    simple = re.findall(r"\*[^\n*]*\*", text)
    bold = re.findall(r"\*\*[^\n*]*\*\*", text)
    found = sum(bool(part.strip("* ")) for part in (*simple, *bold))
    return found >= int(keys["num_highlights"])


def _section_count(text: str, keys: InstructionKwargs) -> bool:
    found = re.findall(rf"{re.escape(str(keys['section_spliter']).strip())}\s?\d+", text)
    return len(found) >= int(keys["num_sections"])


def _is_json(text: str, keys: InstructionKwargs) -> bool:
    """All of it, or all within one fence."""
    del keys
    bare = text.strip()
    if len(bare) >= 2 * len("```") and bare.startswith("```") and bare.endswith("```"):
        bare = bare.strip("`")
        bare = bare[len("json") :] if bare[:4].lower() == "json" else bare
    try:
        json.loads(bare)
    except (ValueError, RecursionError):
        return False
    return True


def _has_title(text: str, keys: InstructionKwargs) -> bool:
    del keys
    lines = [line for line in text.split("\n") if "<<" in line]
    return any(line[line.find("<<") : line.rfind(">>") + 2].strip("<> ") for line in lines)


def _two_responses(text: str, keys: InstructionKwargs) -> bool:
    """Two that differ, with six asterisks between them."""
    del keys
    parts = [part.strip() for part in text.split("******")]
    if len(parts) > 1 and not all(parts[1:-1]):
        return False
    full = [part for part in parts if part]
    return len(full) == 2 and full[0] != full[1]  # noqa: PLR2004


def _repeats_prompt(text: str, keys: InstructionKwargs) -> bool:
    return text.strip().lower().startswith(str(keys["prompt_to_repeat"]).strip().lower())


def _ends_with_phrase(text: str, keys: InstructionKwargs) -> bool:
    """A quotation mark around the response is no matter."""
    end = str(keys["end_phrase"]).strip().lower()
    return text.strip().strip('"').strip().lower().endswith(end)


def _is_quoted(text: str, keys: InstructionKwargs) -> bool:
    del keys
    bare = text.strip()
    return len(bare) > 1 and bare[0] == '"' and bare[-1] == '"'


def _capital_words(text: str, keys: InstructionKwargs) -> bool:
    """Words of capitals only, "I" and "A" among them."""
    words = re.findall(r"[^\W\d_](?:[\w'\u2019-]*\w)?", text)
    found = sum(word.isupper() for word in words)
    return _satisfies_relation(found, keys, "capital_relation", "capital_frequency")


def _all_uppercase(text: str, keys: InstructionKwargs) -> bool:
    del keys
    return text.isupper() and language(text) in ("en", None)


def _all_lowercase(text: str, keys: InstructionKwargs) -> bool:
    del keys
    return text.islower() and language(text) in ("en", None)


def _no_comma(text: str, keys: InstructionKwargs) -> bool:
    del keys
    return "," not in text


_CHECKS: Mapping[str, Callable[[str, InstructionKwargs], bool]] = {
    "keywords:existence": _keyword_existence,
    "keywords:frequency": _keyword_frequency,
    "keywords:forbidden_words": _no_forbidden_words,
    "keywords:letter_frequency": _letter_frequency,
    "language:response_language": _language,
    "length_constraints:number_sentences": _sentence_count,
    "length_constraints:number_paragraphs": _paragraph_count,
    "length_constraints:number_words": _word_count,
    "length_constraints:nth_paragraph_first_word": _nth_first_word,
    "detectable_content:number_placeholders": _placeholders,
    "detectable_content:postscript": _postscript,
    "detectable_format:number_bullet_lists": _bullet_count,
    "detectable_format:constrained_response": _constrained_response,
    "detectable_format:number_highlighted_sections": _highlight_count,
    "detectable_format:multiple_sections": _section_count,
    "detectable_format:json_format": _is_json,
    "detectable_format:title": _has_title,
    "combination:two_responses": _two_responses,
    "combination:repeat_prompt": _repeats_prompt,
    "startend:end_checker": _ends_with_phrase,
    "startend:quotation": _is_quoted,
    "change_case:capital_word_frequency": _capital_words,
    "change_case:english_capital": _all_uppercase,
    "change_case:english_lowercase": _all_lowercase,
    "punctuation:no_comma": _no_comma,
}
