#include "text/prose_language.h"

#include "text/utf8.h"

#define WORD_MAX 12u
#define SHARE_LEAST \
    8u /* one word in so many is a commonest word, in running prose of any of these */

#define DA PROSE_BIT(PROSE_DANISH)
#define NL PROSE_BIT(PROSE_DUTCH)
#define FI PROSE_BIT(PROSE_FINNISH)
#define FR PROSE_BIT(PROSE_FRENCH)
#define DE PROSE_BIT(PROSE_GERMAN)
#define HU PROSE_BIT(PROSE_HUNGARIAN)
#define IT PROSE_BIT(PROSE_ITALIAN)
#define NO PROSE_BIT(PROSE_NORWEGIAN)
#define PT PROSE_BIT(PROSE_PORTUGUESE)
#define RO PROSE_BIT(PROSE_ROMANIAN)
#define RU PROSE_BIT(PROSE_RUSSIAN)
#define ES PROSE_BIT(PROSE_SPANISH)
#define SV PROSE_BIT(PROSE_SWEDISH)
#define TR PROSE_BIT(PROSE_TURKISH)
#define EN PROSE_BIT(PROSE_ENGLISH)

/* In byte order; without diacritics. */
static const struct {
    char word[WORD_MAX + 4];
    uint32_t languages;
} commonest[] = {
    {"a", EN | ES | FR | HU | IT | PT | RO},
    {"aan", NL},
    {"acest", RO},
    {"ad", IT},
    {"af", DA},
    {"al", ES | IT},
    {"ale", RO},
    {"alla", IT | SV},
    {"als", DE | NL},
    {"an", EN},
    {"and", EN},
    {"ao", PT},
    {"ar", SV},
    {"are", EN | RO},
    {"as", EN | PT},
    {"at", EN},
    {"att", SV},
    {"au", FR},
    {"auf", DE},
    {"aus", DE},
    {"aux", FR},
    {"av", NO | SV},
    {"avec", FR},
    {"az", HU},
    {"be", EN | HU},
    {"bei", DE},
    {"bir", TR},
    {"blir", NO | SV},
    {"bu", TR},
    {"but", EN},
    {"by", EN},
    {"can", EN},
    {"care", RO},
    {"ce", FR | RO},
    {"cette", FR},
    {"che", IT},
    {"com", PT},
    {"come", IT},
    {"comment", FR},
    {"como", ES | PT},
    {"con", ES | IT},
    {"cu", RO},
    {"cual", ES},
    {"cuando", ES},
    {"cum", RO},
    {"da", IT | PT},
    {"daca", RO},
    {"daha", TR},
    {"dans", FR},
    {"das", DE | PT},
    {"dass", DE},
    {"dat", NL},
    {"de", DA | ES | FR | NL | NO | PT | RO | SV | TR},
    {"degil", TR},
    {"dei", IT},
    {"del", ES | IT},
    {"della", IT},
    {"dem", DE},
    {"den", DA | DE | NO | SV},
    {"denne", DA | NO},
    {"der", DA | DE},
    {"des", DE | FR},
    {"desde", ES | PT},
    {"det", DA | NO | SV},
    {"di", IT},
    {"did", EN},
    {"die", DE | NL},
    {"din", RO},
    {"do", EN | PT},
    {"does", EN},
    {"donde", ES},
    {"dos", PT},
    {"dove", IT},
    {"du", FR},
    {"durch", DE},
    {"e", IT | PT},
    {"een", NL},
    {"efter", DA | SV},
    {"egy", HU},
    {"ei", FI},
    {"eine", DE},
    {"einen", DE},
    {"einer", DE},
    {"el", ES},
    {"eller", DA | NO | SV},
    {"em", PT},
    {"en", DA | ES | FR | NL | NO | SV},
    {"er", DA | NO},
    {"es", DE | ES | HU},
    {"est", FR},
    {"esta", ES | PT},
    {"este", ES | PT | RO},
    {"et", DA | FR | NO},
    {"ett", SV},
    {"etter", NO},
    {"ez", HU},
    {"fi", RO},
    {"for", DA | EN | NO},
    {"fra", DA | NO},
    {"fran", SV},
    {"from", EN},
    {"fur", DE},
    {"gibi", TR},
    {"gli", IT},
    {"ha", HU | IT},
    {"har", DA | NO | SV},
    {"has", EN},
    {"have", EN},
    {"hem", TR},
    {"het", NL},
    {"hoe", NL},
    {"hogy", HU},
    {"hogyan", HU},
    {"hol", HU},
    {"how", EN},
    {"hur", SV},
    {"hva", NO},
    {"hvad", DA},
    {"hvor", DA | NO},
    {"hvordan", DA | NO},
    {"i", DA | IT | NO | SV},
    {"icin", TR},
    {"if", EN},
    {"ikke", DA | NO},
    {"il", FR | IT},
    {"ile", TR},
    {"in", DE | EN | IT | NL | RO},
    {"inte", SV},
    {"is", EN | NL},
    {"ist", DE},
    {"it", EN},
    {"ja", FI},
    {"je", FR},
    {"joka", FI},
    {"jos", FI},
    {"kan", DA | NL | NO | SV},
    {"kann", DE},
    {"kein", DE},
    {"ki", HU},
    {"kuinka", FI},
    {"kun", FI},
    {"la", ES | FR | IT | RO},
    {"las", ES},
    {"le", FR | IT},
    {"les", FR},
    {"lo", ES | IT},
    {"los", ES},
    {"maar", NL},
    {"mais", FR | PT},
    {"mas", ES | PT},
    {"med", DA | NO | SV},
    {"meg", HU},
    {"mellem", DA},
    {"mellom", NO},
    {"met", NL},
    {"mi", HU},
    {"mikor", HU},
    {"missa", FI},
    {"mit", DE},
    {"miten", FI},
    {"na", PT},
    {"nach", DE},
    {"nao", PT},
    {"nasil", TR},
    {"ne", FR | TR},
    {"nem", HU},
    {"nerede", TR},
    {"nicht", DE},
    {"niet", NL},
    {"no", ES | PT},
    {"noen", NO},
    {"nogle", DA},
    {"not", EN},
    {"nu", RO},
    {"o", PT | RO | TR},
    {"och", SV},
    {"oder", DE},
    {"of", EN | NL},
    {"og", DA | NO},
    {"olarak", TR},
    {"om", DA | NL | NO | SV},
    {"on", EN | FI | FR},
    {"onde", PT},
    {"op", DA | NL},
    {"or", EN},
    {"os", PT},
    {"ou", FR | PT},
    {"par", FR},
    {"para", ES | PT},
    {"pas", FR},
    {"pe", RO},
    {"pentru", RO},
    {"per", IT},
    {"perche", IT},
    {"por", ES | PT},
    {"pour", FR},
    {"pourquoi", FR},
    {"prin", RO},
    {"qu", FR},
    {"quand", FR},
    {"quando", IT | PT},
    {"que", ES | FR | PT},
    {"qui", FR},
    {"sa", RO},
    {"sau", RO},
    {"se", ES | FI | IT | PT | RO},
    {"sein", DE},
    {"si", ES | FR | IT | RO},
    {"sich", DE},
    {"sie", DE},
    {"sin", ES},
    {"sind", DE},
    {"skal", DA | NO},
    {"sobre", ES | PT},
    {"som", DA | NO | SV},
    {"son", ES | FR},
    {"sono", IT},
    {"su", ES},
    {"sunt", RO},
    {"sur", FR},
    {"szerint", HU},
    {"te", NL},
    {"that", EN},
    {"the", EN},
    {"this", EN},
    {"til", DA | NO},
    {"till", SV},
    {"to", EN},
    {"ud", DA},
    {"um", DE | PT},
    {"uma", PT},
    {"un", ES | FR | IT | RO},
    {"una", ES | IT},
    {"und", DE},
    {"unde", RO},
    {"une", FR},
    {"unei", RO},
    {"ut", NO | SV},
    {"vagy", HU},
    {"van", HU | NL},
    {"var", SV | TR},
    {"ve", TR},
    {"ved", DA | NO},
    {"veya", TR},
    {"von", DE},
    {"voor", NL},
    {"waar", NL},
    {"wann", DE},
    {"wanneer", NL},
    {"warum", DE},
    {"was", DE | EN | NL},
    {"wat", NL},
    {"welche", DE},
    {"wenn", DE},
    {"werden", DE},
    {"what", EN},
    {"when", EN},
    {"where", EN},
    {"which", EN},
    {"who", EN},
    {"why", EN},
    {"wie", DE},
    {"wird", DE},
    {"with", EN},
    {"wo", DE},
    {"worden", NL},
    {"wordt", NL},
    {"y", ES},
    {"you", EN},
    {"zijn", NL},
    {"zu", DE},
    {"zum", DE},
    {"zur", DE},
    {"без", RU},
    {"был", RU},
    {"в", RU},
    {"во", RU},
    {"где", RU},
    {"для", RU},
    {"до", RU},
    {"его", RU},
    {"если", RU},
    {"и", RU},
    {"из", RU},
    {"или", RU},
    {"их", RU},
    {"к", RU},
    {"как", RU},
    {"когда", RU},
    {"на", RU},
    {"не", RU},
    {"но", RU},
    {"о", RU},
    {"от", RU},
    {"по", RU},
    {"почему", RU},
    {"при", RU},
    {"с", RU},
    {"так", RU},
    {"то", RU},
    {"только", RU},
    {"у", RU},
    {"что", RU},
    {"это", RU},
};

