/*
 * Names of repositories. First line: the type, then the branch, then the name. Whatever is taken reads back as itself, and no text made of it holds
 * a line end or userinfo.
 */
#include "base/bug.h"
#include "fetch/source_name.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct source_name *n, struct span type)
{
    struct buf url = BUF_INIT(SOURCE_URL_MAX * 2), id = BUF_INIT(SOURCE_URL_MAX * 2),
               again = BUF_INIT(SOURCE_URL_MAX * 2);
    struct source_name back;
    char dir[SOURCE_DIR_MAX];
    source_name_location(n, &url);
    source_name_identity(n, &id);
    source_name_title(n, &again);
    source_name_dir(n, dir);
    BUG_ON(strchr(dir, '/') || dir[0] == '.');
    BUG_ON(buf_failed(&url) || span_find_char(buf_span(&url), '\n') >= 0 || url.ptr[0] == '-');
    BUG_ON(source_name_parse(buf_span(&url), type, SPAN_NULL, &back, NULL) != 0);
    BUG_ON(back.secret[0] || back.user[0]);
    buf_clear(&again);
    source_name_identity(&back, &again);
    BUG_ON(!span_eq(buf_span(&again), buf_span(&id)));
    buf_done(&url);
    buf_done(&id);
    buf_done(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span rest = span_of((const char *)data, size), type = SPAN_NULL, branch = SPAN_NULL;
    struct source_name n;
    struct err err;
    if (!span_next(&rest, '\n', &type) || !span_next(&rest, '\n', &branch))
        return 0;
    if (source_name_parse(rest, type, branch, &n, &err) == 0)
        check(&n, type);
    return 0;
}
