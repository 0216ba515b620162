#pragma once
/*
 * What a model can take. Limits of well-known families are built in, by the prefix of the model's name, as their makers
 * document them; the owner's own rules (configuration) come first. What it costs is said by the registry: prices are never
 * built in, they change.
 * Pure. Thread: any.
 */
#include "base/span.h"

/* An unknown model: what small local models have, so that a prompt is cut rather than refused. */
#define MODEL_CONTEXT_UNKNOWN 8192u
#define MODEL_OUTPUT_UNKNOWN 2048u

/* One rule of the configuration. */
struct model_rule {
    const char *prefix;      /* of the bare name, any case; "" = every model */
    uint32_t context_tokens; /* prompt and answer together; 0 = not said */
    uint32_t output_tokens;  /* longest answer; 0 = not said */
};
struct model_rules {
    const struct model_rule *items; /* borrowed */
    size_t count;
};

struct model_limits {
    uint32_t context_tokens, output_tokens;
    bool is_known;
};

/* The name without what hosts put around it: "models/x", "us.anthropic.x-v1:0", "openai/x:free" and "x" are all x…. */
struct span model_bare_name(struct span model);
/* The longest prefix wins, an own rule before a built-in one; figures a rule does not say come from the next. own may be NULL. */
struct model_limits model_limits_find(const struct model_rules *own, struct span model);