static const char *const names[PROSE_LANGUAGES] = {
    "English",   "Danish",     "Dutch",    "Finnish", "French",  "German",  "Hungarian", "Italian",
    "Norwegian", "Portuguese", "Romanian", "Russian", "Spanish", "Swedish", "Turkish"};

const char *prose_language_name(enum prose_language language)
{
    return names[language];
}

static uint32_t languages_of(struct span word)
{
    size_t low = 0, high = ARRAY_LEN(commonest);
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        int order = span_cmp(word, span_str(commonest[mid].word));
        if (order == 0)
            return commonest[mid].languages;
        if (order < 0)
            high = mid;
        else
            low = mid + 1;
    }
    return 0;
}

bool prose_is_stop_word(enum prose_language language, struct span folded)
{
    return languages_of(folded) & PROSE_BIT(language);
}

/* The next word of text from *at, folded; its length, 0 at the end. A longer one is cut. */
static size_t next_word(struct span text, size_t *at, char ret[WORD_MAX + 4])
{
    size_t n = 0;
    while (*at < text.len) {
        uint32_t cp = 0;
        size_t step = utf8_decode(span_skip(text, *at), &cp);
        *at += step ? step : 1;
        if (step == 0 || utf8_classify(cp) != UTF8_LETTER) {
            if (n > 0)
                return n;
            continue;
        }
        if ((cp >= 0x300 && cp < 0x370) || n >= WORD_MAX)
            continue; /* a mark, or more of a word that is too long to be a common one */
        n += utf8_encode(utf8_fold(cp), ret + n);
    }
    return n;
}

