/* What each line of a page's text is. The compiled twin of facts_in_python in lines.py, which says what the facts mean
 * and why; here only how. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>

enum { LINKED = 1, HEADED = 2, TABBED = 4, BARE = 8, MOSTLY_LINKS = 16, STRONG = 32, CODE = 64, COLON = 128,
       OPENER = 256, FIGURES = 512, BLANK = 1024, SIGN = 2048 };
enum { FORMULA = 1 << 16, BRACKET = 1 << 17, NOT_ASCII = 1 << 18, CJK_LETTER = 1 << 19, HANGUL = 1 << 20 };
enum { LINK_START = 1, LINK_END = 2, HEADING = 3 };
enum { MAX_ASIDE = 180, MAX_DATE = 80, MIN_STRONG = 60, MIN_SENTENCE = 12, MIN_CJK = 24, MAX_OPENING = 40 };
enum { FIRST_MARK = 0x10F000, LAST_MARK = 0x10F1FF };
enum { MAX_SIGNS = 64, NUM_FIRST = 256 };
#define MIN_SHARE_OUTSIDE 0.4

typedef struct {
    const void *data;
    int kind;
    Py_ssize_t size;
} Text;

typedef struct {
    PyObject *openers;
    Text words[MAX_SIGNS];
    uint64_t single; /* those of one character, a bit each */
    uint64_t first[NUM_FIRST], second[NUM_FIRST]; /* the signs whose first or second character it is, a bit each */
} Signs;

static int character[128];

static inline Py_UCS4 at(const Text *text, Py_ssize_t index)
{
    return PyUnicode_READ(text->kind, text->data, index);
}

static inline Py_UCS4 folded(Py_UCS4 c)
{
    return c >= 'A' && c <= 'Z' ? c + 32 : c;
}

static int is_among(Py_UCS4 c, const Py_UCS4 *set)
{
    for (; *set; set++)
        if (*set == c)
            return 1;
    return 0;
}

static int is_edge(Py_UCS4 c)
{
    static const Py_UCS4 SET[] = {' ', '\t', 0x2022, 0xB7, '|', 0xBB, 0xAB, '>', '/', ',', ';', ':', '.', '\\', '-', 0x2013,
                                  0x2014, '*', '#', '(', ')', '[', ']', '+', '!', '?', 0x2026, 1, 2, 3, 0};
    return !(c >= 'a' && c <= 'z') && is_among(c, SET);
}

/* What may stand between the links of a line of links. */
static int is_filler(Py_UCS4 c)
{
    static const Py_UCS4 SET[] = {0x2022, 0xB7, '|', 0xBB, 0xAB, '>', '/', ',', ';', ':', '.', '-', 0x2013, 0x2014, '(', ')',
                                  '[', ']', 0};
    return !(c >= 'a' && c <= 'z') && (Py_UNICODE_ISSPACE(c) || Py_UNICODE_ISDECIMAL(c) || is_among(c, SET));
}

static int is_cjk_end(Py_UCS4 c)
{
    static const Py_UCS4 SET[] = {0x3002, 0xFF01, 0xFF1F, 0xFF1B, 0xFF1A, 0x2026, 0x201D, 0x300D, 0xFF09, 0};
    return is_among(c, SET);
}

static int is_word_letter(Py_UCS4 c)
{
    return Py_UNICODE_ISALNUM(c) && !Py_UNICODE_ISDECIMAL(c);
}

/* Whether the line from `start` to `end` is links and what may stand between them. */
static int is_bare(const Text *text, Py_ssize_t start, Py_ssize_t end)
{
    int has_link = 0;
    for (Py_ssize_t i = start; i < end;) {
        Py_UCS4 c = at(text, i);
        if (c == LINK_START) {
            has_link = 1;
            while (i < end && at(text, i) != LINK_END)
                i++;
            i += i < end;
        } else if (is_filler(c))
            i++;
        else
            return 0;
    }
    return has_link;
}

