#include "bank/ocsp.h"

#include "bank/ca.h"
#include "bank/ledger_revoke.h"
#include "bank/log.h"
#include "bank/renew.h"

#include <openssl/err.h>
#include <openssl/ocsp.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct ocsp {
    struct bank *bank;
    X509 *issuer; /* of the cards that are asked for, and of the responder */
    X509 *cert;   /* the responder's */
    EVP_PKEY *key;
};

/* ---- the responder ---- */

static enum cw_err load(struct ocsp *o, struct say *why)
{
    X509 *cert = NULL;
    EVP_PKEY *key = NULL;
    time_t now = (time_t)ledger_now(o->bank->ledger);
    enum cw_err err = bank_pair_load(o->bank, BANK_FILE_OCSP, &cert, &key, why);
    if (err == CW_OK && X509_cmp_time(X509_get0_notAfter(cert), &now) < 0)
        err = say_fail(why, CW_ERR_STATE,
                       "the OCSP responder's certificate " BANK_FILE_OCSP
                       ".pem has ended; it is renewed when %s.key is there",
                       o->bank->card_issuer);
    if (err != CW_OK) {
        X509_free(cert);
        EVP_PKEY_free(key);
        return err;
    }
    X509_free(o->cert);
    EVP_PKEY_free(o->key);
    o->cert = cert;
    o->key = key;
    return CW_OK;
}

/* One that is good goes on also when it is due and cannot be renewed now. */
enum cw_err ocsp_renew(struct ocsp *o, bool *renewed, struct say *why)
{
    struct say loading = {""};
    enum cw_err err = renew_ocsp(o->bank, renewed, why);
    enum cw_err loaded = load(o, &loading);
    return err == CW_OK && loaded != CW_OK ? say_fail(why, loaded, "%s", loading.text) : err;
}

enum cw_err ocsp_new(struct bank *b, struct ocsp **out, struct say *why)
{
    bool renewed;
    struct ocsp *o = calloc(1, sizeof *o);
    if (o == NULL)
        return say_fail(why, CW_ERR_SPACE, "out of memory");
    o->bank = b;
    enum cw_err err = bank_certificate_load(b, b->card_issuer, &o->issuer, why);
    if (err == CW_OK)
        err = ocsp_renew(o, &renewed, why);
    if (err != CW_OK && o->cert != NULL) {
        log_event(LOG_ERROR, "not-renewed", log_text("why", why->text));
        err = CW_OK;
    }
    if (err != CW_OK) {
        ocsp_free(&o);
        return err;
    }
    *out = o;
    return CW_OK;
}

void ocsp_free(struct ocsp **ocsp)
{
    struct ocsp *o = *ocsp;
    if (o == NULL)
        return;
    X509_free(o->issuer);
    X509_free(o->cert);
    EVP_PKEY_free(o->key);
    free(o);
    *ocsp = NULL;
}

/* ---- one certificate ---- */

/* Is it asked about a certificate by our CA? Whoever asks chooses the hash. */
static bool is_ours(const struct ocsp *o, OCSP_CERTID *id)
{
    ASN1_OBJECT *algorithm = NULL;
    OCSP_id_get0_info(NULL, &algorithm, NULL, NULL, id);
    const EVP_MD *md = EVP_get_digestbyobj(algorithm);
    OCSP_CERTID *ours = md != NULL ? OCSP_cert_to_id(md, NULL, o->issuer) : NULL;
    bool same = ours != NULL && OCSP_id_issuer_cmp(ours, id) == 0;
    OCSP_CERTID_free(ours);
    return same;
}

/* What the books say of it. */
static enum cw_err look_up(struct ocsp *o, OCSP_CERTID *id, int *status,
                           struct ledger_revocation *r, struct say *why)
{
    ASN1_INTEGER *number = NULL;
    bool revoked = false;
    *status = V_OCSP_CERTSTATUS_UNKNOWN;
    OCSP_id_get0_info(NULL, NULL, NULL, &number, id);
    if (!is_ours(o, id) || ASN1_STRING_type(number) != V_ASN1_INTEGER ||
        ASN1_STRING_length(number) != LEDGER_NUMBER_LEN)
        return CW_OK;
    struct ledger_certificate *c = calloc(1, sizeof *c);
    if (c == NULL)
        return say_fail(why, CW_ERR_SPACE, "out of memory");
    enum cw_err err = ledger_certificate_numbered(o->bank->ledger, ASN1_STRING_get0_data(number), c,
                                                  &revoked, r, why);
    if (err == CW_OK && c->kind != LEDGER_CERT_PIV)
        *status = revoked ? V_OCSP_CERTSTATUS_REVOKED : V_OCSP_CERTSTATUS_GOOD;
    free(c);
    return err == CW_ERR_NOT_FOUND ? CW_OK : err;
}