static size_t count_words(struct span text, size_t found[PROSE_LANGUAGES])
{
    size_t words = 0, at = 0, n;
    char word[WORD_MAX + 4];
    text = span_first(text, text.len < PROSE_SAMPLE ? text.len : PROSE_SAMPLE);
    while ((n = next_word(text, &at, word)) > 0) {
        words++;
        uint32_t set = n > 1 ? languages_of(span_of(word, n)) : 0; /* `a` and `i` are names too */
        for (; set; set &= set - 1)
            found[__builtin_ctz(set)]++;
    }
    return words;
}

enum prose_language prose_language_guess(struct span text)
{
    size_t found[PROSE_LANGUAGES] = {0}, best = PROSE_ENGLISH, second = PROSE_ENGLISH;
    size_t words = count_words(text, found);
    for (size_t i = 1; i < PROSE_LANGUAGES; i++) {
        if (found[i] > found[best]) {
            second = best;
            best = i;
        } else if (second == best || found[i] > found[second]) {
            second = i;
        }
    }
    bool is_clear = found[best] >= 2 && found[best] * SHARE_LEAST >= words &&
                    found[best] > found[second] && found[best] * 2 > found[PROSE_ENGLISH] * 3;
    return is_clear ? (enum prose_language)best : PROSE_ENGLISH;
}

