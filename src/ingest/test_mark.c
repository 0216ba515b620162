#include "ingest/test_mark.h"

#include <ctype.h>

#define IMPORTS_BYTES (16u << 10) /* where imports stand */

static bool has(struct span s, const char *what)
{
    return span_find(s, span_str(what)) >= 0;
}

static bool has_any(struct span s, const char *const *list)
{
    for (; *list; list++)
        if (has(s, *list))
            return true;
    return false;
}

static bool is_lang(const struct test_marks *m, const char *list)
{
    struct span rest = span_str(list), item;
    while (span_next(&rest, ' ', &item))
        if (span_is(item, m->lang->name))
            return true;
    return false;
}

void test_marks_init(struct test_marks *m, const struct language *lang, struct span text)
{
    static const char *const python[] = {"import unittest", "from unittest", "import pytest",
                                         "from pytest", NULL};
    *m = (struct test_marks){.lang = lang};
    m->looks = is_lang(m, "rust go python javascript typescript vue ruby java kotlin scala groovy "
                          "csharp php swift c cpp shell");
    m->has_framework = is_lang(m, "python") && has_any(span_first(text, IMPORTS_BYTES), python);
}

/* Does a class hold a method that is a test? Its members follow it. */
static bool has_test_method(const struct symbol_list *symbols, size_t index)
{
    const struct symbol *s = &symbols->items[index];
    for (size_t i = index + 1; i < symbols->count && symbols->items[i].depth > s->depth; i++)
        if (symbols->items[i].parent == (int32_t)index &&
            span_starts(symbols->items[i].name, SPAN_LIT("test")))
            return true;
    return false;
}

/* TestName, BenchmarkName … with the parameter that the test program gives. */
static bool is_go_test(struct span name, struct span head)
{
    static const char *const parameters[] = {"*testing.T)", "*testing.B)", "*testing.F)",
                                             "*testing.M)", NULL};
    static const struct span prefixes[] = {SPAN_INIT("Test"), SPAN_INIT("Benchmark"),
                                           SPAN_INIT("Fuzz")};
    for (size_t i = 0; i < ARRAY_LEN(prefixes); i++)
        if (span_starts(name, prefixes[i]) && has_any(head, parameters))
            return true;
    return false;
}

/* TEST(…), TEST_F(…), BOOST_AUTO_TEST_CASE(…) {: the declaration is the macro. */
static bool is_test_macro(struct span head)
{
    size_t n = 0;
    head = span_trim(head);
    while (n < head.len && (isupper((unsigned char)head.ptr[n]) || head.ptr[n] == '_'))
        n++;
    struct span macro = span_first(head, n);
    return n < head.len && head.ptr[n] == '(' &&
           (span_starts(macro, SPAN_LIT("TEST")) || has(macro, "_TEST") || has(macro, "SCENARIO"));
}

static bool is_python_test(const struct test_marks *m, const struct symbol_list *symbols,
                           size_t index, struct span head)
{
    const struct symbol *s = &symbols->items[index];
    if (!span_is(span_str(s->kind), "class"))
        return m->has_framework && span_starts(s->name, SPAN_LIT("test_"));
    bool is_case =
        has(head, "TestCase") || (m->has_framework && span_starts(s->name, SPAN_LIT("Test")));
    return is_case && has_test_method(symbols, index);
}

bool test_marks_says(const struct test_marks *m, const struct symbol_list *symbols, size_t index,
                     struct span head)
{
    static const char *const rust[] = {"#[test",   "#[cfg(test)", "#[tokio::test",       "#[rstest",
                                       "#[bench]", "::test]",     "#[wasm_bindgen_test", NULL};
    static const char *const java[] = {"@Test", "@ParameterizedTest", "@RepeatedTest",
                                       "@SpringBootTest", NULL};
    static const char *const csharp[] = {"[Fact",        "[Theory",   "[Test]",     "[TestMethod",
                                         "[TestFixture", "[TestCase", "[TestClass", NULL};
    const struct symbol *s = &symbols->items[index];
    struct span kind = span_str(s->kind);
    bool is_class = span_is(kind, "class");
    if (span_is(kind, "suite") || span_is(kind, "test"))
        return true;
    if (is_lang(m, "rust"))
        return has_any(head, rust);
    if (is_lang(m, "go"))
        return is_go_test(s->name, head);
    if (is_lang(m, "python"))
        return is_python_test(m, symbols, index, head);
    if (is_lang(m, "java kotlin scala groovy"))
        return has_any(head, java);
    if (is_lang(m, "csharp"))
        return has_any(head, csharp);
    if (is_lang(m, "php"))
        return (is_class && has(head, "extends") && has(head, "TestCase")) || has(head, "#[Test");
    if (is_lang(m, "swift"))
        return is_class && has(head, "XCTestCase");
    if (is_lang(m, "ruby"))
        return is_class && (has(head, "< Minitest::Test") || has(head, "::TestCase"));
    return is_lang(m, "c cpp") && is_test_macro(head);
}
