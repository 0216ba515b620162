/*
 * What becomes a chunk in each language: a file of it (chunks/NAME.txt) and the chunks that it has to give
 * (chunks/NAME.want: first and last line, kind, name, "test"), with our own scanners and, where it is installed,
 * with ctags.
 */
#include "../cm.h"
#include "base/buf.h"
#include "ingest/ingest.h"
#include "tree.h"

static const struct {
    const char *name, *ending;
} languages[] = {
    {"c", "c"},         {"cpp", "cpp"},       {"csharp", "cs"},
    {"go", "go"},       {"java", "java"},     {"javascript", "js"},
    {"kotlin", "kt"},   {"markdown", "md"},   {"notebook", "ipynb"},
    {"php", "php"},     {"python", "py"},     {"ruby", "rb"},
    {"rust", "rs"},     {"shell", "sh"},      {"sql", "sql"},
    {"swift", "swift"}, {"typescript", "ts"}, {"vue", "vue"},
};

static void read_all(const char *name, const char *ending, struct buf *ret)
{
    char path[4096], block[4096];
    snprintf(path, sizeof path, "%s/%s.%s", CHUNKS_DIR, name, ending);
    FILE *f = fopen(path, "rbe");
    if (!f)
        fail_msg("cannot read %s", path);
    size_t n;
    while ((n = fread(block, 1, sizeof block, f)) > 0)
        buf_put(ret, block, n);
    fclose(f);
}

static void list_chunks(const struct tree *t, bool use_ctags, struct buf *ret)
{
    struct err err = {0};
    struct ingest *in;
    struct ingest_file f;
    struct ingest_options o = {.root = t->root, .use_ctags = use_ctags};
    assert_int_equal(ingest_open(&o, &in, &err), 0);
    assert_int_equal(ingest_next(in, &f, &err), 1);
    for (size_t i = 0; i < f.chunk_count; i++) {
        const struct ingest_chunk *c = &f.chunks[i];
        buf_printf(ret, "%u-%u%s" SPAN_FMT "%s" SPAN_FMT "%s\n", c->start_line, c->end_line,
                   c->symbol_kind.len ? " " : "", SPAN_ARG(c->symbol_kind),
                   c->symbol.len ? " " : "", SPAN_ARG(c->symbol), c->is_test ? " test" : "");
    }
    ingest_free(in);
}

static void check(size_t i, bool use_ctags)
{
    struct tree t;
    char path[64];
    struct buf text = BUF_INIT(1 << 20), want = BUF_INIT(1 << 20), got = BUF_INIT(1 << 20);
    read_all(languages[i].name, "txt", &text);
    read_all(languages[i].name, "want", &want);
    tree_init(&t);
    snprintf(path, sizeof path, "sample.%s", languages[i].ending);
    tree_put(&t, path, buf_str(&text));
    list_chunks(&t, use_ctags, &got);
    if (strcmp(buf_str(&got), buf_str(&want)) != 0)
        fail_msg("%s %s ctags:\n%s", languages[i].name, use_ctags ? "with" : "without",
                 buf_str(&got));
    tree_done(&t);
    buf_done(&text);
    buf_done(&want);
    buf_done(&got);
}

static void every_function_is_a_chunk_with_its_name_and_comment(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(languages); i++)
        check(i, false);
}

static void ctags_changes_nothing_that_we_find_ourselves(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(languages); i++)
        if (strcmp(languages[i].name, "csharp") != 0) /* it finds one-line members as well */
            check(i, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_function_is_a_chunk_with_its_name_and_comment),
        cmocka_unit_test(ctags_changes_nothing_that_we_find_ourselves),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
