#pragma once
/*
 * What the tests of the HTTP client share: a client on a loop of its own, against a server of raw
 * sockets (upstream.h) that answers each path in its own way, and calls that keep all they were
 * told. Functions about calls run on the test's thread and wait.
 */
#include "../cm.h"
#include "base/limits.h"
#include "net/http_client.h"
#include "upstream.h"

#include <semaphore.h>

#define BIG (1u << 20)

struct fixture {
    struct loop *loop;
    struct http_client *client;
    struct upstream up;
};

struct got {
    struct fixture *f;
    struct http_call_options o;
    char url[512];
    struct http_call *call;
    bool (*on_piece)(struct got *g, struct span piece); /* or NULL: takes it */
    sem_t done, paused;
    int start_result, heads, ends, pieces, status, result;
    bool is_connect_failure;
    int64_t retry_after_ms, rate_wait_ms;
    uint64_t started_ms, ended_ms;
    char type[64], why[512];
    struct err err;
    struct buf body;
};

char big_byte(size_t i);
void on_loop(struct fixture *f, void (*run)(void *), void *arg);
bool wait_sem(sem_t *s, unsigned seconds);
void start_it(void *arg);
void got_init(struct got *g, struct fixture *f, const char *path);
void got_done(struct got *g);
void start(struct got *g);
void finish(struct got *g);
void ask(struct got *g);
void fixture_start_tls(struct fixture *f, const struct http_client_options *o, bool tls);
void fixture_start(struct fixture *f, const struct http_client_options *o);
void fixture_stop(struct fixture *f);
bool has(struct span s, const char *text);
