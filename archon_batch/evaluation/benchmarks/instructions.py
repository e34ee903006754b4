"""The 25 instructions of IFEval that a program can check (Zhou et al., arXiv 2311.07911).

Written from the published description and the kwargs of the data. Where the description is
ambiguous, the docstring of the check states our reading. A check gets the response and the
instruction's kwargs.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from archon_batch.evaluation.benchmarks.language import is_in_language

InstructionKwargs = Mapping[str, Any]
_WORD = re.compile(r"\w+")
#: The end of a sentence: a mark, closing quotes or brackets, and white space; or an empty line.
_SENTENCE_END = re.compile(r"(?<=[.!?\u3002\u0964])[\"'\u201d\u2019)\]*_]*(?:\s+|\Z)|\n{2,}")
#: Abbreviations and initials, whose full stop ends no sentence.
_ABBREVIATION = re.compile(
    r"(?:\b(?i:mr|mrs|ms|dr|prof|st|vs|etc|e\.g|i\.e|jr|sr|no|inc|ltd|u\.s)"
    r"|(?<![\w'\u2019])[A-HJ-Z])\.\Z"
)
#: Characters at the end of a part that are searched for an abbreviation.
_ENDING = 10
_ASTERISKS = re.compile(r"\s?\*{3}\s?")
_REPLIES = ("My answer is yes.", "My answer is no.", "My answer is maybe.")


def follows_instruction(instruction: str, kwargs: InstructionKwargs, response: str) -> bool:
    """Whether the response follows the instruction. An empty response follows none.

    Raises:
        ValueError: the instruction is unknown, or its kwargs lack a key.
        InputError: langdetect is not installed.
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
    """The eight variants of which the loose figure needs only one to follow an instruction.

    The response, without its first line, without its last line, without both; and each of these
    without asterisks. So an introduction, a closing line or bold type does not matter.
    """
    lines = response.split("\n")
    parts = (lines, lines[1:], lines[:-1], lines[1:-1])
    texts = ["\n".join(part).strip() for part in parts]
    return [variant for text in texts for variant in (text, text.replace("*", ""))]


def count_sentences(text: str) -> int:
    """The number of sentences. Lines of a list count by their punctuation."""
    parts = [part.strip() for part in _SENTENCE_END.split(text)]
    count, has_word = 0, False
    for part in parts:
        if not part:
            continue
        has_word = has_word or _WORD.search(part) is not None
        if _ABBREVIATION.search(part[-_ENDING:]):
            continue
        count += has_word
        has_word = False
    return count + has_word


def _satisfies_relation(count: int, kwargs: InstructionKwargs, relation: str, limit: str) -> bool:
    """The data knows two relations: ``less than`` and ``at least``."""
    match kwargs[relation]:
        case "less than":
            return count < int(kwargs[limit])
        case "at least":
            return count >= int(kwargs[limit])
        case other:
            raise ValueError(f"no relation {other!r}")


def _contains_word(word: str, text: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text, re.IGNORECASE) is not None


def _keyword_existence(text: str, kwargs: InstructionKwargs) -> bool:
    """Keywords may stand inside other words, as in the published check."""
    return all(word.lower() in text.lower() for word in kwargs["keywords"])


def _keyword_frequency(text: str, kwargs: InstructionKwargs) -> bool:
    count = text.lower().count(str(kwargs["keyword"]).strip().lower())
    return _satisfies_relation(count, kwargs, "relation", "frequency")


def _no_forbidden_words(text: str, kwargs: InstructionKwargs) -> bool:
    """Only whole words are forbidden."""
    return not any(_contains_word(word, text) for word in kwargs["forbidden_words"])


def _letter_frequency(text: str, kwargs: InstructionKwargs) -> bool:
    """Upper and lower case count alike."""
    count = text.lower().count(str(kwargs["letter"]).lower())
    return _satisfies_relation(count, kwargs, "let_relation", "let_frequency")


def _language(text: str, kwargs: InstructionKwargs) -> bool:
    return is_in_language(text, str(kwargs["language"]))


def _sentence_count(text: str, kwargs: InstructionKwargs) -> bool:
    return _satisfies_relation(count_sentences(text), kwargs, "relation", "num_sentences")


def _word_count(text: str, kwargs: InstructionKwargs) -> bool:
    return _satisfies_relation(len(_WORD.findall(text)), kwargs, "relation", "num_words")


def _paragraph_count(text: str, kwargs: InstructionKwargs) -> bool:
    """Three asterisks separate paragraphs; none may be empty, except at both ends."""
    parts = [part.strip() for part in _ASTERISKS.split(text)]
    full = [place for place, part in enumerate(parts) if part]
    parts = parts[full[0] : full[-1] + 1] if full else []
    return all(parts) and len(parts) == int(kwargs["num_paragraphs"])


