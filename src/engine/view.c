/* Looking at a source without an answer: search hits and lines of files, always from the stored index. */
#include "engine/engine_priv.h"

#include "base/hash.h"
#include "base/mem.h"
#include "index/vectors.h"
#include "text/lines.h"
#include "text/utf8.h"

#include <stdio.h>

#define EXPLAIN_TERMS_MAX 16
#define FILE_LINES_MAX 2000

/*
 * An index to search now, or ENGINE_WAITS. A caller who may name any path (the command line) waits for changes to be indexed;
 * others get what there is while it is renewed behind them. *ret_note: what to say beside the hits, or "".
 */
static int index_for_search(struct engine *e, const struct engine_caller *who, const char *id,
                            const struct index_ask *ask, struct index_waiter *wait,
                            struct index **ret, char note[640], struct err *err)
{
    note[0] = 0;
    if (wait->is_over) { /* whatever came of it: the newest there is */
        *ret = source_any_index(e, id);
        if (*ret && wait->result < 0)
            snprintf(note, 640,
                     "The source could not be indexed again (%s); these are from the last index.",
                     wait->why.msg[0] ? wait->why.msg : "it was stopped");
    } else {
        *ret = source_fresh_index(e, id, NULL);
        if (*ret)
            return 0;
        *ret = who->is_trusted ? NULL : source_any_index(e, id);
        int r = indexing_start(e, id, ask, *ret ? NULL : wait, NULL, err);
        if (!*ret)
            return r < 0 ? r : ENGINE_WAITS;
    }
    if (*ret) {
        struct index_stats stats;
        index_stats(*ret, &stats);
        if (!note[0] && !stats.fingerprint[0])
            snprintf(note, 640,
                     "Some files of this source are not indexed yet; these are from "
                     "those that are.");
        return 0;
    }
    *err = wait->why;
    int r = wait->result < 0 && wait->result != -ERR_CANCELLED
                ? wait->result
                : err_set(err, ERR_UNAVAILABLE,
                          wait->result < 0 ? "the indexing of this source was stopped"
                                           : "the index of this source cannot be opened");
    if (!err->hint[0])
        err_hint(err, "'headwater index --report' on the source says why");
    return r;
}

static void put_terms(struct json_writer *w, const struct index *ix, struct span query,
                      uint32_t chunk)
{
    struct index_term_weight terms[EXPLAIN_TERMS_MAX];
    int n = index_explain(ix, query, chunk, terms, EXPLAIN_TERMS_MAX);
    jw_key(w, "terms");
    jw_arr(w);
    for (int i = 0; i < n; i++) {
        jw_obj(w);
        jw_kstr(w, "term", terms[i].term);
        jw_key(w, "weight");
        jw_num(w, (double)terms[i].weight);
        jw_end_obj(w);
    }
    jw_end_arr(w);
}

static void put_rank(struct json_writer *w, const char *key, uint32_t rank)
{
    jw_key(w, key);
    if (rank)
        jw_int(w, rank);
    else
        jw_null(w);
}

static void put_hit(struct json_writer *w, const struct passage *p, const struct search_request *q)
{
    jw_obj(w);
    jw_kspan(w, "path", p->path);
    jw_kint(w, "start", p->start_line);
    jw_kint(w, "end", p->end_line);
    jw_kspan(w, "symbol", p->symbol);
    jw_kspan(w, "language", p->language);
    jw_key(w, "score");
    jw_num(w, (double)p->score);
    jw_kspan(w, "text", p->text);
    if (q->explain) {
        put_rank(w, "word_rank", p->word_rank);
        put_rank(w, "vector_rank", p->vector_rank);
        put_terms(w, p->index, q->query, p->chunk);
    }
    jw_end_obj(w);
}

