/* Any text as a notebook: the promises of chunk.h hold for the text of its cells. */
#include "../../unit/ingest/chunk_check.h"
#include "base/bug.h"
#include "ingest/notebook.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct chunk_set set = {0};
    struct symbol_list cells = {0};
    struct buf text = BUF_INIT(16u << 20);
    int r = notebook_text(span_of((const char *)data, size), &text, &cells);
    if (r > 0) {
        const struct language *l = language_named(SPAN_LIT("notebook"));
        BUG_ON(chunk_text(&set, buf_span(&text), l, &cells) != 0);
        const char *broken = chunk_check(&set, buf_span(&text));
        if (broken)
            bug_abort(__FILE__, __LINE__, broken);
    }
    symbols_done(&cells);
    chunk_done(&set);
    buf_done(&text);
    return 0;
}
