/* verify.c - each part of a receipt is held against the others, and at last against the root. What
 * is not written into the journal's hashes is under the bank's signature, or would make another
 * file (receipt_read): no byte can be changed. */
#include "receipt/verify.h"

#include "receipt/cert.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdlib.h>
#include <string.h>

/* All of the bytes are one certificate; NULL otherwise. */
static X509 *parse(const uint8_t *der, size_t len)
{
    const unsigned char *at = der;
    X509 *cert = d2i_X509(NULL, &at, (long)len);
    if (cert != NULL && at != der + len) {
        X509_free(cert);
        cert = NULL;
    }
    ERR_clear_error();
    return cert;
}

/* ---- the parts ---- */

static enum cw_err wrong(struct say *why, const char *what)
{
    return say_fail(why, CW_ERR_CRYPTO, "%s: this receipt proves nothing", what);
}

/* What no hash of the journal covers is held to be the one certificate that it can be. */
static enum cw_err check_issuer(const struct receipt *r, X509 *issuer, X509 *root, struct say *why)
{
    if (r->issuer_len > 0 && (issuer == NULL || !cert_is_low(issuer, X509_get0_pubkey(root))))
        return wrong(why, "the certificate of the CA that issues cards is not by this root");
    return CW_OK;
}

static enum cw_err check_card(const struct receipt *r, X509 *cert, X509 *issuer, X509 *root,
                              struct receipt_facts *f, struct say *why)
{
    char serial[2 * ORDER_SERIAL_LEN + 1] = "";
    struct buf_writer w;
    if (order_text_parse(r->text, r->text_len, &f->order, &f->seal) != CW_OK)
        return wrong(why, "what the card signed is no payment order");
    buf_writer_init(&w, (uint8_t *)serial, sizeof serial - 1);
    buf_put_hex(&w, f->seal.serial, sizeof f->seal.serial);
    if (cert == NULL || !cert_is_by(cert, issuer, root, r->proof.time))
        return wrong(why, "the card's certificate is not by this root, or was not valid when the "
                          "order was booked");
    if (!cert_is_order(cert, serial))
        return wrong(why, "the certificate is not one for orders of the card that the order names");
    if (!signature_good(X509_get0_pubkey(cert), r->text, r->text_len, r->signature,
                        r->signature_len))
        return wrong(why, "the card did not sign this order");
    return CW_OK;
}

static enum cw_err check_head(const struct receipt_proof *p, X509 *cert, X509 *root,
                              const struct head *h, struct say *why)
{
    uint8_t hash[DIGEST_LEN];
    struct digest d = {NULL, false};
    digest_begin(&d);
    digest_put(&d, p->certificate, p->certificate_len);
    digest_end(&d, hash);
    enum cw_err err = digest_free(&d, why);
    if (err != CW_OK)
        return err;
    if (cert == NULL || memcmp(hash, h->certificate, sizeof hash) != 0 ||
        !cert_is_by(cert, NULL, root, h->time))
        return wrong(why, "the certificate of the bank's journal is not by this root, or not the "
                          "one that the head names, or was not valid when it was signed");
    if (!cert_is_journal(cert, h->bank))
        return wrong(why, "the certificate is not one for the journal of the bank that the head "
                          "names");
    if (!signature_good_low(X509_get0_pubkey(cert), p->head, p->head_len, p->signature,
                            p->signature_len))
        return wrong(why, "the bank did not sign this head of its journal");
    return CW_OK;
}

/* What the receipt shows makes the entry's hash, and leads to the head's. */
static enum cw_err check_way(const struct receipt *r, const struct receipt_facts *f,
                             struct say *why)
{
    const struct receipt_proof *p = &r->proof;
    uint8_t request[DIGEST_LEN], certificate[DIGEST_LEN], order[DIGEST_LEN], hash[DIGEST_LEN];
    const struct entry_order o = {.id = f->order.id,
                                  .request = request,
                                  .card = f->seal.serial,
                                  .certificate = certificate,
                                  .counter = f->seal.counter,
                                  .text = r->text,
                                  .text_len = r->text_len,
                                  .signature = r->signature,
                                  .signature_len = r->signature_len};
    struct digest d = {NULL, false};
    digest_begin(&d);
    digest_put(&d, r->certificate, r->certificate_len);
    digest_end(&d, certificate);
    entry_request_hash(r->text, r->text_len, r->signature, r->signature_len, request);
    entry_order_hash(&d, &o, order);
    entry_own_hash(&d, p->id, p->time, p->booked, order, hash);
    entry_chain_hash(&d, p->before, hash, hash);
    for (size_t i = 0; i < p->entry_count; i++)
        entry_chain_hash(&d, hash, p->entries[i], hash);
    enum cw_err err = digest_free(&d, why);
    if (err != CW_OK)
        return err;
    if (p->id < 1 || f->head.entry - (int64_t)p->entry_count != p->id ||
        memcmp(hash, f->head.hash, sizeof hash) != 0)
        return wrong(why, "the order does not lead to the head that the bank signed");
    return CW_OK;
}

enum cw_err receipt_verify(const struct receipt *r, X509 *root, struct receipt_facts *out,
                           struct say *why)
{
    struct receipt_facts f;
    memset(&f, 0, sizeof f);
    f.entry = r->proof.id;
    f.time = r->proof.time;
    if (f.time < 0 || f.time > CAL_MAX ||
        head_parse(r->proof.head, r->proof.head_len, &f.head) != CW_OK)
        return wrong(why, "the head of the journal is none");
    X509 *card = parse(r->certificate, r->certificate_len);
    X509 *issuer = r->issuer_len > 0 ? parse(r->issuer, r->issuer_len) : NULL;
    X509 *journal = parse(r->proof.certificate, r->proof.certificate_len);
    enum cw_err err = check_issuer(r, issuer, root, why);
    if (err == CW_OK)
        err = check_card(r, card, issuer, root, &f, why);
    if (err == CW_OK)
        err = check_head(&r->proof, journal, root, &f.head, why);
    if (err == CW_OK)
        err = check_way(r, &f, why);
    X509_free(card);
    X509_free(issuer);
    X509_free(journal);
    if (err == CW_OK)
        *out = f;
    return err;
}

/* ---- a file ---- */

static enum cw_err read_root(const uint8_t *pem, size_t len, X509 **out, struct say *why)
{
    char none[] = ""; /* the password of what is encrypted: nobody is asked for one */
    BIO *bio = BIO_new_mem_buf(pem, (int)len);
    X509 *root = bio != NULL ? PEM_read_bio_X509(bio, NULL, NULL, none) : NULL;
    X509 *more = root != NULL ? PEM_read_bio_X509(bio, NULL, NULL, none) : NULL;
    BIO_free(bio);
    bool one = root != NULL && more == NULL;
    X509_free(more);
    ERR_clear_error();
    if (!one) {
        X509_free(root);
        return say_fail(why, CW_ERR_ARG,
                        "the root is one certificate in PEM, the bank's card-root.pem");
    }
    *out = root;
    return CW_OK;
}

enum cw_err receipt_verify_file(const uint8_t *der, size_t len, const uint8_t *pem, size_t pem_len,
                                struct receipt_facts *out, struct say *why)
{
    X509 *root = NULL;
    struct receipt *r = malloc(sizeof *r);
    if (r == NULL)
        return say_fail(why, CW_ERR_SPACE, "out of memory");
    enum cw_err err = read_root(pem, pem_len, &root, why);
    if (err == CW_OK)
        err = receipt_read(der, len, r, why);
    if (err == CW_OK)
        err = receipt_verify(r, root, out, why);
    X509_free(root);
    free(r);
    return err;
}
