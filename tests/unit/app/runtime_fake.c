/*
 * The runtime's place in tests. "Starts" a server by naming the socket of one that the test runs
 * (FAKE_RUNTIME_SOCKET) and notes starts and stops in FAKE_RUNTIME_LOG.
 */
#include "app/runtime.h"

#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>

struct runtime {
    const char *socket;
};

static void note(const char *what)
{
    const char *path = getenv("FAKE_RUNTIME_LOG");
    FILE *f = path ? fopen(path, "a") : NULL;
    if (!f)
        return;
    fprintf(f, "%s\n", what);
    fclose(f);
}

int runtime_start(const struct runtime_options *o, struct runtime **ret, struct err *err)
{
    const char *socket = getenv("FAKE_RUNTIME_SOCKET");
    if (!socket)
        return err_set(err, ERR_BUSY, "another process holds the data directory");
    struct runtime *r = mem_alloc(sizeof *r);
    r->socket = socket;
    note(o->serve ? "serve" : "start");
    *ret = r;
    return 0;
}

void runtime_stop(struct runtime *r)
{
    note("stop");
    mem_free(r);
}

const char *runtime_socket(const struct runtime *r)
{
    return r->socket;
}