int engine_search_json(struct engine *e, const struct engine_caller *who,
                       const struct search_request *q, struct index_waiter *wait, struct buf *out,
                       struct err *err)
{
    char id[STORE_ID_MAX], note[640];
    struct index *ix = NULL;
    struct passages found = {0};
    struct vector_leg *leg = NULL;
    float *vector = NULL;
    struct index_ask ask = {0};
    int r =
        source_resolve_wanted(e, who, q->source, &q->access, SPAN_NULL, &q->filters, id, &ask, err);
    if (r == 0)
        r = index_for_search(e, who, id, &ask, wait, &ix, note, err);
    index_ask_done(&ask);
    struct retrieval_options o = {
        .max_passages = q->k, .token_budget = SIZE_MAX, .max_per_file = q->k};
    if (r == 0 && (leg = source_leg(e, id, ix)) && vector_leg_dims(leg)) {
        r = question_ask(e, wait, q->query, vector_leg_dims(leg));
        if (r == ENGINE_WAITS) { /* wait and out may be gone: another worker has them */
            vector_leg_unref(leg);
            index_unref(ix);
            return r;
        }
        vector = question_vector(e, q->query, vector_leg_dims(leg));
        if (!vector && !note[0])
            snprintf(note, 640, "Searched by words only: the query has no vector (%s).",
                     wait->question_why[0] ? wait->question_why : "it was let go");
        retrieve_by_vectors(&o, leg, vector);
    }
    if (r == 0)
        r = retrieval_search(ix, q->query, &o, &found, err);
    if (r == 0) {
        struct json_writer w = json_writer(out);
        jw_obj(&w);
        jw_key(&w, "hits");
        jw_arr(&w);
        for (size_t i = 0; i < found.count; i++)
            put_hit(&w, &found.items[i], q);
        jw_end_arr(&w);
        jw_kstr(&w, "note", note[0] ? note : found.note);
        jw_end_obj(&w);
        passages_done(&found);
        if (buf_failed(out))
            r = err_set(err, ERR_TOO_LARGE, "these passages are too long to show; ask for fewer");
    }
    mem_free(vector);
    vector_leg_unref(leg);
    index_unref(ix);
    return r;
}

static void put_lines(struct buf *out, const struct index_file_view *f, uint32_t start,
                      uint32_t end, uint32_t total, const char *revision)
{
    struct span text = lines_slice(f->text, start, end);
    char hash[SHA256_HEX];
    sha256_hex(text.ptr, text.len, hash);
    struct json_writer w = json_writer(out);
    jw_obj(&w);
    jw_kspan(&w, "path", f->path);
    jw_kspan(&w, "language", f->language);
    jw_kstr(&w, "revision", revision);
    jw_kint(&w, "start", start);
    jw_kint(&w, "end", end);
    jw_kint(&w, "total_lines", total);
    jw_kstr(&w, "hash", hash);
    jw_kspan(&w, "text", text);
    jw_end_obj(&w);
}

int engine_file_json(struct engine *e, const struct engine_caller *who, struct span source,
                     struct span path, uint32_t start, uint32_t end, struct buf *out,
                     struct err *err)
{
    char id[STORE_ID_MAX];
    int r = source_resolve(e, who, source, SPAN_NULL, id, err);
    if (r < 0)
        return r;
    struct index *ix = source_any_index(e, id);
    struct index_file_view f;
    if (!ix || !index_file_by_path(ix, path, &f)) {
        index_unref(ix);
        return err_set(err, ERR_NOT_FOUND, "no file '" SPAN_FMT "' is indexed in this source",
                       SPAN_ARG(span_first(path, utf8_cut(path, 200))));
    }
    struct index_stats stats;
    index_stats(ix, &stats);
    uint32_t total = lines_count(f.text);
    if (!start)
        start = 1;
    if (end > total)
        end = total;
    if (total && start > end) {
        r = err_set(err, ERR_INVALID, "'" SPAN_FMT "' has %u lines",
                    SPAN_ARG(span_first(path, utf8_cut(path, 200))), total);
    } else {
        if (end > start && end - start >= FILE_LINES_MAX)
            end = start + FILE_LINES_MAX - 1;
        put_lines(out, &f, start, end, total, stats.revision);
        if (buf_failed(out))
            r = err_set(err, ERR_TOO_LARGE, "these lines are too long to show");
    }
    index_unref(ix);
    return r;
}
