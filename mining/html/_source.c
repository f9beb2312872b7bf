/* A page's source -> the source of its article. The compiled twin of clean_in_python in source.py, which says what is
 * done and why; here only how. Works on UTF-8, keeps one row a tag, and asks Python for a verdict on a class or id
 * attribute only the first time that a process meets it. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* memmem */
#endif
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { BESIDE_TEXT = 1, FURNITURE = 2, HOLDER = 3, FURNITURE_BY_NAME = 4 };
enum { OPEN = 1, SURE = 2, NAMED = 4, ROOT = 8, LINK = 16, OPTIONAL_END = 32, VOID = 64, ANCHOR = 128, FRAME = 256, HEADING = 512, INLINE = 1024, BESIDE = 2048,
       CELL = 4096, WRAPPER = 8192, BLOCK = 16384, UNWRAPPED = 32768, CLASSIFIER = 65536 };
enum { MAX_QUOTED = 16384, MAX_FAILED_TAGS = 64, MAX_TAG_STEPS = 60, FORMULA_SIGNS = 4, SCRIPT_SPAN = 127, MAX_CELL_TAGS = 40, MAX_PROSE_SIGNS = 8, MAX_BESIDE_SOURCE = 600, NUM_VERDICTS = 1 << 16 };
enum { HINT_OF_TAG = 1, HINT_OF_WORD = 2, HINT_OF_CODE = 4 }; /* as in hints.py */

typedef struct {
    uint64_t name;
    Py_ssize_t start, end;
    Py_ssize_t classes, classes_end;
    long weight, signs; /* of the text before the tag */
    int flags;
} Tag;

typedef struct {
    Py_ssize_t start, end;
    char mark; /* 0 or SCRIPT_SPAN: cut the span; else insert this character at its start */
} Edit;

typedef struct {
    const char *html;
    Py_ssize_t size;
    Tag *tags;
    Py_ssize_t num_tags, max_tags;
    Edit *edits;
    Py_ssize_t num_edits, max_edits;
    long weight, signs;
    int has_katex_mathml, has_assistive, has_code, typesets, defines_macros, num_failed;
    PyObject *judge;
} Page;

static uint64_t name_hash(const char *name, Py_ssize_t size)
{
    uint64_t hash = 1469598103934665603ULL;
    for (Py_ssize_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)name[i];
        if (c >= 'A' && c <= 'Z')
            c += 32;
        hash = (hash ^ c) * 1099511628211ULL;
    }
    return hash;
}

/* Names that the rules know, hashed once when the module is loaded. */
static const struct { const char *name; int flags; } KNOWN[] = {
    {"nav", SURE}, {"footer", SURE}, {"aside", SURE}, {"form", NAMED}, {"dialog", NAMED}, {"figcaption", BESIDE},
    {"main", ROOT | FRAME}, {"article", ROOT}, {"html", FRAME}, {"body", FRAME}, {"pre", FRAME | BLOCK}, {"a", ANCHOR | INLINE},
    {"span", INLINE}, {"i", INLINE}, {"em", INLINE}, {"b", INLINE}, {"strong", INLINE}, {"code", INLINE | FRAME},
    {"h1", HEADING}, {"h2", HEADING}, {"h3", HEADING}, {"h4", HEADING},
    {"p", OPTIONAL_END | WRAPPER | BLOCK}, {"li", OPTIONAL_END}, {"td", OPTIONAL_END | CELL | BLOCK},
    {"th", OPTIONAL_END | CELL | BLOCK}, {"tr", OPTIONAL_END | BLOCK}, {"div", WRAPPER | BLOCK}, {"ul", BLOCK},
    {"ol", BLOCK}, {"dl", BLOCK}, {"table", BLOCK},
    {"dt", OPTIONAL_END}, {"dd", OPTIONAL_END}, {"option", OPTIONAL_END},
    {"area", VOID}, {"base", VOID}, {"br", VOID | BLOCK}, {"col", VOID}, {"embed", VOID}, {"hr", VOID}, {"img", VOID},
    {"input", VOID}, {"link", VOID}, {"meta", VOID}, {"source", VOID}, {"track", VOID}, {"wbr", VOID},
};
enum { NUM_KNOWN = sizeof KNOWN / sizeof KNOWN[0], TABLE = 256 };
static struct { uint64_t hash; int flags; } known[TABLE];
static struct { uint64_t hash; int verdict; } verdicts[NUM_VERDICTS]; /* by hash of the names; the last one stays */
enum { SPACE = 1, NAME = 2, NAME_END = 4, VALUE_END = 8 };
static unsigned char char_class[256];
static uint64_t SCRIPT, STYLE, H1, PRE, ARTICLE, SVG, MJX_MATH, MATH, MJX_CONTAINER;
static const char *FURNITURE_ROLES[] = {
    "navigation", "contentinfo", "search", "complementary", "banner", "dialog", "alert", NULL};
