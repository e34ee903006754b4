"""Which language a text is in, among those that IFEval asks for.

By its script where one language alone has it here; else by the commonest words and letters of each.
It is no more than that: it tells these languages apart, and no others.
"""

import re
from collections import Counter
from collections.abc import Mapping

#: Scripts that one of the languages has to itself, by the ranges of their letters.
_SCRIPTS: Mapping[str, str] = {
    "bn": "\u0980-\u09ff",
    "pa": "\u0a00-\u0a7f",
    "gu": "\u0a80-\u0aff",
    "ta": "\u0b80-\u0bff",
    "te": "\u0c00-\u0c7f",
    "kn": "\u0c80-\u0cff",
    "th": "\u0e00-\u0e7f",
    "ko": "\uac00-\ud7af\u1100-\u11ff",
}
#: Scripts of several languages.
_SHARED: Mapping[str, tuple[str, ...]] = {
    "\u0600-\u06ff": ("ar", "fa", "ur"),
    "\u0900-\u097f": ("hi", "mr", "ne"),
    "\u0400-\u04ff": ("ru", "bg"),
    "A-Za-z\u00c0-\u024f\u1e00-\u1eff": ("en", "de", "it", "pt", "fi", "sw", "vi", "es", "fr"),
}
#: Words that are frequent in one language, and rare or unknown in the others of its script.
_WORDS: Mapping[str, str] = {
    "ar": "في من على إلى أن هذا هذه التي الذي مع عن كان لا ما كل أو",
    "fa": "در به از که این را با است برای آن های می و یک شما خود باید شود",
    "ur": "کے میں کی ہے اور سے کا کو نے پر یہ ہیں کہ ایک بھی ہو",
    "hi": "है के में की हैं और से का को पर यह एक नहीं कि ने हो लिए था भी अपने",
    "mr": "आहे आणि या आहेत च्या मध्ये तो ती ते हे हा ही नाही एक होते करणे साठी तुम्ही आपल्या",
    "ne": "छ र को मा छन् यो एक हो पनि गर्न तपाईं लागि गर्नुहोस् हुन्छ थियो भएको भने छैन आफ्नो",
    "ru": "и в не на что это как он я из по к для вы с мы так от быть его но",
    "bg": "и на да се в за от е не с са по като че до към това този което ще си",
    "en": "the of and to in is that for it as with you are be this was on have not i a we can my",
    "de": "der die und das ist nicht ein eine zu den mit sich auf für von dem im sie ich wir auch",
    "it": "di che il la è un una per non in del con le si sono gli della ma come anche lo mi",
    "pt": "de que o a do da em um para com não uma os no se na por mais as dos como mas ao é você",
    "es": "de que el la los en y un por con no una su para es las del se lo como más pero",
    "fr": "de la le et les des en un du une que est pour qui dans par plus pas au sur ne se je",
    "fi": "ja on ei että se hän oli mutta ovat kun joka tai myös kuin jos minä voi olla sekä niin",
    "sw": "na ya wa kwa ni katika za la kuwa cha hii si kama au yake hiyo lakini watu sana kila",
    "vi": "và của là có không được các trong cho một những với người này đã khi để tôi bạn đó",
}
_WORD_SETS = {
    detect_language: frozenset(words.split()) for detect_language, words in _WORDS.items()
}
#: Letters that settle it: in Cyrillic, Bulgarian has none of these, and the like.
_DISTINCTIVE_LETTERS: Mapping[str, str] = {
    "ru": "ыэё",
    "fa": "پچژگ",
    "ur": "ٹڈڑںےہھ",
    "vi": "ăđơưạảấầẩậắằặẹẻẽếềểệịọỏốồổộớờởợụủứừửựỳỵ",
    "de": "ßäöü",
    "fi": "äö",
    "pt": "ãõç",
    "mr": "ळ",
}


def language(text: str) -> str | None:
    """The language's code in ISO 639-1; None of a text that no language here can be told of."""
    ours = {code: _count_letters(text, letters) for code, letters in _SCRIPTS.items()}
    shared = {codes: _count_letters(text, letters) for letters, codes in _SHARED.items()}
    most = max(shared, key=shared.__getitem__)
    best = max(ours, key=ours.__getitem__)
    if ours[best] > shared[most]:
        return best
    if not shared[most]:
        return None
    words = Counter(
        re.findall(
            r"[^\W\d_](?:[^\W\d_]|[\u0300-\u036f\u0900-\u0963\u064b-\u0652\u200c])*", text.lower()
        )
    )
    total = words.total()
    points = {
        code: sum(n for word, n in words.items() if word in _WORD_SETS[code])
        + sum(n for word, n in words.items() if set(_DISTINCTIVE_LETTERS.get(code, "")) & set(word))
        / 2
        for code in most
    }
    found = max(points, key=points.__getitem__)
    return found if total and points[found] > 0 else None


def _count_letters(text: str, ranges: str) -> int:
    return len(re.findall(f"[{ranges}]", text))