bool prose_is_english(struct span text)
{
    size_t found[PROSE_LANGUAGES] = {0};
    (void)count_words(text, found);
    return found[PROSE_ENGLISH] && prose_language_guess(text) == PROSE_ENGLISH;
}

/* ---- scripts ---- */

enum script script_of(uint32_t cp)
{
    static const struct {
        uint32_t first, last;
        enum script script;
    } ranges[] = {
        {0x41, 0x24f, SCRIPT_LATIN},
        {0x370, 0x3ff, SCRIPT_GREEK},
        {0x400, 0x52f, SCRIPT_CYRILLIC},
        {0x590, 0x5ff, SCRIPT_HEBREW},
        {0x600, 0x77f, SCRIPT_ARABIC},
        {0x8a0, 0x8ff, SCRIPT_ARABIC},
        {0x900, 0xd7f, SCRIPT_INDIC},
        {0xe00, 0xeff, SCRIPT_SOUTHEAST_ASIA},
        {0x1000, 0x109f, SCRIPT_SOUTHEAST_ASIA},
        {0x1100, 0x11ff, SCRIPT_HANGUL},
        {0x1780, 0x17ff, SCRIPT_SOUTHEAST_ASIA},
        {0x1e00, 0x1eff, SCRIPT_LATIN},
        {0x1f00, 0x1fff, SCRIPT_GREEK},
        {0x3040, 0x30ff, SCRIPT_KANA},
        {0x3130, 0x318f, SCRIPT_HANGUL},
        {0x31f0, 0x31ff, SCRIPT_KANA},
        {0x3400, 0x9fff, SCRIPT_HAN},
        {0xac00, 0xd7a3, SCRIPT_HANGUL},
        {0xf900, 0xfaff, SCRIPT_HAN},
        {0xff21, 0xff5a, SCRIPT_LATIN},
        {0xff66, 0xff9f, SCRIPT_KANA},
        {0x20000, 0x3134f, SCRIPT_HAN},
    };
    for (size_t i = 0; i < ARRAY_LEN(ranges); i++)
        if (cp >= ranges[i].first && cp <= ranges[i].last)
            return ranges[i].script;
    return SCRIPT_OTHER;
}

uint32_t script_set(struct span text)
{
    uint32_t set = 0;
    for (size_t i = 0; i < text.len;) {
        uint64_t eight;
        while (set & SCRIPT_BIT(SCRIPT_LATIN) && text.len - i >= sizeof eight) {
            memcpy(&eight, text.ptr + i, sizeof eight);
            if (eight & 0x8080808080808080u)
                break;
            i += sizeof eight; /* ASCII says no more once a letter of it was seen */
        }
        if (i == text.len)
            break;
        unsigned char c = (unsigned char)text.ptr[i];
        if (c < 0x80) {
            if ((c | 32) >= 'a' && (c | 32) <= 'z')
                set |= SCRIPT_BIT(SCRIPT_LATIN);
            i++;
            continue;
        }
        uint32_t cp = 0;
        size_t step = utf8_decode(span_skip(text, i), &cp);
        enum utf8_class class = step ? utf8_classify(cp) : UTF8_PUNCT;
        if (class == UTF8_LETTER || class == UTF8_IDEOGRAPH)
            set |= SCRIPT_BIT(script_of(cp));
        i += step ? step : 1;
    }
    return set;
}

const char *script_name(enum script script)
{
    static const char *const script_names[SCRIPTS] = {"Latin",
                                                      "Greek",
                                                      "Cyrillic",
                                                      "Hebrew",
                                                      "Arabic",
                                                      "an Indic script",
                                                      "Thai, Lao, Khmer or Burmese",
                                                      "Chinese characters",
                                                      "kana",
                                                      "Hangul",
                                                      "another script"};
    return script_names[script];
}
