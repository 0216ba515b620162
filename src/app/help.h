#pragma once
/* Everything printed about commands and options, made from their two tables. Thread: any. */
#include "app/cmd.h"
#include "base/buf.h"

#define HELP_MAX (1u << 20)

void help_program(struct buf *out);
void help_command(struct buf *out, enum command_id id);
void help_version(struct buf *out);
/* headwater(1) in groff's man format; the same bytes each time. docs/man/headwater.1 */
void help_man(struct buf *out);
/* docs/options.md */
void help_markdown(struct buf *out);
/* Every setting, commented out at its default. The configuration parser accepts it. */
void help_sample_config(struct buf *out);
/* False for a shell we do not know. */
bool help_completion(struct buf *out, struct span shell);

/* ---- shared by the writers above ---- */

/* "headwater ask SOURCE \"QUESTION\" [OPTION]…" */
void help_put_usage(struct buf *out, enum command_id id);
/* "10M", "true" … or "none" */
const char *help_default(int option_id);
/* True when the option belongs to the command and is worth listing there. */
bool help_lists(int option_id, enum command_id id);
