#include "bank/update.h"

#include "bank/ca.h"

#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <stdlib.h>
#include <string.h>

#define PREFIX_LEN (sizeof ISSUER_PREFIX - 1)
#define HALF_LEN   ((int)ISSUER_SIGNATURE_LEN / 2)

enum cw_err update_point_get(const struct bank *bank, uint8_t out[ISSUER_POINT_LEN],
                             struct say *why)
{
    uint8_t point[ISSUER_POINT_LEN];
    size_t len = 0;
    EVP_PKEY *key = NULL;
    enum cw_err err = bank_key_load(bank, BANK_FILE_UPDATE, &key, why);
    if (err == CW_OK && (EVP_PKEY_get_octet_string_param(key, OSSL_PKEY_PARAM_PUB_KEY, point,
                                                         sizeof point, &len) != 1 ||
                         len != sizeof point || point[0] != POINT_CONVERSION_UNCOMPRESSED))
        err = ca_fail(why, "the key that signs messages to cards is not on P-256");
    EVP_PKEY_free(key);
    if (err == CW_OK)
        memcpy(out, point, sizeof point);
    return err;
}

/* ECDSA with SHA-256; r and s of fixed length, as a chip takes them (FIPS 186-5 §6.4). */
static enum cw_err sign(EVP_PKEY *key, const uint8_t *data, size_t len,
                        uint8_t out[ISSUER_SIGNATURE_LEN], struct say *why)
{
    uint8_t der[80];
    size_t n = sizeof der;
    const uint8_t *at = der;
    ECDSA_SIG *sig = NULL;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok = ctx != NULL && EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, key) == 1 &&
              EVP_DigestSign(ctx, der, &n, data, len) == 1 &&
              (sig = d2i_ECDSA_SIG(NULL, &at, (long)n)) != NULL &&
              BN_bn2binpad(ECDSA_SIG_get0_r(sig), out, HALF_LEN) == HALF_LEN &&
              BN_bn2binpad(ECDSA_SIG_get0_s(sig), out + HALF_LEN, HALF_LEN) == HALF_LEN;
    ECDSA_SIG_free(sig);
    EVP_MD_CTX_free(ctx);
    return ok ? CW_OK : ca_fail(why, "cannot sign a message to a card");
}

enum cw_err update_sign(EVP_PKEY *key, const struct issuer_message *m,
                        uint8_t out[ISSUER_MESSAGE_MAX], size_t *len, struct say *why)
{
    uint8_t whole[PREFIX_LEN + ISSUER_MESSAGE_MAX], signature[ISSUER_SIGNATURE_LEN];
    struct buf_writer w;
    memcpy(whole, ISSUER_PREFIX, PREFIX_LEN);
    buf_writer_init(&w, whole + PREFIX_LEN, ISSUER_MESSAGE_MAX);
    enum cw_err err = issuer_encode(m, &w);
    if (err != CW_OK)
        return say_fail(why, err == CW_ERR_SPACE ? CW_ERR_LENGTH : err,
                        "a message to a card has at most %u bytes", ISSUER_MESSAGE_MAX);
    err = sign(key, whole, PREFIX_LEN + w.len, signature, why);
    if (err != CW_OK)
        return err;
    if (issuer_seal(&w, signature) != CW_OK)
        return say_fail(why, CW_ERR_LENGTH, "a message to a card has at most %u bytes",
                        ISSUER_MESSAGE_MAX);
    memcpy(out, whole + PREFIX_LEN, w.len);
    *len = w.len;
    return CW_OK;
}

/* ---- updates ---- */

#define WRITES_MAX (LINK_ROOT_MAX + LINK_NAME_MAX + 3u)
#define GROUPS_MAX 5u

/* Everything that the plan writes, with the values in one place, and in groups that must not be
 * taken apart: a card between two messages must still reach the bank. */
struct batch {
    struct issuer_write writes[WRITES_MAX];
    size_t group_end[GROUPS_MAX]; /* index of the write after each group */
    size_t count, groups;
    uint8_t memory[LINK_ROOT_MAX * OBJECTS_VALUE_MAX + LINK_NAME_MAX * OBJECTS_NAME_MAX +
                   POLICY_LEN_MAX + POLICY_PAYEES_LENMAX + 1];
    struct buf_writer values;
};

