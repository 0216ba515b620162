/*
 * Answers of embedders. What is told as a vector is one: finite, not all zero, of a text that was
 * asked for; the numbers of a body read twice are the same.
 */
#include "base/bug.h"
#include "providers/embed_priv.h"

#include <math.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define EXPECTED 4

struct heard {
    double sum;
    unsigned vectors;
};

static void on_vector(void *ctx, size_t at, const float *values, unsigned dims)
{
    struct heard *h = ctx;
    bool is_any = false;
    BUG_ON(at >= EXPECTED || !dims || dims > LIMIT_EMBED_DIMS_COUNT);
    for (unsigned i = 0; i < dims; i++) {
        BUG_ON(!isfinite(values[i]));
        is_any |= values[i] != 0;
        h->sum += (double)values[i];
    }
    BUG_ON(!is_any);
    h->vectors++;
}

static void on_bad(void *ctx, size_t at, const char *why)
{
    (void)ctx;
    BUG_ON(at >= EXPECTED || !why || !*why);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static float scratch[LIMIT_EMBED_DIMS_COUNT];
    struct span body = span_of((const char *)data, size);
    struct heard heard[2] = {{0, 0}, {0, 0}};
    struct embed_answer answer[2];
    int rc[2];
    for (size_t i = 0; i < 2; i++) {
        const struct embed_items items = {on_vector, on_bad, &heard[i]};
        rc[i] = embed_read(body, EXPECTED, scratch, &items, &answer[i]);
        BUG_ON(rc[i] != 0 && rc[i] != -ERR_UPSTREAM);
    }
    BUG_ON(rc[0] != rc[1] || heard[0].vectors != heard[1].vectors);
    BUG_ON(heard[0].sum < heard[1].sum || heard[0].sum > heard[1].sum);
    BUG_ON(embed_retry_delay(body) < -1);
    return 0;
}
