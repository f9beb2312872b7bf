"""A body of `toy_text` as the HTML of a site: formulas in the site's encoding, and navigation, footer, side bars."""

import hashlib
import html
import re
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import quote

ENCODINGS = (
    "dollars",
    "parentheses",
    "custom_delimiters",
    "math_script",
    "katex",
    "mathml",
    "mathml_annotated",
    "image_wordpress",
    "image_codecogs",
    "sup_sub",
    "math_container",
    "latexml",
    "wikipedia",
    "pandoc",
)
"""How formulas stand in a site's HTML."""

STYLES = ("blog", "docs", "wiki", "forum", "press", "plain")
"""Page layouts."""


TRADITIONAL = str.maketrans(
    "专业东丝丢两个为丽举义习书买亏产亲亿仅从仓们众会伞传伤债偿兰关兴内册写军农冯决况净凉减凤凭击刘则刚删"
    "别办务动励区医华协单卖卢卫厅历压参双发变叶号吕吗启吴团园国图圆场块垫墙声壶处够头夹夺奖奥孙学对导将层"
    "屉岁币师帐带帮幂广库应庙开张强归当录径态总戏战户扩抛报拟择换敌敛数无旧时暂术杂权条来杨枣标栈树档桥检"
    "楼没测涛润涨温湾满滩灯灵点烧热焖爷独狮献环现电画盐盖盘着码砖礼积称穷笔签简篮类紧约级纪纸线练组细终绍"
    "经结给络绝统继续维绿缆缓编罗罚职脑脚艳节苏荣药莲获营萧葱蒋虚虾装见观规觉计订认让讨议记讲许论设证评试"
    "诗话该详语说请诺读课谁调谢谱负贡财责败货质贬购贴贷费贾资赖赛赢赵车轩转轮轴载较辉辑输边迁过运还这进远"
    "连选邓邮郑酱钟钢钱铅银链锅错键镜长门问间闹闻阅阎队阳阴阵陈随难静韩页项顺顾预领题颜额风飞饭饼馆马验骤"
    "鱼鲈鳅鸡鸭鹅鹏黄龄龙红",
    "專業東絲丟兩個為麗舉義習書買虧產親億僅從倉們眾會傘傳傷債償蘭關興內冊寫軍農馮決況淨涼減鳳憑擊劉則剛刪"
    "別辦務動勵區醫華協單賣盧衛廳歷壓參雙發變葉號呂嗎啟吳團園國圖圓場塊墊牆聲壺處夠頭夾奪獎奧孫學對導將層"
    "屜歲幣師帳帶幫冪廣庫應廟開張強歸當錄徑態總戲戰戶擴拋報擬擇換敵斂數無舊時暫術雜權條來楊棗標棧樹檔橋檢"
    "樓沒測濤潤漲溫灣滿灘燈靈點燒熱燜爺獨獅獻環現電畫鹽蓋盤著碼磚禮積稱窮筆簽簡籃類緊約級紀紙線練組細終紹"
    "經結給絡絕統繼續維綠纜緩編羅罰職腦腳艷節蘇榮藥蓮獲營蕭蔥蔣虛蝦裝見觀規覺計訂認讓討議記講許論設證評試"
    "詩話該詳語說請諾讀課誰調謝譜負貢財責敗貨質貶購貼貸費賈資賴賽贏趙車軒轉輪軸載較輝輯輸邊遷過運還這進遠"
    "連選鄧郵鄭醬鐘鋼錢鉛銀鏈鍋錯鍵鏡長門問間鬧聞閱閻隊陽陰陣陳隨難靜韓頁項順顧預領題顏額風飛飯餅館馬驗驟"
    "魚鱸鰍雞鴨鵝鵬黃齡龍紅",
)
"""The simplified characters of the grammar to traditional ones, for pages in Big5."""


@dataclass(frozen=True, slots=True)
class Look:
    """What all pages of one site share."""

    site_name: str
    language: str
    style: str
    encoding: str
    meta_charset: str
    """Charset named in a <meta>, empty for none."""
    arithmetic_as_formulas: bool
    """`12 + 7 = 19` is marked up as a formula too."""
    loads_math_script: bool
    """The pages' head loads MathJax or the like, formulas or none."""


Link = tuple[str, str]


