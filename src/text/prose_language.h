#pragma once
/*
 * Which language and which scripts a piece of prose is in: enough to stem it as its speakers would and to say when a question
 * cannot meet a collection. The language is told by its commonest words, never by statistics that would have to be shipped.
 * Pure functions. Thread: any.
 */
#include "base/span.h"

enum prose_language {
    PROSE_ENGLISH, /* also: nothing else is clear */
    PROSE_DANISH,
    PROSE_DUTCH,
    PROSE_FINNISH,
    PROSE_FRENCH,
    PROSE_GERMAN,
    PROSE_HUNGARIAN,
    PROSE_ITALIAN,
    PROSE_NORWEGIAN,
    PROSE_PORTUGUESE,
    PROSE_ROMANIAN,
    PROSE_RUSSIAN,
    PROSE_SPANISH,
    PROSE_SWEDISH,
    PROSE_TURKISH,
    PROSE_LANGUAGES
};
/* A set of languages: bit 1 << enum prose_language. English is always meant. */
#define PROSE_BIT(language) (1u << (language))

/* The language of a text by its first PROSE_SAMPLE bytes. */
#define PROSE_SAMPLE (8u << 10)
enum prose_language prose_language_guess(struct span text);
/* Has a commonest word of English and is not clearly in another language: surely English. */
bool prose_is_english(struct span text);
/* A commonest word of the language: lower case, diacritics removed (utf8_fold). */
bool prose_is_stop_word(enum prose_language language, struct span folded);
/* "German": for people. */
const char *prose_language_name(enum prose_language language);

enum script {
    SCRIPT_LATIN,
    SCRIPT_GREEK,
    SCRIPT_CYRILLIC,
    SCRIPT_HEBREW,
    SCRIPT_ARABIC,
    SCRIPT_INDIC,          /* Devanagari to Malayalam */
    SCRIPT_SOUTHEAST_ASIA, /* Thai, Lao, Khmer, Burmese: written without spaces */
    SCRIPT_HAN,
    SCRIPT_KANA,
    SCRIPT_HANGUL,
    SCRIPT_OTHER,
    SCRIPTS
};
#define SCRIPT_BIT(script) (1u << (script))
enum script script_of(uint32_t cp); /* of a letter */
/* The scripts of a text's letters. */
uint32_t script_set(struct span text);
/* "Thai, Lao, Khmer or Burmese": for people. */
const char *script_name(enum script script);
