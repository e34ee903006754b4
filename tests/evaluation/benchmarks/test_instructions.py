"""IFEval's 25 instructions, each with a good and a bad response."""

import sys

import pytest

from archon_batch.errors import InputError
from archon_batch.evaluation.benchmarks import BENCHMARKS
from archon_batch.evaluation.benchmarks.instructions import (
    count_sentences,
    follows_instruction,
    loose_variants,
)
from archon_batch.evaluation.benchmarks.language import is_in_language, load_langdetect

FIVE = "One two three four five."
CASES = [
    ("keywords:existence", {"keywords": ["rain", "sun"]}, "Rain, then SUNshine.", "Rain only."),
    (
        "keywords:frequency",
        {"keyword": "tea", "frequency": 2, "relation": "at least"},
        "Tea and teapots.",
        "Tea.",
    ),
    ("keywords:forbidden_words", {"forbidden_words": ["rock"]}, "A rocket.", "A Rock!"),
    (
        "keywords:letter_frequency",
        {"letter": "!", "let_frequency": 2, "let_relation": "less than"},
        "Hello!",
        "Hello!!",
    ),
    ("language:response_language", {"language": "de"}, "Das ist nicht für mich.", "It is mine."),
    (
        "length_constraints:number_sentences",
        {"num_sentences": 2, "relation": "less than"},
        "Dr. Who came.",
        "He came. He left.",
    ),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 2}, "a\n***\nb", "a\n\nb"),
    ("length_constraints:number_words", {"num_words": 5, "relation": "at least"}, FIVE, "One."),
    (
        "length_constraints:nth_paragraph_first_word",
        {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "then"},
        'First.\n\n"Then, last.',
        "First.\n\nLast, then.",
    ),
    ("detectable_content:number_placeholders", {"num_placeholders": 2}, "[a] of [b]", "[a] of b"),
    ("detectable_content:postscript", {"postscript_marker": "P.P.S"}, "Bye.\nP. P.S. x", "P.S. x"),
    (
        "detectable_format:number_bullet_lists",
        {"num_bullets": 2},
        "* a\n- b\n**bold** c",
        "* a\n- b\n* c",
    ),
    (
        "detectable_format:constrained_response",
        {},
        "I think so: My answer is maybe.",
        "Maybe.",
    ),
    (
        "detectable_format:number_highlighted_sections",
        {"num_highlights": 2},
        "*one* and *two*",
        "*one* and **",
    ),
    (
        "detectable_format:multiple_sections",
        {"section_spliter": "Section", "num_sections": 2},
        "Section 1 a\nSection 2 b",
        "Section a\nSection 2 b",
    ),
    ("detectable_format:json_format", {}, '```json\n{"a": [1]}\n```', '{"a": 1} as asked'),
    ("detectable_format:title", {}, "<<A title>>\nText", "<< >>\nText"),
    ("combination:two_responses", {}, "one\n******\ntwo", "one\n******\none"),
    ("combination:repeat_prompt", {"prompt_to_repeat": "Say hi."}, "say HI. Hi!", "Hi! Say hi."),
    ("startend:end_checker", {"end_phrase": "The end."}, '"So, the end."', "The end. Or not"),
    ("startend:quotation", {}, ' "all of it" ', '"most" of it'),
    (
        "change_case:capital_word_frequency",
        {"capital_frequency": 2, "capital_relation": "at least"},
        "GO now, I said",
        "Go now, I said",
    ),
    ("change_case:english_capital", {}, "THIS IS THE WAY.", "THIS is the way."),
    ("change_case:english_lowercase", {}, "this is the way.", "This is the way."),
    ("punctuation:no_comma", {}, "No comma.", "A comma, here."),
]

