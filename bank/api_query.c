#include "bank/api_query.h"

#include "proto/text.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <string.h>

#define PLACE_LEN    (8u + 4u)
#define CURSOR_MAX   (API_PLACES_MAX * PLACE_LEN + API_CURSOR_TAG_LEN)
#define QUESTION_MAX 512u

static void wrong(struct api_query *q, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static void wrong(struct api_query *q, const char *format, ...)
{
    va_list args;
    if (q->wrong[0] != '\0')
        return;
    va_start(args, format);
    vsnprintf(q->wrong, sizeof q->wrong, format, args);
    va_end(args);
}

void api_query_wrong(struct api_query *q, const char *sentence)
{
    wrong(q, "%s", sentence);
}

/* ---- parsing ---- */

static int hex_digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* In place; false for a '%' without two digits, and for a zero byte. */
static bool percent_decode(char *text)
{
    char *to = text;
    for (const char *p = text; *p != '\0'; p++) {
        if (*p != '%') {
            *to++ = *p;
            continue;
        }
        int high = hex_digit(p[1]);
        int low = high >= 0 ? hex_digit(p[2]) : -1;
        if (low < 0 || (high == 0 && low == 0))
            return false;
        *to++ = (char)(high << 4 | low);
        p += 2;
    }
    *to = '\0';
    return true;
}

/* A name goes into a sentence for the holder: letters only. */
static bool name_good(const char *name)
{
    size_t len = strspn(name, "abcdefghijklmnopqrstuvwxyz_");
    return len > 0 && len <= 32 && name[len] == '\0';
}

static void add(struct api_query *q, char *item)
{
    char *value = strchr(item, '=');
    if (value != NULL)
        *value++ = '\0';
    if (!name_good(item)) {
        wrong(q, "The query is not of the form NAME=VALUE&NAME=VALUE.");
        return;
    }
    for (size_t i = 0; i < q->count; i++)
        if (strcmp(q->items[i].name, item) == 0) {
            wrong(q, "%s is given twice.", item);
            return;
        }
    if (q->count == API_PARAMETERS_MAX)
        wrong(q, "There are too many parameters.");
    else if (value == NULL || *value == '\0')
        wrong(q, "%s has no value.", item);
    else if (!percent_decode(value))
        wrong(q, "%s is not percent-encoded as it should be.", item);
    else {
        q->items[q->count].name = item;
        q->items[q->count].value = value;
        q->items[q->count++].taken = false;
    }
}

void api_query_parse(struct api_query *q, const char *query)
{
    size_t len = strlen(query);
    q->count = 0;
    q->wrong[0] = '\0';
    if (len >= sizeof q->text) {
        wrong(q, "The query is too long.");
        return;
    }
    memcpy(q->text, query, len + 1);
    for (char *item = q->text, *next; len > 0 && item != NULL; item = next) {
        next = strchr(item, '&');
        if (next != NULL)
            *next++ = '\0';
        add(q, item);
    }
}

static const char *take(struct api_query *q, const char *name)
{
    for (size_t i = 0; i < q->count; i++)
        if (strcmp(q->items[i].name, name) == 0) {
            q->items[i].taken = true;
            return q->items[i].value;
        }
    return NULL;
}

/* ---- kinds ---- */

void api_query_number(struct api_query *q, const char *name, int64_t min, int64_t max, int64_t *out)
{
    int64_t n = 0;
    const char *value = take(q, name), *p = value;
    if (value == NULL)
        return;
    while (*p >= '0' && *p <= '9' && n <= max)
        if (__builtin_mul_overflow(n, 10, &n) || __builtin_add_overflow(n, *p++ - '0', &n))
            n = INT64_MAX;
    if (*p != '\0' || n < min || n > max)
        wrong(q, "%s is a number from %lld to %lld.", name, (long long)min, (long long)max);
    else
        *out = n;
}

void api_query_time(struct api_query *q, const char *name, int64_t *out)
{
    char text[24];
    const char *value = take(q, name);
    if (value == NULL)
        return;
    snprintf(text, sizeof text, strlen(value) == 10 ? "%.20sT00:00:00Z" : "%.22s", value);
    if (cal_parse(text, strlen(text), out) != CW_OK)
        wrong(q, "%s is a time as 2026-11-24T10:00:00Z, or a day as 2026-11-24.", name);
}

void api_query_money(struct api_query *q, const char *name, const char currency[4], int64_t *out)
{
    const char *value = take(q, name);
    if (value != NULL && order_amount_parse(value, currency, out) != CW_OK)
        wrong(q, "%s is an amount in %s, as 12.34, without a sign.", name, currency);
}

void api_query_text(struct api_query *q, const char *name, char *out, size_t cap)
{
    const char *value = take(q, name);
    size_t len = value != NULL ? strlen(value) : 0;
    if (value == NULL)
        return;
    if (len >= cap || !text_is_clean(value, len))
        wrong(q, "%s is a text of at most %zu bytes of UTF-8 without control characters.", name,
              cap - 1);
    else
        memcpy(out, value, len + 1);
}

void api_query_word(struct api_query *q, const char *name, const char *const *words,
                    const char *says, int *out)
{
    const char *value = take(q, name);
    if (value == NULL)
        return;
    for (int i = 0; words[i] != NULL; i++)
        if (strcmp(value, words[i]) == 0) {
            *out = i;
            return;
        }
    wrong(q, "%s is %s.", name, says);
}

/* ---- cursors ---- */

void api_cursor_tag(const char *what, const void *data, size_t len, uint8_t tag[API_CURSOR_TAG_LEN])
{
    uint8_t bytes[QUESTION_MAX], hash[SHA256_DIGEST_LENGTH];
    struct buf_writer w;
    buf_writer_init(&w, bytes, sizeof bytes);
    buf_put_str(&w, what);
    buf_put_u8(&w, 0);
    buf_put_bytes(&w, data, len);
    SHA256(bytes, w.len, hash);
    memcpy(tag, hash, API_CURSOR_TAG_LEN);
}

json_t *api_cursor_json(const struct ledger_place *places, size_t count,
                        const uint8_t tag[API_CURSOR_TAG_LEN])
{
    uint8_t bytes[CURSOR_MAX], text[2 * CURSOR_MAX];
    struct buf_writer w, hex;
    buf_writer_init(&w, bytes, sizeof bytes);
    for (size_t i = 0; i < count; i++) {
        buf_put_u64(&w, (uint64_t)places[i].entry);
        buf_put_u32(&w, places[i].line);
    }
    buf_put_bytes(&w, tag, API_CURSOR_TAG_LEN);
    buf_writer_init(&hex, text, sizeof text);
    buf_put_hex(&hex, bytes, w.len);
    return w.bad || hex.bad ? NULL : json_stringn((const char *)text, hex.len);
}

void api_query_cursor(struct api_query *q, const uint8_t tag[API_CURSOR_TAG_LEN],
                      struct ledger_place *out, size_t count)
{
    uint8_t bytes[CURSOR_MAX];
    size_t len = 0, want = count * PLACE_LEN + API_CURSOR_TAG_LEN;
    struct buf_reader r;
    struct ledger_place places[API_PLACES_MAX];
    const char *value = take(q, "cursor");
    if (value == NULL)
        return;
    bool good = strlen(value) == 2 * want &&
                OPENSSL_hexstr2buf_ex(bytes, sizeof bytes, &len, value, '\0') == 1 &&
                memcmp(bytes + want - API_CURSOR_TAG_LEN, tag, API_CURSOR_TAG_LEN) == 0;
    ERR_clear_error();
    buf_reader_init(&r, bytes, good ? want : 0);
    for (size_t i = 0; i < count && good; i++) {
        uint64_t entry = buf_get_u64(&r);
        good = entry <= INT64_MAX;
        places[i] = (struct ledger_place){(int64_t)entry, buf_get_u32(&r)};
    }
    if (good)
        memcpy(out, places, count * sizeof *out);
    else
        wrong(q, "cursor is one that the bank gave to the same question.");
}

/* ---- the end ---- */

bool api_query_good(struct api_query *q)
{
    for (size_t i = 0; i < q->count; i++)
        if (!q->items[i].taken)
            wrong(q, "%s is no parameter of this path.", q->items[i].name);
    return q->wrong[0] == '\0';
}

enum cw_err api_query_refuse(const struct api_query *q, struct api_reply *reply)
{
    return api_reply_problem(reply, "parameter", "%s", q->wrong);
}
