#pragma once
/*
 * The program's log: records of level, component, message and typed fields, written as text or JSON to
 * stderr or a rotating file by a thread of its own, so no caller ever waits for a disk. When the backlog
 * (LIMIT_LOG_BACKLOG) is full, records are dropped and counted; the count is logged when there is room.
 * A process-wide service (one of three, with metrics and faults): started and stopped by app/main.c.
 * Before log_start, records go straight to stderr. Never pass secrets. Thread: any.
 *
 *   LOG_INFO("net", "listening", LOG_S("addr", text), LOG_U("port", port));
 */
#include "base/err.h"
#include "base/span.h"

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARN, LOG_LEVEL_ERROR, LOG_LEVEL_OFF };

struct log_field {
    const char *key;
    enum { LOG_FIELD_SPAN, LOG_FIELD_U64, LOG_FIELD_I64, LOG_FIELD_NUM } kind;
    union {
        struct span span;
        uint64_t u64;
        int64_t i64;
        double num;
    };
};
#define LOG_S(k, s) ((struct log_field){.key = (k), .kind = LOG_FIELD_SPAN, .span = span_str(s)})
#define LOG_SPAN(k, s) ((struct log_field){.key = (k), .kind = LOG_FIELD_SPAN, .span = (s)})
#define LOG_U(k, v) ((struct log_field){.key = (k), .kind = LOG_FIELD_U64, .u64 = (uint64_t)(v)})
#define LOG_I(k, v) ((struct log_field){.key = (k), .kind = LOG_FIELD_I64, .i64 = (int64_t)(v)})
#define LOG_F(k, v) ((struct log_field){.key = (k), .kind = LOG_FIELD_NUM, .num = (double)(v)})

struct log_options {
    enum log_level level;
    bool json;
    const char *path;       /* NULL = stderr */
    uint64_t max_bytes;     /* rotate past it; 0 = never */
    unsigned backups_count; /* path.1 … path.N kept */
};

int log_start(const struct log_options *options, struct err *err) MUST_CHECK;
void log_stop(void);                                         /* writes what is left */
bool log_parse_level(struct span name, enum log_level *ret); /* debug info warn(ing) error off */
bool log_enabled(enum log_level level);
void log_write(enum log_level level, const char *component, const char *msg,
               const struct log_field *fields, size_t count);

/* The end mark goes in here: a variadic macro must not be called with nothing for its dots. */
#define LOG_AT(level, component, ...) LOG_AT_(level, component, __VA_ARGS__, LOG_END_)
#define LOG_END_ ((struct log_field){0})
#define LOG_AT_(level, component, msg, ...)                                            \
    do {                                                                               \
        if (log_enabled(level)) {                                                      \
            const struct log_field log_fields_[] = {__VA_ARGS__};                      \
            log_write(level, component, msg, log_fields_, ARRAY_LEN(log_fields_) - 1); \
        }                                                                              \
    } while (0)
#define LOG_DEBUG(...) LOG_AT(LOG_LEVEL_DEBUG, __VA_ARGS__)
#define LOG_INFO(...) LOG_AT(LOG_LEVEL_INFO, __VA_ARGS__)
#define LOG_WARN(...) LOG_AT(LOG_LEVEL_WARN, __VA_ARGS__)
#define LOG_ERROR(...) LOG_AT(LOG_LEVEL_ERROR, __VA_ARGS__)
