#include "retrieval/eval.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "index/lexical.h"
#include "retrieval/eval_priv.h"
#include "retrieval/retrieval_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define EVAL_FILE_MAX ((size_t)1 << 30) /* bytes of one file of a pack */
#define EVAL_SAMPLE_MAX (256u << 10)    /* bytes looked at to choose the analyser */
#define EVAL_SAMPLE_DOC 512u
#define EVAL_DEPTH_MAX 1000u

struct eval_doc {
    char *id; /* owned */
};

struct eval_file { /* documents of one path in a row */
    char *path;    /* owned; NULL: none begun */
    struct buf text;
    struct index_chunk_in *chunks; /* owned */
    char **titles;                 /* owned, as many */
    size_t count, cap;
    uint32_t line;
};

struct eval {
    char dir[512], path[540], vectors_path[540];
    struct eval_doc *docs; /* owned, in chunk order */
    size_t docs_count, docs_cap;
    struct eval_file file;
    struct index_builder *builder;
    struct index *ix;
    struct qrels qrels;
    struct eval_vectors vectors;
    struct vector_leg *leg; /* owned; NULL: words only */
    size_t queries_with_vector;
    enum analyzer analyzer;
    uint64_t build_cpu_ns;
    uint64_t *latencies_ns; /* owned, a query each */
    size_t queries_count, latencies_cap;
    struct eval_scores sum;
    FILE *run;
    unsigned depth;
    bool is_collapsed;
};

static int no_memory(struct err *err)
{
    return err_set(err, ERR_NO_MEMORY, "no memory to evaluate the pack");
}

static int read_whole(const char *path, struct buf *out, struct err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_errno(err, errno, "cannot open '%s'", path);
    int rc = 0;
    for (;;) {
        if (!buf_reserve(out, 1u << 20)) {
            rc = err_set(err, ERR_TOO_LARGE, "'%s' is too large or memory is short", path);
            break;
        }
        ssize_t got = read(fd, out->ptr + out->len, 1u << 20);
        if (got < 0)
            rc = err_errno(err, errno, "cannot read '%s'", path);
        if (got <= 0)
            break;
        out->len += (size_t)got;
    }
    close(fd);
    return rc;
}

static int read_file(const char *dir, const char *name, struct buf *out, struct err *err)
{
    char path[4096];
    int n = snprintf(path, sizeof path, "%s/%s", dir, name);
    if (n < 0 || (size_t)n >= sizeof path)
        return err_set(err, ERR_INVALID, "path of the pack is too long");
    return read_whole(path, out, err);
}

/* Next line as a JSON object with an id, NULL at the end or on an error (*rc). */
static json_t *next_object(struct span *rest, const char *name, unsigned *number, int *rc,
                           struct err *err)
{
    struct span line;
    while (rest->len && span_next(rest, '\n', &line)) {
        ++*number;
        line = span_trim(line);
        if (line.len == 0)
            continue;
        json_t *o = json_read(line, err, NULL);
        const char *id = o ? json_str(o, "id", NULL) : NULL;
        if (id && *id)
            return o;
        if (o)
            err_set(err, ERR_INVALID, "no \"id\"");
        json_decref(o);
        err_prefix(err, "%s line %u", name, *number);
        *rc = -ERR_INVALID;
        return NULL;
    }
    return NULL;
}

static void file_clear(struct eval_file *f)
{
    for (size_t i = 0; i < f->count; i++)
        mem_free(f->titles[i]);
    mem_free(f->path);
    f->path = NULL;
    f->count = 0;
    f->line = 1;
    buf_clear(&f->text);
}

