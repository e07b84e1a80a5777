/* steps.c - what happens in a simulation: terminals, the net, the processes of the bank and what
 * befalls them. */
#include "check.h"
#include "engine.h"

#include <stdio.h>
#include <string.h>

/* ---- faults ---- */

/* Perhaps one in the next call of the bank. */
static void arm(struct world *w, bool commit)
{
    struct dice *d = &w->dice;
    engine_calm();
    if (!dice_once_in(d, 4))
        return;
    engine.fault = 1 + dice_below(d, FAULTS - 1);
    engine.commit_only = commit && dice_once_in(d, 2);
    engine.calls = engine.commit_only ? 0 : dice_below(d, commit ? 40 : 12);
}

/* After a call: whether a fault came. */
static bool struck(struct world *w, unsigned process)
{
    struct say why;
    bool fault = engine.struck, dead = engine.dead;
    engine_calm();
    w->counts.faults += fault;
    if (!dead)
        return fault;
    w->counts.deaths++;
    world_trace(w, "death %u", process);
    if (world_restart(w, process, &why) != CW_OK)
        world_wrong(w, "after its death a process does not come up: %s", why.text);
    return true;
}

/* ---- the net ---- */

/* By the line that the order is signed for, most often, while it is open. */
static void send(struct world *w, size_t sheet, unsigned card)
{
    const struct api_line *lines = w->cards[card].lines;
    const uint8_t *binding = w->model.sheets[sheet].binding;
    unsigned line = dice_below(&w->dice, WORLD_LINES);
    if (!dice_once_in(&w->dice, 6) &&
        memcmp(lines[(line + 1) % WORLD_LINES].binding, binding, ORDER_BINDING_LEN) == 0)
        line = (line + 1) % WORLD_LINES;
    if (w->in_flight == WORLD_FLIGHT) { /* the oldest is lost */
        memmove(w->flight, w->flight + 1, (WORLD_FLIGHT - 1) * sizeof w->flight[0]);
        w->in_flight--;
    }
    w->flight[w->in_flight++] = (struct world_message){sheet, card, line};
}

/* The terminal did not hear what came of it, and asks again, or the net says it twice. */
static void send_again(struct world *w, size_t sheet)
{
    unsigned card = w->model.sheets[sheet].card;
    if (dice_once_in(&w->dice, 12)) /* over somebody else's line */
        card = dice_below(&w->dice, MODEL_CARDS);
    send(w, sheet, card);
}

static void keep_reply(struct world_wait *a, const struct api_reply *reply)
{
    a->status = reply->status;
    snprintf(a->problem, sizeof a->problem, "%s", reply->problem != NULL ? reply->problem : "");
    snprintf(a->body, sizeof a->body, "%.*s", (int)reply->body_len, (const char *)reply->body);
}

static void on_answer(void *owner, const struct api_reply *reply)
{
    struct world_wait *a = owner;
    if (reply != NULL && a->status == 0)
        keep_reply(a, reply);
    else
        snprintf(a->problem, sizeof a->problem, "%s", reply != NULL ? "twice" : "nothing");
}

static void hear(struct world *w, const struct world_wait *a)
{
    const char *name = check_answer_name(a);
    world_trace(w, "order %zu: %s %.90s", a->t.sheet, name, a->body);
    w->counts.unknown += strcmp(name, "outcome-unknown") == 0;
    w->counts.store += strcmp(name, "store") == 0;
    w->counts.repeated += a->status == 200;
    w->counts.refused += a->status >= 400 && a->status < 500;
    if (a->status == 503 || dice_once_in(&w->dice, 6))
        send_again(w, a->t.sheet);
}

/* ---- the bank ---- */

static void lose_all(struct world *w, struct world_wait *waits, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        w->counts.lost++;
        send_again(w, waits[i].t.sheet);
    }
}

static void foresee(const struct world *w, const struct world_process *p, const char *out[])
{
    struct model_try tries[MODEL_BATCH] = {0};
    for (size_t i = 0; i < p->count; i++)
        tries[i] = p->waits[i].t;
    model_commit(&w->model, tries, p->count, out);
}

