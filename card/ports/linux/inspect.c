/* inspect.c - see inspect.h. Whether a value may be shown is not decided here: card/nvm_names.c. */
#include "card/ports/linux/inspect.h"

#include "base/cal.h"
#include "card/line.h"
#include "card/nvm.h"
#include "card/nvm_names.h"
#include "card/ports/linux/port.h"
#include "proto/link.h"
#include "proto/text.h"

#include <jansson.h>
#include <mbedtls/memory_buffer_alloc.h>
#include <mbedtls/x509_crt.h>
#include <psa/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_MAX 768u /* of what a value shows; a subject of 256 bytes, cleaned */

/* What is looked at. */
struct view {
    const char *dir;
    const struct card_port *port;
    bool in_use;
    bool fresh; /* nothing was ever written */
    struct nvm nvm;
};

/* A value, and what it shows of itself: a number, a text, both or nothing. */
struct shown {
    uint16_t key;
    size_t len;
    struct nvm_name name; /* its name is NULL when the number has none */
    bool has_number;
    int64_t number;
    char text[TEXT_MAX + 1]; /* fit for a terminal; empty: none */
    char until[32];          /* of a certificate */
};

/* --- what the values say
 * ------------------------------------------------------------------------------------------- */

static void clean(char out[TEXT_MAX + 1], const char *text)
{
    struct buf_writer w;
    buf_writer_init(&w, (uint8_t *)out, TEXT_MAX);
    text_put_clean(&w, text, strlen(text));
    out[w.bad ? 0 : w.len] = '\0';
}

static void show_number(struct shown *s, const uint8_t *value, size_t have, size_t len)
{
    struct buf_reader r;
    if (have < len)
        return;
    buf_reader_init(&r, value, have);
    uint64_t v = 0;
    for (size_t i = 0; i < len; i++)
        v = v << 8 | buf_get_u8(&r);
    s->has_number = v <= INT64_MAX;
    s->number = (int64_t)v;
}

static void show_time(struct shown *s, const uint8_t *value, size_t len)
{
    struct buf_writer w;
    show_number(s, value, len, 8);
    buf_writer_init(&w, (uint8_t *)s->text, TEXT_MAX);
    if (s->has_number)
        cal_put(&w, s->number);
    s->text[w.bad ? 0 : w.len] = '\0';
}

static void show_certificate(struct shown *s, const uint8_t *value, size_t len)
{
    static unsigned char pool[16384]; /* the library's heap */
    char subject[256];
    mbedtls_x509_crt crt;
    mbedtls_memory_buffer_alloc_init(pool, sizeof pool);
    mbedtls_x509_crt_init(&crt);
    /* A certificate is parsed together with its key, and keys on a curve are PSA's. */
    if (psa_crypto_init() == PSA_SUCCESS && mbedtls_x509_crt_parse_der(&crt, value, len) == 0 &&
        mbedtls_x509_dn_gets(subject, sizeof subject, &crt.subject) >= 0) {
        const mbedtls_x509_time *end = &crt.valid_to;
        clean(s->text, subject);
        snprintf(s->until, sizeof s->until, "%04d-%02d-%02dT%02d:%02d:%02dZ", end->year, end->mon,
                 end->day, end->hour, end->min, end->sec);
    }
    mbedtls_x509_crt_free(&crt);
    mbedtls_psa_crypto_free();
    mbedtls_memory_buffer_alloc_free();
}

static void show_server(struct shown *s, const uint8_t *value, size_t len)
{
    struct line_name name;
    if (line_name_parse(value, len, &name) == CW_OK)
        clean(s->text, name.host);
}

/* The next value after number *key. Only what the table says may be shown is read at all. */
static enum cw_err next_value(const struct nvm *nvm, uint16_t *key, struct shown *out)
{
    uint8_t value[NVM_VALUE_MAX];
    struct shown s = {0};
    if (!nvm_next(nvm, key))
        return CW_ERR_NOT_FOUND;
    s.key = *key;
    enum cw_err err = nvm_size(nvm, s.key, &s.len);
    if (!nvm_name_find(s.key, &s.name))
        s.name.shows = NVM_SHOWS_NOTHING;
    if (err == CW_OK && s.name.shows != NVM_SHOWS_NOTHING)
        err = nvm_read_exact(nvm, s.key, value, s.len);
    if (err != CW_OK)
        return err;
    switch (s.name.shows) {
    case NVM_SHOWS_NOTHING:
        break;
    case NVM_SHOWS_LIFE:
    case NVM_SHOWS_TRIES:
        show_number(&s, value, s.len, 1);
        break;
    case NVM_SHOWS_COUNTER:
        show_number(&s, value, s.len, 4);
        break;
    case NVM_SHOWS_TIME:
        show_time(&s, value, s.len);
        break;
    case NVM_SHOWS_CERTIFICATE:
        show_certificate(&s, value, s.len);
        break;
    case NVM_SHOWS_SERVER:
        show_server(&s, value, s.len);
        break;
    }
    *out = s;
    return CW_OK;
}

