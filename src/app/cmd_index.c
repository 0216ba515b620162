/* headwater index SOURCE */
#include "app/client.h"
#include "app/cmd_util.h"
#include "app/options.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/mem.h"
#include "ingest/filter_set.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define SKIPPED_PAGE_COUNT 500
#define PATH_TEXT_MAX 512

struct indexing {
    const struct options *o;
    struct client *client; /* owned */
    struct terminal terminal;
    struct source_operand source;
    struct err *err;
};

static int on_event(void *ctx, const struct client_event *e)
{
    struct indexing *x = ctx;
    if (span_is(e->type, "status"))
        terminal_progress(&x->terminal, e->data);
    return 0;
}

static int build_request(const struct indexing *x, struct buf *out)
{
    struct json_writer w = json_writer(out);
    jw_obj(&w);
    put_source_operand(&w, "source", &x->source);
    if (option_str(x->o, OPT_NAME))
        jw_kstr(&w, "name", option_str(x->o, OPT_NAME));
    if (option_bool(x->o, OPT_FORCE))
        jw_kbool(&w, "force", true);
    put_filters(&w, x->o);
    jw_end_obj(&w);
    return buf_failed(out) ? err_set(x->err, ERR_NO_MEMORY, "no memory for the request") : 0;
}

/* Is the source the one with these filters? The server lists them as they are written in their canonical text. */
static bool has_filters(const struct options *o, const json_t *row)
{
    struct filter_set set = {0};
    struct buf want = BUF_INIT(LIMIT_FILTERS_BYTES), got = BUF_INIT(LIMIT_FILTERS_BYTES);
    const json_t *line;
    size_t i;
    int r = 0;
    for (i = 0; r == 0 && i < option_count(o, OPT_INCLUDE); i++)
        r = filter_set_add_pattern(&set, true, span_str(option_item(o, OPT_INCLUDE, i)), NULL);
    for (i = 0; r == 0 && i < option_count(o, OPT_EXCLUDE); i++)
        r = filter_set_add_pattern(&set, false, span_str(option_item(o, OPT_EXCLUDE, i)), NULL);
    if (r == 0)
        r = filter_set_text(&set, false, &want, NULL);
    json_array_foreach(json_object_get(row, "filters"), i, line)
    {
        buf_put_span(&got, json_span(line));
        buf_putc(&got, '\n');
    }
    bool is_equal = r == 0 && span_eq(buf_span(&want), buf_span(&got));
    filter_set_done(&set);
    buf_done(&want);
    buf_done(&got);
    return is_equal;
}

/* The row of what was just indexed, borrowed from the list; NULL when it is not there. */
static const json_t *find_source(const struct indexing *x, const json_t *list)
{
    const char *name = option_str(x->o, OPT_NAME);
    const json_t *row, *by_location = NULL;
    size_t i;
    json_array_foreach(json_object_get(list, "sources"), i, row)
    {
        const char *row_name = json_str(row, "name", "");
        if (!strcmp(row_name, name ? name : x->source.text))
            return row;
        if (!strcmp(json_str(row, "location", ""), x->source.location) && has_filters(x->o, row))
            by_location = row;
    }
    return by_location;
}

static int put_skipped_page(const json_t *page, bool is_json, struct json_writer *w,
                            struct buf *out)
{
    const json_t *row;
    size_t i;
    json_array_foreach(json_object_get(page, "skipped"), i, row)
    {
        const char *path = json_str(row, "path", ""), *reason = json_str(row, "reason", "");
        if (is_json) {
            jw_obj(w);
            jw_kstr(w, "path", path);
            jw_kstr(w, "reason", reason);
            jw_end_obj(w);
        } else {
            buf_printf(out, "  %s: %s\n", path, reason);
        }
    }
    return (int)i;
}

/* All pages of the skipped files: lines, or items of the array that w stands in. */
static int put_skipped(struct indexing *x, const char *id, bool is_json, struct json_writer *w,
                       struct buf *out)
{
    for (int64_t offset = 0;;) {
        char path[PATH_TEXT_MAX];
        snprintf(path, sizeof path, "/v1/sources/%s/skipped?offset=%" PRId64 "&limit=%d", id,
                 offset, SKIPPED_PAGE_COUNT);
        json_t *page = NULL;
        int r = client_get(x->client, "cannot list the skipped files", path, &page, x->err);
        if (r < 0)
            return r;
        int count = put_skipped_page(page, is_json, w, out);
        offset += count;
        bool is_last = !count || offset >= json_int(page, "total", 0);
        json_decref(page);
        if (buf_failed(out))
            return err_set(x->err, ERR_TOO_LARGE, "the list of skipped files is too long to print");
        if (is_last)
            return 0;
    }
}

