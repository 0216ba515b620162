/* Errors of the server in words for a person. */
#include "app/client.h"

static enum err_code code_of_status(long status)
{
    switch (status) {
    case 401:
    case 403:
        return ERR_FORBIDDEN;
    case 404:
    case 410:
        return ERR_NOT_FOUND;
    case 409:
        return ERR_BUSY;
    case 413:
        return ERR_TOO_LARGE;
    case 429:
        return ERR_LIMIT;
    case 501:
        return ERR_UNSUPPORTED;
    case 502:
        return ERR_UPSTREAM;
    case 503:
        return ERR_UNAVAILABLE;
    case 504:
        return ERR_TIMEOUT;
    default:
        return status >= 400 && status < 500 ? ERR_INVALID : ERR_INTERNAL;
    }
}

int client_problem(long status, struct span body, const char *what, struct err *err)
{
    enum err_code code = code_of_status(status);
    json_t *problem = json_read(body, NULL, NULL);
    const char *title = json_str(problem, "title", NULL);
    const char *detail = json_str(problem, "detail", NULL);
    const char *hint = json_str(problem, "hint", NULL);
    if (title && detail)
        err_set(err, code, "%s: %s", title, detail);
    else if (title || detail)
        err_set(err, code, "%s: %s", what, title ? title : detail);
    else
        err_set(err, code, "%s: the server answered with status %ld", what, status);
    if (hint)
        err_hint(err, "%s", hint);
    else if (status == 401)
        err_hint(err, "the server wants a key: set HEADWATER_SERVER_KEY");
    json_decref(problem);
    return -(int)code;
}
