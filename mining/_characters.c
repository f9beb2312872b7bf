/* What loops over every character of a page's text: the classifier's line, what a language is told by, counts.
 * The compiled twins of functions in classifier.py, language.py and page.py, which say what they mean and why. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

enum { LETTER = 1, DIGIT = 2, SIGN = 4, PRINTED = 8, CODE = 16 };
enum { MAX_DISPLAY = 4000, MAX_INLINE = 500, MAX_TICKED = 200, MAX_ENVIRONMENT = 30, MAX_NAME = 60, MAX_DIGITS = 5 };
enum { GROWTH = 5 }; /* a digit becomes <d1> and a space */
enum { NUM_COUNTS = 19, LETTERS = 0, HAN = 1, KANA = 2, HANGUL = 3, FIRST_SCRIPT = 4 };

typedef struct {
    const void *data;
    int kind;
    Py_ssize_t size;
} Text;

static unsigned char character[128];

static inline Py_UCS4 at(const Text *text, Py_ssize_t index)
{
    return index < text->size ? PyUnicode_READ(text->kind, text->data, index) : 0;
}

static int read_text(PyObject *whole, Text *text)
{
    if (!PyUnicode_Check(whole)) {
        PyErr_Format(PyExc_TypeError, "%R is no string", whole);
        return -1;
    }
    *text = (Text){PyUnicode_DATA(whole), PyUnicode_KIND(whole), PyUnicode_GET_LENGTH(whole)};
    return 0;
}

static inline int is_ideograph(Py_UCS4 c)
{
    return (c >= 0x3400 && c <= 0x4DBF) || (c >= 0x4E00 && c <= 0x9FFF);
}

static inline int is_kana(Py_UCS4 c)
{
    return c >= 0x3040 && c <= 0x30FF;
}

/* [^\W\d_] */
static inline int is_letter(Py_UCS4 c)
{
    return c < 128 ? character[c] & LETTER : Py_UNICODE_ISALNUM(c) && !Py_UNICODE_ISDECIMAL(c);
}

static inline int is_word_letter(Py_UCS4 c)
{
    return is_letter(c) && !(c >= 0x3040 && (is_kana(c) || is_ideograph(c)));
}

static inline int is(Py_UCS4 c, int class)
{
    return c < 128 && character[c] & class;
}

static inline int is_lower(Py_UCS4 c)
{
    return c >= 'a' && c <= 'z';
}

static int is_digit(Py_UCS4 c)
{
    return is(c, DIGIT);
}

static int is_decimal(Py_UCS4 c)
{
    return c < 128 ? is_digit(c) : Py_UNICODE_ISDECIMAL(c);
}

static int is_ascii_letter(Py_UCS4 c)
{
    return is(c, LETTER);
}

static inline Py_ssize_t after_run(const Text *text, Py_ssize_t end, int (*belongs)(Py_UCS4))
{
    while (end < text->size && belongs(at(text, end)))
        end++;
    return end;
}

/* What may follow a word: an apostrophe and ASCII letters. */
static inline Py_ssize_t after_suffix(const Text *text, Py_ssize_t end, Py_UCS4 other_apostrophe)
{
    Py_UCS4 c = at(text, end);
    return (c == '\'' || c == other_apostrophe) && is_lower(at(text, end + 1)) ? after_run(text, end + 2, is_lower) : end;
}

static int is_sign(Py_UCS4 c)
{
    static const Py_UCS4 SET[] = {0xA3, 0xB1, 0xD7, 0xF7, 0x20AC, 0x2192, 0x21D2, 0x2208, 0x2211, 0x221A, 0x221E, 0x222B,
                                  0x2248, 0x2260, 0x2264, 0x2265, 0};
    if (c < 128)
        return character[c] & SIGN;
    for (const Py_UCS4 *one = SET; *one; one++)
        if (*one == c)
            return 1;
    return 0;
}

static int begins(const Text *text, Py_ssize_t start, const char *word)
{
    for (; *word; word++, start++)
        if (at(text, start) != (Py_UCS4)*word)
            return 0;
    return 1;
}

/* Where the formula delimiter that starts at `start` ends, 0 where none does. */
static Py_ssize_t after_delimiter(const Text *text, Py_ssize_t start)
{
    static const char *NAMES[] = {"begin{", "end{", "label{", "tag{", "ref{", "eqref{", "cite{"};
    Py_ssize_t end = start + 1;
    if (at(text, start) == '$') {
        while (at(text, end) == '$')
            end++;
        return end;
    }
    Py_UCS4 next = at(text, end);
    if (next == '[' || next == ']' || next == '(' || next == ')')
        return end + 1;
    for (int number = 0; number < 7; number++)
        if (begins(text, end, NAMES[number])) {
            Py_ssize_t place = end + (Py_ssize_t)strlen(NAMES[number]);
            Py_ssize_t stop = place + (number < 2 ? MAX_ENVIRONMENT : MAX_NAME);
            while (place < stop && place < text->size && at(text, place) != '}')
                place++;
            return at(text, place) == '}' ? place + 1 : 0;
        }
    return 0;
}

