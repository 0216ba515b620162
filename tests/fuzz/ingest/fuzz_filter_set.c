/* First byte: which of DeepWiki's lists; the rest: the list. What comes out is canonical: read again as patterns it stays. */
#include "base/bug.h"
#include "base/limits.h"
#include "ingest/filter_set.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct filter_set s = {0};
    struct buf text = BUF_INIT(LIMIT_FILTERS_BYTES);
    struct filter_patterns p = {0};
    if (size == 0)
        return 0;
    struct span list = span_of((const char *)data + 1, size - 1);
    int r = filter_set_add_list(&s, (enum filter_kind)(data[0] % 4), list, NULL);
    if (r == 0 && filter_set_text(&s, true, &text, NULL) == 0) {
        struct span rest = buf_span(&text), line, before = SPAN_NULL;
        BUG_ON(filter_patterns_read(rest, &p) != 0);
        while (span_next(&rest, '\n', &line)) {
            if (!line.len && !rest.len)
                break; /* behind the last line end */
            BUG_ON(line.len < 2 || (line.ptr[0] != '+' && line.ptr[0] != '-'));
            BUG_ON(before.len && span_cmp(before, line) >= 0);
            before = line;
        }
    }
    filter_patterns_done(&p);
    filter_set_done(&s);
    buf_done(&text);
    return 0;
}