def _nth_first_word(text: str, kwargs: InstructionKwargs) -> bool:
    """An empty line separates paragraphs. Quotes before the word and marks after it are ignored."""
    parts = [part.strip() for part in re.split(r"\n\n", text)]
    full = [part for part in parts if part]
    place = int(kwargs["nth_paragraph"]) - 1
    if len(full) != int(kwargs["num_paragraphs"]) or not 0 <= place < len(full):
        return False
    first = re.split(r"[.,?!'\"]", full[place].split()[0].lstrip("'\""))[0]
    return first.lower() == str(kwargs["first_word"]).lower()


def _placeholders(text: str, kwargs: InstructionKwargs) -> bool:
    count = 0
    for line in text.split("\n"):
        begin = line.find("[")
        while begin >= 0 and (end := line.find("]", begin)) >= 0:
            count, begin = count + 1, line.find("[", end)
    return count >= int(kwargs["num_placeholders"])


def _postscript(text: str, kwargs: InstructionKwargs) -> bool:
    """Spaces between the letters are ignored. "P.P.S." contains "P.S."."""
    marker = str(kwargs["postscript_marker"]).lower()
    letters = [c for c in marker if c.isalpha()]
    if set(letters) - {"p", "s"}:
        return marker in text.lower()
    pattern = r"\.\s?".join(letters) + (r"\." if marker.endswith(".") else "")
    return re.search(rf"(?<!\w){pattern}(?!\w)", text.lower()) is not None


def _bullet_count(text: str, kwargs: InstructionKwargs) -> bool:
    """Exactly that many lines begin with an asterisk or a dash. Bold text is no bullet."""
    lines = [line.strip() for line in text.split("\n")]
    count = [s for s in lines if len(s) > 1 and s[0] in "*-" and s[:2] != "**"]
    return len(count) == int(kwargs["num_bullets"])


def _constrained_response(text: str, kwargs: InstructionKwargs) -> bool:
    del kwargs
    return any(reply in text for reply in _REPLIES)


def _highlight_count(text: str, kwargs: InstructionKwargs) -> bool:
    """Text in one or two asterisks within a line. Bold text that contains italics counts twice."""
    simple = re.findall(r"\*[^\n*]*\*", text)
    bold = re.findall(r"\*\*[^\n*]*\*\*", text)
    count = sum(bool(part.strip("* ")) for part in (*simple, *bold))
    return count >= int(kwargs["num_highlights"])


def _section_count(text: str, kwargs: InstructionKwargs) -> bool:
    count = re.findall(rf"{re.escape(str(kwargs['section_spliter']).strip())}\s?\d+", text)
    return len(count) >= int(kwargs["num_sections"])


def _is_json(text: str, kwargs: InstructionKwargs) -> bool:
    """The whole response is JSON, with or without a code fence around it."""
    del kwargs
    bare = text.strip()
    if len(bare) >= 2 * len("```") and bare.startswith("```") and bare.endswith("```"):
        bare = bare.strip("`")
        bare = bare[len("json") :] if bare[:4].lower() == "json" else bare
    try:
        json.loads(bare)
    except (ValueError, RecursionError):
        return False
    return True


def _has_title(text: str, kwargs: InstructionKwargs) -> bool:
    del kwargs
    lines = [line for line in text.split("\n") if "<<" in line]
    return any(line[line.find("<<") : line.rfind(">>") + 2].strip("<> ") for line in lines)


def _two_responses(text: str, kwargs: InstructionKwargs) -> bool:
    """Two different responses with six asterisks between them."""
    del kwargs
    parts = [part.strip() for part in text.split("******")]
    if len(parts) > 1 and not all(parts[1:-1]):
        return False
    full = [part for part in parts if part]
    return len(full) == 2 and full[0] != full[1]  # noqa: PLR2004


def _repeats_prompt(text: str, kwargs: InstructionKwargs) -> bool:
    return text.strip().lower().startswith(str(kwargs["prompt_to_repeat"]).strip().lower())


def _ends_with_phrase(text: str, kwargs: InstructionKwargs) -> bool:
    """Quotation marks around the response are ignored."""
    end = str(kwargs["end_phrase"]).strip().lower()
    return text.strip().strip('"').strip().lower().endswith(end)


def _is_quoted(text: str, kwargs: InstructionKwargs) -> bool:
    del kwargs
    bare = text.strip()
    return len(bare) > 1 and bare[0] == '"' and bare[-1] == '"'


def _capital_words(text: str, kwargs: InstructionKwargs) -> bool:
    """Words in capitals, including "I" and "A"."""
    words = re.findall(r"[^\W\d_](?:[\w'\u2019-]*\w)?", text)
    count = sum(word.isupper() for word in words)
    return _satisfies_relation(count, kwargs, "capital_relation", "capital_frequency")


def _all_uppercase(text: str, kwargs: InstructionKwargs) -> bool:
    del kwargs
    return text.isupper() and is_in_language(text, "en")


def _all_lowercase(text: str, kwargs: InstructionKwargs) -> bool:
    del kwargs
    return text.islower() and is_in_language(text, "en")


def _no_comma(text: str, kwargs: InstructionKwargs) -> bool:
    del kwargs
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
