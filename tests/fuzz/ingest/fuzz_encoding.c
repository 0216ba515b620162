/* Any bytes: what is decoded is UTF-8, and its language is one of the table's. */
#include "base/bug.h"
#include "ingest/encoding.h"
#include "ingest/filter.h"
#include "ingest/language.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf b = BUF_INIT(64u << 20);
    struct span text;
    if (!encoding_decode(span_of((const char *)data, size), &b, &text)) {
        BUG_ON(!encoding_is_utf8(text));
        const struct language *l = language_of(SPAN_LIT("script"), text);
        BUG_ON(!language_named(span_str(l->name)));
        (void)filter_content(text, span_str(l->name));
    }
    buf_done(&b);
    return 0;
}