/* What characters of a line make it: facts, and signs of facts that other characters decide with them. */
static inline int of_character(Py_UCS4 c)
{
    if (c < 128)
        return character[c];
    if (c >= 0x3041 && c <= 0x9FFF)
        return NOT_ASCII | CJK_LETTER;
    if (c >= 0xAC00 && c <= 0xD7A3)
        return NOT_ASCII | HANGUL;
    if (c == 0x2264 || c == 0x2265 || c == 0x2208 || (c >= 0x10F000 && c <= 0x10F0FF))
        return NOT_ASCII | FORMULA;
    return NOT_ASCII | (c == 0xFF1A ? COLON : 0) | (c > 0xFF && Py_UNICODE_ISDECIMAL(c) ? FIGURES : 0);
}

/* What all characters of a line outside its links make it, with their number, the last one that is no space, and
 * whether two letters stand side by side. */
static int outside_links(const Text *text, Py_ssize_t start, Py_ssize_t end, Py_ssize_t *num, Py_UCS4 *last, int *has_word)
{
    int signs = 0, is_inside = 0, was_letter = 0;
    for (Py_ssize_t i = start; i < end; i++) {
        Py_UCS4 c = at(text, i);
        is_inside |= c == LINK_START;
        if (is_inside) {
            is_inside = c != LINK_END;
            continue;
        }
        signs |= of_character(c);
        *num += 1;
        if (!Py_UNICODE_ISSPACE(c))
            *last = c;
        int is_letter = is_word_letter(c);
        *has_word |= was_letter && is_letter;
        was_letter = is_letter;
    }
    return signs;
}

static int read_line(const Text *text, Py_ssize_t start, Py_ssize_t end)
{
    int signs = 0, has_word = 0;
    if (text->kind == PyUnicode_1BYTE_KIND)
        for (const Py_UCS1 *c = (const Py_UCS1 *)text->data + start, *stop = c + (end - start); c < stop; c++)
            signs |= of_character(*c);
    else
        for (Py_ssize_t i = start; i < end; i++)
            signs |= of_character(at(text, i));
    int found = signs & (LINKED | HEADED | TABBED | COLON | CODE | (end - start <= MAX_DATE ? FIGURES : 0));
    for (Py_ssize_t i = start + 1; signs & BRACKET && !(found & CODE) && i < end; i++)
        found |= at(text, i) == ')' && at(text, i - 1) == '(' ? CODE : 0;
    Py_ssize_t num = end - start;
    Py_UCS4 last = 0; /* the last character outside links that is no space */
    if (found & LINKED) {
        num = 0;
        signs = outside_links(text, start, end, &num, &last, &has_word);
        found |= (double)num < MIN_SHARE_OUTSIDE * (double)(end - start) ? MOSTLY_LINKS : 0;
    } else {
        Py_ssize_t stop = end;
        while (stop > start && Py_UNICODE_ISSPACE(at(text, stop - 1)))
            stop--;
        last = stop > start ? at(text, stop - 1) : 0;
    }
    int is_strong = num >= MIN_STRONG || signs & FORMULA || (has_word && (last == '.' || last == 0x3002));
    if (signs & NOT_ASCII)
        is_strong |= (is_cjk_end(last) && signs & CJK_LETTER) || (num >= MIN_CJK && signs & (CJK_LETTER | HANGUL));
    else
        is_strong |= num >= MIN_SENTENCE && (last == '.' || last == '!' || last == '?' || last == ')' || last == '"');
    while (start < end && (at(text, start) == ' ' || at(text, start) == LINK_END))
        start++;
    return found | (is_strong ? STRONG : 0) | (start == end ? BLANK : 0);
}

/* Whether the line's first word is one of the openers, -1 on error. */
static int opens(const Text *text, Py_ssize_t start, Py_ssize_t end, PyObject *openers)
{
    while (start < end && (is_edge(at(text, start)) || (at(text, start) >= '0' && at(text, start) <= '9')))
        start++;
    if (end > start + MAX_OPENING)
        end = start + MAX_OPENING;
    while (start < end && Py_UNICODE_ISSPACE(at(text, start)))
        start++;
    if (start == end)
        return 0;
    Py_ssize_t stop = start;
    Py_UCS4 lower[MAX_OPENING];
    int is_ascii = 1;
    for (; stop < end && at(text, stop) != ':' && !Py_UNICODE_ISSPACE(at(text, stop)); stop++) {
        lower[stop - start] = folded(at(text, stop));
        is_ascii &= at(text, stop) < 128;
    }
    while (stop > start && is_edge(at(text, stop - 1)))
        stop--;
    PyObject *word = PyUnicode_FromKindAndData(PyUnicode_4BYTE_KIND, lower, stop - start);
    if (word && !is_ascii)
        Py_SETREF(word, PyObject_CallMethod(word, "lower", NULL));
    int answer = word ? PySet_Contains(openers, word) : -1;
    Py_XDECREF(word);
    return answer;
}

