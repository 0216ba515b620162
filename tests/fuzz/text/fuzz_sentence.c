/* Sentences of any bytes: never empty, inside the text, in order, and the cutting ends. */
#include "base/bug.h"
#include "text/lines.h"
#include "text/sentence.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span text = span_of((const char *)data, size), rest = text, s;
    const char *at = text.ptr;
    while (sentence_next(&rest, &s)) {
        BUG_ON(s.len == 0 || s.ptr < at || s.ptr + s.len > text.ptr + text.len);
        at = s.ptr + s.len;
    }
    uint32_t lines = lines_count(text);
    BUG_ON(!span_eq(lines_slice(text, 1, lines), text));
    BUG_ON(lines > 0 && lines_slice(text, lines, lines).len == 0);
    BUG_ON(lines_slice(text, lines + 1, UINT32_MAX).len != 0);
    return 0;
}
