import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagegen.presets.banned_terms import find_banned, fold, has_adapter_tag


@pytest.mark.parametrize(
    "text",
    [
        "casino",
        "a CASINO at night",
        "casino!",
        "“Casino”, neon",
        "ca\u200bsino",
        "ca\u00adsino",
        "ca\ufe0fsino",
        "ｃａｓｉｎｏ",
        "𝐜𝐚𝐬𝐢𝐧𝐨",
        "casino_royale",
        "grand-casino.",
        "\u202ecasino",
    ],
)
def test_a_term_is_found_in_any_letter_form(text):
    assert find_banned(text, ["poker", "Casino"]) == ["Casino"]


@pytest.mark.parametrize("text", ["c-a-s-i-n-o", "casinos", "occasion", "cas ino", ""])
def test_only_whole_words_are_found(text):
    assert find_banned(text, ["casino"]) == []


@pytest.mark.parametrize(
    ("term", "text", "found"),
    [
        ("e-cig", "an e cig ad", True),
        ("e-cig", "an ecig ad", False),
        ("slot machine", "slot\n  —machine", True),
        ("slot machine", "slots machine", False),
        ("straße", "die STRASSE", True),
        ("ﬁre", "fire", True),
        ("賭場", "一個賭場的照片", True),
        ("カジノ", "ｶｼﾞﾉのネオン", True),
        ("คาสิโน", "รูปคาสิโนสวย", True),
        ("18+", "18 candles", True),
    ],
)
def test_phrases_and_scripts(term, text, found):
    assert bool(find_banned(text, [term])) is found


@pytest.mark.parametrize(
    "text", ["<lora:x:1>", "a <LoRA:x>", "< lora :x>", "＜ｌｏｒａ：x＞", "<lo\u200bra:x>",
             "<lyco:x>", "<hypernet:x>", "<HYPERNET:x"],
)  # fmt: skip
def test_adapter_tags_are_seen(text):
    assert has_adapter_tag(text)


@pytest.mark.parametrize(
    "text", ["lora: a girl's name", "<b>lora</b>", "flora: <3", "<explorer:x>"]
)
def test_other_words_are_no_tags(text):
    assert not has_adapter_tag(text)


@given(text=st.text())
def test_folding_is_stable_for_any_text(text):
    assert fold(fold(text)) == fold(text)
    has_adapter_tag(text)