static const char *FOLDED[] = {
    "olution", "nswer", "roof", "poiler", "hint", "ollaps", "oggl", "eveal", "knowl", "ontent", "detail", "ath", NULL};
static const char *DEFINITIONS[] = {"\\newcomma", "\\renewcom", "\\providec", "\\DeclareM", "\\def", "\\gdef", NULL};
static const char *FORMULA_TAGS[] = {
    "sub", "sup", "SUB", "SUP", "script", "math", "mjx-c", "m:math", "mml:math", "d-math", "dt-math", "tex-math", "la-tex", "eq",
    NULL};
static const char *CODE_TAGS[] = {"pre", "code", "textarea", NULL};
static const char *FORMULA_CLASSES[] = {
    "katex", "wp-katex", "MathJax", "arithmatex", "asciimath", "tex", "ql-formula", "span-", "latex", "formula", "equation", NULL};
static const char *HIDING[] = {"display:none", "display: none", "visibility:hidden", "visibility: hidden", NULL};

static int flags_of(uint64_t hash)
{
    for (unsigned at = hash % TABLE; known[at].hash; at = (at + 1) % TABLE)
        if (known[at].hash == hash)
            return known[at].flags;
    return 0;
}

static int is(char c, int kind)
{
    return char_class[(unsigned char)c] & kind;
}

static int is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static int equals(const char *text, Py_ssize_t size, const char *word)
{
    return (Py_ssize_t)strlen(word) == size && memcmp(text, word, size) == 0;
}

static int equals_caseless(const char *text, Py_ssize_t size, const char *word)
{
    if ((Py_ssize_t)strlen(word) != size)
        return 0;
    for (Py_ssize_t i = 0; i < size; i++)
        if ((text[i] >= 'A' && text[i] <= 'Z' ? text[i] + 32 : text[i]) != word[i])
            return 0;
    return 1;
}

static int begins(const char *text, Py_ssize_t size, const char *word)
{
    Py_ssize_t length = (Py_ssize_t)strlen(word);
    return length <= size && memcmp(text, word, length) == 0;
}

static int begins_with_any(const char *text, Py_ssize_t size, const char **words)
{
    for (; *words; words++)
        if (begins(text, size, *words))
            return 1;
    return 0;
}

static const char *find(const char *text, Py_ssize_t size, const char *word)
{
    return size > 0 ? memmem(text, size, word, strlen(word)) : NULL;
}

static int holds_any(const char *text, Py_ssize_t size, const char **words)
{
    for (; *words; words++)
        if (find(text, size, *words))
            return 1;
    return 0;
}

/* Whether a page names a typesetter: MathJax, mathjax or katex, which have an x in common. */
static int names_typesetter(const char *html, Py_ssize_t size)
{
    if (size < 6)
        return 0;
    for (const char *at = html + 4, *end = html + size; at < end && (at = memchr(at, 'x', end - at)); at++)
        if (!memcmp(at - 4, "kate", 4) || (at - html > 4 && (!memcmp(at - 5, "athJa", 5) || !memcmp(at - 5, "athja", 5))))
            return 1;
    return 0;
}

static void weigh(Page *page, const char *text, Py_ssize_t size)
{
    long weight = 0, signs = 0;
    int defines = 0, is_sign;
    for (const char *at = text, *end = text + size; at < end; at++) {
        is_sign = *at == '\\' || *at == '$';
        weight += is_sign || *at == ',';
        /* A dollar before a digit is a price where nothing typesets formulas. */
        signs += is_sign && (page->typesets || *at == '\\' || at + 1 == end || at[1] < '0' || at[1] > '9');
        if (*at == '\\' && !defines)
            for (const char **opening = DEFINITIONS; *opening; opening++)
                defines |= end - at > 9 && strncmp(at, *opening, strlen(*opening)) == 0;
        if ((*at == '\xef' || *at == '\xe3') && end - at > 2)
            weight += memcmp(at, "\xef\xbc\x8c", 3) == 0 || memcmp(at, "\xe3\x80\x81", 3) == 0;
    }
    page->weight += weight;
    page->signs += defines ? 0 : signs;
    page->defines_macros |= defines;
}