/* Where the token that starts at `start` ends; `start` itself where none does. */
static Py_ssize_t after_token(const Text *text, Py_ssize_t start)
{
    Py_UCS4 c = at(text, start);
    if (c == '\\') {
        Py_ssize_t end = after_run(text, start + 1, is_ascii_letter);
        return end > start + 1 ? end : start;
    }
    if (is_digit(c))
        return after_run(text, start + 1, is_digit);
    if (is_ideograph(c))
        return after_run(text, start + 1, is_ideograph);
    if (is_word_letter(c))
        return after_suffix(text, after_run(text, start + 1, is_word_letter), 0x2019);
    return is_kana(c) || is_sign(c) ? start + 1 : start;
}

static PyObject *line(PyObject *Py_UNUSED(module), PyObject *whole)
{
    Text text;
    if (read_text(whole, &text) < 0)
        return NULL;
    Py_UCS4 *out = PyMem_New(Py_UCS4, GROWTH * text.size + 1);
    if (!out)
        return PyErr_NoMemory();
    Py_ssize_t used = 0;
    for (Py_ssize_t start = 0, end; start < text.size; start = end) {
        Py_UCS4 c = at(&text, start);
        if ((c == '$' || c == '\\') && (end = after_delimiter(&text, start)))
            continue;
        end = after_token(&text, start);
        if (end == start) {
            end++;
            continue;
        }
        if (is_digit(c)) {
            Py_ssize_t digits = end - start < MAX_DIGITS ? end - start : MAX_DIGITS;
            out[used++] = '<';
            out[used++] = 'd';
            out[used++] = '0' + (Py_UCS4)digits;
            out[used++] = '>';
        } else if (end - start > 2 && is_ideograph(c)) {
            for (Py_ssize_t place = start; place < end - 1; place++) {
                out[used++] = at(&text, place);
                out[used++] = at(&text, place + 1);
                if (place < end - 2)
                    out[used++] = ' ';
            }
        } else
            for (Py_ssize_t place = start; place < end; place++)
                out[used++] = at(&text, place);
        out[used++] = ' ';
    }
    PyObject *answer = PyUnicode_FromKindAndData(PyUnicode_4BYTE_KIND, out, used ? used - 1 : 0);
    PyMem_Free(out);
    return answer;
}

/* Where what stands between two of `mark` ends that starts at `start`, on one line unless it is `wide`; 0 for nowhere. */
static Py_ssize_t after_pair(const Text *text, Py_ssize_t start, Py_UCS4 mark, Py_ssize_t max, int is_wide)
{
    Py_ssize_t first = start + (is_wide ? 2 : 1), end = first;
    while (end < text->size && end - first < max && at(text, end) != mark && (is_wide || at(text, end) != '\n'))
        end++;
    if (end == first || end >= text->size || at(text, end) != mark || (is_wide && at(text, end + 1) != mark))
        return 0;
    return end + (is_wide ? 2 : 1);
}

/* The end of a stretch that is no prose and starts at `start`, 0 where none does. `plain` is where the last run of
 * printed ASCII without a sign of code was seen to end. */
static Py_ssize_t after_formula(const Text *text, Py_ssize_t start, Py_ssize_t *plain)
{
    Py_UCS4 c = at(text, start);
    Py_ssize_t end = 0;
    if (c == '$' && at(text, start + 1) == '$' && (end = after_pair(text, start, '$', MAX_DISPLAY, 1)))
        return end;
    if (c == '$' && (end = after_pair(text, start, '$', MAX_INLINE, 0)))
        return end;
    /* An address has slashes, so that the next rule takes it, too, with what stands before it. */
    if (start >= *plain && is(c, PRINTED)) {
        int signs = 0;
        for (end = start; is(at(text, end), PRINTED); end++)
            signs |= character[at(text, end)];
        if (signs & CODE)
            return end;
        *plain = end;
    }
    if (is_decimal(c))
        return after_run(text, start + 1, is_decimal);
    return c == '`' ? after_pair(text, start, '`', MAX_TICKED, 0) : 0;
}

static PyObject *prose(PyObject *Py_UNUSED(module), PyObject *whole)
{
    Text text;
    if (read_text(whole, &text) < 0)
        return NULL;
    Py_UCS4 *out = PyMem_New(Py_UCS4, text.size + 1);
    if (!out)
        return PyErr_NoMemory();
    Py_ssize_t used = 0, plain = 0;
    for (Py_ssize_t start = 0, end; start < text.size; start = end) {
        Py_UCS4 c = at(&text, start);
        end = c == ' ' ? 0 : after_formula(&text, start, &plain);
        out[used++] = end ? ' ' : c;
        end = end ? end : start + 1;
    }
    PyObject *answer = PyUnicode_FromKindAndData(PyUnicode_4BYTE_KIND, out, used);
    PyMem_Free(out);
    return answer;
}

