#include "stream/stream_priv.h"

static void deliver(struct loop_msg *msg)
{
    struct port *p = container_of(msg, struct port, msg);
    lock_enter(&p->lock);
    p->is_posted = false;
    /* Only what is there now: a feed marked meanwhile comes with the next message, so a busy log
     * cannot keep us here. */
    list_append(&p->dirty, &p->stop);
    struct list *n;
    while ((n = list_pop(&p->dirty)) && n != &p->stop) {
        struct feed *f = container_of(n, struct feed, dirty_link);
        f->is_dirty = false;
        lock_leave(&p->lock);
        feed_advanced(f);
        lock_enter(&p->lock);
    }
    lock_leave(&p->lock);
    port_unref(p);
}

struct port *port_get(struct hub *h, struct loop *loop)
{
    struct port *p = NULL;
    lock_enter(&h->ports_lock);
    list_each(n, &h->ports)
    {
        p = container_of(n, struct port, link);
        if (p->loop == loop)
            break;
        p = NULL;
    }
    if (!p) {
        p = mem_alloc(sizeof *p);
        p->loop = loop;
        atomic_init(&p->refs, 1);
        lock_init(&p->lock);
        list_init(&p->dirty);
        list_init(&p->stop);
        p->msg.deliver = deliver;
        p->ring.run = port_ring;
        buf_init(&p->frame, LIMIT_FRAME);
        buf_init(&p->text, LIMIT_STREAM_EVENT);
        list_append(&h->ports, &p->link);
    }
    lock_leave(&h->ports_lock);
    return p;
}

void port_unref(struct port *p)
{
    if (atomic_fetch_sub(&p->refs, 1) != 1)
        return;
    buf_done(&p->frame);
    buf_done(&p->text);
    lock_done(&p->lock);
    mem_free(p);
}

/* True when the caller is to send the message, once it has left the lock: the loop would only wait for that. */
static bool claim_post(struct port *p)
{
    p->needs_post = false;
    if (p->is_posted)
        return false;
    p->is_posted = true;
    atomic_fetch_add(&p->refs, 1); /* the message's */
    return true;
}

void port_mark(struct port *p, struct feed *f, bool post)
{
    bool posts = false;
    lock_enter(&p->lock);
    if (!f->is_dirty) {
        f->is_dirty = true;
        list_append(&p->dirty, &f->dirty_link);
    }
    if (post)
        posts = claim_post(p);
    else
        p->needs_post = true;
    lock_leave(&p->lock);
    if (posts)
        loop_post(p->loop, &p->msg);
}

/* A port that has news nobody has told its loop, claimed; or NULL. */
static struct port *claim_next(struct hub *h)
{
    struct port *found = NULL;
    lock_enter(&h->ports_lock);
    list_each(n, &h->ports)
    {
        struct port *p = container_of(n, struct port, link);
        lock_enter(&p->lock);
        bool is_claimed = !found && p->needs_post && claim_post(p);
        lock_leave(&p->lock);
        if (is_claimed)
            found = p;
    }
    lock_leave(&h->ports_lock);
    return found;
}

void ports_post(struct hub *h)
{
    struct port *p;
    while ((p = claim_next(h)))
        loop_post(p->loop, &p->msg);
}
