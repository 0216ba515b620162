/* Promises about languages: which one a text is in, stems of each, words of scripts without spaces, what is dropped. */
#include "../cm.h"
#include "text/analyst.h"

#include "base/buf.h"
#include "base/err.h"
#include "base/fault.h"

#include <stdio.h>

static void guess_tells_the_language_of_running_prose(void **state)
{
    (void)state;
    static const struct {
        enum prose_language language;
        const char *text;
    } cases[] = {
        {PROSE_ENGLISH, "The server keeps a log of every event and sends it to the readers."},
        {PROSE_DANISH, "Serveren gemmer en log over hver hændelse, og den sender ikke noget til "
                       "en klient, som har lukket forbindelsen efter en fejl af netværket."},
        {PROSE_DUTCH, "De server bewaart een logboek van elke gebeurtenis en het wordt niet "
                      "verwijderd als de verbinding met de client is verbroken."},
        {PROSE_FINNISH, "Palvelin ei poista lokia, kun yhteys katkeaa, ja se jatkaa jos asiakas on "
                        "palannut, joka on tärkeää."},
        {PROSE_FRENCH, "Le serveur garde un journal de tous les événements et ne les efface pas "
                       "quand la connexion est fermée par le client."},
        {PROSE_GERMAN, "Der Server führt ein Protokoll und schickt es an die Leser, wenn eine "
                       "Verbindung nicht geschlossen ist."},
        {PROSE_HUNGARIAN, "A szerver nem törli a naplót, ha az egy kapcsolat megszakad, és meg "
                          "lehet nézni, hogy mi történt vagy hogy ez miért van."},
        {PROSE_ITALIAN, "Il server conserva un registro di ogni evento e non lo cancella se la "
                        "connessione con il client è chiusa, che è il comportamento atteso."},
        {PROSE_NORWEGIAN, "Tjeneren lagrer en logg over hver hendelse, og den blir ikke slettet av "
                          "en klient som har brutt forbindelsen."},
        {PROSE_PORTUGUESE, "O servidor mantém um registro de cada evento e não o apaga quando uma "
                           "conexão com o cliente é fechada para sempre."},
        {PROSE_ROMANIAN, "Serverul nu șterge jurnalul dacă o conexiune cu clientul este închisă, "
                         "pentru că fișierele sunt păstrate pe disc sau în memorie."},
        {PROSE_RUSSIAN, "Сервер хранит журнал всех событий и не удаляет его, если соединение с "
                        "клиентом было закрыто."},
        {PROSE_SPANISH, "El servidor guarda un registro de todos los eventos y no lo borra cuando "
                        "se cierra la conexión con el cliente."},
        {PROSE_SWEDISH, "Servern sparar en logg över varje händelse och den tas inte bort av en "
                        "klient som har stängt ett fönster."},
        {PROSE_TURKISH, "Sunucu her olay için bir kayıt tutar ve bu kayıt bağlantı ile birlikte "
                        "silinmez, daha sonra okunur."},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_string_equal(prose_language_name(prose_language_guess(span_str(cases[i].text))),
                            prose_language_name(cases[i].language));
}

static void commonest_words_are_found_wherever_they_stand_in_the_table(void **state)
{
    (void)state;
    static const struct {
        enum prose_language language;
        const char *words;
    } lists[] = {
        {PROSE_ENGLISH,
         "a and are as be but by for from in is it of on or that the this to was with"},
        {PROSE_GERMAN, "als auf aus bei das dem der die durch eine es fur ist kein mit nicht oder "
                       "sich um und von wenn wird zu zum zur"},
        {PROSE_ROMANIAN, "a acest ale care cu daca din este fi in nu pe prin sa se unei"},
        {PROSE_TURKISH, "bir bu daha de degil gibi icin ile ne olarak var ve veya"},
        {PROSE_HUNGARIAN, "a az be egy es ez ha hogy ki meg mi nem szerint vagy van"},
        {PROSE_RUSSIAN, "без был в для и из как на не о по с то только у что это"},
    };
    for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
        char copy[512];
        snprintf(copy, sizeof copy, "%s", lists[i].words);
        char *rest = copy, *word;
        while ((word = strtok_r(rest, " ", &rest)))
            assert_true(prose_is_stop_word(lists[i].language, span_str(word)));
    }
    assert_false(prose_is_stop_word(PROSE_GERMAN, span_str("zurich")));
    assert_false(prose_is_stop_word(PROSE_GERMAN, span_str("the")));
}

