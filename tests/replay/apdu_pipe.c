/* apdu_pipe.c - a reader behind a pipe, for programs in other languages: hexadecimal command APDUs
 * come in, a line each, the answers go out the same way. Whatever reader/ can open, the replay
 * corpus can be run against.
 *
 *     apdu_pipe READER      for example inproc:DIR, pcsc:NAME
 *
 * The first line out is the ATR. The line "reset" resets the card and is answered with an empty
 * line. The end of the input ends the program and the card's power; when the reader fails, the
 * program says so on standard error and ends with 1. */
#include "card/card.h"
#include "reader/reader.h"

#include <stdio.h>
#include <string.h>

/* Beyond what the card takes, so that too much can be sent to it. */
#define COMMAND_MAX (int)(2u * CARD_COMMAND_MAX)

static void put_line(const uint8_t *data, size_t len)
{
    for (size_t i = 0; i < len; i++)
        printf("%02X", data[i]);
    putchar('\n');
    (void)fflush(stdout);
}

static int digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* The bytes of a line of hexadecimal digits; -1 when it is none, or too long. */
static int get_bytes(const char *line, uint8_t out[COMMAND_MAX])
{
    int n = 0;
    for (; line[0] != '\0' && line[0] != '\n'; line += 2) {
        int high = digit(line[0]);
        int low = high < 0 ? -1 : digit(line[1]);
        if (n == COMMAND_MAX || low < 0)
            return -1;
        out[n++] = (uint8_t)(high << 4 | low);
    }
    return n;
}

static enum cw_err answer(struct reader *r, const char *line, struct say *why)
{
    static uint8_t command[COMMAND_MAX];
    static uint8_t response[65538];
    size_t got = 0;
    if (strcmp(line, "reset\n") == 0) {
        enum cw_err err = reader_reset(r, why);
        if (err == CW_OK)
            put_line(NULL, 0);
        return err;
    }
    int len = get_bytes(line, command);
    if (len < 0)
        return say_fail(why, CW_ERR_FORMAT, "a line that is neither \"reset\" nor a command");
    enum cw_err err =
        reader_transceive(r, command, (size_t)len, response, sizeof response, &got, why);
    if (err == CW_OK)
        put_line(response, got);
    return err;
}

int main(int argc, char **argv)
{
    static char line[2 * COMMAND_MAX + 2];
    struct reader *r = NULL;
    struct say why = {""};
    if (argc != 2) {
        fputs("Usage: apdu_pipe READER\n", stderr);
        return 2;
    }
    enum cw_err err = reader_open(argv[1], &r, &why);
    if (err == CW_OK) {
        size_t len = 0;
        const uint8_t *atr = reader_atr(r, &len);
        put_line(atr, len);
    }
    while (err == CW_OK && fgets(line, sizeof line, stdin) != NULL)
        err = answer(r, line, &why);
    reader_free(&r);
    if (err != CW_OK)
        fprintf(stderr, "apdu_pipe: %s\n", why.text);
    return err == CW_OK ? 0 : 1;
}