static int flush_file(struct eval *e, struct err *err)
{
    struct eval_file *f = &e->file;
    if (!f->path)
        return 0;
    for (size_t i = 0; i < f->count; i++)
        f->chunks[i].symbol = span_str(f->titles[i]);
    struct index_file_in in = {
        .path = span_str(f->path),
        .text = buf_span(&f->text),
        .size = f->text.len,
        .chunks = f->chunks,
        .chunk_count = f->count,
    };
    uint64_t start = clock_cpu_ns();
    int rc = buf_failed(&f->text) ? no_memory(err) : index_builder_add(e->builder, &in, err);
    e->build_cpu_ns += clock_cpu_ns() - start;
    file_clear(f);
    return rc;
}

static bool grow(void *array_ptr, size_t *cap, size_t count, size_t size)
{
    if (count < *cap)
        return true;
    size_t more = *cap ? *cap * 2 : 64;
    void **array = array_ptr;
    void *p = mem_try_realloc(*array, more * size);
    if (!p)
        return false;
    *array = p;
    *cap = more;
    return true;
}

/* A document is a chunk: its title as heading and symbol, then its text. */
static bool append_chunk(struct eval *e, const json_t *o)
{
    struct eval_file *f = &e->file;
    size_t cap = f->cap;
    if (!grow(&f->chunks, &cap, f->count, sizeof *f->chunks) ||
        !grow(&f->titles, &f->cap, f->count, sizeof *f->titles))
        return false;
    struct span title = json_span(json_object_get(o, "title")),
                text = json_span(json_object_get(o, "text"));
    size_t start = f->text.len;
    buf_put_span(&f->text, title);
    buf_putc(&f->text, '\n');
    buf_put_span(&f->text, text);
    buf_putc(&f->text, '\n');
    char *copy = mem_try_strndup(title.ptr ? title.ptr : "", title.len);
    if (!copy || buf_failed(&f->text)) {
        mem_free(copy);
        return false;
    }
    f->titles[f->count] = copy;
    f->chunks[f->count++] = (struct index_chunk_in){
        .start_line = f->line, .end_line = f->line, .start = start, .len = f->text.len - start};
    f->line++;
    if (!grow(&e->docs, &e->docs_cap, e->docs_count, sizeof *e->docs))
        return false;
    char *id = mem_strdup(json_str(o, "id", ""));
    e->docs[e->docs_count++] = (struct eval_doc){id};
    return true;
}

static int add_document(struct eval *e, const json_t *o, struct err *err)
{
    const char *path = json_str(o, "path", "");
    struct eval_file *f = &e->file;
    bool is_same = f->path && *path && strcmp(path, f->path) == 0;
    int rc = is_same ? 0 : flush_file(e, err);
    if (rc < 0)
        return rc;
    if (!f->path)
        f->path = mem_strdup(path);
    return append_chunk(e, o) ? 0 : no_memory(err);
}

static int choose_analyzer(struct eval *e, struct span corpus, struct err *err)
{
    struct buf sample = BUF_INIT(EVAL_SAMPLE_MAX + EVAL_SAMPLE_DOC);
    unsigned number = 0;
    int rc = 0;
    json_t *o;
    while (sample.len < EVAL_SAMPLE_MAX &&
           (o = next_object(&corpus, "corpus.jsonl", &number, &rc, err))) {
        buf_put_span(&sample, span_first(json_span(json_object_get(o, "text")), EVAL_SAMPLE_DOC));
        json_decref(o);
    }
    e->analyzer = analyze_looks_like_code(buf_span(&sample)) ? ANALYZER_CODE : ANALYZER_PROSE;
    buf_done(&sample);
    return rc;
}

static int build_index(struct eval *e, const char *pack_dir, struct err *err)
{
    struct buf corpus CLEANUP(buf_done) = BUF_INIT(EVAL_FILE_MAX);
    int rc = read_file(pack_dir, "corpus.jsonl", &corpus, err);
    if (rc == 0)
        rc = choose_analyzer(e, buf_span(&corpus), err);
    struct index_build_options options = {.analyzer = e->analyzer};
    if (rc == 0)
        rc = index_builder_new(e->path, &options, &e->builder, err);
    struct span rest = buf_span(&corpus);
    unsigned number = 0;
    json_t *o;
    while (rc == 0 && (o = next_object(&rest, "corpus.jsonl", &number, &rc, err))) {
        rc = add_document(e, o, err);
        json_decref(o);
    }
    if (rc == 0)
        rc = flush_file(e, err);
    uint64_t start = clock_cpu_ns();
    if (rc == 0)
        rc = index_builder_finish(e->builder, err);
    e->build_cpu_ns += clock_cpu_ns() - start;
    index_builder_free(take_ptr(e->builder));
    return rc == 0 ? index_open(e->path, &e->ix, err) : rc;
}

