#include "retrieval/eval_priv.h"

#include "base/json.h"
#include "base/mem.h"
#include "index/vectors.h"

#include <math.h>

static void map_free_values(struct map *m)
{
    size_t at = 0;
    struct span key;
    void *value;
    while (map_each(m, &at, &key, &value))
        mem_free(value);
    map_done(m);
}

void eval_vectors_done(struct eval_vectors *v)
{
    map_free_values(&v->documents);
    map_free_values(&v->queries);
}

/* The numbers of one line; all lines have as many. */
static int read_values(struct eval_vectors *v, const json_t *list, float **ret, struct err *err)
{
    size_t n = json_array_size(list); /* 0 when it is none */
    if (n == 0 || n > VECTOR_DIMS_MAX || (v->dims && n != v->dims))
        return err_set(err, ERR_INVALID, "\"vector\" has %zu numbers, where %u are expected", n,
                       v->dims ? v->dims : VECTOR_DIMS_MAX);
    float *values = mem_try_array(n, sizeof *values);
    if (!values)
        return err_set(err, ERR_NO_MEMORY, "no memory for the vectors");
    bool is_direction = false, is_finite = true;
    for (size_t i = 0; i < n; i++) {
        const json_t *item = json_array_get(list, i);
        values[i] = json_is_number(item) ? (float)json_number_value(item) : NAN;
        is_finite = is_finite && isfinite(values[i]);
        is_direction = is_direction || values[i] < 0 || values[i] > 0;
    }
    if (!is_finite || !is_direction) {
        mem_free(values);
        return err_set(err, ERR_INVALID, "\"vector\" is %s",
                       is_finite ? "all zero" : "not of numbers that fit");
    }
    v->dims = (unsigned)n;
    *ret = values;
    return 0;
}

static int read_line(struct eval_vectors *v, struct span line, struct err *err)
{
    json_t *o = json_read(line, err, NULL);
    if (!o)
        return -ERR_INVALID;
    struct span id = json_span(json_object_get(o, "id")),
                query = json_span(json_object_get(o, "query"));
    struct map *m = id.len ? &v->documents : &v->queries;
    float *values = NULL;
    void *old = NULL;
    int rc = id.len || query.len ? read_values(v, json_object_get(o, "vector"), &values, err)
                                 : err_set(err, ERR_INVALID, "neither \"id\" nor \"query\"");
    if (rc == 0 && map_set(m, id.len ? id : query, values, &old) < 0) {
        mem_free(values);
        rc = err_set(err, ERR_NO_MEMORY, "no memory for the vectors");
    }
    mem_free(old);
    json_decref(o);
    return rc;
}

int eval_vectors_parse(struct span text, struct eval_vectors *ret, struct err *err)
{
    struct eval_vectors v = {0};
    struct span line;
    int rc = 0;
    map_init(&v.documents);
    map_init(&v.queries);
    for (unsigned number = 1; rc == 0 && text.len && span_next(&text, '\n', &line); number++) {
        line = span_trim(line);
        rc = line.len ? read_line(&v, line, err) : 0;
        if (rc < 0)
            err_prefix(err, "line %u", number);
    }
    if (rc < 0)
        eval_vectors_done(&v);
    else
        *ret = v;
    return rc;
}