static void guess_stays_with_english_when_nothing_is_clear(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        "x",
        "die()",
        "What does die() do in main?",
        "for (int i = 0; i < n; i++) { a[i] = b[i] + c; } // in case of an error",
        "El Capitan is the name of a release and of a rock in the park that the team likes",
        "解析する関数はどこですか",
    };
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        assert_int_equal(prose_language_guess(span_str(texts[i])), PROSE_ENGLISH);
}

static void guess_tells_the_language_of_a_question(void **state)
{
    (void)state;
    assert_int_equal(prose_language_guess(span_str("Wie wird die Verbindung aufgebaut?")),
                     PROSE_GERMAN);
    assert_int_equal(prose_language_guess(span_str("¿Dónde se guardan los eventos?")),
                     PROSE_SPANISH);
    assert_int_equal(prose_language_guess(span_str("Как и где хранится журнал?")), PROSE_RUSSIAN);
    assert_int_equal(prose_language_guess(span_str("Where are retries decided?")), PROSE_ENGLISH);
}

/* ---- terms ---- */

struct terms {
    struct buf text;
    uint32_t last;
};

static void take(void *ctx, struct span term, uint32_t position)
{
    struct terms *t = ctx;
    assert_true(position >= t->last);
    t->last = position;
    buf_printf(&t->text, "%s" SPAN_FMT, buf_span(&t->text).len ? " " : "", SPAN_ARG(term));
}

static void assert_terms(struct analyst *a, const char *text, const char *expected)
{
    struct terms t = {BUF_INIT(1 << 16), 0};
    analyst_read(a, span_str(text), take, &t);
    assert_string_equal(buf_str(&t.text), expected);
    buf_done(&t.text);
}

static struct analyst *analyst_of(uint32_t languages)
{
    struct analyst *a;
    assert_int_equal(analyst_new(ANALYZER_CODE, languages, &a), 0);
    return a;
}

static void inflections_of_a_word_meet_in_its_language(void **state)
{
    (void)state;
    static const struct {
        enum prose_language language;
        const char *one, *other;
    } pairs[] = {
        {PROSE_DANISH, "forbindelse", "forbindelser"},
        {PROSE_DUTCH, "verbinding", "verbindingen"},
        {PROSE_FINNISH, "yhteys", "yhteyttä"},
        {PROSE_FRENCH, "événement", "événements"},
        {PROSE_GERMAN, "Verbindung", "Verbindungen"},
        {PROSE_HUNGARIAN, "szerver", "szerverek"},
        {PROSE_ITALIAN, "connessione", "connessioni"},
        {PROSE_NORWEGIAN, "forbindelse", "forbindelsene"},
        {PROSE_PORTUGUESE, "evento", "eventos"},
        {PROSE_ROMANIAN, "fișier", "fișiere"},
        {PROSE_RUSSIAN, "соединение", "соединения"},
        {PROSE_SPANISH, "evento", "eventos"},
        {PROSE_SWEDISH, "händelse", "händelser"},
        {PROSE_TURKISH, "olay", "olaylar"},
    };
    for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
        struct analyst *a = analyst_of(PROSE_BIT(pairs[i].language));
        struct terms one = {BUF_INIT(4096), 0}, other = {BUF_INIT(4096), 0};
        analyst_read(a, span_str(pairs[i].one), take, &one);
        analyst_read(a, span_str(pairs[i].other), take, &other);
        if (pairs[i].language != PROSE_FINNISH) /* its consonants change: the stems stay apart */
            assert_string_equal(buf_str(&one.text), buf_str(&other.text));
        assert_true(buf_span(&one.text).len > 0);
        buf_done(&one.text);
        buf_done(&other.text);
        analyst_free(a);
    }
}

static void a_question_gives_one_term_a_language_and_equal_ones_once(void **state)
{
    (void)state;
    struct analyst *a = analyst_of(PROSE_BIT(PROSE_ENGLISH) | PROSE_BIT(PROSE_GERMAN));
    assert_terms(a, "Verbindungen", "verbindungen verbind");
    assert_terms(a, "log", "log");
    assert_terms(a, "getUserName", "get user name nam getusernam");
    analyst_free(a);
}

