#pragma once
/*
 * Every setting of the program in one table (options_table.c): its flag, environment names, line in the
 * configuration file, range, default and help sentence. Help, manual, sample configuration, completion and
 * docs/options.md are made from the same rows, so they cannot disagree with the parser.
 *
 * Precedence: flag, HEADWATER_* variable, compatibility variable (DEEPWIKI_*, PORT, LOG_*), configuration
 * file, default. An empty variable counts as not set. Read-only once loaded. Thread: any.
 */
#include "app/cmd.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/span.h"

enum option_id {
    OPT_LISTEN,
    OPT_DATA,
    OPT_CONFIG,
    OPT_ALLOW_PATH,
    OPT_ALLOW_HOST,
    OPT_ALLOW_PRIVATE_HOST,
    OPT_ALLOW_SSH,
    OPT_MAX_CLONE_SIZE,
    OPT_REFRESH_INTERVAL,
    OPT_INSECURE,
    OPT_ENABLE_ECHO,
    OPT_BENCH_SOURCE,
    OPT_CORS_ORIGINS,
    OPT_THREADS,
    OPT_DRAIN_TIMEOUT,
    OPT_LOG_LEVEL,
    OPT_LOG_FORMAT,
    OPT_LOG_FILE,
    OPT_LOG_MAX_SIZE,
    OPT_LOG_BACKUPS,
    OPT_STREAM_RETENTION,
    OPT_STREAM_SYNC,
    OPT_PROVIDER,
    OPT_MODEL,
    OPT_EMBEDDER,
    OPT_FIRST_TOKEN_TIMEOUT,
    OPT_IDLE_TIMEOUT,
    OPT_RETRY_BUDGET,
    OPT_LANGUAGE,
    OPT_SERVER,
    OPT_SERVER_KEY,
    OPT_JSON,
    OPT_QUIET,
    OPT_K,
    OPT_EXPLAIN,
    OPT_NAME,
    OPT_BRANCH,
    OPT_FORCE,
    OPT_INCLUDE,
    OPT_EXCLUDE,
    OPT_REPORT,
    OPT_REMOVE,
    OPT_RUN,
    OPT_DEPTH,
    OPT_VECTORS,
    OPT_MAN,
    OPT_MARKDOWN,
    OPT_SAMPLE_CONFIG,
    OPT_HELP,
    OPT_VERSION,
    OPT_COUNT
};

enum option_type {
    OPTION_STRING,
    OPTION_INT,
    OPTION_SIZE,     /* bytes; 10M, 2GiB, 512k */
    OPTION_DURATION, /* milliseconds; 250ms, 1s, 1h30m, 30d; a bare number is seconds */
    OPTION_BOOL,
    OPTION_LIST,
    OPTION_SECRET /* never a flag, which every user of the machine could read; shown as *** */
};

/* Where a value came from, weakest first. */
enum option_source { SOURCE_DEFAULT, SOURCE_FILE, SOURCE_COMPAT_ENV, SOURCE_ENV, SOURCE_FLAG };

enum option_flags {
    OPTION_FLAG_ONLY = 1, /* belongs to one call: no variable, no line in the configuration file */
    OPTION_NOT_IN_FILE = 2,
    OPTION_RELOADABLE = 4, /* a running server takes a new value */
    OPTION_NO_COMMAS =
        8 /* list of paths: flags and lines are one item each, a variable splits at ':' */
};

struct option_env {
    const char *name;
    bool is_port; /* the value is a port, which stands for both loopback addresses */
};

struct option {
    const char *name;
    const char *alias; /* another long name, or NULL */
    char letter;       /* short name, or 0 */
    const char *arg;   /* what help calls the value; NULL for booleans */
    enum option_type type;
    unsigned flags;
    uint64_t min, max;   /* of int, size and duration, in units of the value */
    uint64_t unit;       /* size: what a bare number counts, in bytes */
    const char *choices; /* string: "debug|warn=warning|…" (a=b: b is read as a), or NULL */
    const char
        *fallback; /* default as text; NULL = none, or made at run time (see fallback_text) */
    const char *fallback_text; /* how help describes a default made at run time */
    const char *env;           /* HEADWATER_…, or NULL */
    struct option_env compat[3];
    unsigned commands;   /* CMD_BIT()s it applies to */
    const char *section; /* its section in the configuration file and in help */
    const char *help;    /* sentences for a person */
};

extern const struct option option_table[OPT_COUNT];

struct options;

struct options_input {
    enum command_id command;
    int argc; /* words after the command's name */
    const char *const *argv;
    const char *const *env; /* NAME=value, NULL-terminated */
};

/*
 * Reads words, environment and configuration file. 0 with *ret (options_free), else -ERR_INVALID or -ERR_IO
 * with a message that names the flag, variable or file:line at fault. Operand counts are checked unless
 * --help or --version was given. Blocks on the configuration file.
 */
int options_load(const struct options_input *in, struct options **ret, struct err *err) MUST_CHECK;
void options_free(struct options *o);

enum command_id options_command(const struct options *o);
size_t options_operand_count(const struct options *o);
const char *options_operand(const struct options *o, size_t i); /* NULL past the end */
/* Value of a variable in the environment the options were read from, or NULL. */
const char *options_env(const struct options *o, const char *name);

/* Each aborts when the option is of another type. */
const char *option_str(const struct options *o, enum option_id id); /* NULL when there is none */
uint64_t option_u64(const struct options *o, enum option_id id);    /* int, bytes or milliseconds */
bool option_bool(const struct options *o, enum option_id id);
size_t option_count(const struct options *o, enum option_id id);
const char *option_item(const struct options *o, enum option_id id, size_t i);
enum option_source option_source(const struct options *o, enum option_id id);
/* "--data", "HEADWATER_DATA", "/etc/h.conf:3" or "default". */
const char *option_where(const struct options *o, enum option_id id);

/*
 * What no single value can say: each listen address must be well formed, and one that other machines reach
 * is refused unless --insecure, as there is no authentication yet. -ERR_INVALID, -ERR_FORBIDDEN.
 */
int options_check(const struct options *o, struct err *err) MUST_CHECK;

/* ---- pieces, public for their tests ---- */

/* The row for a long name (or alias) that the command takes, or -1. */
int option_find(struct span name, enum command_id command);
/* The row for a name in the configuration file, or -1. */
int option_find_in_file(struct span name);

enum listen_kind { LISTEN_INVALID, LISTEN_LOOPBACK, LISTEN_PUBLIC, LISTEN_UNIX };
/* Kind of "HOST:PORT", "[V6]:PORT", ":PORT" (every address) or "unix:/path". Names other than localhost are public: */
/* what they resolve to may change. */
enum listen_kind listen_classify(struct span address);

/* "512", "10M", "2GiB" → bytes; a bare number counts `unit`. False on syntax or overflow. */
bool parse_size(struct span text, uint64_t unit, uint64_t *ret_bytes);
/* "250ms", "1s", "1h30m", "30d", "2w", "45" (seconds) → milliseconds. False on syntax or overflow. */
bool parse_duration(struct span text, uint64_t *ret_ms);
/* Shortest text that reads back. */
void put_size(struct buf *out, uint64_t bytes);
void put_duration(struct buf *out, uint64_t ms);
