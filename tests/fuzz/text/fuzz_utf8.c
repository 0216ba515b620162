/*
 * UTF-8 and token counts on any bytes: decoding goes back to the same bytes, a cut keeps its
 * promise.
 */
#include "base/bug.h"
#include "text/tokens.h"
#include "text/utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span text = span_of((const char *)data, size);
    bool is_valid = true;
    for (size_t i = 0; i < size;) {
        uint32_t cp = 0;
        size_t n = utf8_decode(span_skip(text, i), &cp);
        is_valid &= n > 0;
        if (n > 0) {
            char bytes[4];
            BUG_ON(utf8_encode(cp, bytes) != n || memcmp(bytes, text.ptr + i, n) != 0);
            (void)utf8_classify(utf8_fold(cp));
        }
        i += n ? n : 1;
    }
    BUG_ON(is_valid != utf8_is_valid(text));
    size_t all = tokens_estimate(text), max = size ? data[0] : 0;
    struct span cut = tokens_cut(text, max);
    BUG_ON(tokens_estimate(cut) > max || (all <= max && cut.len != size));
    BUG_ON(is_valid && !utf8_is_valid(cut));
    return 0;
}
