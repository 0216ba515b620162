/* Any bytes as the body of a failed request; the first two bytes choose status and room for the message. */
#include "base/bug.h"
#include "base/mem.h"
#include "providers/wire_priv.h"
#include "text/utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    size_t room = data[1];
    char *text = mem_alloc(room);
    struct span body = span_of((const char *)data + 2, size - 2);
    enum wire_error_class class = wire_classify(400 + data[0] % 150, body, text, room);
    BUG_ON(class == WIRE_ERROR_NONE);
    BUG_ON(room && !memchr(text, 0, room));
    BUG_ON(room && !utf8_is_valid(span_str(text)));
    mem_free(text);
    return 0;
}