static int grow(void **rows, Py_ssize_t *max, Py_ssize_t size)
{
    Py_ssize_t wanted = *max ? 2 * *max : 512;
    void *more = PyMem_Realloc(*rows, wanted * size);
    if (!more) {
        PyErr_NoMemory();
        return -1;
    }
    *rows = more;
    *max = wanted;
    return 0;
}

static int add_edit(Page *page, Py_ssize_t start, Py_ssize_t end, char mark)
{
    if (page->num_edits == page->max_edits && grow((void **)&page->edits, &page->max_edits, sizeof(Edit)) < 0)
        return -1;
    page->edits[page->num_edits++] = (Edit){start, end, mark};
    return 0;
}

/* The verdict of furniture.judged on a class or id attribute, -1 on error. */
static int judged(Page *page, const char *names, Py_ssize_t size)
{
    uint64_t hash = 1469598103934665603ULL;
    for (Py_ssize_t i = 0; i < size; i++)
        hash = (hash ^ (unsigned char)names[i]) * 1099511628211ULL;
    unsigned slot = (hash ^ hash >> 32) % NUM_VERDICTS;
    if (verdicts[slot].hash == hash)
        return verdicts[slot].verdict;
    PyObject *verdict = PyObject_CallFunction(page->judge, "s#", names, size);
    if (!verdict)
        return -1;
    int answer = (int)PyLong_AsLong(verdict);
    Py_DECREF(verdict);
    if (PyErr_Occurred())
        return -1;
    verdicts[slot].hash = hash;
    verdicts[slot].verdict = answer;
    return answer;
}

/* Where the tag whose name ends at `at` ends (after its >), -1 where it does not. */
static Py_ssize_t tag_end(const Page *page, Py_ssize_t at)
{
    if (page->num_failed >= MAX_FAILED_TAGS) {
        const char *bracket = memchr(page->html + at, '>', page->size - at);
        return bracket ? bracket - page->html + 1 : -1;
    }
    while (at < page->size) {
        char c = page->html[at++];
        if (c == '>')
            return at;
        if (c != '=')
            continue;
        while (at < page->size && is(page->html[at], SPACE))
            at++;
        if (at < page->size && (page->html[at] == '"' || page->html[at] == '\'')) {
            Py_ssize_t room = page->size - at - 1;
            const char *close = memchr(page->html + at + 1, page->html[at], room < MAX_QUOTED ? room : MAX_QUOTED);
            if (close)
                at = close - page->html + 1;
        }
    }
    return -1;
}

/* Words that name furniture elsewhere name the kinds of tokens in code and text. */
static int names_furniture(const Tag *tag, int verdict)
{
    return verdict == FURNITURE_BY_NAME || (verdict == FURNITURE && !(tag->flags & (INLINE | HEADING))) ? NAMED : 0;
}

