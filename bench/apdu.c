/* apdu.c - how long one exchange takes through a reader: the card's shortest answer (INFO), many
 * times over; or, with --start, from no power to the first answer. A measure of reader, daemon,
 * transport and the card's memory, not of its cryptography. */
#include "host/clock.h"
#include "terminal/applet.h"

#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT_MAX 1000000ul

static int by_size(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static enum cw_err measure(const char *uri, uint64_t *ns, size_t count, struct say *why)
{
    struct reader *reader = NULL;
    struct applet_info info;
    enum cw_err err = reader_open(uri, &reader, why);
    if (err == CW_OK)
        err = applet_select(reader, why);
    if (err == CW_OK)
        err = applet_info_get(reader, &info, why); /* the first exchange may wake something up */
    for (size_t i = 0; err == CW_OK && i < count; i++) {
        uint64_t start = clock_ns();
        err = applet_info_get(reader, &info, why);
        ns[i] = clock_ns() - start;
    }
    reader_free(&reader);
    return err;
}

/* Power up, ATR, SELECT and its answer; then power down, which is not counted. */
static enum cw_err measure_start(const char *uri, uint64_t *ns, size_t count, struct say *why)
{
    enum cw_err err = CW_OK;
    for (size_t i = 0; err == CW_OK && i < count; i++) {
        struct reader *reader = NULL;
        uint64_t start = clock_ns();
        err = reader_open(uri, &reader, why);
        if (err == CW_OK)
            err = applet_select(reader, why);
        ns[i] = clock_ns() - start;
        reader_free(&reader);
    }
    return err;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"reader", required_argument, NULL, 'r'}, {"count", required_argument, NULL, 'n'},
        {"start", no_argument, NULL, 's'},        {"json", no_argument, NULL, 'j'},
        {"help", no_argument, NULL, 'h'},         {NULL, 0, NULL, 0}};
    const char *uri = NULL;
    unsigned long count = 1000;
    bool json = false, bad = false, help = false, start = false;
    int c;
    while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        if (c == 'r')
            uri = optarg;
        else if (c == 'n')
            count = strtoul(optarg, NULL, 10);
        else if (c == 's')
            start = true;
        else if (c == 'j')
            json = true;
        else if (c == 'h')
            help = true;
        else
            bad = true;
    }
    if (help || bad || uri == NULL || count < 1 || count > COUNT_MAX || optind < argc) {
        fputs(
            "Usage: apdu --reader READER [--start] [--count N] [--json]\n"
            "Round trips of one APDU through a reader (pcsc, pcsc:NAME, inproc:DIR); with --start\n"
            "power up to first answer instead.\n",
            help ? stdout : stderr);
        return help ? 0 : 2;
    }
    struct say why = {""};
    uint64_t *ns = calloc(count, sizeof *ns);
    enum cw_err err = ns == NULL ? say_fail(&why, CW_ERR_SPACE, "out of memory")
                      : start    ? measure_start(uri, ns, count, &why)
                                 : measure(uri, ns, count, &why);
    if (err != CW_OK) {
        fprintf(stderr, "apdu: %s\n", why.text);
        free(ns);
        return EXIT_FAILURE;
    }
    qsort(ns, count, sizeof *ns, by_size);
    double least = (double)ns[0] / 1e3, median = (double)ns[count / 2] / 1e3,
           p99 = (double)ns[count - 1 - count / 100] / 1e3;
    printf(json ? "{\"count\":%lu,\"min_us\":%.1f,\"median_us\":%.1f,\"p99_us\":%.1f}\n"
                : "%lu times: least %.1f us, median %.1f us, 99 of 100 below %.1f us\n",
           count, least, median, p99);
    free(ns);
    return EXIT_SUCCESS;
}