/* The vectors of the documents go the way they go in the program: hashed by text, through a file. */
static int fill_vectors(struct eval *e, struct vectors *v, struct err *err)
{
    struct buf text CLEANUP(buf_done) = BUF_INIT(EVAL_FILE_MAX);
    struct index_chunk_view chunk;
    int rc = 0;
    for (uint32_t c = 0; rc == 0 && index_chunk(e->ix, c, &chunk); c++) {
        const float *values = map_get(&e->vectors.documents, span_str(e->docs[c].id));
        if (!values)
            continue;
        buf_clear(&text);
        vector_chunk_text(&chunk, &text);
        rc = buf_failed(&text)
                 ? no_memory(err)
                 : vectors_add(v, vector_hash_of(buf_span(&text)), values, e->vectors.dims, err);
    }
    return rc;
}

static int build_leg(struct eval *e, const char *file, struct err *err)
{
    struct buf text CLEANUP(buf_done) = BUF_INIT(EVAL_FILE_MAX);
    struct vectors *v = NULL;
    int rc = read_whole(file, &text, err);
    if (rc == 0 && (rc = eval_vectors_parse(buf_span(&text), &e->vectors, err)) < 0)
        err_prefix(err, "'%s'", file);
    if (rc == 0)
        rc = vectors_open(e->vectors_path, "eval", &v, err);
    if (rc == 0)
        rc = fill_vectors(e, v, err);
    if (rc == 0)
        rc = vector_leg_new(v, e->ix, &e->leg, err);
    vectors_close(v);
    return rc;
}

/* Hits of the query in the order of `ret`: of words, and of its vector where it has one. */
static int search(struct eval *e, const char *id, struct span text, struct fused_hit *ret)
{
    struct index_hit hits[EVAL_DEPTH_MAX];
    int n = rank_hits(e->ix, text, hits, e->depth);
    if (n < 0)
        return n;
    struct fuse_query q = {.dims = e->vectors.dims};
    q.vector = e->leg ? map_get(&e->vectors.queries, span_str(id)) : NULL;
    q.leg = q.vector ? e->leg : NULL;
    e->queries_with_vector += q.vector != NULL;
    n = fuse_with_leg(&q, hits, (unsigned)n, ret);
    return n > (int)e->depth ? (int)e->depth : n;
}

struct ranked {
    const char *doc;
    float score;
};

/* trec_eval's order: score descending, then document id descending. */
static int compare_ranked(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    if (x->score > y->score || x->score < y->score)
        return x->score > y->score ? -1 : 1;
    return -strcmp(x->doc, y->doc);
}

static struct span collapsed_id(const struct eval *e, const char *doc)
{
    struct span id = span_str(doc);
    ptrdiff_t at = e->is_collapsed ? span_find_char(id, '#') : -1;
    return at >= 0 ? span_first(id, (size_t)at) : id;
}

static bool is_listed(const struct span *list, size_t count, struct span id)
{
    for (size_t i = 0; i < count; i++) {
        if (span_eq(list[i], id))
            return true;
    }
    return false;
}

