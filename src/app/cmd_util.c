#include "app/cmd_util.h"

#include "base/mem.h"

#include <inttypes.h>
#include <stdlib.h>

char *source_operand(const char *word)
{
    char *real = realpath(word, NULL);
    char *copy = real ? mem_try_strndup(real, strlen(real)) : mem_try_strndup(word, strlen(word));
    mem_free(real);
    return copy;
}

int exit_code_of(int result)
{
    if (result == -ERR_CANCELLED)
        return EXIT_INTERRUPTED;
    return result < 0 ? EXIT_FAILED : EXIT_OK;
}

void put_json(struct json_writer *w, const json_t *value)
{
    char *text = value ? json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
    if (text)
        jw_raw(w, span_str(text));
    else
        jw_null(w);
    w->out->failed = w->out->failed || (value && !text);
    mem_free(text);
}

static void put_list(struct json_writer *w, const struct options *o, const char *key,
                     enum option_id id)
{
    if (!option_count(o, id))
        return;
    jw_key(w, key);
    jw_arr(w);
    for (size_t i = 0; i < option_count(o, id); i++)
        jw_str(w, option_item(o, id, i));
    jw_end_arr(w);
}

void put_filters(struct json_writer *w, const struct options *o)
{
    put_list(w, o, "include", OPT_INCLUDE);
    put_list(w, o, "exclude", OPT_EXCLUDE);
}

void put_citation(struct buf *out, const char *path, int64_t start, int64_t end)
{
    buf_puts(out, path);
    if (start > 0)
        buf_printf(out, "#L%" PRId64 "-L%" PRId64, start, end);
}
