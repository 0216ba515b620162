/* headwater search SOURCE "QUERY" and headwater sources */
#include "app/client.h"
#include "app/cmd_util.h"
#include "app/options.h"
#include "base/limits.h"
#include "base/mem.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define HIT_LINES_COUNT 6 /* of a passage, in the table */

/* The whole answer on one line, as the server gave it. */
static int print_json(struct terminal *t, const json_t *body, struct err *err)
{
    char *text = json_dumps(body, JSON_COMPACT);
    if (!text)
        return err_set(err, ERR_NO_MEMORY, "no memory to print the answer");
    int r = terminal_write(t, span_str(text), err);
    mem_free(text);
    return r < 0 ? r : terminal_write(t, SPAN_LIT("\n"), err);
}

static void put_terms(struct buf *out, const json_t *hit)
{
    const json_t *term;
    size_t i;
    json_array_foreach(json_object_get(hit, "terms"), i, term)
    {
        buf_printf(out, "%s%s %.3f", i ? ", " : "    because: ", json_str(term, "term", "?"),
                   json_num(term, "weight", 0));
    }
    if (i)
        buf_putc(out, '\n');
}

/* Which search found the hit, when there was one by vectors too. */
static void put_ranks(struct buf *out, const json_t *hit)
{
    int64_t words = json_int(hit, "word_rank", 0), vector = json_int(hit, "vector_rank", 0);
    if (vector && words)
        buf_printf(out, "    found: %lld. by words, %lld. by vectors\n", (long long)words,
                   (long long)vector);
    else if (vector)
        buf_printf(out, "    found: %lld. by vectors, by no word\n", (long long)vector);
}

static void put_hit(struct buf *out, size_t rank, const json_t *hit, bool explain)
{
    const char *symbol = json_str(hit, "symbol", "");
    buf_printf(out, "%2zu  %.3f  ", rank, json_num(hit, "score", 0));
    put_citation(out, json_str(hit, "path", "?"), json_int(hit, "start", 0),
                 json_int(hit, "end", 0));
    buf_printf(out, "%s%s\n", symbol[0] ? "  " : "", symbol);
    struct span rest = json_span(json_object_get(hit, "text")), line;
    int count = 0;
    while (count < HIT_LINES_COUNT && span_next(&rest, '\n', &line)) {
        if (!span_trim(line).len)
            continue;
        buf_puts(out, "    | ");
        buf_put_span(out, span_first(line, 160));
        buf_putc(out, '\n');
        count++;
    }
    if (explain) {
        put_ranks(out, hit);
        put_terms(out, hit);
    }
}

static int print_hits(struct terminal *t, const json_t *body, bool explain, struct err *err)
{
    struct buf out = BUF_INIT(4 * LIMIT_HTTP_BODY);
    const char *note = json_str(body, "note", "");
    const json_t *hit;
    size_t i;
    json_array_foreach(json_object_get(body, "hits"), i, hit) put_hit(&out, i + 1, hit, explain);
    if (!i)
        buf_puts(&out, "nothing found\n");
    if (note[0])
        buf_printf(&out, "note: %s\n", note);
    int r = buf_failed(&out) ? err_set(err, ERR_NO_MEMORY, "no memory to print the hits")
                             : terminal_write_foreign(t, buf_span(&out), err);
    buf_done(&out);
    return r;
}

static int search(const struct options *o, struct client *client, struct err *err)
{
    struct terminal t;
    terminal_init(&t, true);
    struct source_operand source;
    int r = source_operand_read(o, &source, err);
    struct buf request = BUF_INIT(LIMIT_HTTP_BODY);
    struct json_writer w = json_writer(&request);
    jw_obj(&w);
    put_source_operand(&w, "source", &source);
    jw_kstr(&w, "query", options_operand(o, 1));
    jw_kint(&w, "k", (int64_t)option_u64(o, OPT_K));
    jw_kbool(&w, "explain", option_bool(o, OPT_EXPLAIN));
    put_filters(&w, o);
    jw_end_obj(&w);
    json_t *body = NULL;
    source_operand_done(&source);
    if (r == 0)
        r = buf_failed(&request) ? err_set(err, ERR_NO_MEMORY, "no memory for the query")
                                 : client_post(client, "cannot search", "/v1/search",
                                               buf_span(&request), &body, err);
    if (r == 0)
        r = option_bool(o, OPT_JSON) ? print_json(&t, body, err)
                                     : print_hits(&t, body, option_bool(o, OPT_EXPLAIN), err);
    json_decref(body);
    buf_done(&request);
    return r;
}

