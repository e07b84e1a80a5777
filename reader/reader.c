/* reader.c - the front of every reader: chooses the kind by the URI, counts, and shows exchanges to
 * an observer. */
#include "reader/backend.h"

#include "host/clock.h"

#include <stdlib.h>
#include <string.h>

struct reader {
    struct reader_backend backend;
    struct reader_stats stats;
    reader_observer *observer;
    void *observer_ctx;
};

enum cw_err reader_new(const struct reader_backend *backend, struct reader **out)
{
    struct reader *r = calloc(1, sizeof *r);
    if (r == NULL)
        return CW_ERR_SPACE;
    r->backend = *backend;
    *out = r;
    return CW_OK;
}

enum cw_err reader_open(const char *uri, struct reader **out, struct say *why)
{
    struct reader_backend backend = {0};
    enum cw_err err;
    if (strncmp(uri, "inproc:", 7) == 0 && uri[7] != '\0')
        err = reader_inproc_open(uri + 7, false, &backend, why);
    else if (strncmp(uri, "inproc-contactless:", 19) == 0 && uri[19] != '\0')
        err = reader_inproc_open(uri + 19, true, &backend, why);
    else if (strncmp(uri, "t1:", 3) == 0 && uri[3] != '\0')
        err = reader_t1_open(uri + 3, &backend, why);
    else if (strncmp(uri, "tcl:", 4) == 0 && uri[4] != '\0')
        err = reader_tcl_open(uri + 4, &backend, why);
    else if (strcmp(uri, "pcsc") == 0)
        err = reader_pcsc_open(NULL, &backend, why);
    else if (strncmp(uri, "pcsc:", 5) == 0 && uri[5] != '\0')
        err = reader_pcsc_open(uri + 5, &backend, why);
    else
        err = say_fail(why, CW_ERR_ARG,
                       "unknown reader '%s'; write pcsc, pcsc:NAME (see cardwire readers), "
                       "inproc:DIR, t1:DEVICE or tcl:DEVICE",
                       uri);
    if (err != CW_OK)
        return err;
    err = reader_new(&backend, out);
    if (err != CW_OK) {
        backend.ops->free(backend.self);
        return say_fail(why, err, "out of memory");
    }
    return CW_OK;
}

void reader_free(struct reader **reader)
{
    if (*reader == NULL)
        return;
    (*reader)->backend.ops->free((*reader)->backend.self);
    free(*reader);
    *reader = NULL;
}

enum cw_err reader_transceive(struct reader *r, const uint8_t *command, size_t len,
                              uint8_t *response, size_t cap, size_t *response_len, struct say *why)
{
    size_t got = 0;
    if (r->observer != NULL)
        r->observer(r->observer_ctx, command, len, NULL, 0);
    uint64_t start = clock_ns();
    enum cw_err err =
        r->backend.ops->transceive(r->backend.self, command, len, response, cap, &got, why);
    r->stats.ns += clock_ns() - start;
    if (err != CW_OK)
        return err;
    r->stats.apdus++;
    r->stats.bytes_to_card += len;
    r->stats.bytes_from_card += got;
    if (got < 2)
        return say_fail(why, CW_ERR_IO,
                        "the card in %s answered without a status word; take it out and put it in "
                        "again",
                        r->backend.name);
    if (r->observer != NULL)
        r->observer(r->observer_ctx, command, len, response, got);
    *response_len = got;
    return CW_OK;
}

enum cw_err reader_reset(struct reader *r, struct say *why)
{
    return r->backend.ops->reset(r->backend.self, why);
}

const char *reader_name(const struct reader *r)
{
    return r->backend.name;
}

const uint8_t *reader_atr(const struct reader *r, size_t *len)
{
    *len = r->backend.atr_len;
    return r->backend.atr;
}

struct reader_stats reader_stats(const struct reader *r)
{
    return r->stats;
}

void reader_observe(struct reader *r, reader_observer *observer, void *ctx)
{
    r->observer = observer;
    r->observer_ctx = ctx;
}
