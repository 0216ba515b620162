/* headwater ask SOURCE "QUESTION" */
#include "app/client.h"
#include "app/cmd_util.h"
#include "app/options.h"
#include "base/limits.h"
#include "base/mem.h"

#include <string.h>

#define CITATIONS_MAX_COUNT 4096u

struct ask {
    struct terminal terminal;
    bool is_json;
    struct buf answer;
    json_t *citations; /* owned; array of what citation events held */
    json_t *usage;     /* owned; or NULL */
    struct err *err;
};

static int on_token(struct ask *a, const json_t *data)
{
    struct span text = json_span(json_object_get(data, "text"));
    buf_put_span(&a->answer, text);
    if (buf_failed(&a->answer))
        return err_set(a->err, ERR_TOO_LARGE, "the answer is larger than %u bytes",
                       LIMIT_HTTP_BODY);
    return a->is_json ? 0 : terminal_write_foreign(&a->terminal, text, a->err);
}

/* Another provider begins the answer again: what was printed cannot be taken back, so it is said. */
static int on_reset(struct ask *a)
{
    static const struct span note =
        SPAN_INIT("\n\n[The model's connection failed. The answer begins again:]\n\n");
    buf_clear(&a->answer);
    json_array_clear(a->citations);
    return a->is_json ? 0 : terminal_write_foreign(&a->terminal, note, a->err);
}

static int on_event(void *ctx, const struct client_event *e)
{
    struct ask *a = ctx;
    if (span_is(e->type, "token"))
        return on_token(a, e->data);
    if (span_is(e->type, "reset"))
        return on_reset(a);
    if (span_is(e->type, "status")) {
        if (!a->answer.len) /* later it would tear the text apart on a terminal */
            terminal_progress(&a->terminal, e->data);
    } else if (span_is(e->type, "citation")) {
        if (json_array_size(a->citations) < CITATIONS_MAX_COUNT &&
            json_array_append_new(a->citations, json_deep_copy(e->data)) < 0)
            return err_set(a->err, ERR_NO_MEMORY, "no memory for a citation");
    } else if (span_is(e->type, "usage")) {
        json_decref(a->usage);
        a->usage = json_deep_copy(e->data);
        if (!a->usage)
            return err_set(a->err, ERR_NO_MEMORY, "no memory for the usage");
    }
    return 0;
}

/* A verified citation that the text itself carries needs no second line. */
static bool is_inline(const struct ask *a, const char *label, const char *state)
{
    return !strcmp(state, "verified") && span_find(buf_span(&a->answer), span_str(label)) >= 0;
}

static int print_sources(struct ask *a)
{
    struct buf out = BUF_INIT(LIMIT_HTTP_BODY), label = BUF_INIT(8192);
    size_t i;
    const json_t *c;
    bool is_first = true;
    json_array_foreach(a->citations, i, c)
    {
        const char *state = json_str(c, "state", "unsupported");
        buf_clear(&label);
        put_citation(&label, json_str(c, "path", "?"), json_int(c, "start", 0),
                     json_int(c, "end", 0));
        out.failed = out.failed || buf_failed(&label);
        if (is_inline(a, buf_str(&label), state))
            continue;
        buf_printf(&out, "%s  [%d] %s  %s\n", is_first ? "\nSources:\n" : "",
                   (int)json_int(c, "n", (int64_t)i + 1), buf_str(&label), state);
        is_first = false;
    }
    int r = buf_failed(&out) ? err_set(a->err, ERR_NO_MEMORY, "no memory to print the sources")
                             : terminal_write_foreign(&a->terminal, buf_span(&out), a->err);
    buf_done(&label);
    buf_done(&out);
    return r;
}

static int print_text_end(struct ask *a)
{
    bool ends_line = a->answer.len && a->answer.ptr[a->answer.len - 1] == '\n';
    int r = a->answer.len && !ends_line ? terminal_write(&a->terminal, SPAN_LIT("\n"), a->err) : 0;
    return r < 0 ? r : print_sources(a);
}