def render(look: Look, *, url: str, title: str, body: str, links: list[Link], print_view: bool = False) -> str:
    """The HTML page; `links` are (URL, title) of other pages of the site. A print view has no navigation."""
    words = _CHINESE_WORDS if look.language == "zh" else _ENGLISH_WORDS
    body = re.sub(r"\\boxed\{(-?\d+)\}", r"⟦\\boxed{\1}⟧", body)
    if look.arithmetic_as_formulas:
        body = re.sub(r"\d+(?: [-+×÷] \d+)+ = \d+", r"⟦\g<0>⟧", body)
    article = "\n".join(_blocks(body, look.encoding))
    meta = f'<meta charset="{look.meta_charset}">\n' if look.meta_charset else ""
    script = _HEADS.get(look.encoding, "") if look.loads_math_script else ""
    head = (
        f'{meta}<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{_plain(title)} - {html.escape(look.site_name)}</title>\n"
        f'<link rel="canonical" href="{html.escape(url)}">\n{script}'
    )
    heading = f"<h1>{_inline(title, look.encoding)}</h1>"
    if print_view:
        content = f'<div class="printable">{heading}\n{article}\n<p class="src">{html.escape(url)}</p></div>'
    else:
        content = _dress(look, words, heading=heading, article=article, links=links)
    return (
        f'<!DOCTYPE html>\n<html lang="{look.language}">\n<head>\n{head}</head>\n<body>\n{content}\n</body>\n</html>\n'
    )


_ENGLISH_WORDS = {
    "nav": ("Home", "About", "Archive", "Contact", "Search"),
    "cookie": "We use cookies to improve your visit. <a href='/privacy'>Learn more</a> <button>Accept</button>",
    "share": ("Share on Facebook", "Tweet", "Email"),
    "related": "You may also like",
    "footer": "All rights reserved. Terms of use. Privacy policy.",
    "login": "Log in | Sign up",
}
_CHINESE_WORDS = {
    "nav": ("首页", "关于", "归档", "留言", "搜索"),
    "cookie": "本站使用 Cookie 改善体验。<a href='/privacy'>了解更多</a> <button>同意</button>",
    "share": ("分享到微博", "分享到微信", "收藏"),
    "related": "相关阅读",
    "footer": "版权所有，转载请注明出处。",
    "login": "登录 | 注册",
}


def _dress(look: Look, words: dict, *, heading: str, article: str, links: list[Link]) -> str:
    """The article within the layout named by `look.style`."""
    name = html.escape(look.site_name)
    menu = "".join(f'<li><a href="/{i}">{word}</a></li>' for i, word in enumerate(words["nav"]))
    related = "".join(f'<li><a href="{html.escape(url)}">{_plain(title)}</a></li>' for url, title in links)
    share = "".join(f'<a class="share" href="#s{i}">{word}</a> ' for i, word in enumerate(words["share"]))
    footer = f"<footer><p>&copy; 2024 {name}. {words['footer']}</p></footer>"
    if look.style == "blog":
        return (
            f'<div class="cookie-banner" role="dialog">{words["cookie"]}</div>\n<header><a href="/">{name}</a>'
            f'<nav><ul>{menu}</ul></nav></header>\n<main><article class="post">{heading}\n<div class="entry-content">\n'
            f'{article}\n</div><div class="sharedaddy">{share}</div></article></main>\n'
            f'<aside class="widget"><h3>{words["related"]}</h3><ul>{related}</ul></aside>\n{footer}'
        )
    if look.style == "docs":
        return (
            f'<div class="wrapper"><div class="sidebar"><h2>{name}</h2><ul class="toctree">{related}</ul></div>\n'
            f'<div class="document" role="main"><div class="breadcrumbs">{name} &raquo;</div>{heading}\n{article}\n'
            f'<div class="pager"><a href="#p">&laquo;</a> <a href="#n">&raquo;</a></div></div></div>\n{footer}'
        )
    if look.style == "wiki":
        return (
            f'<div id="mw-navigation"><ul>{menu}</ul><div>{words["login"]}</div></div>\n'
            f'<div id="content" class="mw-body">{heading}<div id="siteSub">{name}</div>\n'
            f'<div id="mw-content-text">{article}</div>\n'
            f'<div id="catlinks">{share}</div></div><div id="mw-panel"><ul>{related}</ul></div>\n{footer}'
        )
    if look.style == "forum":
        return (
            f'<div class="topbar">{name} {words["login"]}</div><div class="container"><div class="question">{heading}\n'
            f'<div class="post-text">{article}</div><div class="post-menu">{share}</div></div>\n'
            f'<div id="sidebar"><h4>{words["related"]}</h4><ul>{related}</ul></div></div>\n{footer}'
        )
    if look.style == "press":
        return (
            f'<div id="gdpr">{words["cookie"]}</div><header class="masthead"><h2>{name}</h2><nav>{menu}</nav>'
            f'</header>\n<section class="story">{heading}\n<div class="story-body">{article}</div>\n'
            f'<div class="social">{share}</div></section>'
            f'<section class="more"><h3>{words["related"]}</h3><ul>{related}</ul></section>\n{footer}'
        )
    return f"{heading}\n{article}\n<hr>\n<address>{name}</address>"


