/* Promises of decoding, languages, scanners and the chunker. */
#include "../cm.h"
#include "base/fault.h"
#include "base/mem.h"
#include "chunk_check.h"
#include "ingest/lex.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct language *lang(const char *name)
{
    const struct language *l = language_named(span_str(name));
    assert_non_null(l);
    return l;
}

/* ---- encodings ---- */

static void decodes(const char *bytes, size_t len, const char *expected)
{
    struct buf b = BUF_INIT(65536);
    struct span s;
    assert_null(encoding_decode(span_of(bytes, len), &b, &s));
    assert_true(encoding_is_utf8(s));
    assert_true(span_is(s, expected));
    buf_done(&b);
}

static void refuses(const char *bytes, size_t len)
{
    struct buf b = BUF_INIT(65536);
    struct span s;
    assert_non_null(encoding_decode(span_of(bytes, len), &b, &s));
    buf_done(&b);
}
#define DECODES(bytes, expected) decodes(bytes, sizeof(bytes) - 1, expected)
#define REFUSES(bytes) refuses(bytes, sizeof(bytes) - 1)

static void encoding_reads_what_people_have(void **state)
{
    (void)state;
    DECODES("plain\r\n", "plain\r\n");
    DECODES("\xef\xbb\xbfmarked", "marked");
    DECODES("\xff\xfe"
            "a\0\xe9\0=\xd8\0\xde",
            "a\xc3\xa9\xf0\x9f\x98\x80");
    DECODES("\xfe\xff"
            "\0a\0\xe9",
            "a\xc3\xa9");
    DECODES("\xfe\xff"
            "\xd8\0\0a",
            "\xef\xbf\xbd"
            "a"); /* a lone surrogate */
    DECODES("caf\xe9 na\xefve text", "caf\xc3\xa9 na\xc3\xafve text");
    DECODES("smart \x93quotes\x94 and \x80 100", "smart “quotes” and € 100");
    DECODES("\xc3\xa9\xc3\xa8\xc3\xa9\xc3\xa8\xc3\xa9\xc3\xa8\xc3\xa9\xc3\xa8\xc3\xa9\xc3\xa8\xff",
            "éèéèéèéèéè\xef\xbf\xbd");
}

static void encoding_refuses_what_is_no_text(void **state)
{
    (void)state;
    REFUSES("a\0b");
    REFUSES("%PDF-1.4");
    REFUSES("\x7f"
            "ELF");
    REFUSES("\x89PNG");
    REFUSES("\xff\xfe\0\0a\0\0\0");
    REFUSES("\x82\xb1\x82\xf1\x82\xc9\x82\xbf\x81\x81"); /* Shift-JIS */
    REFUSES("\x01\x02\x03\x04\x05\xff\xfe\xfd");
}