static int print_json(struct ask *a, const struct client_end *end)
{
    struct buf out = BUF_INIT(4 * LIMIT_HTTP_BODY);
    struct json_writer w = json_writer(&out);
    jw_obj(&w);
    jw_kspan(&w, "answer", buf_span(&a->answer));
    jw_key(&w, "citations");
    jw_arr(&w);
    size_t i;
    const json_t *c;
    json_array_foreach(a->citations, i, c)
    {
        jw_obj(&w);
        jw_kstr(&w, "path", json_str(c, "path", ""));
        jw_kint(&w, "start", json_int(c, "start", 0));
        jw_kint(&w, "end", json_int(c, "end", 0));
        jw_kstr(&w, "revision", json_str(c, "revision", ""));
        jw_kstr(&w, "state", json_str(c, "state", "unsupported"));
        jw_end_obj(&w);
    }
    jw_end_arr(&w);
    jw_key(&w, "usage");
    put_json(&w, a->usage);
    jw_kstr(&w, "provider", end->provider);
    jw_kstr(&w, "stream_id", end->stream_id);
    jw_end_obj(&w);
    buf_putc(&out, '\n');
    int r = buf_failed(&out) ? err_set(a->err, ERR_NO_MEMORY, "no memory to print the answer")
                             : terminal_write(&a->terminal, buf_span(&out), a->err);
    buf_done(&out);
    return r;
}

static int build_request(const struct options *o, struct buf *out, struct err *err)
{
    struct source_operand source;
    int r = source_operand_read(o, &source, err);
    struct json_writer w = json_writer(out);
    jw_obj(&w);
    put_source_operand(&w, "repo_url", &source);
    jw_key(&w, "messages");
    jw_arr(&w);
    jw_obj(&w);
    jw_kstr(&w, "role", "user");
    jw_kstr(&w, "content", options_operand(o, 1));
    jw_end_obj(&w);
    jw_end_arr(&w);
    if (!source.is_remote)
        jw_kstr(&w, "type", "local");
    if (option_str(o, OPT_PROVIDER))
        jw_kstr(&w, "provider", option_str(o, OPT_PROVIDER));
    if (option_str(o, OPT_MODEL))
        jw_kstr(&w, "model", option_str(o, OPT_MODEL));
    if (option_str(o, OPT_LANGUAGE))
        jw_kstr(&w, "language", option_str(o, OPT_LANGUAGE));
    if (option_source(o, OPT_K) != SOURCE_DEFAULT)
        jw_kint(&w, "k", (int64_t)option_u64(o, OPT_K));
    put_filters(&w, o);
    jw_end_obj(&w);
    source_operand_done(&source);
    return r == 0 && buf_failed(out) ? err_set(err, ERR_NO_MEMORY, "no memory for the question")
                                     : r;
}

static int ask(struct client *client, struct ask *a, struct span request)
{
    struct client_end end;
    int r =
        client_stream(client, "cannot answer", "/v1/answers", request, on_event, a, &end, a->err);
    terminal_clear(&a->terminal);
    struct err late; /* of printing, which must not hide why the answer failed */
    if (a->answer.len || r == 0) {
        struct err *first = a->err;
        a->err = r < 0 ? &late : first;
        int printed = a->is_json ? (r == 0 ? print_json(a, &end) : 0) : print_text_end(a);
        a->err = first;
        r = r < 0 ? r : printed;
    }
    if (r == 0 && end.was_stopped)
        return err_set(a->err, ERR_CANCELLED, "stopped; the answer up to here is kept as stream %s",
                       end.stream_id);
    return r;
}

int cmd_ask(const struct options *o, struct err *err)
{
    struct ask a = {.is_json = option_bool(o, OPT_JSON),
                    .answer = BUF_INIT(LIMIT_HTTP_BODY),
                    .citations = json_array(),
                    .err = err};
    struct buf request = BUF_INIT(LIMIT_HTTP_BODY);
    struct client *client = NULL;
    terminal_init(&a.terminal, option_bool(o, OPT_QUIET));
    int r = build_request(o, &request, err);
    if (r == 0)
        r = client_open(o, &client, err);
    if (r == 0)
        r = ask(client, &a, buf_span(&request));
    client_close(client);
    json_decref(a.usage);
    json_decref(a.citations);
    buf_done(&a.answer);
    buf_done(&request);
    return exit_code_of(r);
}