static void hear_all(struct world *w, struct world_process *p, const char *const *out, bool fault)
{
    for (size_t i = 0; i < p->count; i++) {
        const struct world_wait *a = &p->waits[i];
        if (a->left) {
            w->counts.lost++;
            send_again(w, a->t.sheet);
            continue;
        }
        check_answer(w, a, out[i], fault);
        hear(w, a);
    }
    p->count = 0;
}

/* Another process's turn in the middle of a call. */
struct turn {
    struct world *w;
    struct world_process *p;
    bool taken, locked;
};

/* While one writes it finds the books locked, and who has the lock may be booking the same. */
static void other_turn(void *ctx)
{
    struct turn *t = ctx;
    const char *out[MODEL_BATCH];
    struct world_wait waits[MODEL_BATCH];
    size_t count = t->p->count;
    t->taken = true;
    t->locked = engine.writing;
    foresee(t->w, t->p, out);
    for (size_t i = 0; i < count && t->locked; i++)
        out[i] = "outcome-unknown";
    world_trace(t->w, "meanwhile commit of %zu%s", count, t->locked ? ", locked" : "");
    api_commit(&t->p->api, on_answer);
    memcpy(waits, t->p->waits, count * sizeof waits[0]);
    check_new(t->w, waits, out, count, true);
    hear_all(t->w, t->p, out, false);
}

/* Perhaps the next process has one in the next call of this one. */
static void arm_turn(struct world *w, unsigned process, struct turn *t)
{
    *t = (struct turn){.w = w, .p = &w->processes[(process + 1) % WORLD_PROCESSES]};
    if (t->p->count == 0 || !dice_once_in(&w->dice, 3))
        return;
    engine.turn = other_turn;
    engine.ctx = t;
    engine.turn_calls = dice_once_in(&w->dice, 3) ? 0 : dice_below(&w->dice, 12);
}

static void commit(struct world *w, unsigned process, bool faults)
{
    const char *out[MODEL_BATCH];
    struct world_process *p = &w->processes[process];
    struct turn turn = {0};
    size_t count = p->count;
    struct world_wait waits[MODEL_BATCH];
    world_trace(w, "commit %u of %zu", process, count);
    engine_calm();
    if (faults) {
        arm(w, true);
        arm_turn(w, process, &turn);
    }
    foresee(w, p, out);
    api_commit(&p->api, on_answer);
    bool dead = engine.dead;
    memcpy(waits, p->waits, count * sizeof waits[0]);
    if (turn.taken && !turn.locked) /* it came first */
        foresee(w, p, out);
    bool fault = struck(w, process);
    check_new(w, waits, out, count, !fault);
    if (dead)
        lose_all(w, waits, count);
    else
        hear_all(w, p, out, fault);
    check_balances(w);
}

static void answer_now(struct world *w, struct world_wait *a, const char *expected,
                       const struct api_reply *reply, bool fault)
{
    if (reply->later) {
        world_wrong(w, "order %zu waits, and should be answered '%s'", a->t.sheet, expected);
        return;
    }
    keep_reply(a, reply);
    check_answer(w, a, expected, fault);
    hear(w, a);
}

/* Another process booked in the middle of it: the answer may be that of before or that of after. */
static const char *after(const struct world *w, const struct world_wait *a, const char *expected,
                         const struct api_reply *reply)
{
    struct world_wait got = {0};
    keep_reply(&got, reply);
    const char *now = model_take(&w->model, &a->t, w->now);
    return strcmp(check_answer_name(&got), now) == 0 ? now : expected;
}