#: Article 1 of the Universal Declaration of Human Rights, or as much of it as it takes.
SPOKEN = {
    "ar": "يولد جميع الناس أحراراً متساوين في الكرامة والحقوق، وقد وهبوا عقلاً وضميراً وعليهم أن يعامل",
    "bg": "Всички хора се раждат свободни и равни по достойнство и права. Те са надарени с разум и съвест",
    "bn": "সমস্ত মানুষ স্বাধীনভাবে সমান মর্যাদা এবং অধিকার নিয়ে জন্মগ্রহণ করে",
    "de": "Alle Menschen sind frei und gleich an Würde und Rechten geboren.",
    "en": "All human beings are born free and equal in dignity and rights.",
    "fa": "تمام افراد بشر آزاد به دنیا می‌آیند و از لحاظ حیثیت و حقوق با هم برابرند",
    "fi": "Kaikki ihmiset syntyvät vapaina ja tasavertaisina arvoltaan ja oikeuksiltaan.",
    "gu": "પ્રતિષ્ઠા અને અધિકારોની દૃષ્ટિએ સર્વ માનવો જન્મથી સ્વતંત્ર અને સમાન હોય છે",
    "hi": "सभी मनुष्यों को गौरव और अधिकारों के मामले में जन्मजात स्वतन्त्रता और समानता प्राप्त है",
    "it": "Tutti gli esseri umani nascono liberi ed eguali in dignità e diritti.",
    "kn": "ಎಲ್ಲಾ ಮಾನವರೂ ಸ್ವತಂತ್ರರಾಗಿಯೇ ಜನಿಸಿದ್ದಾರೆ",
    "ko": "모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다",
    "mr": "सर्व मानवी व्यक्ती जन्मतः स्वतंत्र आहेत व त्यांना समान प्रतिष्ठा व समान अधिकार आहेत",
    "ne": "सबै व्यक्तिहरू जन्मजात स्वतन्त्र हुन् ती सबैको समान अधिकार र महत्व छ",
    "pa": "ਸਾਰਾ ਮਨੁੱਖੀ ਪਰਿਵਾਰ ਆਪਣੀ ਮਹਿਮਾ ਨਾਲ ਜਨਮ ਲੈਂਦਾ ਹੈ",
    "pt": "Todos os seres humanos nascem livres e iguais em dignidade e em direitos.",
    "ru": "Все люди рождаются свободными и равными в своем достоинстве и правах.",
    "sw": "Watu wote wamezaliwa huru, hadhi na haki zao ni sawa.",
    "ta": "மனிதப் பிறிவியினர் சகலரும் சுதந்திரமாகவே பிறக்கின்றனர்",
    "te": "ప్రతిపత్తిస్వత్వముల విషయమున మానవులెల్లరును జన్మతః స్వతంత్రులును సమానులును నగుదురు",
    "th": "มนุษย์ทั้งหลายเกิดมามีอิสระและเสมอภาคกันในเกียรติศักดิ์และสิทธิ",
    "ur": "تمام انسان آزاد اور حقوق و عزت کے اعتبار سے برابر پیدا ہوئے ہیں",
    "vi": "Tất cả mọi người sinh ra đều được tự do và bình đẳng về nhân phẩm và quyền.",
}


@pytest.mark.parametrize(("name", "keys", "good", "bad"), CASES, ids=[case[0] for case in CASES])
def test_an_instruction_accepts_the_good_response_only(
    name: str, keys: dict[str, object], good: str, bad: str
) -> None:
    assert follows_instruction(name, keys, good)
    assert not follows_instruction(name, keys, bad)
    assert not follows_instruction(name, keys, " \n")


def test_exactly_25_instructions_are_known() -> None:
    assert len({case[0] for case in CASES}) == 25
    with pytest.raises(ValueError, match="no instruction 'a:b'"):
        follows_instruction("a:b", {}, "x")
    with pytest.raises(ValueError, match="number_words has no relation"):
        follows_instruction("length_constraints:number_words", {"num_words": 1}, "x")


@pytest.mark.parametrize("code", SPOKEN)
def test_each_language_of_the_data_is_detected(code: str) -> None:
    assert is_in_language(SPOKEN[code], code)
    assert not is_in_language(SPOKEN[code], "zh-cn")


def test_a_text_without_letters_counts_as_any_language() -> None:
    assert is_in_language("12 + 3 = 15 !", "de")


def test_without_langdetect_the_error_says_what_to_install(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "langdetect", None)
    load_langdetect.cache_clear()

    with pytest.raises(InputError, match=r"pip install archon-batch\[score\]"):
        BENCHMARKS["ifeval"]().problems({"prompts": []}, 0)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("One. Two! Three?", 3),
        ("It costs 3.50 today, e.g. at Mr. Ho's. Buy it", 2),
        ('He said "Go." Then he left.', 2),
        ("A title\n\nA sentence.", 2),
        ("...", 0),
    ],
)
def test_sentences_are_counted(text: str, count: int) -> None:
    assert count_sentences(text) == count


def test_loose_variants_drop_first_line_last_line_and_asterisks() -> None:
    response = "Sure, here it is:\n**my answer**\nBye, all."
    assert "my answer" in loose_variants(response)
    assert len(loose_variants(response)) == 8