static void count_script(Py_UCS4 c, long *counts)
{
    static const Py_UCS4 RANGES[][3] = {
        {0x370, 0x3FF, 4}, {0x1F00, 0x1FFF, 4}, {0x590, 0x5FF, 5}, {0xE00, 0xE7F, 6}, {0x10A0, 0x10FF, 7},
        {0x530, 0x58F, 8}, {0xB80, 0xBFF, 9}, {0xC00, 0xC7F, 10}, {0xC80, 0xCFF, 11}, {0xD00, 0xD7F, 12},
        {0xA80, 0xAFF, 13}, {0xA00, 0xA7F, 14}, {0xD80, 0xDFF, 15}, {0x1780, 0x17FF, 16}, {0xE80, 0xEFF, 17},
        {0x1000, 0x109F, 18}, {0x3400, 0x4DBF, HAN}, {0x4E00, 0x9FFF, HAN}, {0xF900, 0xFAFF, HAN},
        {0x20000, 0x2FA1F, HAN}, {0x3041, 0x3096, KANA}, {0x30A1, 0x30FA, KANA}, {0x30FC, 0x30FC, KANA},
        {0x31F0, 0x31FF, KANA}, {0xFF66, 0xFF9F, KANA}, {0x1100, 0x11FF, HANGUL}, {0x3130, 0x318F, HANGUL},
        {0xAC00, 0xD7A3, HANGUL}, {0, 0, 0}};
    for (int number = 0; RANGES[number][1]; number++)
        if (c >= RANGES[number][0] && c <= RANGES[number][1]) {
            counts[RANGES[number][2]]++;
            return;
        }
}

static PyObject *scripts(PyObject *Py_UNUSED(module), PyObject *whole)
{
    Text text;
    long counts[NUM_COUNTS] = {0};
    if (read_text(whole, &text) < 0)
        return NULL;
    for (Py_ssize_t place = 0; place < text.size; place++) {
        Py_UCS4 c = at(&text, place);
        counts[LETTERS] += is_letter(c) != 0;
        if (c >= 0x370)
            count_script(c, counts);
    }
    PyObject *answer = PyTuple_New(NUM_COUNTS);
    for (int number = 0; answer && number < NUM_COUNTS; number++) {
        PyObject *count = PyLong_FromLong(counts[number]);
        if (!count)
            Py_CLEAR(answer);
        else
            PyTuple_SET_ITEM(answer, number, count);
    }
    return answer;
}

/* (words, those of them that are in the set): words of more than `longest` characters are not looked for. */
static PyObject *count_words(PyObject *Py_UNUSED(module), PyObject *args)
{
    Text text;
    PyObject *whole, *known;
    Py_ssize_t longest, num_words = 0, num_known = 0;
    if (!PyArg_ParseTuple(args, "UO!n", &whole, &PyFrozenSet_Type, &known, &longest) || read_text(whole, &text) < 0)
        return NULL;
    for (Py_ssize_t start = 0, end; start < text.size; start = end) {
        end = start + 1;
        if (!is_letter(at(&text, start)))
            continue;
        end = after_suffix(&text, after_run(&text, end, is_letter), '\'');
        num_words++;
        if (end - start > longest)
            continue;
        PyObject *word = PyUnicode_Substring(whole, start, end);
        int is_known = word ? PySet_Contains(known, word) : -1;
        Py_XDECREF(word);
        if (is_known < 0)
            return NULL;
        num_known += is_known;
    }
    return Py_BuildValue("nn", num_words, num_known);
}

static PyObject *count_cjk(PyObject *Py_UNUSED(module), PyObject *whole)
{
    Text text;
    Py_ssize_t num = 0;
    if (read_text(whole, &text) < 0)
        return NULL;
    for (Py_ssize_t place = 0; text.kind != PyUnicode_1BYTE_KIND && place < text.size; place++) {
        Py_UCS4 c = at(&text, place);
        num += c >= 0x3040 && (is_kana(c) || is_ideograph(c) || (c >= 0xAC00 && c <= 0xD7AF) || (c >= 0xF900 && c <= 0xFAFF));
    }
    return PyLong_FromSsize_t(num);
}

static PyMethodDef methods[] = {
    {"line", line, METH_O, "What line_in_python of classifier.py gives of a text in lower case."},
    {"prose", prose, METH_O, "What prose_in_python of language.py gives."},
    {"scripts", scripts, METH_O, "What scripts_in_python of language.py gives."},
    {"count_words", count_words, METH_VARARGS, "What count_words_in_python of language.py gives, words up to a length."},
    {"count_cjk", count_cjk, METH_O, "What count_cjk_in_python of page.py gives."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_characters", NULL, -1, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__characters(void)
{
    for (int c = '!'; c <= '~'; c++)
        character[c] = PRINTED | (Py_UNICODE_ISALPHA(c) ? LETTER : 0) | (c >= '0' && c <= '9' ? DIGIT : 0);
    for (const char *c = "+-*/=<>^|%${}_#@"; *c; c++)
        character[(int)*c] |= SIGN;
    for (const char *c = "_{}<>=/\\@#|"; *c; c++)
        character[(int)*c] |= CODE;
    return PyModule_Create(&definition);
}