static int read_attributes(Page *page, Tag *tag, Py_ssize_t at, Py_ssize_t end)
{
    const char *html = page->html;
    int holds = 0, hidden = 0;
    const char *id = html;
    Py_ssize_t id_size = 0;
    while (at < end) {
        if (is(html[at], NAME_END)) {
            at++;
            continue;
        }
        Py_ssize_t name = at;
        while (at < end && !is(html[at], NAME_END))
            at++;
        Py_ssize_t name_size = at - name;
        Py_ssize_t after = at;
        while (after < end && is(html[after], SPACE))
            after++;
        const char *value = "";
        Py_ssize_t size = 0;
        if (after < end && html[after] == '=') {
            after++;
            while (after < end && is(html[after], SPACE))
                after++;
            const char *close = NULL;
            if (after < end && (html[after] == '"' || html[after] == '\''))
                close = memchr(html + after + 1, html[after], end - after - 1);
            value = html + after + (close ? 1 : 0);
            if (close) {
                size = close - value;
                after += size + 2;
            } else {
                while (after < end && !is(html[after], VALUE_END))
                    after++;
                size = html + after - value;
            }
            at = after;
        }
        const char *key = html + name;
        if (name_size < 2 || name_size > 11)
            continue;
        if (equals_caseless(key, name_size, "class")) {
            tag->classes = value - html;
            tag->classes_end = tag->classes + size;
            int verdict = judged(page, value, size);
            if (verdict < 0)
                return -1;
            holds |= verdict == HOLDER;
            tag->flags |= names_furniture(tag, verdict) | (verdict == BESIDE_TEXT ? BESIDE : 0);
            tag->flags |= size >= 12 && !memcmp(value, "ptx-footnote", 12) ? UNWRAPPED : 0;
            tag->flags |= equals(value, size, "classifier") ? CLASSIFIER : 0;
            if (page->has_katex_mathml && find(value, size, "katex-html"))
                tag->flags |= SURE;
        } else if (equals_caseless(key, name_size, "id")) {
            int verdict = judged(page, value, size);
            if (verdict < 0)
                return -1;
            tag->flags |= names_furniture(tag, verdict);
            id = value;
            id_size = size;
        } else if (equals_caseless(key, name_size, "role")) {
            if (equals(value, size, "main"))
                tag->flags |= ROOT;
            for (const char **role = FURNITURE_ROLES; *role; role++)
                if (equals(value, size, *role))
                    tag->flags |= NAMED;
        } else if (equals_caseless(key, name_size, "itemprop")) {
            if (equals(value, size, "articleBody"))
                tag->flags |= ROOT;
        } else if (equals_caseless(key, name_size, "href")) {
            if (tag->flags & ANCHOR)
                tag->flags |= LINK;
        } else if (equals_caseless(key, name_size, "rel")) {
            if (tag->flags & ANCHOR && (equals(value, size, "prev") || equals(value, size, "next")))
                tag->flags |= NAMED;
        } else if (equals_caseless(key, name_size, "aria-hidden") && equals(value, size, "true")) {
            if (tag->name == SVG || tag->name == MJX_MATH)
                tag->flags |= page->has_assistive ? SURE : 0;
            else if (!find(html + tag->classes, tag->classes_end - tag->classes, "katex"))
                tag->flags |= NAMED;
        } else if (equals_caseless(key, name_size, "hidden") ||
                   (equals_caseless(key, name_size, "style") && holds_any(value, size, HIDING)))
            hidden = 1;
    }
    if (holds)
        tag->flags &= ~NAMED;
    if (hidden && !holds_any(html + tag->classes, tag->classes_end - tag->classes, FOLDED) &&
        !holds_any(id, id_size, FOLDED))
        tag->flags |= NAMED;
    return 0;
}

static Py_ssize_t find_caseless(const Page *page, Py_ssize_t at, const char *word)
{
    Py_ssize_t size = (Py_ssize_t)strlen(word);
    for (; at + size <= page->size; at++) {
        const char *next = memchr(page->html + at, word[0], page->size - at);
        if (!next)
            return -1;
        at = next - page->html;
        if (at + size <= page->size && equals_caseless(next, size, word))
            return at;
    }
    return -1;
}

/* Scripts, styles and comments as cuts; the tags; the weight of all text. */
static int scan(Page *page)
{
    const char *html = page->html;
    Py_ssize_t at = 0, text = 0, last_bracket = page->size - 1; /* text: where the text before `at` starts */
    while (last_bracket >= 0 && html[last_bracket] != '>')
        last_bracket--;
    while (at < page->size) {
        const char *next = memchr(html + at, '<', page->size - at);
        Py_ssize_t start = next ? next - html : page->size;
        at = start;
        if (!next)
            break;
        if (page->size - start >= 4 && memcmp(next, "<!--", 4) == 0) {
            const char *close = find(next + 2, page->size - start - 2, "-->");
            weigh(page, html + text, start - text);
            at = text = close ? close - html + 3 : page->size;
            if (add_edit(page, start, at, 0) < 0)
                return -1;
            continue;
        }
        Py_ssize_t name = start + 1;
        int is_open = name >= page->size || html[name] != '/';
        name += !is_open;
        if (name >= page->size || !is_letter(html[name])) {
            at = start + 1;
            continue;
        }
        Py_ssize_t name_end = name;
        while (name_end < page->size && is(html[name_end], NAME))
            name_end++;
        weigh(page, html + text, start - text);
        Py_ssize_t end = name_end <= last_bracket ? tag_end(page, name_end) : -1;
        if (end < 0) {
            page->num_failed++;
            at = text = name_end;
            continue;
        }
        at = text = end;
        if (page->num_tags == page->max_tags && grow((void **)&page->tags, &page->max_tags, sizeof(Tag)) < 0)
            return -1;
        Tag *tag = page->tags + page->num_tags;
        *tag = (Tag){name_hash(html + name, name_end - name), start, end, 0, 0, page->weight, page->signs, 0};
        tag->flags = flags_of(tag->name);
        if (!is_open) {
            tag->flags &= ANCHOR | OPTIONAL_END | VOID | FRAME | BLOCK;
            page->num_tags++;
            continue;
        }
        tag->flags |= OPEN;
        if (tag->name == SCRIPT || tag->name == STYLE) {
            Py_ssize_t close = find_caseless(page, end, tag->name == SCRIPT ? "</script" : "</style");
            const char *gt = close >= 0 ? memchr(html + close, '>', page->size - close) : NULL;
            at = text = gt ? gt - html + 1 : page->size;
            if (tag->name == STYLE || !find(html + start, end - start, "math/")) {
                if (add_edit(page, start, at, tag->name == SCRIPT ? SCRIPT_SPAN : 0) < 0)
                    return -1;
            } else {
                weigh(page, html + end, at - end);
                page->signs += FORMULA_SIGNS;
            }
            continue;
        }
        page->num_tags++;
        page->has_code |= tag->name == PRE;
        if (tag->name == MATH || tag->name == MJX_CONTAINER)
            page->signs += FORMULA_SIGNS;
        if (read_attributes(page, tag, name_end, end - 1) < 0)
            return -1;
    }
    weigh(page, html + text, page->size - text);
    return 0;
}

