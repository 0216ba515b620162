/* Files of vectors for `headwater eval --vectors`: refused, or every vector is a direction. */
#include "base/bug.h"
#include "retrieval/eval_priv.h"

#include <math.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct map *m, unsigned dims)
{
    size_t at = 0;
    struct span key;
    void *value;
    while (map_each(m, &at, &key, &value)) {
        const float *x = value;
        bool is_direction = false;
        BUG_ON(key.len == 0 || dims == 0);
        for (unsigned i = 0; i < dims; i++) {
            BUG_ON(!isfinite(x[i]));
            is_direction |= x[i] < 0 || x[i] > 0;
        }
        BUG_ON(!is_direction);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct eval_vectors v;
    struct err err = {0};
    if (eval_vectors_parse(span_of((const char *)data, size), &v, &err) < 0) {
        BUG_ON(!err.msg[0]);
        return 0;
    }
    check(&v.documents, v.dims);
    check(&v.queries, v.dims);
    eval_vectors_done(&v);
    return 0;
}