/* Without nextUpdate: "newer information is available all of the time" (§4.2.2.1). */
static enum cw_err add_one(struct ocsp *o, OCSP_BASICRESP *response, OCSP_CERTID *id,
                           struct say *why)
{
    int status;
    struct ledger_revocation r = {.reason = LEDGER_REASON_UNSPECIFIED};
    enum cw_err err = look_up(o, id, &status, &r, why);
    if (err != CW_OK)
        return err;
    ASN1_TIME *now = ASN1_TIME_set(NULL, (time_t)ledger_now(o->bank->ledger));
    ASN1_TIME *since = ASN1_TIME_set(NULL, (time_t)r.time);
    bool said = r.reason != LEDGER_REASON_UNSPECIFIED;
    if (now == NULL || since == NULL ||
        OCSP_basic_add1_status(response, id, status,
                               said ? (int)r.reason : OCSP_REVOKED_STATUS_NOSTATUS, since, now,
                               NULL) == NULL)
        err = ca_fail(why, "cannot make an OCSP response");
    ASN1_TIME_free(now);
    ASN1_TIME_free(since);
    return err;
}

/* ---- the response ---- */

/* The CA's certificate goes along: whoever has the root alone can check the responder's. */
static bool sign(const struct ocsp *o, OCSP_BASICRESP *response)
{
    STACK_OF(X509) *others = sk_X509_new_null();
    bool good = others != NULL && sk_X509_push(others, o->issuer) > 0 &&
                OCSP_basic_sign(response, o->cert, o->key, EVP_sha256(), others, 0) == 1;
    sk_X509_free(others);
    return good;
}

static enum cw_err make_basic(struct ocsp *o, OCSP_REQUEST *request, OCSP_BASICRESP *response,
                              struct say *why)
{
    enum cw_err err = CW_OK;
    for (int i = 0; i < OCSP_request_onereq_count(request) && err == CW_OK; i++)
        err = add_one(o, response, OCSP_onereq_get0_id(OCSP_request_onereq_get0(request, i)), why);
    if (err == CW_OK && (OCSP_copy_nonce(response, request) < 1 || !sign(o, response)))
        err = ca_fail(why, "cannot sign an OCSP response");
    return err;
}

static OCSP_RESPONSE *respond(struct ocsp *o, OCSP_REQUEST *request)
{
    struct say why = {""};
    OCSP_BASICRESP *basic = OCSP_BASICRESP_new();
    enum cw_err err = basic != NULL ? make_basic(o, request, basic, &why) : CW_ERR_SPACE;
    if (err != CW_OK)
        log_event(LOG_ERROR, "ocsp", log_text("why", why.text));
    OCSP_RESPONSE *r = err == CW_OK ? OCSP_response_create(OCSP_RESPONSE_STATUS_SUCCESSFUL, basic)
                                    : OCSP_response_create(OCSP_RESPONSE_STATUS_TRYLATER, NULL);
    OCSP_BASICRESP_free(basic);
    return r;
}

/* NULL for what is none, or more than one may ask. */
static OCSP_REQUEST *parse(const uint8_t *der, size_t len)
{
    const unsigned char *at = der;
    OCSP_REQUEST *request = len <= OCSP_REQUEST_MAX ? d2i_OCSP_REQUEST(NULL, &at, (long)len) : NULL;
    int count = request != NULL ? OCSP_request_onereq_count(request) : 0;
    if (count >= 1 && count <= OCSP_ASKED_MAX && at == der + len)
        return request;
    OCSP_REQUEST_free(request);
    return NULL;
}

enum cw_err ocsp_answer(struct ocsp *o, const uint8_t *request, size_t len, uint8_t **out,
                        size_t *out_len, int *status)
{
    OCSP_REQUEST *parsed = parse(request, len);
    OCSP_RESPONSE *response =
        parsed != NULL ? respond(o, parsed)
                       : OCSP_response_create(OCSP_RESPONSE_STATUS_MALFORMEDREQUEST, NULL);
    int n = response != NULL ? i2d_OCSP_RESPONSE(response, NULL) : 0;
    uint8_t *der = n > 0 ? malloc((size_t)n) : NULL;
    unsigned char *at = der;
    if (der != NULL && i2d_OCSP_RESPONSE(response, &at) == n) {
        *out = der;
        *out_len = (size_t)n;
        *status = OCSP_response_status(response);
    } else {
        free(der);
        der = NULL;
    }
    OCSP_REQUEST_free(parsed);
    OCSP_RESPONSE_free(response);
    ERR_clear_error();
    return der != NULL ? CW_OK : CW_ERR_SPACE;
}
