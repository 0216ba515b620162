#pragma once
/*
 * Tests told from implementation by what the text says, where the language or its usual frameworks say it:
 *   Rust #[test], #[cfg(test)] · Go TestX(t *testing.T) and its kin · Python classes of unittest, and test_… where
 *   pytest or unittest is imported · JavaScript, TypeScript, Ruby describe/it · Java, Kotlin, Scala, Groovy @Test ·
 *   C# [Fact], [Test], [TestMethod] · PHP, Swift, Ruby classes of a TestCase · C, C++ TEST(…) · bats @test.
 * What belongs to a test is one too. Pure. Thread: any.
 */
#include "ingest/symbols.h"

#define TEST_LEAD_LINES 12 /* attributes above a declaration */
#define TEST_HEAD_LINES 2  /* lines of the declaration after its first */
#define TEST_HEAD_BYTES 1024

struct test_marks {
    const struct language *lang;
    bool looks; /* this language has such marks */
    bool has_framework;
};

void test_marks_init(struct test_marks *m, const struct language *lang, struct span text);
/* `head`: the declaration of symbol `index` with the attributes above it. */
bool test_marks_says(const struct test_marks *m, const struct symbol_list *symbols, size_t index,
                     struct span head);