static void encoding_rejects_every_malformed_sequence(void **state)
{
    (void)state;
    static const char *const bad[] = {"\xc0\x80",
                                      "\xc1\xbf",
                                      "\xe0\x80\x80",
                                      "\xed\xa0\x80",
                                      "\xf0\x80\x80\x80",
                                      "\xf4\x90\x80\x80",
                                      "\xf5\x80\x80\x80",
                                      "\x80",
                                      "\xc3",
                                      "\xe2\x82",
                                      "\xf0\x9f\x98",
                                      "\xff"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_false(encoding_is_utf8(span_str(bad[i])));
    assert_true(encoding_is_utf8(span_str("\xf4\x8f\xbf\xbf\xed\x9f\xbf\xee\x80\x80")));
}

/* ---- languages ---- */

static void language_is_known_by_ending_name_and_first_line(void **state)
{
    (void)state;
    static const struct {
        const char *path, *text, *language;
    } rows[] = {
        {"a/b.py", "", "python"},
        {"x.PY", "", "python"},
        {"x.h", "int a;", "c"},
        {"x.h", "\nclass A {", "cpp"},
        {"Makefile", "", "make"},
        {"Dockerfile.dev", "", "dockerfile"},
        {"CMakeLists.txt", "", "cmake"},
        {"run", "#!/bin/sh\n", "shell"},
        {"run", "#!/usr/bin/env -S python3.11 -x\n", "python"},
        {"run", "#!/usr/bin/env node\r\n", "javascript"},
        {"README", "", "text"},
        {"x.unknown", "", "text"},
        {".bashrc", "", "shell"},
        {"a.test.tsx", "", "typescript"},
        {"x.m", "@implementation A {", "objective-c"},
        {"x.m", "x = 1", "matlab"},
        {"", "", "text"},
        {"dir.py/file", "", "text"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_string_equal(language_of(span_str(rows[i].path), span_str(rows[i].text))->name,
                            rows[i].language);
    size_t count = 0;
    while (language_at(count))
        count++;
    assert_true(count >= 40);
}

/* ---- symbols and chunks ---- */

/* Symbols with their lines, "name:first-last …", so that a table can say what is expected. */
static void expect_symbols(const char *language, const char *text, const char *expected)
{
    struct symbol_list l = {0};
    struct buf b = BUF_INIT(65536);
    uint32_t lines = 1;
    for (const char *c = text; *c; c++)
        lines += *c == '\n';
    assert_int_equal(symbols_scan(&l, span_str(text), lang(language)), 0);
    symbols_settle(&l, lines);
    for (size_t i = 0; i < l.count; i++)
        buf_printf(&b, "%s%.*s:%u-%u", i ? " " : "", SPAN_ARG(l.items[i].name), l.items[i].first,
                   l.items[i].last);
    assert_string_equal(buf_str(&b), expected);
    buf_done(&b);
    symbols_done(&l);
}

static void scanners_find_functions_and_classes(void **state)
{
    (void)state;
    static const struct {
        const char *language, *text, *symbols;
    } rows[] = {
        {"c", "static int\nf(int a)\n{\n\treturn '{';\n}\n", "f:1-5"},
        {"c",
         "#define X {\nint f(void) {\n#if A\n if (a) {\n#else\n if (b) {\n#endif\n }\n}\nint "
         "g(void) {}\n",
         "f:2-9 g:10-10"},
        {"c", "struct a { int b; };\nint x[] = { 1 };\nstruct a *f(void) { /* } */ }\n",
         "a:1-1 f:3-3"},
        {"c", "EXPORT(x)\nint f(void) {\n}\n", "f:1-3"},
        {"cpp",
         "namespace n {\nclass A : public B {\npublic:\n A() : x(1) {\n }\n};\nint A::f() const "
         "{\n}\n}\n",
         "n:1-9 A:2-6 A:3-5 A.f:7-8"},
        {"cpp", "auto s = R\"x(})x\";\nbool operator==(A a) {\n}\n", "operator==:2-3"},
        {"java", "class A extends B {\n int x = 1;\n @Override\n void f(int a) throws E {\n }\n}\n",
         "A:1-6 f:3-5"},
        {"javascript", "function a() {\n x = /[{]/;\n}\nconst b = async (x) => {\n}\nif (x) {\n}\n",
         "a:1-3 b:4-5"},
        {"typescript",
         "export class A<T> extends B {\n async f(a: X): Promise<T> {\n  return `${a}}`\n }\n}\n",
         "A:1-5 f:2-4"},
        {"go", "func (s *T) F() error {\n\tx := `{`\n}\ntype A struct {\n\tb int\n}\n",
         "T.F:1-3 A:4-6"},
        {"rust",
         "impl<'a> D for P<'a> {\n fn f(&self) -> char { '{' }\n}\npub(crate) fn g<T>() {\n}\n",
         "P:1-3 f:2-2 g:4-5"},
        {"php", "<?php\nclass A {\n  public function f($x) {\n  }\n}\n", "A:2-5 f:3-4"},
        {"kotlin", "class A(val x: Int) : B() {\n  fun f() {\n  }\n}\n", "A:1-4 f:2-3"},
        {"swift", "struct A {\n  func f() -> Int {\n  }\n}\n", "A:1-4 f:2-3"},
        {"csharp", "namespace N\n{\n  class A\n  {\n    void F()\n    {\n    }\n  }\n}\n",
         "N:1-9 A:3-8 F:5-7"},
        {"python",
         "@d\nclass A:\n    def f(self,\n          x):\n        '''\ndef no(): pass\n'''\n\n# "
         "c\ndef g(): pass\n",
         "A:2-7 f:3-7 g:10-10"},
        {"ruby", "module M\n  class A\n    def f\n      if x\n      end\n    end\n  end\nend\n",
         "M:1-8 A:2-7 f:3-6"},
        {"lua", "local function f()\nend\nfunction M.g()\nend\n", "f:1-2 M.g:3-4"},
        {"elixir", "defmodule A do\n  def f(x), do: x\n  def g do\n  end\nend\n",
         "A:1-5 f:2-2 g:3-4"},
        {"shell", "f() {\n  x\n}\nfunction g\n{\n}\necho f\n", "f:1-3 g:4-6"},
        {"sql", "CREATE TABLE IF NOT EXISTS \"t\" (\n a int\n);\nSELECT 1;\n", "t:1-3"},
        {"markdown", "# A\nx\n```\n# no\n```\n## B\ny\n\nC\n---\nz\n", "A:1-12 B:6-8 C:9-12"},
        {"rst", "A\n===\n\nB\n---\n\nC\n===\n", "A:1-6 B:4-6 C:7-9"},
        {"asciidoc", "= A\n\n== B\n", "A:1-4 B:3-4"},
        {"tex", "\\section{A}\n\\subsection{B}\n", "A:1-3 B:2-3"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        expect_symbols(rows[i].language, rows[i].text, rows[i].symbols);
}

static void put_lines(struct buf *b, const char *line, int count)
{
    for (int i = 0; i < count; i++)
        buf_puts(b, line);
}

static const struct ingest_chunk *chunk_named(const struct chunk_set *set, const char *name)
{
    for (size_t i = 0; i < set->count; i++)
        if (span_is(set->items[i].symbol, name))
            return &set->items[i];
    return NULL;
}

static void chunk_keeps_a_comment_with_its_function(void **state)
{
    (void)state;
    struct chunk_set set = {0};
    struct buf b = BUF_INIT(65536);
    buf_puts(&b, "import os\n\n");
    put_lines(&b, "x = 1\n", 20);
    buf_puts(&b, "\n# About f.\n@decorated(\n    1,\n)\ndef f():\n");
    put_lines(&b, "    a()\n", 10);
    assert_int_equal(chunk_text(&set, buf_span(&b), lang("python"), NULL), 0);
    assert_null(chunk_check(&set, buf_span(&b)));
    const struct ingest_chunk *f = chunk_named(&set, "f");
    assert_non_null(f);
    assert_int_equal(f->start_line, 24);
    assert_true(span_is(f->symbol_kind, "function"));
    chunk_done(&set);
    buf_done(&b);
}

static void chunk_opens_a_large_class_at_its_members(void **state)
{
    (void)state;
    struct chunk_set set = {0};
    struct buf b = BUF_INIT(65536);
    buf_puts(&b, "/** A. */\nclass A {\n  int field;\n");
    for (int i = 0; i < 8; i++) {
        buf_printf(&b, "\n  /** Member %d. */\n  void m%d() {\n", i, i);
        put_lines(&b, "    call();\n", 12);
        buf_puts(&b, "  }\n");
    }
    buf_puts(&b, "}\n");
    assert_int_equal(chunk_text(&set, buf_span(&b), lang("java"), NULL), 0);
    assert_null(chunk_check(&set, buf_span(&b)));
    const struct ingest_chunk *m = chunk_named(&set, "A.m3");
    assert_non_null(m);
    assert_int_equal(m->end_line - m->start_line + 1, 15);
    assert_true(span_starts(span_of(b.ptr + m->start, m->len), SPAN_LIT("  /** Member 3.")));
    chunk_done(&set);
    buf_done(&b);
}

static void chunk_cuts_what_is_too_large_and_joins_what_is_too_small(void **state)
{
    (void)state;
    struct chunk_set set = {0};
    struct buf b = BUF_INIT(1 << 20);
    buf_puts(&b, "int big(void)\n{\n");
    for (int i = 0; i < 40; i++)
        put_lines(&b, i % 4 == 3 ? "\n" : "    statement(one, two);\n", 10);
    buf_puts(&b, "}\n");
    for (int i = 0; i < 20; i++)
        buf_printf(&b, "int small%d(void) { return 1; }\n", i);
    assert_int_equal(chunk_text(&set, buf_span(&b), lang("c"), NULL), 0);
    assert_null(chunk_check(&set, buf_span(&b)));
    assert_in_range(set.count, 5, 10);
    for (size_t i = 0; i < set.count; i++)
        assert_in_range(set.items[i].end_line - set.items[i].start_line + 1, 4, 100);
    chunk_done(&set);
    buf_done(&b);
}

static void chunk_cuts_one_huge_line_at_characters(void **state)
{
    (void)state;
    struct chunk_set set = {0};
    struct buf b = BUF_INIT(1 << 20);
    buf_puts(&b, "# T\n");
    put_lines(&b, "é€😀", 10000);
    buf_puts(&b, "\nend\n");
    assert_int_equal(chunk_text(&set, buf_span(&b), lang("markdown"), NULL), 0);
    assert_null(chunk_check(&set, buf_span(&b)));
    assert_true(set.count > 10);
    chunk_done(&set);
    buf_done(&b);
}

static void chunk_names_headings_by_their_path(void **state)
{
    (void)state;
    struct chunk_set set = {0};
    struct buf b = BUF_INIT(65536);
    buf_puts(&b, "# Guide\n");
    put_lines(&b, "intro\n\n", 20);
    buf_puts(&b, "## Install ##\n");
    put_lines(&b, "step\n\n", 20);
    assert_int_equal(chunk_text(&set, buf_span(&b), lang("markdown"), NULL), 0);
    assert_null(chunk_check(&set, buf_span(&b)));
    assert_non_null(chunk_named(&set, "Guide > Install"));
    assert_int_equal(set.items[0].kind, CHUNK_PROSE);
    chunk_done(&set);
    buf_done(&b);
}

/* ---- cutting what is too large ---- */

/* No chunk may begin or end within a statement: each line that begins one carries a mark. */
static void expect_cuts_at_marks(const char *language, const char *begin, const char *statement,
                                 const char *end, const char *mark)
{
    struct chunk_set set = {0};
    struct buf b = BUF_INIT(1 << 20);
    buf_puts(&b, begin);
    put_lines(&b, statement, 60);
    buf_puts(&b, end);
    assert_int_equal(chunk_text(&set, buf_span(&b), lang(language), NULL), 0);
    assert_null(chunk_check(&set, buf_span(&b)));
    assert_in_range(set.count, 3, 20);
    for (size_t i = 0; i < set.count; i++) {
        struct span text = span_trim(span_of(b.ptr + set.items[i].start, set.items[i].len));
        if (!span_is(set.items[i].symbol, "big"))
            fail_msg("%s: chunk %zu is called '" SPAN_FMT "'", language, i,
                     SPAN_ARG(set.items[i].symbol));
        if (i > 0 && !span_starts(text, span_str(mark)))
            fail_msg("%s: chunk %zu begins with '" SPAN_FMT "'", language, i,
                     SPAN_ARG(span_first(text, 30)));
    }
    chunk_done(&set);
    buf_done(&b);
}

static void chunk_cuts_a_large_function_between_statements(void **state)
{
    (void)state;
    expect_cuts_at_marks(
        "c", "int big(void)\n{\n",
        "    step(\"one;\",\n    two,\n    /* a\n    comment;\n    */\n    three);\n",
        "    step(0);\n}\n", "step(");
    expect_cuts_at_marks("javascript", "function big() {\n",
                         "  step(`a\n    text;\n    {\n  `, one)\n    .then(two)\n    .done();\n",
                         "  step();\n}\n", "step(");
    expect_cuts_at_marks("python", "def big():\n",
                         "    step('''a\ntext\n    more''', [\n        1,\n        2,\n    ])\n",
                         "    step()\n", "step(");
    expect_cuts_at_marks("shell", "big() {\n", "    step <<END\na text\n}\n  more\nEND\n",
                         "    step\n}\n", "step");
    expect_cuts_at_marks("ruby", "def big\n", "  step <<~END, 1\n    a text\n  end\n  END\n",
                         "  step\nend\n", "step");
    expect_cuts_at_marks("go", "func big() {\n", "\tstep(`a\n  text`,\n\t\tone,\n\t)\n",
                         "\tstep()\n}\n", "step(");
    expect_cuts_at_marks("php", "<?php\nfunction big() {\n",
                         "    step(<<<END\n    a }\n    text;\n    END, 1);\n", "    step();\n}\n",
                         "step(");
    expect_cuts_at_marks("rust", "fn big() {\n",
                         "    step(r#\"a\n  \" text;\n\"#,\n        one);\n", "    step();\n}\n",
                         "step(");
}

static void chunk_cuts_a_large_function_around_those_within(void **state)
{
    (void)state;
    struct chunk_set set = {0};
    struct buf b = BUF_INIT(1 << 20);
    buf_puts(&b, "module.exports = function create(context) {\n");
    for (int i = 0; i < 12; i++) {
        buf_printf(&b, "\n    /** Inner %d. */\n    function inner%d(node) {\n", i, i);
        put_lines(&b, "        check(node);\n", 30);
        buf_puts(&b, "    }\n");
    }
    buf_puts(&b, "    return { a: 1 };\n};\n");
    assert_int_equal(chunk_text(&set, buf_span(&b), lang("javascript"), NULL), 0);
    assert_null(chunk_check(&set, buf_span(&b)));
    const struct ingest_chunk *f = chunk_named(&set, "create.inner7");
    assert_non_null(f);
    assert_true(span_starts(span_of(b.ptr + f->start, f->len), SPAN_LIT("    /** Inner 7.")));
    assert_int_equal(f->end_line - f->start_line, 32);
    chunk_done(&set);
    buf_done(&b);
}

static void chunk_tells_tests_by_what_they_say(void **state)
{
    (void)state;
    static const struct {
        const char *language, *text;
        bool is_test;
    } rows[] = {
        {"rust", "#[test]\nfn f() {\n    a();\n}\n", true},
        {"rust", "#[cfg(test)]\nmod tests {\n    fn f() {\n    }\n}\n", true},
        {"rust", "#[inline]\nfn test() {\n    a();\n}\n", false},
        {"go", "func TestA(t *testing.T) {\n\ta()\n}\n", true},
        {"go", "func TestConnection(c *Conn) {\n\ta()\n}\n", false},
        {"python", "class A(TestCase):\n    def test_a(self):\n        pass\n", true},
        {"python", "class A(TestCase):\n    def run(self):\n        pass\n        a()\n", false},
        {"python", "import pytest\n\n\n\ndef test_a():\n    a()\n    b()\n", true},
        {"python", "def test_a():\n    a()\n    b()\n", false},
        {"javascript", "describe('a', () => {\n  it('b', () => {\n    c();\n  });\n});\n", true},
        {"javascript", "function it(a) {\n  b();\n  c();\n}\n", false},
        {"java", "class A {\n  @Test\n  void f() {\n    a();\n  }\n}\n", true},
        {"kotlin", "class A {\n  @Test\n  fun f() {\n    a()\n  }\n}\n", true},
        {"csharp", "class A {\n  [Fact]\n  void F() {\n    a();\n  }\n}\n", true},
        {"php", "<?php\nclass A extends TestCase {\n  function f() {\n    a();\n  }\n}\n", true},
        {"swift", "class A: XCTestCase {\n  func testB() {\n    c()\n  }\n}\n", true},
        {"ruby", "class A < Minitest::Test\n  def test_b\n    c\n  end\nend\n", true},
        {"cpp", "TEST_F(A, B) {\n  c();\n}\n", true},
        {"c", "int test(void) {\n  c();\n}\n", false},
        {"shell", "@test \"a b\" {\n  c\n}\n", true},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct chunk_set set = {0};
        assert_int_equal(chunk_text(&set, span_str(rows[i].text), lang(rows[i].language), NULL), 0);
        bool is_test = false;
        for (size_t k = 0; k < set.count; k++)
            is_test |= set.items[k].is_test;
        if (is_test != rows[i].is_test)
            fail_msg("row %zu: %s", i, rows[i].text);
        chunk_done(&set);
    }
}

/* ---- time ---- */

/* All the steps that the lexer takes over a text: what it passes, and what it searches in vain. */
static size_t lex_steps(const struct language *l, struct span text)
{
    struct lex x = {.lang = l, .p = text.ptr, .n = text.len};
    size_t steps = 0;
    for (size_t i = 0; i < text.len;) {
        enum lex_kind kind;
        size_t e = lex_skip(&x, i, &kind);
        x.last = e > i ? '"' : text.ptr[i];
        e = e > i ? e : i + 1;
        steps += e - i;
        i = e;
    }
    return steps + x.wasted;
}

static void scanning_costs_no_more_than_the_text_is_long(void **state)
{
    (void)state;
    static const char *const hard[] = {
        "/[",    "(/",    "<<AB ",    "<<'AB' ",   "{",          "(",      "[{(",      "`${",
        "\"${",  "\"\\(", "'",        "\"",        "\"\"\"",     "/*",     "#if\n",    "a(",
        "<?",    "?>",    "<script ", "<script>",  "<template>", "R\"x(",  "r#\"",     "\n",
        "a\n\n", "@a\n",  "def f\n",  "class A {", "f(){",       "--[[\n", "=begin\n", "/*\n",
        "# a\n", "```\n", "<<AB\n",   "A(x) ",
    };
    for (size_t i = 0; i < ARRAY_LEN(hard); i++) {
        struct buf b = BUF_INIT(1 << 20);
        put_lines(&b, hard[i], (int)((96u << 10) / strlen(hard[i])));
        for (size_t k = 0; language_at(k); k++) {
            struct chunk_set set = {0};
            assert_int_equal(chunk_text(&set, buf_span(&b), language_at(k), NULL), 0);
            const char *broken = chunk_check(&set, buf_span(&b));
            if (broken)
                fail_msg("%s of '%s': %s", language_at(k)->name, hard[i], broken);
            /* A search in vain may be as long as the text, so one more than the budget fits. */
            assert_true(lex_steps(language_at(k), buf_span(&b)) <= 7 * b.len);
            chunk_done(&set);
        }
        buf_done(&b);
    }
}

static void chunk_survives_every_failed_allocation(void **state)
{
    (void)state;
    static const char text[] = "class A {\n void f() {\n }\n}\n\n\nvoid g() {\n}\n";
    for (uint64_t nth = 1; nth < 200; nth++) {
        struct chunk_set set = {0};
        fault_arm(FAULT_ALLOC, nth, 0);
        int r = chunk_text(&set, span_str(text), lang("cpp"), NULL);
        bool hit = fault_seen(FAULT_ALLOC) >= nth;
        fault_disarm();
        assert_int_equal(r < 0, hit);
        chunk_done(&set);
        if (!hit)
            return;
    }
    fail_msg("never passed without a fault");
}

static void ctags_output_is_not_trusted(void **state)
{
    (void)state;
    static const char out[] = "not "
                              "json\n{\"_type\":\"tag\",\"name\":\"f\",\"path\":\"0.c\",\"line\":1,"
                              "\"kind\":\"function\",\"end\":3}\n"
                              "{\"_type\":\"tag\",\"name\":\"g\",\"path\":\"1.c\",\"line\":1,"
                              "\"kind\":\"function\",\"end\":3}\n"
                              "{\"_type\":\"tag\",\"name\":\"h\",\"path\":\"0.c\",\"line\":-5,"
                              "\"kind\":\"function\",\"end\":99999999999}\n"
                              "{\"_type\":\"tag\",\"name\":7,\"path\":\"0.c\",\"line\":\"x\"}\n{\"_"
                              "type\":\"completed\"}\n";
    struct symbols_job jobs[2] = {{.text = SPAN_LIT("a"), .lang = lang("c")},
                                  {.text = SPAN_LIT("b"), .lang = lang("c")}};
    assert_int_equal(symbols_ctags_parse(jobs, 2, span_str(out)), 0);
    assert_true(jobs[0].is_done && !jobs[1].is_done);
    assert_int_equal(jobs[0].symbols.count, 1);
    assert_true(span_is(jobs[0].symbols.items[0].name, "f"));
    symbols_done(&jobs[0].symbols);
    symbols_done(&jobs[1].symbols);
}

/* ---- the promises on files that others wrote ---- */

static struct chunk_set real_set; /* nftw has no argument for it */
static size_t real_files;

static int check_file(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)ftw;
    /* One in sixteen, by size, is variety enough for a test. */
    if (type != FTW_F || st->st_size == 0 || st->st_size > (1 << 20) || st->st_size % 16 != 3)
        return 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    char *bytes = mem_try((size_t)st->st_size);
    ssize_t n = fd >= 0 && bytes ? read(fd, bytes, (size_t)st->st_size) : -1;
    struct buf b = BUF_INIT(4u << 20);
    struct span text;
    if (n > 0 && !encoding_decode(span_of(bytes, (size_t)n), &b, &text)) {
        const struct language *l = language_of(span_str(path), text);
        assert_int_equal(chunk_text(&real_set, text, l, NULL), 0);
        const char *broken = chunk_check(&real_set, text);
        if (broken)
            fail_msg("%s: %s", path, broken);
        real_files++;
    }
    buf_done(&b);
    mem_free(bytes);
    if (fd >= 0)
        close(fd);
    return real_files > 4000;
}

static void chunk_keeps_its_promises_on_real_files(void **state)
{
    (void)state;
    static const char *const roots[] = {"/usr/lib/python3", "/usr/include", "/usr/share/perl",
                                        "/usr/share/doc", "/usr/share/nodejs"};
    for (size_t i = 0; i < ARRAY_LEN(roots); i++) {
        size_t before = real_files;
        if (access(roots[i], R_OK) == 0)
            nftw(roots[i], check_file, 32, FTW_PHYS);
        if (real_files == before)
            print_message("SKIPPED: nothing to read in %s\n", roots[i]);
    }
    print_message("%zu real files\n", real_files);
    chunk_done(&real_set);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(encoding_reads_what_people_have),
        cmocka_unit_test(encoding_refuses_what_is_no_text),
        cmocka_unit_test(encoding_rejects_every_malformed_sequence),
        cmocka_unit_test(language_is_known_by_ending_name_and_first_line),
        cmocka_unit_test(scanners_find_functions_and_classes),
        cmocka_unit_test(chunk_keeps_a_comment_with_its_function),
        cmocka_unit_test(chunk_opens_a_large_class_at_its_members),
        cmocka_unit_test(chunk_cuts_what_is_too_large_and_joins_what_is_too_small),
        cmocka_unit_test(chunk_cuts_one_huge_line_at_characters),
        cmocka_unit_test(chunk_names_headings_by_their_path),
        cmocka_unit_test(chunk_cuts_a_large_function_between_statements),
        cmocka_unit_test(chunk_cuts_a_large_function_around_those_within),
        cmocka_unit_test(chunk_tells_tests_by_what_they_say),
        cmocka_unit_test(scanning_costs_no_more_than_the_text_is_long),
        cmocka_unit_test(chunk_survives_every_failed_allocation),
        cmocka_unit_test(ctags_output_is_not_trusted),
        cmocka_unit_test(chunk_keeps_its_promises_on_real_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