int cmd_search(const struct options *o, struct err *err)
{
    struct client *client = NULL;
    int r = client_open(o, &client, err);
    if (r == 0)
        r = search(o, client, err);
    client_close(client);
    return exit_code_of(r);
}

/* ---- sources ---- */

static int print_sources(struct terminal *t, const json_t *body, struct err *err)
{
    struct buf out = BUF_INIT(4 * LIMIT_HTTP_BODY), size = BUF_INIT(64);
    const json_t *row, *rows = json_object_get(body, "sources");
    size_t i;
    if (json_array_size(rows))
        buf_printf(&out, "%-24s %-9s %8s %9s %10s %8s  %s\n", "NAME", "STATE", "FILES", "PASSAGES",
                   "SIZE", "SKIPPED", "LOCATION");
    else
        buf_puts(&out, "nothing indexed yet; begin with 'headwater index .'\n");
    json_array_foreach(rows, i, row)
    {
        int64_t bytes = json_int(row, "bytes", 0);
        const char *error = json_str(row, "error", "");
        buf_clear(&size);
        put_bytes_for_people(&size, bytes > 0 ? (uint64_t)bytes : 0);
        out.failed = out.failed || buf_failed(&size);
        buf_printf(&out, "%-24s %-9s %8" PRId64 " %9" PRId64 " %10s %8" PRId64 "  %s\n",
                   json_str(row, "name", "?"), json_str(row, "state", "?"),
                   json_int(row, "files", 0), json_int(row, "chunks", 0), buf_str(&size),
                   json_int(row, "skipped", 0), json_str(row, "location", ""));
        if (error[0])
            buf_printf(&out, "    error: %s\n", error);
    }
    int r = buf_failed(&out) ? err_set(err, ERR_NO_MEMORY, "no memory to print the sources")
                             : terminal_write_foreign(t, buf_span(&out), err);
    buf_done(&size);
    buf_done(&out);
    return r;
}

/* Sources are removed by id: a name may have slashes. */
static int remove_source(const char *name, struct client *client, const json_t *list,
                         struct terminal *t, struct err *err)
{
    const json_t *row, *found = NULL;
    json_t *answer = NULL;
    size_t i;
    json_array_foreach(json_object_get(list, "sources"), i,
                       row) if (!strcmp(json_str(row, "name", ""), name) ||
                                !strcmp(json_str(row, "id", ""), name) ||
                                !strcmp(json_str(row, "location", ""), name)) found =
        found ? found : row;
    if (!found) {
        err_set(err, ERR_NOT_FOUND, "no source '%s'", name);
        err_hint(err, "'headwater sources' lists them");
        return -ERR_NOT_FOUND;
    }
    char path[256];
    snprintf(path, sizeof path, "/v1/sources/%s", json_str(found, "id", ""));
    int r = client_delete(client, "cannot remove the source", path, &answer, err);
    json_decref(answer);
    struct buf out = BUF_INIT(4096);
    buf_printf(&out, "removed %s\n", json_str(found, "name", "?"));
    if (r == 0)
        r = terminal_write_foreign(t, buf_span(&out), err);
    buf_done(&out);
    return r;
}

int cmd_sources(const struct options *o, struct err *err)
{
    struct client *client = NULL;
    struct terminal t;
    json_t *body = NULL;
    terminal_init(&t, true);
    int r = client_open(o, &client, err);
    if (r == 0)
        r = client_get(client, "cannot list the sources", "/v1/sources", &body, err);
    if (r == 0 && option_str(o, OPT_REMOVE))
        r = remove_source(option_str(o, OPT_REMOVE), client, body, &t, err);
    else if (r == 0)
        r = option_bool(o, OPT_JSON) ? print_json(&t, body, err) : print_sources(&t, body, err);
    json_decref(body);
    client_close(client);
    return exit_code_of(r);
}