def _blocks(body: str, encoding: str) -> list[str]:
    """HTML blocks of a body; neighbouring list items, code lines and table rows join into one block."""
    blocks: list[str] = []
    open_tag = ""
    for line in body.split("\n"):
        mark, rest = line[:2], line[2:]
        tag = _GROUPS.get(mark, "")
        if tag != open_tag:
            if open_tag:
                blocks.append(f"</{open_tag}>")
            if tag:
                blocks.append(f"<{tag}>")
            open_tag = tag
        if tag in ("ul", "ol"):
            blocks.append(f"<li>{_inline(rest, encoding)}</li>")
        elif tag == "pre":
            blocks.append(html.escape(rest, quote=False))
        elif tag == "table":
            cells = "".join(f"<td>{_inline(cell.strip(), encoding)}</td>" for cell in rest.split("|"))
            blocks.append(f"<tr>{cells}</tr>")
        elif mark == "# ":
            blocks.append(f"<h2>{_inline(rest, encoding)}</h2>")
        elif mark == "> ":
            blocks.append(f"<blockquote><p>{_inline(rest, encoding)}</p></blockquote>")
        elif mark == "$$":
            blocks.append(f"<p>{formula(line[3:], encoding, display=True)}</p>")
        else:
            blocks.append(f"<p>{_inline(line, encoding)}</p>")
    if open_tag:
        blocks.append(f"</{open_tag}>")
    return blocks


_GROUPS = {"- ": "ul", "+ ": "ol", "` ": "pre", "| ": "table"}
_FORMULA = re.compile("⟦(.*?)⟧")


