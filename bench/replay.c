/* replay.c - how long a recorded exchange between reader and card takes on slow lines: the same
 * lines and the same count of time as line.c (slow.h), for cards and programs that are not ours.
 * FILE has one exchange a line, `COMMAND RESPONSE` in hexadecimal, in front of them the card's ATR
 * alone on its line. No card is asked; what it computed takes no time here.
 *
 * An activation is ATR and PPS; how often the card was activated is for who recorded it to say. */
#include "bench/slow.h"

#include "card/card.h"
#include "reader/backend.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINE_MAX_CHARS (2 * (CARD_COMMAND_MAX + CARD_RESPONSE_MAX) + 16)

struct tape {
    FILE *file;
    char line[LINE_MAX_CHARS];
    uint8_t command[CARD_COMMAND_MAX], response[CARD_RESPONSE_MAX];
    size_t command_len, response_len;
};

static int digit(char c)
{
    static const char digits[] = "0123456789abcdef";
    const char *at = c != '\0' ? strchr(digits, c) : NULL;
    return at != NULL ? (int)(at - digits) : -1;
}

/* The bytes up to a blank or the end of the line; where they end, NULL if there are none. */
static const char *hex(const char *text, uint8_t *out, size_t cap, size_t *len)
{
    size_t n = 0;
    for (; n < cap && digit(text[0]) >= 0 && digit(text[1]) >= 0; text += 2)
        out[n++] = (uint8_t)(digit(text[0]) << 4 | digit(text[1]));
    *len = n;
    return n > 0 && (*text == ' ' || *text == '\n') ? text : NULL;
}

static bool next(struct tape *t, struct say *why, enum cw_err *err)
{
    if (*err != CW_OK || fgets(t->line, sizeof t->line, t->file) == NULL)
        return false;
    const char *end = hex(t->line, t->command, sizeof t->command, &t->command_len);
    if (end != NULL && *end == ' ')
        end = hex(end + 1, t->response, sizeof t->response, &t->response_len);
    else
        end = NULL;
    if (end == NULL)
        *err = say_fail(why, CW_ERR_FORMAT, "a line is not `COMMAND RESPONSE` in hexadecimal");
    return end != NULL;
}

/* The card of the tape: gives the recorded answer, and only to the recorded command. */
static enum cw_err transceive(void *self, const uint8_t *command, size_t len, uint8_t *response,
                              size_t cap, size_t *response_len, struct say *why)
{
    const struct tape *t = self;
    if (len != t->command_len || memcmp(command, t->command, len) != 0 || t->response_len > cap)
        return say_fail(why, CW_ERR_INTERNAL, "the line changed the command");
    memcpy(response, t->response, t->response_len);
    *response_len = t->response_len;
    return CW_OK;
}

static enum cw_err no_reset(void *self, struct say *why)
{
    (void)self;
    return say_fail(why, CW_ERR_UNSUPPORTED, "a tape is opened anew");
}

static void tape_free(void *self)
{
    struct tape *t = self;
    if (t->file != NULL)
        (void)fclose(t->file);
    free(t);
}

static const struct reader_ops ops = {transceive, no_reset, tape_free};

static enum cw_err tape_open(const char *path, struct tape **tape, struct reader **out,
                             struct say *why)
{
    struct tape *t = calloc(1, sizeof *t);
    struct reader_backend backend = {.ops = &ops, .self = t, .name = "a tape"};
    if (t == NULL)
        return say_fail(why, CW_ERR_SPACE, "out of memory");
    enum cw_err err = CW_OK;
    t->file = fopen(path, "r");
    if (t->file == NULL)
        err = say_fail(why, CW_ERR_NOT_FOUND, "cannot read %s", path);
    else if (fgets(t->line, sizeof t->line, t->file) == NULL ||
             hex(t->line, backend.atr, sizeof backend.atr, &backend.atr_len) == NULL)
        err = say_fail(why, CW_ERR_FORMAT, "%s does not begin with an ATR", path);
    if (err == CW_OK)
        err = reader_new(&backend, out);
    if (err != CW_OK)
        tape_free(t);
    else
        *tape = t;
    return err;
}

static void show(const struct slow_speed *speed, const struct slow_times *t,
                 const struct reader_stats *r)
{
    uint64_t bytes = r->bytes_to_card + r->bytes_from_card;
    printf("{\"link\":\"%s\",\"rate\":%u,\"apdus\":%llu,\"blocks\":%u,\"bytes_to_card\":%llu,"
           "\"bytes_from_card\":%llu,\"line_bytes\":%u,\"ms\":%.1f,\"minimum_ms\":%.1f,"
           "\"activation_ms\":%.1f}\n",
           speed->link, speed->rate, (unsigned long long)r->apdus, t->blocks,
           (unsigned long long)r->bytes_to_card, (unsigned long long)r->bytes_from_card, t->bytes,
           (double)(t->ns - t->activation) / 1e6, (double)bytes * (double)t->byte_ps / 1e9,
           (double)t->activation / 1e6);
}

static enum cw_err play(const char *path, const struct slow_speed *speed, struct say *why)
{
    struct tape *tape = NULL;
    struct reader *reader = NULL;
    const struct slow_times *times = NULL;
    uint8_t response[CARD_RESPONSE_MAX];
    enum cw_err err = tape_open(path, &tape, &reader, why);
    if (err == CW_OK)
        err = slow_t1_open(reader, speed->speed, &reader, &times, why);
    if (err != CW_OK)
        return err;
    while (next(tape, why, &err)) {
        size_t len = 0;
        err = reader_transceive(reader, tape->command, tape->command_len, response, sizeof response,
                                &len, why);
        if (err == CW_OK &&
            (len != tape->response_len || memcmp(response, tape->response, len) != 0))
            err = say_fail(why, CW_ERR_INTERNAL, "the line changed the response");
    }
    struct reader_stats stats = reader_stats(reader);
    if (err == CW_OK)
        show(speed, times, &stats);
    reader_free(&reader);
    return err;
}

int main(int argc, char **argv)
{
    struct say why = {""};
    bool help = argc == 2 && strcmp(argv[1], "--help") == 0;
    if (help || argc != 2 || argv[1][0] == '-') {
        fputs("Usage: replay FILE\nTime of a recorded exchange on slow lines, one JSON object a\n"
              "speed. FILE: the ATR, then `COMMAND RESPONSE`, one a line, in hexadecimal.\n",
              help ? stdout : stderr);
        return help ? 0 : 2;
    }
    enum cw_err err = CW_OK;
    for (size_t i = 0; err == CW_OK && i < SLOW_CONTACT; i++)
        err = play(argv[1], &slow_speeds[i], &why);
    if (err != CW_OK)
        fprintf(stderr, "replay: %s\n", why.text);
    return err == CW_OK ? EXIT_SUCCESS : EXIT_FAILURE;
}
