/* Promises about other languages than English: inflected words meet, scripts without spaces are searched, a question that cannot be answered says so. */
#include "../cm.h"
#include "retrieval/retrieval.h"
#include "text/lines.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define PROSE 1 /* enum chunk_kind of ingest */

static const struct {
    const char *path;
    uint8_t kind;
    const char *text;
} source[] = {
    {"docs/de/betrieb.md", PROSE,
     "Eine Verbindung wird geschlossen, wenn der Server das Ende der Datei meldet oder nicht mehr "
     "liest.\n"},
    {"docs/de/start.md", PROSE,
     "Der Dienst wird mit einem Befehl gestartet und ist dann für alle Benutzer bereit.\n"},
    {"docs/th/guide.md", PROSE, "ผู้ใช้ปิดการเชื่อมต่อของเซิร์ฟเวอร์ได้ทุกเวลา\n"},
    {"src/serve.c", 0, "int serve_all(void)\n{\n    return serving;\n}\n"},
    {"docs/guide.md", PROSE,
     "The server closes a connection when it has read the whole request.\n"},
};

static char dir[64], path[96];
static struct index *ix;

static int make_source(void **state)
{
    (void)state;
    struct index_build_options o = {.analyzer = ANALYZER_CODE, .revision = "", .fingerprint = "x"};
    struct index_builder *b;
    snprintf(dir, sizeof dir, "/tmp/headwater-test-XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    snprintf(path, sizeof path, "%s/segment", dir);
    assert_int_equal(index_builder_new(path, &o, &b, NULL), 0);
    for (size_t i = 0; i < ARRAY_LEN(source); i++) {
        struct span text = span_str(source[i].text);
        struct index_chunk_in chunk = {.start_line = 1,
                                       .end_line = lines_count(text),
                                       .len = text.len,
                                       .kind = source[i].kind};
        struct index_file_in in = {.path = span_str(source[i].path),
                                   .text = text,
                                   .size = text.len,
                                   .chunks = &chunk,
                                   .chunk_count = 1};
        assert_int_equal(index_builder_add(b, &in, NULL), 0);
    }
    assert_int_equal(index_builder_finish(b, NULL), 0);
    index_builder_free(b);
    return index_open(path, &ix, NULL);
}

static int drop_source(void **state)
{
    (void)state;
    index_unref(ix);
    unlink(path);
    return rmdir(dir);
}

static struct passages search(const char *question)
{
    struct passages p;
    assert_int_equal(retrieval_search(ix, span_str(question), NULL, &p, NULL), 0);
    return p;
}

static void assert_first(const char *question, const char *expected)
{
    struct passages p = search(question);
    assert_true(p.count > 0);
    if (!span_is(p.items[0].path, expected))
        fail_msg("'%s' finds " SPAN_FMT " first", question, SPAN_ARG(p.items[0].path));
    passages_done(&p);
}

static void an_inflected_word_meets_its_stem(void **state)
{
    (void)state;
    assert_first("Wie werden Verbindungen geschlossen?", "docs/de/betrieb.md");
    assert_first("Wo werden die Dienste und Befehle gestartet?", "docs/de/start.md");
    assert_first("Verbindungen", "docs/de/betrieb.md"); /* no word that tells the language */
}

static void words_of_a_script_without_spaces_are_found(void **state)
{
    (void)state;
    assert_first("การเชื่อมต่อ", "docs/th/guide.md");
    struct passages p = search("เซิร์ฟเวอร์");
    assert_int_equal(p.count, 1);
    assert_string_equal(p.note, "");
    passages_done(&p);
}

static void english_questions_are_not_read_as_another_language(void **state)
{
    (void)state;
    assert_first("when does the server close a connection?", "docs/guide.md");
    struct passages p = search("how is the request read?");
    for (size_t i = 0; i < p.count; i++)
        assert_false(span_starts(p.items[i].path, SPAN_LIT("docs/de/")));
    passages_done(&p);
}

static void a_script_that_the_source_lacks_is_named(void **state)
{
    (void)state;
    struct passages p = search("サーバー serve_all");
    assert_true(p.count > 0); /* the name is found */
    assert_non_null(strstr(p.note, "words in kana"));
    passages_done(&p);
    p = search("соединение");
    assert_int_equal(p.count, 0);
    assert_non_null(strstr(p.note, "Cyrillic"));
    passages_done(&p);
}

static void a_language_that_the_source_lacks_is_named(void **state)
{
    (void)state;
    struct passages p = search("¿Dónde se cierra la conexión del server?");
    assert_non_null(strstr(p.note, "in Spanish"));
    passages_done(&p);
    p = search("Wie wird die Verbindung geschlossen?");
    assert_string_equal(p.note, "");
    passages_done(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_inflected_word_meets_its_stem),
        cmocka_unit_test(words_of_a_script_without_spaces_are_found),
        cmocka_unit_test(english_questions_are_not_read_as_another_language),
        cmocka_unit_test(a_script_that_the_source_lacks_is_named),
        cmocka_unit_test(a_language_that_the_source_lacks_is_named),
    };
    return cmocka_run_group_tests(tests, make_source, drop_source);
}