/* What was appended to the values since `from` is the value of the object; nothing: it goes. */
static void add_write(struct batch *b, uint16_t object, size_t from)
{
    b->writes[b->count++] = (struct issuer_write){
        .object = object, .value = b->memory + from, .len = b->values.len - from};
}

static void end_group(struct batch *b)
{
    if (b->count > (b->groups > 0 ? b->group_end[b->groups - 1] : 0))
        b->group_end[b->groups++] = b->count;
}

static void add_roots(struct batch *b, const struct update_plan *plan)
{
    for (size_t i = 0; plan->root_count > 0 && i < LINK_ROOT_MAX; i++) {
        size_t from = b->values.len;
        if (i < plan->root_count)
            buf_put_bytes(&b->values, plan->roots[i].der, plan->roots[i].len);
        add_write(b, (uint16_t)(LINK_DO_ROOT | i), from);
    }
    end_group(b);
}

static enum cw_err add_names(struct batch *b, const struct update_plan *plan, struct say *why)
{
    enum cw_err err = CW_OK;
    for (size_t i = 0; plan->name_count > 0 && i < LINK_NAME_MAX && err == CW_OK; i++) {
        size_t from = b->values.len;
        if (i < plan->name_count)
            err = objects_name_put(&plan->names[i], &b->values, why);
        add_write(b, (uint16_t)(LINK_DO_NAME | i), from);
    }
    end_group(b);
    return err;
}

static enum cw_err add_payees(struct batch *b, struct ledger *l, const struct update_plan *plan,
                              struct say *why)
{
    struct policy_payee list[POLICY_PAYEES_MAX];
    size_t count = 0, from = b->values.len;
    enum cw_err err = ledger_payees_get(l, plan->card, list, &count, why);
    if (err == CW_OK)
        err = objects_payees_put(list, count, &b->values, why);
    add_write(b, LINK_DO_PAYEES, from);
    end_group(b);
    return err;
}

/* One transaction's work. */
struct job {
    struct bank *bank;
    const struct update_plan *plan;
    EVP_PKEY *key;
    struct update_made made;
};

static enum cw_err fill_batch(struct job *job, struct batch *b, struct say *why)
{
    const struct update_plan *plan = job->plan;
    buf_writer_init(&b->values, b->memory, sizeof b->memory);
    add_roots(b, plan);
    enum cw_err err = add_names(b, plan, why);
    size_t from = b->values.len;
    if (err == CW_OK && plan->policy != NULL) {
        err = policy_encode(plan->policy, &b->values);
        add_write(b, LINK_DO_POLICY, from);
        end_group(b);
    }
    if (err == CW_OK && (plan->payee != NULL || plan->payee_gone != NULL))
        err = add_payees(b, job->bank->ledger, plan, why);
    from = b->values.len;
    if (err == CW_OK && plan->life != 0) { /* last: after it the card takes nothing */
        buf_put_u8(&b->values, (uint8_t)plan->life);
        add_write(b, LINK_DO_LIFE, from);
        end_group(b);
    }
    if (err == CW_OK && b->count == 0)
        err = say_fail(why, CW_ERR_ARG, "there is nothing to change");
    return err;
}

/* Signs and stores the writes [from, to) under the next sequence. CW_ERR_LENGTH when they are too
 * much for one message. */
static enum cw_err put_message(struct job *job, const struct batch *b, size_t from, size_t to,
                               uint32_t sequence, struct say *why)
{
    uint8_t message[ISSUER_MESSAGE_MAX];
    size_t len = 0;
    struct issuer_message m = {.kind = ISSUER_UPDATE, .sequence = sequence};
    memcpy(m.serial, job->plan->card, sizeof m.serial);
    m.write_count = to - from;
    memcpy(m.writes, b->writes + from, m.write_count * sizeof m.writes[0]);
    enum cw_err err = update_sign(job->key, &m, message, &len, why);
    return err == CW_OK
               ? ledger_update_add(job->bank->ledger, job->plan->card, sequence, message, len, why)
               : err;
}

