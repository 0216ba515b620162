/* Any text, cut anywhere: the same text and the same citations come out. */
#include "../../unit/engine/cite_check.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0 || size > 8192)
        return 0;
    struct span text = span_of((const char *)data + 1, size - 1);
    struct scan whole, cut;
    if (scan_run_all(&whole, text, 1u << 20, 0) < 0 ||
        scan_run_all(&cut, text, data[0] % 8, data[0]) < 0)
        abort();
    if (!span_eq(buf_span(&whole.text), text) || !span_eq(buf_span(&cut.text), text) ||
        !span_eq(buf_span(&whole.log), buf_span(&cut.log)))
        abort();
    scan_done(&whole);
    scan_done(&cut);
    return 0;
}
