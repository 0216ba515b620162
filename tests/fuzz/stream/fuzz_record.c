/* Record parser: any bytes; what parses, encodes to the same bytes; split anywhere it is torn, not damaged. */
#include "base/bug.h"
#include "stream/record.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_again(const struct record *r, struct span bytes)
{
    BUG_ON(record_size(r) != bytes.len);
    char *copy = malloc(bytes.len);
    if (!copy)
        return;
    BUG_ON(record_put(copy, r) != bytes.len || memcmp(copy, bytes.ptr, bytes.len) != 0);
    struct span rest = span_of(copy, bytes.len - 1);
    struct record again;
    BUG_ON(record_next(&rest, &again) != RECORD_TORN);
    rest = span_of(copy, bytes.len);
    BUG_ON(!record_next_checked(&rest, &again) || again.seq != r->seq || rest.len);
    free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span all = span_of((const char *)data, size), rest = all;
    struct record r;
    struct record_open open;
    uint64_t last;
    for (;;) {
        const char *at = rest.ptr;
        size_t before = rest.len;
        enum record_result result = record_next(&rest, &r);
        if (result != RECORD_OK) {
            BUG_ON(rest.len != before || (result == RECORD_END) != (before == 0));
            break;
        }
        check_again(&r, span_of(at, before - rest.len));
        if (r.type == RECORD_OPEN && record_open_parse(r.payload, &open)) {
            char copy[RECORD_OPEN_MAX_BYTES];
            BUG_ON(record_open_put(copy, &open) != r.payload.len);
        }
    }
    (void)record_open_parse(all, &open);
    (void)record_check_run(all, 1, &last);
    return 0;
}
