/* First line: a path; the rest: an ignore file. */
#include "ingest/ignore.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span rest = span_of((const char *)data, size), path = SPAN_NULL;
    struct ignore_list l = {0};
    (void)span_next(&rest, '\n', &path);
    if (path.len > 4096)
        path.len = 4096;
    if (ignore_add_text(&l, rest) == 0) {
        (void)ignore_match(&l, path, false);
        (void)ignore_match(&l, path, true);
    }
    ignore_done(&l);
    return 0;
}
