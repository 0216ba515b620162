/* First byte: the language; the rest: a text. The promises of chunk.h hold for all. */
#include "../../unit/ingest/chunk_check.h"
#include "base/bug.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct chunk_set set = {0};
    struct buf b = BUF_INIT(64u << 20);
    size_t count = 0;
    while (language_at(count))
        count++;
    if (size == 0)
        return 0;
    encoding_put_lossy(&b, span_of((const char *)data + 1, size - 1));
    const struct language *l = language_at(data[0] % count);
    BUG_ON(chunk_text(&set, buf_span(&b), l, NULL) != 0);
    const char *broken = chunk_check(&set, buf_span(&b));
    if (broken)
        bug_abort(__FILE__, __LINE__, broken);
    chunk_done(&set);
    buf_done(&b);
    return 0;
}
