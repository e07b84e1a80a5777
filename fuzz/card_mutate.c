/* card_mutate.c - changes inputs by whole operations: puts one in, takes one out, doubles it, swaps
 * two, changes what is inside one; joins two inputs between operations. Not needed to run them. */
#include "card_fuzz.h"

#include <string.h>

#define OPS_MAX   FUZZ_OPS_MAX
#define INPUT_MAX 4096u

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);
size_t LLVMFuzzerCustomCrossOver(const uint8_t *a, size_t a_len, const uint8_t *b, size_t b_len,
                                 uint8_t *out, size_t cap, unsigned seed);

struct operation {
    uint8_t op, len;
    uint8_t bytes[255];
};
struct program {
    uint8_t header[FUZZ_HEADER];
    size_t count;
    struct operation ops[OPS_MAX];
};

static uint32_t state;
static uint32_t pick(uint32_t n)
{
    state = state * 1664525u + 1013904223u; /* Knuth, Numerical Recipes */
    return (state >> 8) % n;
}

static void parse(const uint8_t *data, size_t size, struct program *out)
{
    memset(out->header, 0, FUZZ_HEADER);
    memcpy(out->header, data, size < FUZZ_HEADER ? size : FUZZ_HEADER);
    out->count = 0;
    size_t at = FUZZ_HEADER;
    while (at + 2 <= size && out->count < OPS_MAX) {
        struct operation *o = &out->ops[out->count++];
        size_t len = data[at + 1];
        if (len > size - at - 2)
            len = size - at - 2;
        o->op = data[at] % OP_COUNT;
        o->len = (uint8_t)len;
        memcpy(o->bytes, data + at + 2, len);
        at += 2 + len;
    }
}

static size_t write(const struct program *p, uint8_t *out, size_t cap)
{
    struct buf_writer w;
    if (cap < FUZZ_HEADER)
        return 0;
    buf_writer_init(&w, out, cap);
    buf_put_bytes(&w, p->header, FUZZ_HEADER);
    for (size_t i = 0; i < p->count && buf_room(&w) >= 2u + p->ops[i].len; i++) {
        buf_put_u8(&w, p->ops[i].op);
        buf_put_u8(&w, p->ops[i].len);
        buf_put_bytes(&w, p->ops[i].bytes, p->ops[i].len);
    }
    return w.len;
}

static void put_in(struct program *p, size_t at, const struct operation *o)
{
    if (p->count == OPS_MAX)
        p->count--;
    if (at > p->count)
        at = p->count;
    memmove(&p->ops[at + 1], &p->ops[at], (p->count - at) * sizeof p->ops[0]);
    p->ops[at] = *o;
    p->count++;
}

static void take_out(struct program *p, size_t at)
{
    memmove(&p->ops[at], &p->ops[at + 1], (p->count - at - 1) * sizeof p->ops[0]);
    p->count--;
}

/* A new operation: what it is about is mostly in its first bytes, and small or zero is what works.
 */
static struct operation invent(void)
{
    struct operation o = {.op = (uint8_t)pick(OP_COUNT), .len = (uint8_t)pick(8)};
    if (pick(16) == 0)
        o.len = (uint8_t)pick(256);
    for (size_t i = 0; i < o.len; i++)
        o.bytes[i] = (uint8_t)(pick(3) == 0 ? 0 : pick(2) ? pick(16) : pick(256));
    return o;
}

/* What leads somewhere: an operation alone seldom does. */
static void put_recipe(struct program *p, size_t at)
{
    static const struct operation login = {OP_LOGIN, 1, {LINK_PROFILE_ECDHE}},
                                  login13 = {OP_LOGIN, 1, {LINK_PROFILE_TLS13}},
                                  order = {OP_ORDER, 2, {5, 0}}, small = {OP_ORDER, 2, {0, 0}},
                                  link = {OP_SELECT, 1, {0}}, piv = {OP_SELECT, 1, {1}},
                                  channel = {OP_CHANNEL, 2, {0, 0}}, admin = {OP_ADMIN, 1, {0}},
                                  piv_pin = {OP_PIN, 1, {4}}, verify = {OP_PIN, 1, {0}},
                                  wrong = {OP_PIN, 2, {0, 1}}, sign = {OP_KEY, 1, {1}},
                                  status = {OP_SECURED, 4, {0, 0, 3, 4}},
                                  put = {OP_SECURED, 5, {0, 0, 0, 12, 4}},
                                  update = {OP_UPDATE, 5, {0, 0, 0, 12, 4}},
                                  again = {OP_UPDATE, 1, {0x40}}, time = {OP_TIME, 4, {0, 0, 1, 0}};
    static const struct operation *const recipes[][4] = {
        {&login, &order},        {&login, &small, &small},
        {&login13, &order},      {&login, &update, &again},
        {&link, &channel, &put}, {&link, &channel, &status},
        {&link, &verify},        {&wrong, &wrong, &wrong},
        {&link, &time},          {&piv, &admin},
        {&piv, &piv_pin, &sign}, {&piv, &piv_pin},
    };
    const struct operation *const *r = recipes[pick(sizeof recipes / sizeof recipes[0])];
    for (unsigned i = 0; i < 4 && r[i] != NULL; i++)
        put_in(p, at + i, r[i]);
}

static void mutate(struct program *p)
{
    size_t at = p->count > 0 ? pick((uint32_t)p->count) : 0;
    size_t other = p->count > 0 ? pick((uint32_t)p->count) : 0;
    struct operation o = invent();
    uint32_t what = pick(12);
    if (what == 0 || p->count == 0) {
        put_recipe(p, p->count > 0 ? pick((uint32_t)p->count + 1) : 0);
    } else if (what <= 2) {
        put_in(p, pick((uint32_t)p->count + 1), &o);
    } else if (what == 3) {
        take_out(p, at);
    } else if (what == 4) {
        o = p->ops[at];
        put_in(p, other, &o);
    } else if (what == 5) {
        o = p->ops[at];
        p->ops[at] = p->ops[other];
        p->ops[other] = o;
    } else if (what == 6) {
        p->header[pick(FUZZ_HEADER)] = (uint8_t)(pick(2) ? pick(16) : pick(256));
    } else if (what == 7 && p->ops[at].len > 0) { /* the first byte says most */
        p->ops[at].bytes[pick(p->ops[at].len < 3 ? p->ops[at].len : 3)] =
            (uint8_t)(pick(2) ? 1u << pick(8) : pick(256));
    } else if (what == 8) {
        p->ops[at] = o;
    } else {
        p->ops[at].len =
            (uint8_t)LLVMFuzzerMutate(p->ops[at].bytes, p->ops[at].len, pick(4) == 0 ? 255 : 16);
    }
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
    static struct program p;
    state = seed;
    parse(data, size, &p);
    for (uint32_t n = 1 + pick(3); n > 0; n--)
        mutate(&p);
    return write(&p, data, max_size < INPUT_MAX ? max_size : INPUT_MAX);
}

/* The beginning of one and the end of the other. */
size_t LLVMFuzzerCustomCrossOver(const uint8_t *a, size_t a_len, const uint8_t *b, size_t b_len,
                                 uint8_t *out, size_t cap, unsigned seed)
{
    static struct program p, q;
    state = seed;
    parse(a, a_len, &p);
    parse(b, b_len, &q);
    p.count = pick((uint32_t)p.count + 1);
    for (size_t i = pick((uint32_t)q.count + 1); i < q.count && p.count < OPS_MAX; i++)
        p.ops[p.count++] = q.ops[i];
    return write(&p, out, cap);
}
