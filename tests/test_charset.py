"""Every encoding comes out right, whatever the page says about itself."""

import random

import pytest

from mining.errors import RecordError
from mining.html.charset import codec_of, decode

ZH = "中文网页编码测试，这是一个很长的句子，我们在这里测试它的编码。"
ZH_HANT = "中文網頁編碼測試，這是一個很長的句子，我們在這裡測試它的編碼。"
JA = "これは日本語のページです。文字コードのテストをしています。"
KO = "한국어 페이지입니다. 문자 집합을 시험하는 문장이 있습니다."
RU = "Привет, это русская страница о производной функции. Москва и Петербург."
FR = "L'été est arrivé à la forêt, où le théorème a été démontré."
PL = "Dowód twierdzenia: niech ciąg będzie zbieżny, wówczas każdy podciąg też jest zbieżny."
TR = "İstanbul’da güneşli bir gün; öğrenciler üçgenin alanını çalıştı."
EL = "Η παράγωγος της συνάρτησης είναι το όριο του λόγου."

PAGES = [
    (ZH, "gb18030"), (ZH, "gbk"), (ZH_HANT, "big5"), (JA, "shift_jis"), (JA, "euc_jp"), (KO, "euc_kr"), (RU, "cp1251"),
    (RU, "koi8_r"), (FR, "latin_1"), (FR, "cp1252"), (PL, "iso8859_2"), (PL, "cp1250"), (TR, "cp1254"),
    (EL, "iso8859_7"), (ZH, "utf_8"), (ZH, "utf_16"), (JA, "iso2022_jp"),
]  # fmt: skip


def page(text: str, codec: str, meta: str = "") -> bytes:
    head = f'<meta charset="{meta}">' if meta else ""
    return f"<html><head>{head}<title>t</title></head><body><p>{text}</p></body></html>".encode(codec)


@pytest.mark.parametrize(("text", "codec"), PAGES)
def test_labelled_in_the_header(text, codec):
    assert text in decode(page(text, codec), http_content_type=f"text/html; charset={codec}")[0]


@pytest.mark.parametrize(("text", "codec"), [p for p in PAGES if p[1] != "utf_16"])
def test_labelled_in_meta_only(text, codec):
    assert text in decode(page(text, codec, meta=codec.replace("_", "-")), http_content_type="text/html")[0]


@pytest.mark.parametrize(("text", "codec"), [p for p in PAGES if p[1] not in ("cp1254", "iso8859_2", "cp1250")])
def test_wrongly_labelled_utf_8_recovers(text, codec):
    assert text in decode(page(text, codec), http_content_type="text/html; charset=utf-8")[0]


@pytest.mark.parametrize("label", ["iso-8859-1", "windows-1252", "gb2312", "nonsense", None])
def test_utf_8_page_is_read_as_utf_8_whatever_its_label(label):
    content_type = f"text/html; charset={label}" if label else None
    for text in (ZH, FR, RU, KO):
        assert decode(page(text, "utf_8"), http_content_type=content_type) == (page(text, "utf_8").decode(), "utf_8")


@pytest.mark.parametrize(("text", "codec"), [(ZH, "gbk"), (ZH_HANT, "big5"), (JA, "shift_jis"), (RU, "cp1251")])
def test_page_labelled_latin_1_is_not_quietly_read_as_windows_1252(text, codec):
    decoded, name = decode(page(text, codec), http_content_type="text/html; charset=iso-8859-1")
    assert name != "cp1252"
    assert text in decoded


def test_crawl_metadata_outranks_meta():
    payload = page(RU, "koi8_r", meta="windows-1251")
    decoded, name = decode(payload, http_content_type="text/html", warc_charset="koi8-r")
    assert (RU in decoded, name) == (True, "koi8_r")


def test_byte_order_mark_outranks_the_header():
    payload = b"\xef\xbb\xbf" + page(FR, "utf_8")
    assert decode(payload, http_content_type="text/html; charset=gbk") == (page(FR, "utf_8").decode(), "utf_8")


def test_utf_16_without_mark_is_recognised_by_its_zero_bytes():
    assert decode(page(FR, "utf_16_be"), http_content_type=None) == (page(FR, "utf_8").decode(), "utf_16_be")


def test_two_characters_of_gbk_that_pass_as_utf_8_follow_their_label():
    # 模牛 in GBK is C4 A3 C5 A3, which is also well-formed UTF-8 (ģţ).
    payload = b"<p>\xc4\xa3\xc5\xa3</p>"
    assert payload.decode("utf-8") == "<p>ģţ</p>"
    assert decode(payload, http_content_type="text/html; charset=gbk")[0] == "<p>模牛</p>"


def test_character_cut_at_the_end_of_a_truncated_page_is_dropped():
    payload = page(ZH, "gb18030", meta="gbk").split("。</p>".encode("gb18030"))[0][:-1]
    assert decode(payload, http_content_type=None)[0].endswith("我们在这里测试它的编")


def test_stray_bytes_in_utf_8_leave_the_rest_readable():
    decoded, name = decode(page(ZH * 4, "utf_8") + b"\xe4<!-- M\xfcller -->", http_content_type=None)
    assert name == "utf_8"
    assert ZH in decoded


def test_bytes_of_no_encoding_are_refused():
    payload = random.Random(0).randbytes(5_000)
    with pytest.raises(RecordError, match="undecodable"):
        decode(payload, http_content_type="text/html; charset=utf-8")


def test_labels_mean_what_browsers_mean():
    labels = {
        "gb2312": "gb18030",
        "ISO-8859-1": "cp1252",
        "x-sjis": "cp932",
        "big5": "big5hkscs",
        "ks_c_5601-1987": "cp949",
    }
    assert {label: codec_of(label) for label in labels} == labels
    assert codec_of("no-such-charset") is None
    assert codec_of("hex") is None