static int run_query(struct eval *e, const char *id, struct span text, struct err *err)
{
    struct fused_hit hits[EVAL_DEPTH_MAX + FUSE_VECTORS_MAX];
    struct ranked ranked[EVAL_DEPTH_MAX];
    struct span ranking[100];
    uint64_t start = clock_cpu_ns();
    int n = search(e, id, text, hits);
    uint64_t took = clock_cpu_ns() - start;
    if (n < 0 ||
        !grow(&e->latencies_ns, &e->latencies_cap, e->queries_count, sizeof *e->latencies_ns))
        return no_memory(err);
    e->latencies_ns[e->queries_count++] = took;
    for (int i = 0; i < n; i++)
        ranked[i] = (struct ranked){e->docs[hits[i].chunk].id, hits[i].score};
    qsort(ranked, (size_t)n, sizeof *ranked, compare_ranked);
    size_t count = 0;
    for (int i = 0; i < n; i++) {
        struct span doc = collapsed_id(e, ranked[i].doc);
        if (count < ARRAY_LEN(ranking) && !is_listed(ranking, count, doc))
            ranking[count++] = doc;
        if (e->run)
            fprintf(e->run, "%s Q0 %s %d %.9g headwater\n", id, ranked[i].doc, i + 1,
                    (double)ranked[i].score);
    }
    (void)qrels_score(&e->qrels, span_str(id), ranking, count, &e->sum);
    return 0;
}

static int run_queries(struct eval *e, const char *pack_dir, struct err *err)
{
    struct buf qrels CLEANUP(buf_done) = BUF_INIT(EVAL_FILE_MAX);
    struct buf queries CLEANUP(buf_done) = BUF_INIT(EVAL_FILE_MAX);
    int rc = read_file(pack_dir, "qrels.tsv", &qrels, err);
    if (rc == 0)
        rc = qrels_parse(buf_span(&qrels), &e->qrels, err);
    if (rc == 0)
        rc = read_file(pack_dir, "queries.jsonl", &queries, err);
    bool has_parts = e->docs_count && strchr(e->docs[0].id, '#');
    e->is_collapsed = has_parts && !e->qrels.names_parts;
    struct span rest = buf_span(&queries);
    unsigned number = 0;
    json_t *o;
    while (rc == 0 && (o = next_object(&rest, "queries.jsonl", &number, &rc, err))) {
        rc = run_query(e, json_str(o, "id", ""), json_span(json_object_get(o, "text")), err);
        json_decref(o);
    }
    return rc;
}

static int compare_u64(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;
    return *x < *y ? -1 : *x > *y;
}

static double percentile_us(const struct eval *e, unsigned p)
{
    if (!e->queries_count)
        return 0;
    size_t rank = (e->queries_count - 1) * p / 100;
    return (double)e->latencies_ns[rank] / 1e3;
}

static void put_num(struct json_writer *w, const char *key, double v)
{
    jw_key(w, key);
    jw_num(w, v);
}

static void write_report(struct eval *e, const char *pack_dir, struct buf *out)
{
    struct index_stats stats;
    index_stats(e->ix, &stats);
    if (e->queries_count)
        qsort(e->latencies_ns, e->queries_count, sizeof *e->latencies_ns, compare_u64);
    double judged = e->qrels.judged_count ? (double)e->qrels.judged_count : 1;
    double seconds = (double)e->build_cpu_ns / 1e9;
    struct json_writer w = json_writer(out);
    jw_obj(&w);
    jw_kstr(&w, "pack", pack_dir);
    jw_kint(&w, "documents", (int64_t)e->docs_count);
    jw_kint(&w, "queries", (int64_t)e->queries_count);
    jw_kint(&w, "judged", (int64_t)e->qrels.judged_count);
    jw_kstr(&w, "analyzer", e->analyzer == ANALYZER_CODE ? "code" : "prose");
    jw_kbool(&w, "collapsed", e->is_collapsed);
    put_num(&w, "ndcg_at_10", e->sum.ndcg_at_10 / judged);
    put_num(&w, "mrr_at_10", e->sum.mrr_at_10 / judged);
    put_num(&w, "recall_at_100", e->sum.recall_at_100 / judged);
    jw_key(&w, "latency_us");
    jw_obj(&w);
    put_num(&w, "p50", percentile_us(e, 50));
    put_num(&w, "p99", percentile_us(e, 99));
    jw_end_obj(&w);
    jw_key(&w, "build");
    jw_obj(&w);
    jw_kint(&w, "text_bytes", (int64_t)stats.text_bytes);
    put_num(&w, "cpu_seconds", seconds);
    put_num(&w, "mb_per_cpu_second", seconds > 0 ? (double)stats.text_bytes / 1e6 / seconds : 0);
    jw_end_obj(&w);
    if (e->leg) {
        jw_key(&w, "vectors");
        jw_obj(&w);
        jw_kint(&w, "documents", vector_leg_covered(e->leg));
        jw_kint(&w, "queries", (int64_t)e->queries_with_vector);
        jw_kint(&w, "dims", e->vectors.dims);
        jw_end_obj(&w);
    }
    jw_end_obj(&w);
}

