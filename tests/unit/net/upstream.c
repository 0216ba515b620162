#include "upstream.h"

#include "../cm.h"
#include "base/bug.h"
#include "base/clock.h"
#include "base/lock.h"
#include "base/mem.h"

#include <arpa/inet.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

struct upstream_threads {
    struct lock lock;
    size_t count;
    bool is_stopping;
    pthread_t id[UPSTREAM_CONNECTIONS_COUNT];
    int fd[UPSTREAM_CONNECTIONS_COUNT]; /* -1 once closed */
};

static ssize_t conn_read(struct upstream_conn *c, void *ptr, size_t len)
{
    return c->tls ? SSL_read(c->tls, ptr, (int)len) : recv(c->fd, ptr, len, 0);
}

bool upstream_send(struct upstream_conn *c, struct span bytes)
{
    while (bytes.len) {
        ssize_t n = c->tls ? SSL_write(c->tls, bytes.ptr, (int)bytes.len)
                           : send(c->fd, bytes.ptr, bytes.len, MSG_NOSIGNAL);
        if (n <= 0)
            return false;
        bytes = span_skip(bytes, (size_t)n);
    }
    return true;
}

bool upstream_puts(struct upstream_conn *c, const char *text)
{
    return upstream_send(c, span_str(text));
}

void upstream_wait_closed(struct upstream_conn *c)
{
    char block[512];
    while (conn_read(c, block, sizeof block) > 0)
        continue;
    c->server->closed_at_ms = clock_ms();
    c->server->closed_by_peer++;
}

static bool read_more(struct upstream_conn *c)
{
    char block[4096];
    ssize_t n = conn_read(c, block, sizeof block);
    if (n <= 0)
        return false;
    buf_put(&c->in, block, (size_t)n);
    return !buf_failed(&c->in);
}

static size_t body_length(struct span head)
{
    uint64_t n = 0;
    ptrdiff_t at = span_find_nocase(head, SPAN_LIT("\r\ncontent-length: "));
    if (at < 0)
        return 0;
    struct span rest = span_skip(head, (size_t)at + 18), line = SPAN_NULL;
    BUG_ON(!span_next(&rest, '\r', &line) || !parse_u64(line, &n));
    return (size_t)n;
}

static bool serve_one(struct upstream_conn *c)
{
    ptrdiff_t end;
    while ((end = span_find(buf_span(&c->in), SPAN_LIT("\r\n\r\n"))) < 0)
        if (!read_more(c))
            return false;
    size_t head_len = (size_t)end + 4, total;
    total = head_len + body_length(span_first(buf_span(&c->in), head_len));
    while (c->in.len < total)
        if (!read_more(c))
            return false;
    c->server->requests++;
    struct span head = span_first(buf_span(&c->in), head_len), rest = head, word, path;
    BUG_ON(!span_next(&rest, ' ', &word) || !span_next(&rest, ' ', &path));
    struct span body = span_skip(span_first(buf_span(&c->in), total), head_len);
    bool goes_on = c->server->handle(c, path, head, body);
    buf_drop(&c->in, total);
    return goes_on;
}

static void *conn_main(void *arg)
{
    struct upstream_conn *c = arg;
    struct upstream_threads *t = c->server->threads;
    buf_init(&c->in, 8 << 20);
    bool is_ready = true;
    if (c->server->tls) {
        c->tls = SSL_new(c->server->tls);
        SSL_set_fd(c->tls, c->fd);
        is_ready = SSL_accept(c->tls) == 1;
    }
    while (is_ready && serve_one(c))
        continue;
    SSL_free(c->tls);
    lock_enter(&t->lock);
    t->fd[c->slot] = -1;
    close(c->fd);
    lock_leave(&t->lock);
    buf_done(&c->in);
    mem_free(c);
    return NULL;
}

static void *accept_main(void *arg)
{
    struct upstream *u = arg;
    struct upstream_threads *t = u->threads;
    int fd;
    while ((fd = accept4(u->listen_fd, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
        struct upstream_conn *c = mem_alloc(sizeof *c);
        c->server = u;
        c->fd = fd;
        u->connections++;
        lock_enter(&t->lock);
        BUG_ON(t->count == UPSTREAM_CONNECTIONS_COUNT);
        c->slot = t->count++;
        t->fd[c->slot] = fd;
        if (t->is_stopping)
            shutdown(fd, SHUT_RDWR);
        BUG_ON(pthread_create(&t->id[c->slot], NULL, conn_main, c) != 0);
        lock_leave(&t->lock);
    }
    return NULL;
}

static SSL_CTX *tls_new(void)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *x = X509_new();
    X509_set_version(x, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
    X509_gmtime_adj(X509_getm_notBefore(x), -3600);
    X509_gmtime_adj(X509_getm_notAfter(x), 24L * 3600);
    X509_set_pubkey(x, key);
    X509_NAME *name = X509_get_subject_name(x);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"test", -1, -1, 0);
    X509_set_issuer_name(x, name);
    X509V3_CTX ctx;
    X509V3_set_ctx(&ctx, x, x, NULL, NULL, 0);
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &ctx, NID_subject_alt_name, "IP:127.0.0.1");
    X509_add_ext(x, e, -1);
    X509_EXTENSION_free(e);
    BUG_ON(!X509_sign(x, key, EVP_sha256()));
    SSL_CTX *tls = SSL_CTX_new(TLS_server_method());
    BUG_ON(SSL_CTX_use_certificate(tls, x) != 1 || SSL_CTX_use_PrivateKey(tls, key) != 1);
    X509_free(x);
    EVP_PKEY_free(key);
    return tls;
}

void upstream_write_certificate(const struct upstream *u, const char *path)
{
    FILE *f = fopen(path, "we");
    BUG_ON(!f || PEM_write_X509(f, SSL_CTX_get0_certificate(u->tls)) != 1);
    fclose(f);
}

void upstream_start(struct upstream *u, bool with_tls)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    u->tls = with_tls ? tls_new() : NULL;
    u->threads = mem_alloc(sizeof *u->threads);
    lock_init(&u->threads->lock);
    u->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    BUG_ON(bind(u->listen_fd, (struct sockaddr *)&a, len) < 0 || listen(u->listen_fd, 512) < 0);
    BUG_ON(getsockname(u->listen_fd, (struct sockaddr *)&a, &len) < 0);
    u->port = ntohs(a.sin_port);
    snprintf(u->url, sizeof u->url, "%s://127.0.0.1:%u", with_tls ? "https" : "http", u->port);
    BUG_ON(pthread_create(&u->thread, NULL, accept_main, u) != 0);
}

void upstream_stop(struct upstream *u)
{
    struct upstream_threads *t = u->threads;
    lock_enter(&t->lock);
    t->is_stopping = true;
    for (size_t i = 0; i < t->count; i++)
        if (t->fd[i] >= 0)
            shutdown(t->fd[i], SHUT_RDWR);
    lock_leave(&t->lock);
    shutdown(u->listen_fd, SHUT_RDWR);
    pthread_join(u->thread, NULL);
    for (size_t i = 0; i < t->count; i++)
        pthread_join(t->id[i], NULL);
    close(u->listen_fd);
    SSL_CTX_free(u->tls);
    mem_free(t);
}
