#pragma once
/*
 * Intrusive doubly linked list. A head is a node that points to itself; a node not in a list does too
 * after list_init or list_remove, so list_remove is always safe. Thread: owner of the list.
 */
#include "base/bug.h"
#include <stdbool.h>

struct list {
    struct list *next, *prev;
};

static inline void list_init(struct list *l)
{
    l->next = l->prev = l;
}
static inline bool list_is_empty(const struct list *l)
{
    return l->next == l;
}
static inline void list_append(struct list *head, struct list *node)
{
    BUG_ON(!head->prev); /* list_init was forgotten */
    node->prev = head->prev;
    node->next = head;
    head->prev->next = node;
    head->prev = node;
}
static inline void list_remove(struct list *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    list_init(node);
}
/* First node taken out, or NULL. */
static inline struct list *list_pop(struct list *head)
{
    if (list_is_empty(head))
        return NULL;
    struct list *n = head->next;
    list_remove(n);
    return n;
}
/* Safe against removal of the current node only. */
#define list_each(it, head)                                                   \
    for (struct list *it = (head)->next, *it##_next = it->next; it != (head); \
         it = it##_next, it##_next = it->next)