/* The index of the tag that ends the element which tag `index` opens, -1 where none does. */
static Py_ssize_t end_of(const Page *page, Py_ssize_t index, Py_ssize_t *steps)
{
    uint64_t name = page->tags[index].name;
    int depth = 1;
    for (Py_ssize_t at = index + 1; at < page->num_tags; at++) {
        if (--*steps < 0)
            return -1;
        const Tag *tag = page->tags + at;
        if (tag->name != name)
            continue;
        if (tag->flags & OPTIONAL_END)
            return at;
        depth += tag->flags & OPEN ? 1 : -1;
        if (depth == 0)
            return at;
    }
    return -1;
}

static Py_ssize_t kind_size(const Page *page, const Tag *tag)
{
    const char *classes = page->html + tag->classes;
    Py_ssize_t size = tag->classes_end - tag->classes;
    const char *space = size > 0 ? memchr(classes, ' ', size) : NULL;
    return space ? space - classes : size;
}

/* Whether two elements have the same first class, as the posts of a list have. */
static int same_kind(const Page *page, const Tag *one, const Tag *other)
{
    Py_ssize_t size = kind_size(page, one);
    return size && size == kind_size(page, other) &&
           memcmp(page->html + one->classes, page->html + other->classes, size) == 0;
}

/* First and last tag of the element that holds the article, -1 where there is none. */
static int find_root(const Page *page, Py_ssize_t *first, Py_ssize_t *last)
{
    typedef struct { long weight; Py_ssize_t start, end; } Article;
    Article *articles = NULL, *most = NULL;
    Py_ssize_t num = 0, max = 0, steps = MAX_TAG_STEPS * page->num_tags;
    *first = *last = -1;
    for (Py_ssize_t index = 0; index < page->num_tags; index++) {
        const Tag *tag = page->tags + index;
        if ((tag->flags & (ROOT | OPEN)) != (ROOT | OPEN))
            continue;
        Py_ssize_t end = end_of(page, index, &steps);
        if (end < 0)
            continue;
        long weight = page->tags[end].weight - tag->weight;
        if (tag->name == ARTICLE) {
            if (num == max && grow((void **)&articles, &max, sizeof(Article)) < 0) {
                PyMem_Free(articles);
                return -1;
            }
            articles[num++] = (Article){weight, index, end};
        } else if (weight >= 0.6 * page->weight) {
            *first = index;
            *last = end;
        }
    }
    for (Py_ssize_t i = 0; i < num; i++)
        if (!most || articles[i].weight > most->weight)
            most = articles + i;
    if (most && most->weight >= 12 && most->weight >= 0.15 * page->weight) {
        int beside = 0;
        for (Py_ssize_t i = 0; i < num; i++)
            beside |= (articles[i].end < most->start && articles[i].weight > 3) ||
                      (articles[i].start > most->end && articles[i].weight > 3 &&
                       same_kind(page, page->tags + articles[i].start, page->tags + most->start)) ||
                      (articles[i].start > most->end && articles[i].weight > 8 &&
                       articles[i].weight > 0.12 * most->weight);
        if (!beside) {
            *first = most->start;
            *last = most->end;
        }
    }
    PyMem_Free(articles);
    return 0;
}

/* The span of the last <h1> before the article, empty where the article has its own. */
static void heading_before(const Page *page, Py_ssize_t first, Py_ssize_t last, Py_ssize_t *start, Py_ssize_t *inner,
                           Py_ssize_t *end)
{
    const Tag *tags = page->tags;
    *start = *inner = *end = 0;
    int num_own = 0;
    for (Py_ssize_t index = first; index < last; index++)
        num_own += tags[index].name == H1 && tags[index].flags & OPEN;
    if (num_own == 1)
        return;
    for (Py_ssize_t index = first - 1; index >= 0; index--)
        if (tags[index].name == H1 && tags[index].flags & OPEN) {
            for (Py_ssize_t close = index + 1; close < first; close++)
                if (tags[close].name == H1) {
                    if (tags[index + 1].flags & ANCHOR)
                        return;
                    *start = tags[index].start;
                    *inner = tags[index].end;
                    *end = tags[close].end;
                    return;
                }
            return;
        }
}