static int has_sign(const Text *text, Py_ssize_t start, Py_ssize_t end, const Signs *signs)
{
    uint64_t begun = 0;
    for (Py_ssize_t i = start; i < end; i++) {
        Py_UCS4 c = folded(at(text, i));
        uint64_t candidates = c < NUM_FIRST ? begun & signs->second[c] : 0;
        begun = c < NUM_FIRST ? signs->first[c] : 0;
        if (begun & signs->single)
            return 1;
        for (; candidates; candidates &= candidates - 1) {
            const Text *word = signs->words + __builtin_ctzll(candidates);
            Py_ssize_t k = 2;
            if (word->size > end - i + 1)
                continue;
            while (k < word->size && folded(at(text, i - 1 + k)) == at(word, k))
                k++;
            if (k == word->size)
                return 1;
        }
    }
    return 0;
}

static int set_signs(Signs *signs, PyObject *words)
{
    Py_ssize_t num = PyTuple_GET_SIZE(words);
    if (num > MAX_SIGNS) {
        PyErr_Format(PyExc_ValueError, "%zd signs, at most %d", num, MAX_SIGNS);
        return -1;
    }
    for (Py_ssize_t number = 0; number < num; number++) {
        PyObject *word = PyTuple_GET_ITEM(words, number);
        Text sign = {0};
        if (PyUnicode_Check(word))
            sign = (Text){PyUnicode_DATA(word), PyUnicode_KIND(word), PyUnicode_GET_LENGTH(word)};
        if (!sign.size || at(&sign, 0) >= NUM_FIRST || (sign.size > 1 && at(&sign, 1) >= NUM_FIRST)) {
            PyErr_Format(PyExc_ValueError, "%R is no string that begins with two characters below U+0100", word);
            return -1;
        }
        uint64_t bit = (uint64_t)1 << number;
        signs->words[number] = sign;
        signs->first[at(&sign, 0)] |= bit;
        signs->single |= sign.size == 1 ? bit : 0;
        if (sign.size > 1)
            signs->second[at(&sign, 1)] |= bit;
    }
    return 0;
}

static PyObject *facts(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *whole, *words;
    Signs signs = {0};
    int is_prose;
    if (!PyArg_ParseTuple(args, "UpOO!", &whole, &is_prose, &signs.openers, &PyTuple_Type, &words) || set_signs(&signs, words) < 0)
        return NULL;
    Text text = {PyUnicode_DATA(whole), PyUnicode_KIND(whole), PyUnicode_GET_LENGTH(whole)};
    PyObject *list = PyList_New(0);
    for (Py_ssize_t start = 0; list && start <= text.size;) {
        Py_ssize_t end = PyUnicode_FindChar(whole, '\n', start, text.size, 1);
        if (end < 0)
            end = text.size;
        int found = read_line(&text, start, end);
        if (found & LINKED && is_bare(&text, start, end))
            found |= BARE;
        if (is_prose && start < end && end - start <= MAX_ASIDE) {
            int is_opened = opens(&text, start, end, signs.openers);
            if (is_opened < 0)
                Py_CLEAR(list);
            found |= (is_opened ? OPENER : 0) | (has_sign(&text, start, end, &signs) ? SIGN : 0);
        }
        PyObject *number = list ? PyLong_FromLong(found) : NULL;
        if (number && PyList_Append(list, number) < 0)
            Py_CLEAR(list);
        Py_XDECREF(number);
        start = end + 1;
    }
    return list;
}

/* Whether a text holds one of the characters that stand around formulas and in place of others: plane 16. */
static PyObject *holds_marks(PyObject *Py_UNUSED(module), PyObject *whole)
{
    if (!PyUnicode_Check(whole)) {
        PyErr_SetString(PyExc_TypeError, "holds_marks takes a string");
        return NULL;
    }
    if (PyUnicode_KIND(whole) == PyUnicode_4BYTE_KIND)
        for (const Py_UCS4 *c = PyUnicode_4BYTE_DATA(whole), *end = c + PyUnicode_GET_LENGTH(whole); c < end; c++)
            if (*c >= FIRST_MARK && *c <= LAST_MARK)
                Py_RETURN_TRUE;
    Py_RETURN_FALSE;
}