static void put_summary(struct buf *out, const json_t *row, uint64_t took_ms)
{
    const char *revision = json_str(row, "revision", "");
    buf_printf(out, "indexed %s: %" PRId64 " files, %" PRId64 " passages, ",
               json_str(row, "name", "?"), json_int(row, "files", 0), json_int(row, "chunks", 0));
    int64_t bytes = json_int(row, "bytes", 0);
    put_bytes_for_people(out, bytes > 0 ? (uint64_t)bytes : 0);
    buf_printf(out, ", %" PRId64 " skipped", json_int(row, "skipped", 0));
    if (revision[0])
        buf_printf(out, ", revision %.12s", revision);
    buf_printf(out, ", in %.1f s\n", (double)took_ms / 1000);
}

static int put_report(struct indexing *x, const json_t *row, uint64_t took_ms, struct buf *out)
{
    bool is_json = option_bool(x->o, OPT_JSON), has_report = option_bool(x->o, OPT_REPORT);
    const char *id = json_str(row, "id", "");
    struct json_writer w = json_writer(out);
    int r = 0;
    if (!is_json) {
        put_summary(out, row, took_ms);
        if (!has_report && json_int(row, "skipped", 0) > 0)
            buf_puts(out, "--report lists the skipped files\n");
        if (json_int(row, "files", 0) == 0)
            buf_puts(out, json_array_size(json_object_get(row, "filters"))
                              ? "note: no file is left to search; check the filters\n"
                              : "note: there is nothing to search in it\n");
        return has_report ? put_skipped(x, id, false, &w, out) : 0;
    }
    jw_obj(&w);
    jw_key(&w, "source");
    put_json(&w, row);
    if (has_report) {
        jw_key(&w, "skipped");
        jw_arr(&w);
        r = put_skipped(x, id, true, &w, out);
        jw_end_arr(&w);
    }
    jw_end_obj(&w);
    buf_putc(out, '\n');
    return r;
}

static int report(struct indexing *x, uint64_t took_ms)
{
    json_t *list = NULL;
    int r = client_get(x->client, "cannot read the list of sources", "/v1/sources", &list, x->err);
    if (r < 0)
        return r;
    const json_t *row = find_source(x, list);
    struct buf out = BUF_INIT(4 * LIMIT_HTTP_BODY);
    if (!row)
        r = err_set(x->err, ERR_NOT_FOUND, "indexed, but the server does not list '%s'",
                    x->source.location);
    else if (!strcmp(json_str(row, "state", ""), "failed"))
        r = err_set(x->err, ERR_INTERNAL, "cannot index '%s': %s", x->source.location,
                    json_str(row, "error", "the server gave no reason"));
    else
        r = put_report(x, row, took_ms, &out);
    if (r == 0 && buf_failed(&out))
        r = err_set(x->err, ERR_NO_MEMORY, "no memory to print the summary");
    if (r == 0)
        r = terminal_write_foreign(&x->terminal, buf_span(&out), x->err);
    buf_done(&out);
    json_decref(list);
    return r;
}

static int run(struct indexing *x, struct span request)
{
    struct client_end end;
    uint64_t began = clock_ms();
    int r =
        client_stream(x->client, "cannot index", "/v1/sources", request, on_event, x, &end, x->err);
    terminal_clear(&x->terminal);
    if (r == 0 && end.was_stopped)
        return err_set(x->err, ERR_CANCELLED, "stopped; run the command again to go on");
    return r < 0 ? r : report(x, clock_ms() - began);
}

int cmd_index(const struct options *o, struct err *err)
{
    struct indexing x = {.o = o, .err = err};
    struct buf request = BUF_INIT(LIMIT_HTTP_BODY);
    terminal_init(&x.terminal, option_bool(o, OPT_QUIET));
    int r = source_operand_read(o, &x.source, err);
    if (r == 0)
        r = build_request(&x, &request);
    if (r == 0)
        r = client_open(o, &x.client, err);
    if (r == 0)
        r = run(&x, buf_span(&request));
    client_close(x.client);
    source_operand_done(&x.source);
    buf_done(&request);
    return exit_code_of(r);
}