/* The card's life, -1 when there is none. */
static int life_of(const struct nvm *nvm)
{
    struct shown s;
    for (uint16_t key = 0; next_value(nvm, &key, &s) == CW_OK;)
        if (s.name.shows == NVM_SHOWS_LIFE && s.has_number)
            return (int)s.number;
    return -1;
}

/* What the last write left, when power failed in it. */
static const char *torn_text(const struct nvm *nvm)
{
    return nvm->tail_dirty ? "a write" : nvm->other_dirty ? "a move to the other bank" : "nothing";
}

static void serial_text(const struct view *v, char out[2 * CARD_UNIQUE_ID_LEN + 1])
{
    struct buf_writer w;
    buf_writer_init(&w, (uint8_t *)out, 2 * CARD_UNIQUE_ID_LEN);
    buf_put_hex(&w, v->port->unique_id, CARD_UNIQUE_ID_LEN);
    out[w.len] = '\0';
}

/* --- what is said --------------------------------------------------------------------------------
 */

static json_t *value_json(const struct shown *s)
{
    json_t *o = json_pack("{s:i, s:s?, s:i}", "number", (int)s->key, "name", s->name.name, "bytes",
                          (int)s->len);
    if (o != NULL && s->name.numbered)
        json_object_set_new(o, "index", json_integer(s->name.index));
    if (o != NULL && s->has_number)
        json_object_set_new(o, "value", json_integer(s->number));
    if (o != NULL && s->text[0] != '\0')
        json_object_set_new(o, "text", json_string(s->text));
    if (o != NULL && s->until[0] != '\0')
        json_object_set_new(o, "until", json_string(s->until));
    return o;
}

static bool print_json(const struct view *v)
{
    char serial[2 * CARD_UNIQUE_ID_LEN + 1];
    const struct nvm *nvm = &v->nvm;
    const struct nvm_usage usage = nvm_usage(nvm);
    const int life = life_of(nvm);
    struct shown s;
    serial_text(v, serial);
    json_t *values = json_array();
    for (uint16_t key = 0; next_value(nvm, &key, &s) == CW_OK;)
        json_array_append_new(values, value_json(&s));
    json_t *o = json_pack(
        "{s:b, s:s, s:b, s:o, s:b, s:i, s:i, s:I, s:b, s:b, s:{s:I, s:I, s:I, s:I, s:I, s:I}, s:o}",
        "ok", 1, "serial", serial, "in_use", (int)v->in_use, "life",
        life >= 0 ? json_string(link_life_name((enum link_life)life)) : json_null(), "fresh",
        (int)v->fresh, "pages", (int)v->port->flash.page_count, "bank", (int)nvm->bank,
        "generation", (json_int_t)nvm->generation, "torn_write", (int)nvm->tail_dirty, "torn_move",
        (int)nvm->other_dirty, "bytes", "bank", (json_int_t)nvm->bank_size, "capacity",
        (json_int_t)usage.capacity, "log", (json_int_t)usage.log, "live", (json_int_t)usage.live,
        "free", (json_int_t)(usage.capacity - usage.live), "reserve", (json_int_t)NVM_RESERVE,
        "values", values);
    bool good = o != NULL && json_dumpf(o, stdout, JSON_COMPACT) == 0 && putchar('\n') != EOF;
    json_decref(o);
    return good;
}

static void print_values(const struct nvm *nvm)
{
    struct shown s;
    printf("\nValue  Name             Bytes  Content\n");
    for (uint16_t key = 0; next_value(nvm, &key, &s) == CW_OK;) {
        char name[32];
        if (s.name.numbered)
            snprintf(name, sizeof name, "%s %u", s.name.name, s.name.index);
        else
            snprintf(name, sizeof name, "%s", s.name.name != NULL ? s.name.name : "?");
        printf("%04X   %-15s  %5zu  ", s.key, name, s.len);
        if (s.text[0] != '\0')
            printf("%s%s%s\n", s.text, s.until[0] != '\0' ? ", until " : "", s.until);
        else if (s.has_number)
            printf("%lld\n", (long long)s.number);
        else
            puts(s.name.shows == NVM_SHOWS_NOTHING ? "(not shown)" : "(not readable)");
    }
}