enum { DROPPED = 0x110000 }; /* beyond every character */

static inline Py_UCS4 without_controls(Py_UCS4 c)
{
    if (c < 0xA0)
        return c >= ' ' ? (c < 0x7F ? c : DROPPED) : c == '\n' || c == '\t' ? c : DROPPED;
    if (c == 0xA0 || c == 0x2009 || c == 0x202F)
        return ' ';
    return c == 0xAD || c == 0x200B || c == 0xFEFF || (c >= 0xD800 && c <= 0xF8FF) || c == 0xFFFE || c == 0xFFFF ? DROPPED : c;
}

static PyObject *without_odd_characters(PyObject *Py_UNUSED(module), PyObject *whole)
{
    if (!PyUnicode_Check(whole)) {
        PyErr_SetString(PyExc_TypeError, "without_odd_characters takes a string");
        return NULL;
    }
    Text text = {PyUnicode_DATA(whole), PyUnicode_KIND(whole), PyUnicode_GET_LENGTH(whole)};
    Py_ssize_t i = 0, used;
    while (i < text.size && without_controls(at(&text, i)) == at(&text, i))
        i++;
    if (i == text.size)
        return Py_NewRef(whole);
    Py_UCS4 *out = PyUnicode_AsUCS4Copy(whole);
    if (!out)
        return NULL;
    for (used = i; i < text.size; i++) {
        Py_UCS4 c = without_controls(out[i]);
        if (c != DROPPED)
            out[used++] = c;
    }
    PyObject *answer = PyUnicode_FromKindAndData(PyUnicode_4BYTE_KIND, out, used);
    PyMem_Free(out);
    return answer;
}

/* Without the marks of links and headings, and without a space after a heading's. */
static PyObject *without_marks(PyObject *Py_UNUSED(module), PyObject *whole)
{
    if (!PyUnicode_Check(whole)) {
        PyErr_SetString(PyExc_TypeError, "without_marks takes a string");
        return NULL;
    }
    Text text = {PyUnicode_DATA(whole), PyUnicode_KIND(whole), PyUnicode_GET_LENGTH(whole)};
    Py_ssize_t i = 0, used;
    int is_after_heading = 0;
    while (i < text.size && (at(&text, i) > HEADING || !at(&text, i)))
        i++;
    if (i == text.size)
        return Py_NewRef(whole);
    Py_UCS4 *out = PyUnicode_AsUCS4Copy(whole);
    if (!out)
        return NULL;
    for (used = i; i < text.size; i++) {
        Py_UCS4 c = out[i];
        if (c == HEADING)
            is_after_heading = 1;
        else if (c != LINK_START && c != LINK_END) {
            if (c != ' ' || !is_after_heading)
                out[used++] = c;
            is_after_heading = 0;
        }
    }
    PyObject *answer = PyUnicode_FromKindAndData(PyUnicode_4BYTE_KIND, out, used);
    PyMem_Free(out);
    return answer;
}

static PyMethodDef methods[] = {
    {"facts", facts, METH_VARARGS, "facts(text, is_prose, openers, signs) -> what facts_in_python gives."},
    {"without_odd_characters", without_odd_characters, METH_O, "What without_odd_characters_in_python gives."},
    {"without_marks", without_marks, METH_O, "What without_marks_in_python gives."},
    {"holds_marks", holds_marks, METH_O, "holds_marks(text) -> whether a formula's mark stands in it."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_lines", NULL, -1, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__lines(void)
{
    for (const char *c = "=+<>^$\\"; *c; c++)
        character[(int)*c] |= FORMULA;
    for (const char *c = "={};\t"; *c; c++)
        character[(int)*c] |= CODE;
    for (const char *c = "0123456789()"; *c; c++)
        character[(int)*c] |= FIGURES;
    character[')'] |= BRACKET;
    character[':'] |= COLON;
    character['\t'] |= TABBED;
    character[LINK_START] |= LINKED;
    character[HEADING] |= HEADED;
    return PyModule_Create(&definition);
}