static int by_place(const void *one, const void *other)
{
    const Edit *a = one, *b = other;
    if (a->start != b->start)
        return a->start < b->start ? -1 : 1;
    if (a->end != b->end)
        return a->end < b->end ? -1 : 1;
    return b->mark - a->mark; /* a link ends before the next one starts */
}

static int is_blank(const Page *page, Py_ssize_t start, Py_ssize_t end)
{
    while (start < end && is(page->html[start], SPACE))
        start++;
    return start >= end;
}

/* The tag that ends the one paragraph which a table's cell holds, 0 where it holds anything else. */
static Py_ssize_t only_paragraph(const Page *page, Py_ssize_t cell)
{
    const Tag *tags = page->tags;
    Py_ssize_t inner = cell + 1;
    if (inner >= page->num_tags || (tags[inner].flags & (WRAPPER | OPEN)) != (WRAPPER | OPEN))
        return 0;
    for (Py_ssize_t end = inner + 1; end < page->num_tags - 1 && end < inner + MAX_CELL_TAGS; end++) {
        if (tags[end].name == tags[inner].name) {
            const Tag *close = tags + end + 1;
            int is_only = !(tags[end].flags & OPEN) && close->name == tags[cell].name && !(close->flags & OPEN) &&
                          is_blank(page, tags[cell].end, tags[inner].start) &&
                          is_blank(page, tags[end].end, close->start);
            return is_only ? end : 0;
        }
        if (tags[end].flags & BLOCK)
            return 0;
    }
    return 0;
}

static int cut_tags(Page *page, const Tag *open, const Tag *close)
{
    return add_edit(page, open->start, open->end, 0) < 0 || add_edit(page, close->start, close->end, 0) < 0 ? -1 : 0;
}

/* Characters of a span of UTF-8, its bytes where it is much longer than a caption. */
static Py_ssize_t num_chars(const Page *page, Py_ssize_t start, Py_ssize_t end)
{
    Py_ssize_t num = 0;
    if (end - start > 4 * MAX_BESIDE_SOURCE)
        return end - start;
    for (Py_ssize_t at = start; at < end; at++)
        num += (page->html[at] & 0xC0) != 0x80;
    return num;
}

/* Whether a tag of an image, from its first space on, holds what hints asks of it. */
static int may_be_image_of_formula(const char *at, const char *end)
{
    for (; at < end && *at != '<' && *at != '>'; at++) {
        Py_ssize_t room = end - at;
        if (*at == '\\' || *at == '$')
            return 1;
        if (*at == 't' && room > 3 && !memcmp(at, "tex", 3) && at[3] && strchr("=.hir\"' ?&/_", at[3]))
            return 1;
        if ((*at == 'm' && begins(at, room, "math")) || (*at == 'f' && begins(at, room, "formula")) ||
            (*at == 'e' && (begins(at, room, "equation") || begins(at, room, "eeimg"))) ||
            (*at == 'c' && begins(at, room, "cht=tx")) || (*at == 'W' && begins(at, room, "Wiris")))
            return 1;
    }
    return 0;
}

/* Whether a tag, from the character after its bracket on, may be a formula's, as hints asks. */
static int may_be_formula(const char *at, const char *end)
{
    Py_ssize_t room = end - at;
    if ((begins(at, room, "img") || begins(at, room, "IMG")) && room > 3 && is(at[3], SPACE))
        return may_be_image_of_formula(at + 4, end);
    if (begins(at, room, "span") && room > 4 && is(at[4], SPACE)) {
        at += 4;
        while (at < end && is(*at, SPACE))
            at++;
        if (begins(at, end - at, "data-"))
            return 1;
        if (!begins(at, end - at, "class="))
            return 0;
        at += 6;
        at += at < end && (*at == '"' || *at == '\'');
        return begins_with_any(at, end - at, FORMULA_CLASSES);
    }
    return begins_with_any(at, room, FORMULA_TAGS);
}

