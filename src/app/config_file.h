#pragma once
/*
 * The configuration file's syntax, and nothing of its meaning: `name = value` lines, [sections], # comments.
 * A value is bare (to the end of the line or a # after white space, trimmed) or "quoted" with \" \\ \n \t.
 * Names are letters, digits, '-' and '_'. Untrusted bytes: bounded, fuzzed. Thread: any.
 */
#include "base/err.h"
#include "base/span.h"

#define CONFIG_FILE_MAX (1u << 20)
#define CONFIG_LINE_MAX (16u << 10)

/* One assignment; spans last for the call only. section is empty before the first [section]. */
typedef int config_setter(void *ctx, unsigned line, struct span section, struct span name,
                          struct span value, bool is_quoted, struct err *err);

/*
 * Calls set for each assignment in order. 0, what set returned when negative, or -ERR_INVALID /
 * -ERR_TOO_LARGE / -ERR_NO_MEMORY. Messages begin with "file_name:line: ".
 */
int config_file_parse(struct span text, const char *file_name, config_setter *set, void *ctx,
                      struct err *err) MUST_CHECK;
