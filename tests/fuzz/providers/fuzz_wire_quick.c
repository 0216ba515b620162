/*
 * Any bytes as one chunk of a stream. What the quick reader takes as plain text must be that to jansson too: the same text,
 * and nothing else in the chunk that the full reader would have acted on.
 */
#include "base/bug.h"
#include "base/json.h"
#include "base/limits.h"
#include "providers/wire_priv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool is_unset(const json_t *v)
{
    return !v || json_is_null(v);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf scratch = BUF_INIT(LIMIT_WIRE_EVENT);
    struct span text = span_of((const char *)data, size), got = SPAN_NULL;
    if (wire_quick_openai(text, &scratch, &got)) {
        struct err err = {0};
        json_t *v = json_read(text, &err, NULL);
        const json_t *choices = json_object_get(v, "choices"), *c = json_array_get(choices, 0);
        const json_t *d = json_object_get(c, "delta");
        BUG_ON(!v && err.code != ERR_NO_MEMORY);
        if (v) {
            BUG_ON(json_array_size(choices) != 1 || !json_is_object(d));
            BUG_ON(!is_unset(json_object_get(v, "error")) ||
                   !is_unset(json_object_get(v, "usage")));
            BUG_ON(!is_unset(json_object_get(c, "finish_reason")) || json_object_get(c, "error"));
            BUG_ON(json_int(c, "index", 0) != 0 || json_object_get(c, "message"));
            static const char *const silent[] = {"reasoning", "reasoning_content",
                                                 "reasoning_details", "refusal"};
            for (size_t i = 0; i < ARRAY_LEN(silent); i++)
                BUG_ON(!is_unset(json_object_get(d, silent[i])));
            const json_t *content = json_object_get(d, "content");
            BUG_ON(!is_unset(content) && !json_is_string(content));
            BUG_ON(!span_eq(json_span(content), got));
        }
        json_decref(v);
    }
    buf_done(&scratch);
    return 0;
}
