/* Any bytes as a configuration file: names stay clean, values bounded, no crash. */
#include "app/config_file.h"
#include "base/bug.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int take(void *ctx, unsigned line, struct span section, struct span name, struct span value,
                bool is_quoted, struct err *err)
{
    unsigned *last = ctx;
    (void)section;
    (void)err;
    BUG_ON(line < *last || !name.len || value.len > CONFIG_LINE_MAX);
    BUG_ON(!is_quoted && span_find_char(value, '\n') >= 0);
    *last = line;
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err err = {0};
    unsigned last = 0;
    int r = config_file_parse(span_of((const char *)data, size), "f", take, &last, &err);
    BUG_ON(r < 0 && strncmp(err.msg, "f:", 2) != 0);
    return 0;
}
