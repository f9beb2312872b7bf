"""Languages are told apart where formulas and code stand between the words, and the gate keeps what is wanted."""

import json

import pytest
from fastwarc.warc import ArchiveIterator, WarcRecordType

from mining.html.charset import decode
from mining.html.extract import ExtractConfig, extract
from mining.language import LanguageConfig, identify, language_gate

TEXTS = {
    "en": "Let us prove that every bounded sequence of real numbers has a convergent subsequence, which is not hard.",
    "zh": "设函数在闭区间上连续，证明它在该区间上一致连续，并且能取到最大值和最小值。",
    "ja": "関数が閉区間で連続であるとき、その区間で一様連続であることを証明しなさい。",
    "ko": "함수가 닫힌 구간에서 연속이면 그 구간에서 균등 연속임을 증명하시오.",
    "de": "Beweisen Sie, dass jede beschränkte Folge reeller Zahlen eine konvergente Teilfolge besitzt.",
    "fr": "Montrer que toute suite bornée de nombres réels possède une sous-suite convergente dans cet espace.",
    "es": "Demuestre que toda sucesión acotada de números reales tiene una subsucesión convergente.",
    "ru": "Докажите, что из всякой ограниченной последовательности можно выделить сходящуюся.",
    "el": "Να αποδείξετε ότι κάθε φραγμένη ακολουθία έχει συγκλίνουσα υπακολουθία.",
}


@pytest.mark.parametrize("language", TEXTS)
def test_sentence_in(language):
    found, score = identify(TEXTS[language])
    assert found == language
    assert 0.5 <= score <= 1.0


def test_latin_formulas_do_not_make_a_chinese_page_english():
    text = "若 $f(x)=\\sin x+\\cos x$，则 $$\\int_0^1 f(x) \\, dx = \\sin 1 - \\cos 1 + 1$$ 成立，由此可得结论。"
    assert identify(text)[0] == "zh"


def test_code_does_not_make_a_german_page_english():
    text = "Das Programm berechnet die Summe der ersten Zahlen:\n`for i in range(n): total += i`\nhttps://example.org/the/of/and"
    assert identify(text)[0] == "de"


def test_japanese_with_much_kanji_is_not_chinese():
    assert identify("東京大学大学院数理科学研究科の入学試験問題と解答例を公開しています。")[0] == "ja"


@pytest.mark.parametrize("text", ["", "42", "$$E = mc^2$$", "x = 1", "\x00\ufffd"])
def test_too_little_to_tell_is_undetermined(text):
    assert identify(text) == ("und", 0.0)


def test_gate_keeps_wanted_and_undetermined_by_default():
    cfg = LanguageConfig()
    kept = [
        language_gate(*case, cfg).keep for case in (("en", 0.9), ("zh", 0.9), ("und", 0.0), ("de", 0.3), ("de", 0.9))
    ]
    assert kept == [True, True, True, True, False]
    assert language_gate("de", 0.9, cfg).reason == "language_de"


def test_gate_drops_undetermined_where_asked():
    verdict = language_gate("und", 0.0, LanguageConfig(keep_undetermined=False))
    assert (verdict.keep, verdict.reason) == (False, "language_undetermined")


@pytest.mark.real
def test_labelled_pages_are_told_right(real_data):
    labels = {}
    for line in (real_data / "web" / "labels.jsonl").read_text().splitlines():
        row = json.loads(line)
        labels[row["url"]] = row["language"]
    num_right = num_told = 0
    path = sorted((real_data / "web").glob("part-*.warc.gz"))[0]
    for record in ArchiveIterator(str(path), record_types=WarcRecordType.response):
        url = record.headers["WARC-Target-URI"]
        if labels.get(url) in ("en", "zh") and record.http_headers.status_code == 200:
            html, _ = decode(record.reader.read(), http_content_type=record.http_headers.get("Content-Type"))
            found, _ = identify(extract(html, url, ExtractConfig()).text)
            num_told += found != "und"
            num_right += found == labels[url]
    assert num_told > 50
    assert num_right >= 0.95 * num_told