/* What the source says to those who read it after us, one look at each bracket. */
static void look_over(const char *source, Py_ssize_t size, long *num_tags, int *has_code, int *hints)
{
    const char *end = source + size;
    *num_tags = *has_code = *hints = 0;
    for (const char *at = source; (at = memchr(at, '<', end - at)); at++) {
        *num_tags += 1;
        *has_code |= begins(at + 1, end - at - 1, "pre");
        if (!(*hints & HINT_OF_TAG) && may_be_formula(at + 1, end))
            *hints |= HINT_OF_TAG;
        for (const char **tag = CODE_TAGS; !(*hints & HINT_OF_CODE) && *tag; tag++)
            if (end - at > (Py_ssize_t)strlen(*tag) && equals_caseless(at + 1, strlen(*tag), *tag))
                *hints |= HINT_OF_CODE;
    }
    if (find(source, size, "jax_ignore"))
        *hints |= HINT_OF_CODE;
    for (const char *at = source; !(*hints & HINT_OF_WORD) && (at = memchr(at, 'm', end - at)); at++)
        if (begins(at, end - at, "math") || (at - source >= 11 && begins(at - 11, end - at + 11, "MathJax-Element")))
            *hints |= HINT_OF_WORD;
}

static PyObject *compose(Page *page)
{
    Py_ssize_t first, last, begin = 0, finish = page->size, low = 0, high = page->num_tags;
    Py_ssize_t heading = 0, heading_inner = 0, heading_end = 0;
    long whole = page->weight, signs = page->signs;
    if (find_root(page, &first, &last) < 0)
        return NULL;
    if (first >= 0) {
        begin = page->tags[first].start;
        finish = page->tags[last].end;
        low = first + 1;
        high = last;
        whole = page->tags[last].weight - page->tags[first].weight;
        signs = page->tags[last].signs - page->tags[first].signs;
        heading_before(page, first, last, &heading, &heading_inner, &heading_end);
    }
    long kept = whole;
    int is_prose = page->signs <= MAX_PROSE_SIGNS && !page->has_code;
    Py_ssize_t steps = MAX_TAG_STEPS * page->num_tags;
    for (Py_ssize_t index = low; index < high;) {
        const Tag *tag = page->tags + index;
        int is_furniture = tag->flags & (SURE | NAMED);
        if (tag->flags & OPEN && (is_furniture || (tag->flags & BESIDE && is_prose)) && !(tag->flags & FRAME)) {
            Py_ssize_t end = tag->flags & VOID ? index : end_of(page, index, &steps);
            const Tag *close = page->tags + (end < 0 ? index : end);
            long weight = end >= 0 ? close->weight - tag->weight : 0;
            if (end >= 0 && end < high && (is_furniture || num_chars(page, tag->start, close->end) <= MAX_BESIDE_SOURCE) &&
                (weight <= (tag->flags & SURE ? 8 : 4) || weight <= (tag->flags & SURE ? 0.9 : 0.7) * whole)) {
                int is_next = close->flags & OPEN && end != index;
                kept -= weight;
                signs -= close->signs - tag->signs;
                if (add_edit(page, tag->start, is_next ? close->start : close->end, 0) < 0)
                    return NULL;
                index = is_next ? end : end + 1;
                continue;
            }
        }
        if (tag->flags & OPEN && tag->flags & (UNWRAPPED | CELL)) {
            Py_ssize_t end = tag->flags & UNWRAPPED ? end_of(page, index, &steps) : -1;
            const Tag *open = tag;
            if (end < 0 && tag->flags & CELL && (end = only_paragraph(page, index)) > 0)
                open = tag + 1;
            if (end > 0 && open == tag && add_edit(page, tag->start, tag->start, ' ') < 0)
                return NULL;
            if (end > 0 && cut_tags(page, open, page->tags + end) < 0)
                return NULL;
        }
        tag = page->tags + index;
        if (tag->flags & OPEN && tag->flags & CLASSIFIER && add_edit(page, tag->start, tag->start, ' ') < 0)
            return NULL;
        if (tag->flags & ANCHOR && (tag->flags & LINK || !(tag->flags & OPEN))) {
            Py_ssize_t at = tag->flags & OPEN ? tag->start : tag->end;
            if (add_edit(page, at, at, tag->flags & OPEN ? 1 : 2) < 0)
                return NULL;
        }
        if ((tag->flags & (HEADING | OPEN)) == (HEADING | OPEN) && add_edit(page, tag->end, tag->end, 3) < 0)
            return NULL;
        index++;
    }
    if (page->num_edits)
        qsort(page->edits, page->num_edits, sizeof(Edit), by_place);
    char *out = PyMem_Malloc(heading_end - heading + finish - begin + page->num_edits + 2);
    if (!out)
        return PyErr_NoMemory();
    Py_ssize_t used = heading_inner - heading, position = begin;
    memcpy(out, page->html + heading, used);
    if (heading_end)
        out[used++] = 3;
    memcpy(out + used, page->html + heading_inner, heading_end - heading_inner);
    used += heading_end - heading_inner;
    Py_ssize_t scripts_size = 0;
    for (Py_ssize_t i = 0; i < page->num_edits; i++) {
        const Edit *edit = page->edits + i;
        if (edit->mark == SCRIPT_SPAN)
            scripts_size += edit->end - edit->start;
        if (edit->start < position || edit->end > finish)
            continue;
        memcpy(out + used, page->html + position, edit->start - position);
        used += edit->start - position;
        if (edit->mark && edit->mark != SCRIPT_SPAN)
            out[used++] = edit->mark;
        position = edit->end;
    }
    memcpy(out + used, page->html + position, finish - position);
    used += finish - position;
    long num_tags;
    int has_code, hints;
    look_over(out, used, &num_tags, &has_code, &hints);
    PyObject *source = PyUnicode_DecodeUTF8(out, used, "replace");
    PyMem_Free(out);
    char *joined = source ? PyMem_Malloc(scripts_size + 1) : NULL;
    if (!joined) {
        Py_XDECREF(source);
        return PyErr_Occurred() ? NULL : PyErr_NoMemory();
    }
    used = 0;
    int keeps_scripts = page->typesets || page->signs;
    for (Py_ssize_t i = 0; keeps_scripts && i < page->num_edits; i++)
        if (page->edits[i].mark == SCRIPT_SPAN) {
            memcpy(joined + used, page->html + page->edits[i].start, page->edits[i].end - page->edits[i].start);
            used += page->edits[i].end - page->edits[i].start;
        }
    PyObject *scripts = PyUnicode_DecodeUTF8(joined, used, "replace");
    PyMem_Free(joined);
    if (!scripts) {
        Py_DECREF(source);
        return NULL;
    }
    return Py_BuildValue("(NNlllOlOi)", source, scripts, page->weight - kept, page->signs, signs,
                         page->defines_macros ? Py_True : Py_False, num_tags, has_code ? Py_True : Py_False, hints);
}