/* As many groups as fit into each message. */
static enum cw_err put_messages(struct job *job, const struct batch *b, struct say *why)
{
    size_t from = 0, group = 0;
    job->made.last = job->made.first - 1;
    while (group < b->groups) {
        size_t end = group + 1;
        enum cw_err err;
        while (end < b->groups && b->group_end[end] - from <= ISSUER_WRITES_MAX)
            end++;
        do {
            err = put_message(job, b, from, b->group_end[end - 1], job->made.last + 1, why);
        } while (err == CW_ERR_LENGTH && --end > group);
        if (err != CW_OK)
            return err;
        job->made.last++;
        from = b->group_end[end - 1];
        group = end;
    }
    return CW_OK;
}

static enum cw_err make_updates(void *ctx, struct say *why)
{
    struct job *job = ctx;
    struct ledger *l = job->bank->ledger;
    const struct update_plan *plan = job->plan;
    struct ledger_management m;
    struct batch *b = NULL;
    enum cw_err err = ledger_management_get(l, plan->card, &m, why);
    if (err == CW_OK && plan->policy != NULL && m.made != plan->policy_of)
        err =
            say_fail(why, CW_ERR_BUSY, "another update of the card was made meanwhile; try again");
    if (err == CW_OK && plan->policy != NULL)
        err = ledger_policy_put(l, plan->card, plan->policy, why);
    if (err == CW_OK && plan->request != 0)
        err = ledger_payee_request_confirm(l, plan->request, plan->confirmed, why);
    if (err == CW_OK && plan->payee != NULL)
        err = ledger_payee_add(l, plan->card, plan->payee, plan->confirmed, why);
    if (err == CW_OK && plan->payee_gone != NULL)
        err = ledger_payee_remove(l, plan->card, plan->payee_gone, why);
    if (err != CW_OK)
        return err;
    if ((b = calloc(1, sizeof *b)) == NULL)
        return say_fail(why, CW_ERR_SPACE, "out of memory");
    job->made.first = m.made + 1;
    err = fill_batch(job, b, why);
    if (err == CW_OK)
        err = put_messages(job, b, why);
    free(b);
    return err;
}

/* A card that trusts none of the bank's roots, or may not speak with its server, would be out of
 * its reach for ever. */
static enum cw_err check_reach(struct bank *bank, const struct update_plan *plan, struct say *why)
{
    char path[BANK_PATH_MAX];
    struct objects_root own;
    bool root = plan->root_count == 0, name = plan->name_count == 0;
    enum cw_err err = bank_path(bank->dir, bank->server.root, ".pem", path, why);
    if (err == CW_OK)
        err = objects_root_load(path, &own, why);
    if (err != CW_OK)
        return err;
    for (size_t i = 0; i < plan->root_count; i++)
        root = root ||
               (plan->roots[i].len == own.len && memcmp(plan->roots[i].der, own.der, own.len) == 0);
    for (size_t i = 0; i < plan->name_count; i++)
        name = name || strcmp(plan->names[i].host, bank->server_name) == 0;
    if (!root)
        return say_fail(why, CW_ERR_STATE,
                        "without the root that the bank's server uses, %s, the card could not "
                        "reach the bank any more",
                        path);
    if (!name)
        return say_fail(why, CW_ERR_STATE,
                        "without the bank's own server name, %s, the card could not reach the bank "
                        "any more",
                        bank->server_name);
    return CW_OK;
}

enum cw_err update_make(struct bank *bank, const struct update_plan *plan, struct update_made *out,
                        struct say *why)
{
    struct job job = {.bank = bank, .plan = plan};
    enum cw_err err = check_reach(bank, plan, why);
    if (err == CW_OK)
        err = bank_key_load(bank, BANK_FILE_UPDATE, &job.key, why);
    if (err == CW_OK)
        err = ledger_together(bank->ledger, make_updates, &job, why);
    EVP_PKEY_free(job.key);
    if (err == CW_OK)
        *out = job.made;
    return err;
}
