#pragma once
/*
 * How commands talk to a server: the one at --server, else the one that answers on DATA/headwater.sock, else
 * one started in this process (app/runtime.h). Requests are JSON; an answer is JSON or a stream of events
 * that survives a lost connection: it is taken up again behind the last event, with back-off.
 *
 * From client_open to client_close SIGINT does not kill the process: the first one stops the running stream
 * (its end is still waited for) or gives up a plain request, the second one gives up at once.
 * Blocks. Thread: main.
 */
#include "base/err.h"
#include "base/json.h"

#define CLIENT_RETRIES_COUNT 5      /* connections lost in a row without a new event between */
#define CLIENT_BACKOFF_FIRST_MS 100 /* doubles; a stream's own retry: wins for the first */
#define CLIENT_BACKOFF_MAX_MS 5000
#define CLIENT_STREAM_ID_MAX 128
#define TIMEOUT_CLIENT_CONNECT_MS 10000
#define TIMEOUT_CLIENT_REPLY_MS 300000 /* of a plain request, from beginning to end */
#define TIMEOUT_CLIENT_BUSY_MS \
    12000 /* a held data directory without a socket: longer than a drain */
#define TIMEOUT_CLIENT_SILENCE_MS 60000 /* of a stream: longer than several keep-alive pauses */

struct options;
struct client;

/* 0; what runtime_start returned; -ERR_INVALID for a --server that is no http(s) URL. */
int client_open(const struct options *o, struct client **ret, struct err *err) MUST_CHECK;
/* Also stops a server that client_open started. */
void client_close(struct client *c);
/* True when something accepts connections on that socket file. */
bool client_socket_answers(const char *path);

/*
 * One request. *ret is the body (json_decref). A status of 400 or more is an error made from the problem
 * body; `what` begins its message when the body has no title ("cannot search"). -ERR_CANCELLED on SIGINT.
 */
int client_get(struct client *c, const char *what, const char *path, json_t **ret,
               struct err *err) MUST_CHECK;
int client_delete(struct client *c, const char *what, const char *path, json_t **ret,
                  struct err *err) MUST_CHECK;
int client_post(struct client *c, const char *what, const char *path, struct span body,
                json_t **ret, struct err *err) MUST_CHECK;

struct client_event {
    struct span type;   /* "token", "status" … */
    const json_t *data; /* an object; borrowed for the call */
};
/* Negative gives up with that code. */
typedef int client_event_handler(void *ctx, const struct client_event *event);

struct client_end {
    char stream_id[CLIENT_STREAM_ID_MAX];
    char reason[64]; /* of the done event */
    char provider[64], model[128];
    bool was_stopped; /* by SIGINT */
};

/*
 * Posts and hands each event to the handler, once and in order, until `done`. 0 when the stream came to its
 * end; -ERR_CANCELLED when the second SIGINT came first; an `error` event becomes *err and its code after
 * the stream's end. *ret_end is filled in all cases, as far as known.
 */
int client_stream(struct client *c, const char *what, const char *path, struct span body,
                  client_event_handler *handler, void *ctx, struct client_end *ret_end,
                  struct err *err) MUST_CHECK;

/* ---- public for its test ---- */

/* *err from an answer's status and body: problem details, {"detail":…}, or anything. Returns its -code. */
int client_problem(long status, struct span body, const char *what, struct err *err);