static PyObject *clean(PyObject *Py_UNUSED(module), PyObject *args)
{
    Page page = {0};
    PyObject *html, *source = NULL;
    if (!PyArg_ParseTuple(args, "UO", &html, &page.judge))
        return NULL;
    page.html = PyUnicode_AsUTF8AndSize(html, &page.size);
    if (!page.html)
        return NULL;
    page.typesets = names_typesetter(page.html, page.size);
    page.has_katex_mathml = find(page.html, page.size, "katex-mathml") != NULL;
    page.has_assistive = find(page.html, page.size, "mjx-assistive-mml") != NULL;
    if (scan(&page) == 0)
        source = compose(&page);
    PyMem_Free(page.tags);
    PyMem_Free(page.edits);
    return source;
}

static PyMethodDef methods[] = {
    {"clean", clean, METH_VARARGS, "clean(html, judge) -> what clean_in_python gives, as a tuple."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_source", NULL, -1, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__source(void)
{
    for (int i = 0; i < NUM_KNOWN; i++) {
        uint64_t hash = name_hash(KNOWN[i].name, strlen(KNOWN[i].name));
        unsigned at = hash % TABLE;
        while (known[at].hash)
            at = (at + 1) % TABLE;
        known[at].hash = hash;
        known[at].flags = KNOWN[i].flags;
    }
    for (int c = 0; c < 256; c++) {
        int space = c == ' ' || (c >= '\t' && c <= '\r');
        char_class[c] = (space ? SPACE : 0) | (is_letter((char)c) || (c >= '0' && c <= '9') || c == ':' || c == '-' ? NAME : 0);
        char_class[c] |= space || c == '=' || c == '>' || c == '/' || c == '"' || c == '\'' ? NAME_END : 0;
        char_class[c] |= space || c == '>' || c == '"' || c == '\'' ? VALUE_END : 0;
    }
    SCRIPT = name_hash("script", 6);
    STYLE = name_hash("style", 5);
    H1 = name_hash("h1", 2);
    PRE = name_hash("pre", 3);
    ARTICLE = name_hash("article", 7);
    SVG = name_hash("svg", 3);
    MJX_MATH = name_hash("mjx-math", 8);
    MATH = name_hash("math", 4);
    MJX_CONTAINER = name_hash("mjx-container", 13);
    return PyModule_Create(&definition);
}