def _inline(text: str, encoding: str) -> str:
    parts = _FORMULA.split(text)
    for i, part in enumerate(parts):
        parts[i] = formula(part, encoding) if i % 2 else html.escape(part, quote=False)
    joined = "".join(parts)
    if "*" not in joined:
        return joined
    return re.sub(r"(?<![\w*])\*([\w ]+)\*", r"<em>\1</em>", re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", joined))


def _plain(text: str) -> str:
    return html.escape(_FORMULA.sub(r"\1", text))


_HEADS = {
    "dollars": (
        '<script type="text/x-mathjax-config">MathJax.Hub.Config({tex2jax: {inlineMath: [["$","$"],["\\\\(","\\\\)"]], '
        "processEscapes: true}});</script>\n"
        '<script src="https://cdnjs.cloudflare.com/ajax/libs/mathjax/2.7.7/MathJax.js?config=TeX-AMS_CHTML"></script>\n'
    ),
    "parentheses": '<script async src="https://cdn.jsdelivr.net/npm/mathjax@3/es5/tex-mml-chtml.js"></script>\n',
    "custom_delimiters": (
        "<script>MathJax = {tex: {inlineMath: [['[math]', '[/math]']], "
        "displayMath: [['[dmath]', '[/dmath]']]}};</script>\n"
        '<script async src="https://cdn.jsdelivr.net/npm/mathjax@3/es5/tex-chtml.js"></script>\n'
    ),
    "math_script": '<script src="/assets/MathJax.js?config=TeX-AMS-MML_HTMLorMML"></script>\n',
    "katex": '<link rel="stylesheet" href="https://cdn.jsdelivr.net/npm/katex@0.16.9/dist/katex.min.css">\n',
    "math_container": (
        "<script>MathJax.Hub.Config({tex2jax: {inlineMath: [['$', '$']], displayMath: [['$$', '$$']]}});</script>\n"
    ),
    "latexml": '<link rel="stylesheet" href="LaTeXML.css" type="text/css">\n',
    "pandoc": '<script src="https://polyfill.io/v3/polyfill.min.js"></script>\n'
    '<script async src="https://cdn.jsdelivr.net/npm/mathjax@3/es5/tex-chtml.js"></script>\n',
}


@lru_cache(maxsize=20_000)
def formula(latex: str, encoding: str, display: bool = False) -> str:
    """HTML of one LaTeX formula in `encoding` (one of ENCODINGS)."""
    tex = html.escape(latex)
    mode = "block" if display else "inline"
    if encoding == "dollars":
        return f"$${tex}$$" if display else f"${tex}$"
    if encoding == "parentheses":
        return f"\\[{tex}\\]" if display else f"\\({tex}\\)"
    if encoding == "custom_delimiters":
        return f"[dmath]{tex}[/dmath]" if display else f"[math]{tex}[/math]"
    if encoding == "math_script":
        kind = "math/tex; mode=display" if display else "math/tex"
        return f'<span class="MathJax_Preview"></span><script type="{kind}">{latex}</script>'
    if encoding == "math_container":
        return f'<span class="math-container">{"$$" if display else "$"}{tex}{"$$" if display else "$"}</span>'
    if encoding == "pandoc":
        return (
            f'<span class="math display">\\[{tex}\\]</span>'
            if display
            else f'<span class="math inline">\\({tex}\\)</span>'
        )
    if encoding == "image_wordpress":
        source = f"https://s0.wp.com/latex.php?latex={quote(latex)}&amp;bg=ffffff&amp;fg=000000&amp;s=0"
        return f'<img src="{source}" alt="{tex}" title="{tex}" class="latex" />'
    if encoding == "image_codecogs":
        return f'<img src="https://latex.codecogs.com/gif.latex?{quote(latex)}" alt="{tex}" border="0">'
    tree = _parse(latex)
    if encoding == "sup_sub":
        return f'<span class="formula">{_sup_sub(tree)}</span>'
    row = _mathml(tree)
    note = f'<annotation encoding="application/x-tex">{tex}</annotation>'
    if encoding == "mathml":
        return f'<math xmlns="http://www.w3.org/1998/Math/MathML" display="{mode}">{row}</math>'
    if encoding == "mathml_annotated":
        return f'<math display="{mode}"><semantics>{row}{note}</semantics></math>'
    if encoding == "latexml":
        return f'<math class="ltx_Math" alttext="{tex}" display="{mode}"><semantics>{row}{note}</semantics></math>'
    if encoding == "katex":
        outer = f'<span class="katex"><span class="katex-mathml"><math><semantics>{row}{note}</semantics></math></span>'
        inner = f'<span class="katex-html" aria-hidden="true"><span class="base">{_katex(tree)}</span></span></span>'
        return f'<span class="katex-display">{outer}{inner}</span>' if display else outer + inner
    shown = html.escape(f"{{\\displaystyle {latex}}}")
    image = hashlib.sha1(latex.encode()).hexdigest()
    return (
        f'<span class="mwe-math-element"><span class="mwe-math-mathml-inline" style="display: none;">'
        f'<math alttext="{shown}">'
        f'<semantics>{row}<annotation encoding="application/x-tex">{shown}</annotation></semantics></math></span>'
        f'<img src="https://wikimedia.org/api/rest_v1/media/math/render/svg/{image}" '
        f'class="mwe-math-fallback-image-{mode}" alt="{shown}"/></span>'
    )


Node = tuple
"""(tag, text) or (tag, child, ...): tags are MathML's."""

_LATEX_TOKEN = re.compile(r"\\[a-zA-Z]+|\\.|[a-zA-Z]|\d+(?:\.\d+)?|\s+|.")
_SIGNS = {
    r"\subseteq": "⊆", r"\in": "∈", r"\cap": "∩", r"\emptyset": "∅", r"\le": "≤", r"\ge": "≥", r"\lt": "<", r"\gt": ">",
    r"\colon": ":", r"\to": "→", r"\infty": "∞", r"\otimes": "⊗", r"\cong": "≅", r"\circ": "∘", r"\equiv": "≡",
    r"\sim": "∼", r"\mid": "∣", r"\cdot": "⋅", r"\div": "÷", r"\times": "×", r"\bigcup": "⋃", r"\sum": "∑",
    r"\int": "∫", r"\partial": "∂", r"\|": "‖", r"\%": "%", r"\,": "", r"\qquad": "", r"\left": "", r"\right": "",
}  # fmt: skip
_LETTERS = {
    r"\alpha": "α", r"\beta": "β", r"\gamma": "γ", r"\delta": "δ", r"\lambda": "λ", r"\mu": "μ", r"\theta": "θ",
    r"\rho": "ρ", r"\sigma": "σ", r"\tau": "τ", r"\varphi": "φ", r"\psi": "ψ", r"\zeta": "ζ", r"\pi": "π",
    r"\varepsilon": "ε", r"\ker": "ker", r"\dim": "dim", r"\lim": "lim", r"\gcd": "gcd", r"\log": "log", r"\cos": "cos",
    r"\det": "det", r"\deg": "deg",
}  # fmt: skip


def _parse(latex: str) -> Node:
    tokens = [token for token in _LATEX_TOKEN.findall(latex) if not token.isspace()]
    tokens.reverse()
    return _row(tokens, end="")


def _row(tokens: list[str], *, end: str) -> Node:
    nodes: list[Node] = []
    while tokens and tokens[-1] != end:
        token = tokens.pop()
        if token in "^_":
            base = nodes.pop() if nodes else ("mi", "")
            script = _atom(tokens)
            if token == "^" and base[0] == "msub":
                nodes.append(("msubsup", base[1], base[2], script))
            else:
                nodes.append(("msup" if token == "^" else "msub", base, script))
        else:
            tokens.append(token)
            nodes.append(_atom(tokens))
    if tokens:
        tokens.pop()
    shown = [node for node in nodes if node != ("mo", "")]
    return shown[0] if len(shown) == 1 else ("mrow", *shown)


def _atom(tokens: list[str]) -> Node:
    token = tokens.pop()
    if token == "{":
        return _row(tokens, end="}")
    if token in (r"\frac", r"\binom"):
        return ("mfrac" if token == r"\frac" else "mbinom", _atom(tokens), _atom(tokens))
    if token in (r"\sqrt", r"\overline", r"\bar", r"\boxed"):
        return ({r"\sqrt": "msqrt", r"\boxed": "menclose"}.get(token, "mover"), _atom(tokens))
    if token in (r"\text", r"\operatorname"):
        return ("mtext", f" {_letters(_atom(tokens))} ")
    if token == r"\pmod":
        return ("mrow", ("mo", "("), ("mi", "mod"), _atom(tokens), ("mo", ")"))
    if token in _LETTERS:
        return ("mi", _LETTERS[token])
    if token[0].isdigit():
        return ("mn", token)
    return ("mi", token) if token.isalpha() else ("mo", _SIGNS.get(token, token))


def _letters(node: Node) -> str:
    return "".join(part if isinstance(part, str) else _letters(part) for part in node[1:])


def _mathml(node: Node) -> str:
    tag, *rest = node
    if tag in ("mi", "mn", "mo", "mtext"):
        return f"<{tag}>{html.escape(rest[0])}</{tag}>"
    inner = "".join(map(_mathml, rest))
    if tag == "mbinom":
        return f'<mrow><mo>(</mo><mfrac linethickness="0">{inner}</mfrac><mo>)</mo></mrow>'
    if tag == "mover":
        return f"<mover>{inner}<mo>¯</mo></mover>"
    return f'<menclose notation="box">{inner}</menclose>' if tag == "menclose" else f"<{tag}>{inner}</{tag}>"


def _sup_sub(node: Node) -> str:
    tag, *rest = node
    if tag in ("mi", "mn", "mo", "mtext"):
        text = html.escape(rest[0])
        return (
            f"<i>{text}</i>"
            if tag == "mi" and len(rest[0]) == 1
            else f" {text} "
            if tag == "mo" and text in "=+"
            else text
        )
    parts = list(map(_sup_sub, rest))
    if tag == "msup":
        return f"{parts[0]}<sup>{parts[1]}</sup>"
    if tag == "msub":
        return f"{parts[0]}<sub>{parts[1]}</sub>"
    if tag == "msubsup":
        return f"{parts[0]}<sub>{parts[1]}</sub><sup>{parts[2]}</sup>"
    if tag == "mfrac":
        return f"({parts[0]})/({parts[1]})"
    if tag == "mbinom":
        return f"C({parts[0]}, {parts[1]})"
    if tag == "mover":
        return f'<span style="text-decoration:overline">{parts[0]}</span>'
    return f"√({parts[0]})" if tag == "msqrt" else f"<b>{parts[0]}</b>" if tag == "menclose" else "".join(parts)


def _katex(node: Node) -> str:
    tag, *rest = node
    if tag in ("mi", "mn", "mo", "mtext"):
        name = {"mi": "mord mathnormal", "mn": "mord", "mo": "mrel", "mtext": "mord text"}[tag]
        return f'<span class="{name}">{html.escape(rest[0])}</span>'
    parts = list(map(_katex, rest))
    if tag in ("msup", "msub", "msubsup"):
        scripts = "".join(f'<span class="vlist">{part}</span>' for part in parts[1:])
        return f'<span class="mord">{parts[0]}<span class="msupsub">{scripts}</span></span>'
    return f'<span class="mord {tag}">{"".join(parts)}</span>'