static void eval_done(struct eval *e)
{
    index_builder_free(e->builder);
    vector_leg_unref(e->leg);
    eval_vectors_done(&e->vectors);
    index_unref(e->ix);
    qrels_done(&e->qrels);
    file_clear(&e->file);
    buf_done(&e->file.text);
    mem_free(e->file.chunks);
    mem_free(e->file.titles);
    for (size_t i = 0; i < e->docs_count; i++)
        mem_free(e->docs[i].id);
    mem_free(e->docs);
    mem_free(e->latencies_ns);
    if (e->run)
        fclose(e->run);
    unlink(e->path);
    unlink(e->vectors_path);
    rmdir(e->dir);
}

static int close_run(struct eval *e, const char *run_file, struct err *err)
{
    if (!e->run)
        return 0;
    bool is_bad = ferror(e->run) != 0;
    is_bad |= fclose(e->run) != 0;
    e->run = NULL;
    return is_bad ? err_set(err, ERR_IO, "cannot write '%s'", run_file) : 0;
}

int eval_run(const char *pack_dir, const struct eval_options *options, struct buf *out_report_json,
             struct err *err)
{
    static const struct eval_options defaults;
    const struct eval_options *o = options ? options : &defaults;
    struct eval e = {.depth = o->depth && o->depth < EVAL_DEPTH_MAX ? o->depth : EVAL_DEPTH_MAX};
    buf_init(&e.file.text, EVAL_FILE_MAX);
    const char *tmp = getenv("TMPDIR"); /* NOLINT(concurrency-mt-unsafe): nothing sets variables */
    tmp = tmp && *tmp ? tmp : "/tmp";
    int n = snprintf(e.dir, sizeof e.dir, "%s/headwater-eval-XXXXXX", tmp);
    if (n < 0 || (size_t)n >= sizeof e.dir)
        return err_set(err, ERR_INVALID, "TMPDIR is too long");
    if (!mkdtemp(e.dir))
        return err_errno(err, errno, "cannot make a temporary directory");
    snprintf(e.path, sizeof e.path, "%s/pack.index", e.dir);
    snprintf(e.vectors_path, sizeof e.vectors_path, "%s/pack.vectors", e.dir);
    map_init(&e.qrels.by_query);
    map_init(&e.vectors.documents);
    map_init(&e.vectors.queries);
    int rc = build_index(&e, pack_dir, err);
    if (rc == 0 && o->vectors_file)
        rc = build_leg(&e, o->vectors_file, err);
    if (rc == 0 && o->run_file && !(e.run = fopen(o->run_file, "we")))
        rc = err_errno(err, errno, "cannot write '%s'", o->run_file);
    if (rc == 0)
        rc = run_queries(&e, pack_dir, err);
    if (rc == 0)
        rc = close_run(&e, o->run_file, err);
    if (rc == 0) {
        write_report(&e, pack_dir, out_report_json);
        rc = buf_failed(out_report_json) ? no_memory(err) : 0;
    }
    eval_done(&e);
    return rc;
}