static void deliver(struct world *w, unsigned process, struct world_message m, bool faults)
{
    struct world_process *p = &w->processes[process];
    if (p->count == MODEL_BATCH)
        commit(w, process, faults);
    struct world_wait *a = &p->waits[p->count];
    struct api_line *line = &w->cards[m.card].lines[m.line];
    struct api_reply reply = {0};
    *a = (struct world_wait){.t = {.sheet = m.sheet, .card = m.card}};
    memcpy(a->t.binding, line->binding, sizeof a->t.binding);
    const char *body = w->model.sheets[m.sheet].body;
    const struct api_request request = {API_POST, "/v1/payments", (const uint8_t *)body,
                                        strlen(body)};
    const char *expected = model_take(&w->model, &a->t, w->now);
    world_trace(w, "order %zu to %u by card %u line %u", m.sheet, process, m.card, m.line);
    w->counts.sent++;
    engine_calm();
    struct turn turn = {0};
    if (faults) {
        arm(w, false);
        arm_turn(w, process, &turn);
    }
    if (api_take(&p->api, line, &request, a, &reply) != CW_OK)
        world_wrong(w, "order %zu: no reply at all", m.sheet);
    bool dead = engine.dead, waits = reply.later && strcmp(expected, "waits") == 0;
    struct world_wait lost[MODEL_BATCH + 1];
    size_t count = p->count + 1;
    memcpy(lost, p->waits, (p->count + 1) * sizeof lost[0]);
    bool fault = struck(w, process);
    check_nothing(w);
    if (dead)
        lose_all(w, lost, count);
    else if (waits)
        p->count++;
    else
        answer_now(w, a, turn.taken ? after(w, a, expected, &reply) : expected, &reply, fault);
    api_reply_clear(&reply);
}

/* ---- what else there is ---- */

/* Somebody asks what became of an order. */
static void look(struct world *w, unsigned process)
{
    char target[64] = "/v1/payments/";
    size_t sheet = dice_below(&w->dice, (uint32_t)w->model.count);
    const struct model_sheet *s = &w->model.sheets[sheet];
    unsigned card = dice_below(&w->dice, MODEL_CARDS);
    struct api_reply reply = {0};
    for (size_t i = 0; i < sizeof s->f.id; i++)
        snprintf(target + 13 + 2 * i, 3, "%02x", s->f.id[i]);
    const struct api_request request = {.method = API_GET, .target = target};
    bool booked = false;
    for (size_t i = 0; i < w->model.count; i++) /* under that number */
        booked |= w->model.sheets[i].entry != 0 &&
                  memcmp(w->model.sheets[i].f.id, s->f.id, sizeof s->f.id) == 0 &&
                  w->model.holder[w->model.sheets[i].card] == w->model.holder[card];
    int expected = w->model.blocked[card] ? 403 : booked ? 200 : 404;
    arm(w, false);
    if (api_take(&w->processes[process].api, &w->cards[card].lines[0], &request, NULL, &reply) !=
        CW_OK)
        world_wrong(w, "order %zu: no reply at all", sheet);
    world_trace(w, "look at %zu by card %u: %d", sheet, card, reply.status);
    bool dead = engine.dead, fault;
    struct world_process *p = &w->processes[process];
    struct world_wait lost[MODEL_BATCH];
    size_t count = p->count;
    memcpy(lost, p->waits, sizeof lost);
    fault = struck(w, process);
    if (dead)
        lose_all(w, lost, count);
    else if (reply.status != expected && !(fault && reply.status == 503))
        world_wrong(w, "a look at order %zu is answered %d, and should be %d", sheet, reply.status,
                    expected);
    api_reply_clear(&reply);
}

/* The bank's people block a card, or take that back; a process of their own does it. */
static void block(struct world *w)
{
    struct say why;
    unsigned card = dice_below(&w->dice, MODEL_CARDS);
    bool blocked = w->model.blocked[card] ? true : dice_once_in(&w->dice, 3);
    blocked = w->model.blocked[card] ? false : blocked;
    arm(w, false);
    if (engine.fault >= FAULT_DEATH)
        engine.fault = FAULT_AFTER;
    enum cw_err err =
        ledger_card_block(w->processes[0].bank->ledger, w->cards[card].serial, blocked, &why);
    bool fault = struck(w, 0), now = check_card_blocked(w, card);
    world_trace(w, "card %u blocked %d: %s, is %d", card, blocked, cw_err_name(err), now);
    if (err != CW_OK && !fault)
        world_wrong(w, "card %u cannot be blocked: %s", card, why.text);
    if ((err == CW_OK && now != blocked) || (now != blocked && now != w->model.blocked[card]))
        world_wrong(w, "card %u is not as it was said to be", card);
    w->model.blocked[card] = now;
}