static void commonest_words_of_the_language_are_dropped(void **state)
{
    (void)state;
    struct analyst *a = analyst_of(PROSE_BIT(PROSE_GERMAN));
    analyst_drop(a, PROSE_GERMAN);
    assert_terms(a, "Wie wird die Verbindung für den Server geöffnet?", "verbind serv geoffnet");
    analyst_free(a);
}

static void stems_meet_whether_or_not_diacritics_are_typed(void **state)
{
    (void)state;
    struct analyst *a = analyst_of(PROSE_BIT(PROSE_SPANISH));
    assert_terms(a, "función funcion", "funcion funcion");
    analyst_free(a);
}

static void scripts_without_spaces_are_cut_into_words(void **state)
{
    (void)state;
    struct analyst *a = analyst_of(PROSE_BIT(PROSE_ENGLISH));
    assert_terms(a, "ภาษาไทย", "ภาษา ไทย");
    assert_terms(a, "เซิร์ฟเวอร์API ของ", "เซิร์ฟเวอร์ api ของ");
    assert_terms(a, "ພາສາລາວ", "ພາສາ ລາວ");
    analyst_free(a);
}

static void without_other_languages_the_terms_are_those_of_analyze(void **state)
{
    (void)state;
    static const char text[] =
        "The parseConfigFile() of HTTPServer2, naïve_approach in 中文テスト are running";
    struct analyst *a = analyst_of(PROSE_BIT(PROSE_ENGLISH));
    struct terms plain = {BUF_INIT(4096), 0};
    analyze(ANALYZER_CODE, span_str(text), take, &plain);
    assert_terms(a, text, buf_str(&plain.text));
    buf_done(&plain.text);
    analyst_free(a);
}

static void any_bytes_give_terms_within_the_bound(void **state)
{
    (void)state;
    struct analyst *a = analyst_of((1u << PROSE_LANGUAGES) - 1);
    char text[4096];
    uint32_t seed = 7;
    for (size_t i = 0; i < sizeof text; i++) {
        seed = seed * 1664525u + 1013904223u;
        text[i] = (char)(seed >> 24);
    }
    struct terms t = {BUF_INIT(1 << 20), 0};
    analyst_read(a, span_of(text, sizeof text), take, &t);
    assert_true(buf_span(&t.text).len > 0);
    buf_done(&t.text);
    analyst_free(a);
}

static void without_memory_there_is_no_analyst(void **state)
{
    (void)state;
    struct analyst *a;
    fault_arm(FAULT_ALLOC, 1, 0);
    assert_int_equal(analyst_new(ANALYZER_CODE, 1, &a), -ERR_NO_MEMORY);
    fault_disarm();
    assert_null(a);
    analyst_free(a);
}

static void scripts_of_a_text_are_told(void **state)
{
    (void)state;
    assert_int_equal(script_set(span_str("42 + {}")), 0);
    assert_int_equal(script_set(span_str("abc é")), SCRIPT_BIT(SCRIPT_LATIN));
    assert_int_equal(script_set(span_str("журнал")), SCRIPT_BIT(SCRIPT_CYRILLIC));
    assert_int_equal(script_set(span_str("日本のログ x")),
                     SCRIPT_BIT(SCRIPT_HAN) | SCRIPT_BIT(SCRIPT_KANA) | SCRIPT_BIT(SCRIPT_LATIN));
    assert_int_equal(script_set(span_str("한국어")), SCRIPT_BIT(SCRIPT_HANGUL));
    assert_int_equal(script_set(span_str("ไทย")), SCRIPT_BIT(SCRIPT_SOUTHEAST_ASIA));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(guess_tells_the_language_of_running_prose),
        cmocka_unit_test(commonest_words_are_found_wherever_they_stand_in_the_table),
        cmocka_unit_test(guess_stays_with_english_when_nothing_is_clear),
        cmocka_unit_test(guess_tells_the_language_of_a_question),
        cmocka_unit_test(inflections_of_a_word_meet_in_its_language),
        cmocka_unit_test(a_question_gives_one_term_a_language_and_equal_ones_once),
        cmocka_unit_test(commonest_words_of_the_language_are_dropped),
        cmocka_unit_test(stems_meet_whether_or_not_diacritics_are_typed),
        cmocka_unit_test(scripts_without_spaces_are_cut_into_words),
        cmocka_unit_test(without_other_languages_the_terms_are_those_of_analyze),
        cmocka_unit_test(any_bytes_give_terms_within_the_bound),
        cmocka_unit_test(without_memory_there_is_no_analyst),
        cmocka_unit_test(scripts_of_a_text_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
