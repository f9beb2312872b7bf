/* The hidden layer of a supervised fastText model for one line: the mean of the vectors of its words and word n-grams,
 * added up in fastText's own order, so that every bit is the same as of its get_sentence_vector. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>

enum { AHEAD = 8 }; /* rows that are asked for before they are added */
#define END_OF_LINE "</s>"
#define LABEL "__label__"
#define CAPSULE "mining._hidden.vocabulary"

typedef struct {
    uint32_t hash;
    int32_t id; /* -1: free */
    uint32_t start, size;
} Slot;

typedef struct {
    Slot *slots;
    uint32_t mask;
    char *bytes; /* all words, end to end */
    int32_t num_words;
} Vocabulary;

typedef struct {
    int32_t *ids;
    Py_ssize_t num;
} Ids;

static uint32_t hash_of(const char *word, Py_ssize_t size)
{
    uint32_t hash = 2166136261u;
    for (Py_ssize_t i = 0; i < size; i++)
        hash = (hash ^ (uint32_t)(int8_t)word[i]) * 16777619u; /* signed characters, as fastText's files have it */
    return hash;
}

static Slot *slot_of(const Vocabulary *vocabulary, const char *word, Py_ssize_t size, uint32_t hash)
{
    for (uint32_t place = hash & vocabulary->mask;; place = (place + 1) & vocabulary->mask) {
        Slot *slot = vocabulary->slots + place;
        if (slot->id < 0 || (slot->hash == hash && slot->size == size && !memcmp(vocabulary->bytes + slot->start, word, size)))
            return slot;
    }
}

static void free_vocabulary(PyObject *capsule)
{
    Vocabulary *vocabulary = PyCapsule_GetPointer(capsule, CAPSULE);
    PyMem_Free(vocabulary->slots);
    PyMem_Free(vocabulary->bytes);
    PyMem_Free(vocabulary);
}

/* A table of at most half of its slots used, so that every search ends. */
static PyObject *vocabulary(PyObject *Py_UNUSED(module), PyObject *words)
{
    if (!PyList_Check(words) || PyList_GET_SIZE(words) > 1 << 28) {
        PyErr_SetString(PyExc_TypeError, "vocabulary takes a list of fewer than 2**28 words");
        return NULL;
    }
    Py_ssize_t num = PyList_GET_SIZE(words), total = 0, size;
    for (Py_ssize_t id = 0; id < num; id++) {
        if (!PyUnicode_AsUTF8AndSize(PyList_GET_ITEM(words, id), &size))
            return NULL;
        total += size;
    }
    size_t num_slots = 16;
    while (num_slots < 2 * (size_t)num)
        num_slots *= 2;
    Vocabulary *made = PyMem_Calloc(1, sizeof(Vocabulary));
    PyObject *capsule = made ? PyCapsule_New(made, CAPSULE, free_vocabulary) : PyErr_NoMemory();
    if (!capsule) {
        PyMem_Free(made);
        return NULL;
    }
    *made = (Vocabulary){PyMem_New(Slot, num_slots), (uint32_t)num_slots - 1, PyMem_Malloc(total + 1), (int32_t)num};
    if (!made->slots || !made->bytes || total > UINT32_MAX) {
        Py_DECREF(capsule);
        return PyErr_NoMemory();
    }
    for (size_t place = 0; place < num_slots; place++)
        made->slots[place].id = -1;
    uint32_t start = 0;
    for (Py_ssize_t id = 0; id < num; id++, start += (uint32_t)size) {
        const char *word = PyUnicode_AsUTF8AndSize(PyList_GET_ITEM(words, id), &size);
        uint32_t hash = hash_of(word, size);
        Slot *slot = slot_of(made, word, size, hash);
        memcpy(made->bytes + start, word, size);
        if (slot->id < 0)
            *slot = (Slot){hash, (int32_t)id, start, (uint32_t)size};
    }
    return capsule;
}

/* Enters a word where it is known, and its hash whether or not it is; says whether it ends the line. */
static int enter(const Vocabulary *known, const char *word, Py_ssize_t size, Ids *ids, int32_t *hashes, Py_ssize_t *num)
{
    if (size >= (Py_ssize_t)strlen(LABEL) && !memcmp(word, LABEL, strlen(LABEL)))
        return 0; /* a label is no word */
    uint32_t hash = hash_of(word, size);
    const Slot *slot = slot_of(known, word, size, hash);
    if (slot->id >= 0)
        ids->ids[ids->num++] = slot->id;
    hashes[(*num)++] = (int32_t)hash;
    return size == (Py_ssize_t)strlen(END_OF_LINE) && !memcmp(word, END_OF_LINE, size);
}

