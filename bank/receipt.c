#include "bank/receipt.h"

#include "bank/ca.h"

#include <openssl/cms.h>
#include <stdlib.h>
#include <string.h>

/* The signature was made in the card over the bare text, hence no signed attributes (RFC 5652 §5.4:
 * then the content itself is what is signed). OpenSSL fills in the algorithms from the public key.
 */
static CMS_ContentInfo *assemble(const uint8_t *text, size_t text_len, const uint8_t *signature,
                                 size_t signature_len, X509 *certificate, X509 *issuer)
{
    EVP_PKEY *key = X509_get0_pubkey(certificate);
    CMS_ContentInfo *cms = CMS_sign(NULL, NULL, NULL, NULL, CMS_PARTIAL | CMS_BINARY);
    if (cms == NULL || key == NULL)
        goto bad;
    CMS_SignerInfo *signer =
        CMS_add1_signer(cms, certificate, key, EVP_sha256(),
                        CMS_PARTIAL | CMS_BINARY | CMS_NOATTR | CMS_NOSMIMECAP);
    ASN1_OCTET_STRING **content = CMS_get0_content(cms);
    if (signer == NULL || content == NULL || (issuer != NULL && CMS_add1_cert(cms, issuer) != 1))
        goto bad;
    ASN1_OCTET_STRING_free(*content);
    *content = ASN1_OCTET_STRING_new();
    if (*content == NULL || ASN1_OCTET_STRING_set(*content, text, (int)text_len) != 1 ||
        ASN1_OCTET_STRING_set(CMS_SignerInfo_get0_signature(signer), signature,
                              (int)signature_len) != 1)
        goto bad;
    return cms;
bad:
    CMS_ContentInfo_free(cms);
    return NULL;
}

enum cw_err receipt_make(const uint8_t *text, size_t text_len, const uint8_t *signature,
                         size_t signature_len, X509 *certificate, X509 *issuer, uint8_t **out,
                         size_t *len, struct say *why)
{
    unsigned char *der = NULL;
    CMS_ContentInfo *cms = assemble(text, text_len, signature, signature_len, certificate, issuer);
    int n = cms != NULL ? i2d_CMS_ContentInfo(cms, &der) : -1;
    CMS_ContentInfo_free(cms);
    if (n <= 0)
        return ca_fail(why, "cannot make the receipt");
    uint8_t *copy = malloc((size_t)n);
    if (copy != NULL)
        memcpy(copy, der, (size_t)n);
    OPENSSL_free(der);
    if (copy == NULL)
        return say_fail(why, CW_ERR_SPACE, "out of memory");
    *out = copy;
    *len = (size_t)n;
    return CW_OK;
}
