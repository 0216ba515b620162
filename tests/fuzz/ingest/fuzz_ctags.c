/* Any bytes as ctags' output, for two files; then chunks from what was believed. */
#include "../../unit/ingest/chunk_check.h"
#include "base/bug.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct span text =
        SPAN_INIT("namespace n {\nclass A {\n// c\nvoid f() {\n\n}\n};\n}\n");
    struct symbols_job jobs[2] = {{.text = text, .lang = language_named(SPAN_LIT("cpp"))},
                                  {.text = text, .lang = language_named(SPAN_LIT("go"))}};
    struct chunk_set set = {0};
    BUG_ON(symbols_ctags_parse(jobs, 2, span_of((const char *)data, size)) != 0);
    for (int i = 0; i < 2; i++) {
        BUG_ON(chunk_text(&set, text, jobs[i].lang, &jobs[i].symbols) != 0);
        const char *broken = chunk_check(&set, text);
        if (broken)
            bug_abort(__FILE__, __LINE__, broken);
        symbols_done(&jobs[i].symbols);
    }
    chunk_done(&set);
    return 0;
}