/* The clock goes on; sometimes far, sometimes it is put back. The server of a bank commits what
 * waits in the same turn of its loop, so that no long time passes over it. */
static void pass_time(struct world *w)
{
    int64_t by = 1 + dice_below(&w->dice, 8);
    if (dice_once_in(&w->dice, 20)) {
        for (unsigned i = 0; i < WORLD_PROCESSES && !w->broken; i++)
            if (w->processes[i].count > 0)
                commit(w, i, true);
        by = dice_below(&w->dice, 3600);
    } else if (dice_once_in(&w->dice, 8)) {
        by = -(int64_t)dice_below(&w->dice, 5);
    }
    w->now += by;
    world_trace(w, "time %+lld", (long long)by);
}

/* A card opens a new line in the place of one of its old ones. */
static void connect_anew(struct world *w)
{
    unsigned card = dice_below(&w->dice, MODEL_CARDS);
    struct api_line *l = &w->cards[card].lines[dice_below(&w->dice, WORLD_LINES)];
    dice_fill(&w->dice, l->binding, sizeof l->binding);
    l->signed_before = false;
    world_trace(w, "line of card %u", card);
}

static void leave(struct world *w, unsigned process)
{
    struct world_process *p = &w->processes[process];
    if (p->count == 0)
        return;
    struct world_wait *a = &p->waits[dice_below(&w->dice, (uint32_t)p->count)];
    api_leave(&p->api, a);
    a->left = true;
    world_trace(w, "order %zu: nobody waits any more", a->t.sheet);
}

static void order(struct world *w)
{
    size_t sheet = 0;
    struct say why;
    if (world_order(w, &sheet, &why) != CW_OK) {
        world_wrong(w, "%s", why.text);
        return;
    }
    w->counts.orders++;
    for (unsigned n = dice_once_in(&w->dice, 5) ? 3 : 1; n > 0; n--)
        send(w, sheet, w->model.sheets[sheet].card);
}

static void net(struct world *w, unsigned process)
{
    if (w->in_flight == 0)
        return;
    size_t i = dice_below(&w->dice, (uint32_t)w->in_flight);
    struct world_message m = w->flight[i];
    if (!dice_once_in(&w->dice, 8)) /* else it comes once more later */
        w->flight[i] = w->flight[--w->in_flight];
    if (dice_once_in(&w->dice, 15)) {
        world_trace(w, "order %zu is lost", m.sheet);
        return;
    }
    deliver(w, process, m, true);
}

/* The process in which most wait. */
static void commit_fullest(struct world *w)
{
    unsigned process = 0;
    for (unsigned i = 1; i < WORLD_PROCESSES; i++)
        if (w->processes[i].count > w->processes[process].count)
            process = i;
    if (w->processes[process].count > 0)
        commit(w, process, true);
}

void world_step(struct world *w)
{
    unsigned process = dice_below(&w->dice, WORLD_PROCESSES);
    uint32_t what = dice_below(&w->dice, 100);
    w->step++;
    if (what < 22)
        order(w);
    else if (what < 68)
        net(w, process);
    else if (what < 84)
        commit_fullest(w);
    else if (what < 90)
        pass_time(w);
    else if (what < 91)
        connect_anew(w);
    else if (what < 93)
        leave(w, process);
    else if (what < 95)
        block(w);
    else if (w->model.count > 0)
        look(w, process);
    if (w->step % 500 == 0)
        check_all(w);
}

/* Every order is sent once more: whatever was unknown resolves now. */
void world_finish(struct world *w)
{
    for (unsigned i = 0; i < WORLD_PROCESSES && !w->broken; i++)
        commit(w, i, false);
    for (size_t i = 0; i < w->model.count && !w->broken; i++) {
        unsigned process = (unsigned)(i % WORLD_PROCESSES), card = w->model.sheets[i].card;
        deliver(w, process, (struct world_message){i, card, 0}, false);
        commit(w, process, false);
    }
    check_all(w);
}
