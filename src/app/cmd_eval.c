/* headwater eval PACK */
#include "app/cmd_util.h"
#include "app/options.h"
#include "base/limits.h"
#include "base/mem.h"

#if __has_include("retrieval/eval.h")
#include "retrieval/eval.h"

static void put_report(struct buf *out, const json_t *report)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)report, key, value)
    {
        char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(4));
        buf_printf(out, "%-16s %s\n", key,
                   json_is_string(value) ? json_string_value(value)
                   : text                ? text
                                         : "?");
        mem_free(text);
    }
}

int cmd_eval(const struct options *o, struct err *err)
{
    struct terminal t;
    struct buf report = BUF_INIT(LIMIT_HTTP_BODY), table = BUF_INIT(LIMIT_HTTP_BODY);
    terminal_init(&t, true);
    struct eval_options e = {.run_file = option_str(o, OPT_RUN),
                             .vectors_file = option_str(o, OPT_VECTORS),
                             .depth = (unsigned)option_u64(o, OPT_DEPTH)};
    int r = eval_run(options_operand(o, 0), &e, &report, err);
    if (r == 0 && option_bool(o, OPT_JSON)) {
        buf_putc(&report, '\n');
        r = terminal_write(&t, buf_span(&report), err);
    } else if (r == 0) {
        json_t *body = json_read(buf_span(&report), err, NULL);
        if (body)
            put_report(&table, body);
        r = body ? terminal_write_foreign(&t, buf_span(&table), err) : -ERR_INTERNAL;
        json_decref(body);
    }
    buf_done(&table);
    buf_done(&report);
    return exit_code_of(r);
}
#else
int cmd_eval(const struct options *o, struct err *err)
{
    (void)o;
    err_set(err, ERR_UNSUPPORTED,
            "this build has no evaluation: it was made without retrieval/eval.h");
    return EXIT_FAILED;
}
#endif