static bool print_text(const struct view *v)
{
    char serial[2 * CARD_UNIQUE_ID_LEN + 1];
    const struct nvm *nvm = &v->nvm;
    const struct nvm_usage usage = nvm_usage(nvm);
    const int life = life_of(nvm);
    serial_text(v, serial);
    printf("Card      %s in %s\n", serial, v->dir);
    printf("In use    %s\n", v->in_use ? "yes, by another program" : "no");
    printf("Memory    %u pages of %u bytes, in two banks of %u\n", v->port->flash.page_count,
           v->port->flash.page_size, nvm->bank_size);
    if (v->fresh) {
        puts("Life      none: it never had power");
        return true;
    }
    if (life >= 0)
        printf("Life      %s\n", link_life_name((enum link_life)life));
    else
        puts("Life      none: nothing works");
    printf("Live      bank %u, generation %u\n", nvm->bank, nvm->generation);
    printf("Log       %u of %u bytes, %u of them live in %u values\n", usage.log, usage.capacity,
           usage.live, nvm->count);
    printf("Free      %u bytes after a move; %u are reserved for small values\n",
           usage.capacity - usage.live, NVM_RESERVE);
    printf("Torn      %s%s\n", torn_text(nvm),
           v->in_use && (nvm->tail_dirty || nvm->other_dirty)
               ? ", unless it is being written just now"
               : "");
    print_values(nvm);
    return true;
}

/* Why it failed, in the place of the answer. */
static int fail(const struct view *v, enum cw_err err, bool json, const struct say *why)
{
    static const char *const faults[] = {[NVM_FAULT_HEADER] = "header",
                                         [NVM_FAULT_RECORD] = "record",
                                         [NVM_FAULT_CONTENT] = "content"};
    json_t *o = NULL;
    if (json)
        o = json_pack("{s:b, s:s, s:s}", "ok", 0, "error", cw_err_name(err), "detail", why->text);
    if (o != NULL && v->nvm.fault != NVM_FAULT_NONE) {
        json_object_set_new(o, "fault", json_string(faults[v->nvm.fault]));
        json_object_set_new(o, "offset", json_integer(v->nvm.fault_at));
    }
    if (o == NULL || json_dumpf(o, stdout, JSON_COMPACT) != 0 || putchar('\n') == EOF ||
        fflush(stdout) != 0)
        fprintf(stderr, "cardwire-card: %s\n", why->text);
    json_decref(o);
    return EXIT_FAILURE;
}

static enum cw_err damage_say(const struct view *v, struct say *why)
{
    static const char *const faults[] = {
        [NVM_FAULT_HEADER] = "neither bank begins as one does, and there is something",
        [NVM_FAULT_RECORD] = "a record was finished and has changed since, or one that was not "
                             "finished is followed by more,",
        [NVM_FAULT_CONTENT] = "a record says what this store never writes",
    };
    return say_fail(why, CW_ERR_FORMAT,
                    "%s/flash.bin is damaged: %s at offset %u (0x%04X); a card does not start from "
                    "it; restore it or choose another folder",
                    v->dir, faults[v->nvm.fault], v->nvm.fault_at, v->nvm.fault_at);
}

int inspect_run(const char *dir, bool json)
{
    struct say why = {""};
    struct view v = {.dir = dir};
    struct card_linux *card = NULL;
    bool printed = true;
    enum cw_err err = card_linux_look(dir, &card, &v.in_use, &why);
    if (err != CW_OK)
        return fail(&v, err, json, &why);
    v.port = card_linux_port(card);
    err = nvm_look(&v.nvm, &v.port->flash);
    v.fresh = err == CW_ERR_NOT_FOUND;
    if (v.fresh)
        err = CW_OK;
    else if (err == CW_ERR_FORMAT)
        err = damage_say(&v, &why);
    else if (err != CW_OK)
        err = say_fail(&why, err, "cannot read the card's memory %s/flash.bin", dir);
    if (err == CW_OK)
        printed = json ? print_json(&v) : print_text(&v);
    if (!printed || fflush(stdout) != 0 || ferror(stdout))
        err = say_fail(&why, CW_ERR_IO, "the answer could not be written");
    card_linux_close(&card);
    return err == CW_OK ? EXIT_SUCCESS : fail(&v, err, json, &why);
}
