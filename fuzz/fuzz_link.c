/* fuzz_link.c - what comes over a contact line, at both ends: ATR, PPS and T=1. The first byte says
 * which end hears the rest. What is sent must be a whole good block, and nothing is written beyond
 * the buffers of command and response. */
#include "proto/atr.h"
#include "proto/t1_card.h"
#include "proto/t1_reader.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void hold(bool condition)
{
    if (!condition)
        abort();
}

/* What is sent is a block; PPS responses begin with FF. */
static void sent(const uint8_t *out, size_t len, bool crc)
{
    struct t1_block b;
    if (out[0] != PPS_PPSS)
        hold(t1_parse(out, len, crc, &b) == CW_OK);
}

/* Escapes, so that mutations can say what a line can do: 7D 00 silence, 7D 01 x a byte with a
 * parity error, 7D 7D the byte 7D, 7D 02 n PCB INF.. a whole good block of n bytes of INF. */
struct input {
    const uint8_t *data;
    size_t size, at;
};

enum heard { SILENCE, GOOD, BAD, BLOCK, END };

static enum heard next(struct input *in, uint8_t *byte, uint8_t *block, size_t *len, bool crc)
{
    if (in->at == in->size)
        return END;
    *byte = in->data[in->at++];
    if (*byte != 0x7D || in->at == in->size)
        return GOOD;
    uint8_t kind = in->data[in->at++];
    if (kind == 0)
        return SILENCE;
    if (kind == 1 && in->at < in->size) {
        *byte = in->data[in->at++];
        return BAD;
    }
    if (kind == 2 && in->size - in->at >= 2) {
        size_t n = in->data[in->at] % 255u;
        uint8_t pcb = in->data[in->at + 1];
        in->at += 2;
        if (n > in->size - in->at)
            n = in->size - in->at;
        *len = t1_write(0, pcb, in->data + in->at, (uint8_t)n, crc, block);
        in->at += n;
        return BLOCK;
    }
    return GOOD;
}

static enum t1_do card_does(struct t1_card *c, enum t1_do what, uint8_t *response, bool crc)
{
    for (unsigned turns = 0; what == T1_COMMAND || what == T1_RESUME; turns++) {
        hold(t1_card_working(c));
        if (what == T1_COMMAND && c->command_len % 3 == 1 && turns == 0)
            what = t1_card_more_time(c, (uint8_t)c->command_len);
        else
            what = t1_card_answer(c, response, 2 + c->command_len % 600);
    }
    if (what == T1_SEND)
        sent(c->out, c->out_len, crc);
    return what;
}

static void card(struct input in, bool crc)
{
    static uint8_t response[700], block[T1_BLOCK_MAX];
    struct t1_card c;
    uint8_t *command = malloc(300); /* so that one byte beyond it is seen */
    uint8_t byte = 0;
    size_t len = 0;
    t1_card_start(&c, &(struct t1_params){.ifsc = 254, .ta1 = 0x97, .crc = crc}, command, 300);
    for (;;) {
        enum heard heard = next(&in, &byte, block, &len, crc);
        if (heard == END)
            break;
        if (heard == SILENCE)
            (void)card_does(&c, t1_card_silence(&c), response, crc);
        else if (heard == BLOCK)
            for (size_t i = 0; i < len; i++)
                (void)card_does(&c, t1_card_byte(&c, block[i], true), response, crc);
        else
            (void)card_does(&c, t1_card_byte(&c, byte, heard == GOOD), response, crc);
    }
    free(command);
}

static void reader(struct input in, bool crc)
{
    static const uint8_t command[500];
    static uint8_t block[T1_BLOCK_MAX];
    struct t1_reader r;
    uint8_t *response = malloc(300);
    uint8_t byte = 0;
    size_t len = 0, asked = 1;
    t1_reader_start(&r, &(struct t1_reader_params){
                            .ifsc = 32, .ifsd = 254, .crc = crc, .cwt_etu = 1, .bwt_etu = 1});
    enum t1_reader_do what = t1_reader_command(&r, command, asked, response, 300);
    for (;;) {
        if (what == T1R_SEND)
            sent(r.out, r.out_len, crc);
        if (what == T1R_FAILED)
            break;
        if (what == T1R_DONE) {
            asked = (asked * 7 + 3) % sizeof command;
            what = t1_reader_command(&r, command, asked, response, 300);
            continue;
        }
        enum heard heard = next(&in, &byte, block, &len, crc);
        if (heard == END)
            break;
        if (heard == SILENCE)
            what = t1_reader_silence(&r);
        else if (heard != BLOCK)
            what = t1_reader_byte(&r, byte, heard == GOOD);
        else
            for (size_t i = 0; i < len && (i == 0 || what == T1R_RECEIVE); i++)
                what = t1_reader_byte(&r, block[i], true);
    }
    free(response);
}

/* What parses is written again as the same bytes. */
static void atr(const uint8_t *data, size_t size)
{
    struct atr a;
    struct atr_meaning m;
    uint8_t again[ATR_MAX];
    size_t len;
    size_t expected = atr_expected(data, size);
    if (atr_parse(data, size, &a) != CW_OK)
        return;
    hold(expected == size);
    hold(atr_build(&a, again, sizeof again, &len) == CW_OK);
    hold(len == size && memcmp(again, data, size) == 0);
    if (atr_read(&a, &m) == CW_OK)
        hold(m.fi > 0 && m.di > 0 && m.protocols != 0);
}

static void pps(const uint8_t *data, size_t size)
{
    struct pps p;
    uint8_t again[PPS_MAX];
    if (pps_parse(data, size, &p) == CW_OK && (data[1] & 0x60u) == 0)
        hold(pps_write(&p, again) == size && memcmp(again, data, size) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct input in = {data + 1, size - 1, 0};
    switch (data[0] % 6) {
    case 0:
    case 1:
        card(in, data[0] % 6 == 1);
        break;
    case 2:
    case 3:
        reader(in, data[0] % 6 == 3);
        break;
    case 4:
        atr(data + 1, size - 1);
        break;
    default:
        pps(data + 1, size - 1);
        break;
    }
    return 0;
}
