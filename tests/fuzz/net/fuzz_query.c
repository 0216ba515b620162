/* Query strings: "name\0query". Decoding never grows the text. */
#include "base/bug.h"
#include "base/mem.h"
#include "net/http.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *end = size ? memchr(data, 0, size) : NULL;
    if (!end)
        return 0;
    struct span query = span_of((const char *)end + 1, size - (size_t)(end - data) - 1);
    struct buf out = BUF_INIT(1 << 20);
    if (http_query_get(query, (const char *)data, &out))
        BUG_ON(out.len > query.len);
    buf_clear(&out);
    if (http_percent_decode(query, false, &out))
        BUG_ON(out.len > query.len);
    buf_done(&out);
    return 0;
}
