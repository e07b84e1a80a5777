#include "receipt/digest.h"

#include "base/buf.h"

void digest_begin(struct digest *d)
{
    /* The second time it knows what it computes, and does not look it up. */
    const EVP_MD *fresh = d->md == NULL ? EVP_sha256() : NULL;
    if (d->md == NULL)
        d->md = EVP_MD_CTX_new();
    if (d->md == NULL || EVP_DigestInit_ex(d->md, fresh, NULL) != 1)
        d->bad = true;
}

void digest_put(struct digest *d, const void *data, size_t len)
{
    if (d->bad || EVP_DigestUpdate(d->md, data, len) != 1)
        d->bad = true;
}

void digest_put_number(struct digest *d, int64_t v)
{
    uint8_t bytes[8];
    struct buf_writer w;
    buf_writer_init(&w, bytes, sizeof bytes);
    buf_put_u64(&w, (uint64_t)v);
    digest_put(d, bytes, sizeof bytes);
}

void digest_put_field(struct digest *d, const void *data, size_t len)
{
    digest_put_number(d, (int64_t)len);
    digest_put(d, data, len);
}

void digest_end(struct digest *d, uint8_t out[DIGEST_LEN])
{
    if (d->bad || EVP_DigestFinal_ex(d->md, out, NULL) != 1)
        d->bad = true;
}

enum cw_err digest_free(struct digest *d, struct say *why)
{
    bool bad = d->bad;
    EVP_MD_CTX_free(d->md);
    *d = (struct digest){NULL, false};
    return bad ? say_fail(why, CW_ERR_CRYPTO, "cannot compute a hash") : CW_OK;
}