/* The rows of a line's words, then those of its n-grams of up to `longest` words. Room for them was made before. */
static void read_line(const Vocabulary *known, const char *line, Py_ssize_t size, int longest, int bucket, Ids *ids,
                      int32_t *hashes)
{
    Py_ssize_t num = 0;
    int is_over = 0;
    for (Py_ssize_t start = 0, end; start < size && !is_over; start = end + 1) {
        for (end = start; end < size && !strchr(" \n\r\t\v\f", line[end]); end++) /* and the zero that ends the set */
            ;
        if (end > start)
            is_over = enter(known, line + start, end - start, ids, hashes, &num);
    }
    if (!is_over)
        enter(known, END_OF_LINE, strlen(END_OF_LINE), ids, hashes, &num);
    for (Py_ssize_t i = 0; i < num; i++) {
        uint64_t gram = (uint64_t)(int64_t)hashes[i];
        for (Py_ssize_t j = i + 1; j < num && j < i + longest; j++) {
            gram = gram * 116049371u + (uint64_t)(int64_t)hashes[j];
            ids->ids[ids->num++] = known->num_words + (int32_t)(gram % (uint64_t)bucket);
        }
    }
}

/* Sums of rows by column, each in the order of the rows; four at a time, so that a sum is fetched a quarter as often. */
static void add_rows(const float *rows, Py_ssize_t dim, const Ids *ids, float *restrict sum)
{
    Py_ssize_t i = 0;
    for (; i + 4 <= ids->num; i += 4) {
        const float *a = rows + ids->ids[i] * dim, *b = rows + ids->ids[i + 1] * dim;
        const float *c = rows + ids->ids[i + 2] * dim, *d = rows + ids->ids[i + 3] * dim;
        for (Py_ssize_t next = i + AHEAD; next < i + AHEAD + 4 && next < ids->num; next++)
            for (Py_ssize_t k = 0; k < dim; k += 16)
                __builtin_prefetch(rows + ids->ids[next] * dim + k);
        for (Py_ssize_t k = 0; k < dim; k++)
            sum[k] = sum[k] + a[k] + b[k] + c[k] + d[k];
    }
    for (; i < ids->num; i++)
        for (Py_ssize_t k = 0; k < dim; k++)
            sum[k] += rows[ids->ids[i] * dim + k];
}

static int check_buffers(const Py_buffer *matrix, const Py_buffer *out, int32_t num_words, int bucket, int longest)
{
    int is_good = matrix->ndim == 2 && out->ndim == 1 && !strcmp(matrix->format, "f") && !strcmp(out->format, "f") &&
                  matrix->shape[1] == out->shape[0] && matrix->shape[0] == (Py_ssize_t)num_words + bucket &&
                  (bucket > 0 || (bucket == 0 && longest == 1)); /* words alone have no buckets */
    if (!is_good)
        PyErr_SetString(PyExc_ValueError, "the matrix must be float32 (words + buckets, dim), out float32 (dim,)");
    return is_good ? 0 : -1;
}

static PyObject *fill(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *capsule, *line, *matrix_object, *out_object, *answer = NULL;
    int longest, bucket;
    if (!PyArg_ParseTuple(args, "OUiiOO", &capsule, &line, &longest, &bucket, &matrix_object, &out_object))
        return NULL;
    const Vocabulary *known = PyCapsule_GetPointer(capsule, CAPSULE);
    Py_ssize_t size;
    const char *bytes = known ? PyUnicode_AsUTF8AndSize(line, &size) : NULL;
    Py_buffer matrix, out;
    if (!bytes || PyObject_GetBuffer(matrix_object, &matrix, PyBUF_ND | PyBUF_FORMAT) < 0)
        return NULL;
    if (PyObject_GetBuffer(out_object, &out, PyBUF_ND | PyBUF_FORMAT | PyBUF_WRITABLE) < 0) {
        PyBuffer_Release(&matrix);
        return NULL;
    }
    Py_ssize_t most = size / 2 + 2; /* words of one character, and the end of the line */
    longest = longest < 1 ? 1 : longest > most ? (int)most : longest;
    Ids ids = {PyMem_New(int32_t, most * longest), 0};
    int32_t *hashes = PyMem_New(int32_t, most);
    if (!ids.ids || !hashes)
        PyErr_NoMemory();
    else if (check_buffers(&matrix, &out, known->num_words, bucket, longest) == 0) {
        float *sum = out.buf;
        Py_ssize_t dim = out.shape[0];
        read_line(known, bytes, size, longest, bucket, &ids, hashes);
        memset(sum, 0, dim * sizeof(float));
        add_rows(matrix.buf, dim, &ids, sum);
        float share = ids.num ? (float)(1.0 / (double)ids.num) : 1.0f;
        for (Py_ssize_t k = 0; k < dim; k++)
            sum[k] *= share;
        answer = Py_NewRef(Py_None);
    }
    PyMem_Free(ids.ids);
    PyMem_Free(hashes);
    PyBuffer_Release(&matrix);
    PyBuffer_Release(&out);
    return answer;
}

static PyMethodDef methods[] = {
    {"vocabulary", vocabulary, METH_O, "A model's words, by their number, for `fill`."},
    {"fill", fill, METH_VARARGS, "fill(vocabulary, line, longest n-gram, buckets, input matrix, out): out is filled."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_hidden", NULL, -1, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__hidden(void)
{
    return PyModule_Create(&definition);
}
