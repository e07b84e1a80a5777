/* slow.c - what the slow lines share. */
#include "bench/slow.h"

#include <stdlib.h>

const struct slow_speed slow_speeds[SLOW_SPEEDS] = {
    {"t1", 9600, 0},    {"t1", 55800, 8},   {"t1", 111600, 16},
    {"t1", 223200, 32}, {"t1", 446400, 64}, {"tcl", 106000, 0},
    {"tcl", 212000, 1}, {"tcl", 424000, 2}, {"tcl", 848000, 3}};

void *slow_make(size_t size, struct reader *inner, struct say *why)
{
    struct slow_line *l = calloc(1, size);
    if (l == NULL) {
        reader_free(&inner);
        (void)say_fail(why, CW_ERR_SPACE, "out of memory");
        return NULL;
    }
    l->inner = inner;
    return l;
}

enum cw_err slow_run(struct slow_line *l, size_t len, struct say *why)
{
    return reader_transceive(l->inner, l->command, len, l->response, sizeof l->response,
                             &l->response_len, why);
}

enum cw_err slow_front(struct slow_line *l, const struct reader_ops *ops, enum cw_err err,
                       struct reader **out, const struct slow_times **times, struct say *why)
{
    struct reader_backend backend = {.ops = ops, .self = l, .name = "a slow line"};
    l->times.activation = l->times.ns;
    if (err == CW_OK)
        err = reader_new(&backend, out);
    if (err != CW_OK) {
        slow_free(l);
        return say_fail(why, err, "the slow line did not come up");
    }
    *times = &l->times;
    return CW_OK;
}

enum cw_err slow_no_reset(void *self, struct say *why)
{
    (void)self;
    return say_fail(why, CW_ERR_UNSUPPORTED, "a slow line is opened anew");
}

void slow_free(void *self)
{
    struct slow_line *l = self;
    reader_free(&l->inner);
    free(l);
}
