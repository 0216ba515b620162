#pragma once
/*
 * The command table: what `headwater NAME …` can be, who runs it, and the words that help, manual page and
 * shell completion print about it. One table (cmd.c); main.c dispatches through it. Thread: main.
 */
#include "base/err.h"
#include "base/span.h"

struct options;

enum command_id {
    CMD_SERVE,
    CMD_INDEX,
    CMD_ASK,
    CMD_SEARCH,
    CMD_SOURCES,
    CMD_EVAL,
    CMD_DOCTOR,
    CMD_COMPLETION,
    CMD_HELP,
    CMD_COUNT
};
#define CMD_BIT(id) (1u << (id))
#define CMD_ALL (CMD_BIT(CMD_COUNT) - 1)

enum exit_code { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_INTERRUPTED = 130 };

struct command_example {
    const char *line, *what;
};

struct command {
    const char *name;
    const char *operands; /* as in a usage line: "SOURCE \"QUESTION\"" */
    unsigned min_operands, max_operands;
    const char *summary; /* one line, no final period */
    const char *text;    /* paragraphs for help and manual, separated by an empty line */
    struct command_example examples[4];
    /* Does the work and returns an exit code. On EXIT_FAILED and EXIT_USAGE, *err says why (main prints it). */
    int (*run)(const struct options *o, struct err *err);
};

extern const struct command commands[CMD_COUNT];

/* The command of that name, or -1. */
int command_find(struct span name);

int cmd_serve(const struct options *o, struct err *err);
int cmd_index(const struct options *o, struct err *err);
int cmd_ask(const struct options *o, struct err *err);
int cmd_search(const struct options *o, struct err *err);
int cmd_sources(const struct options *o, struct err *err);
int cmd_eval(const struct options *o, struct err *err);
int cmd_doctor(const struct options *o, struct err *err);
int cmd_completion(const struct options *o, struct err *err);
int cmd_help(const struct options *o, struct err *err);
