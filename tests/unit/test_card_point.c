/* test_card_point.c - a server with a good certificate whose key share is written in a form that
 * TLS does not know. It signs what it sent, so that nothing else about its handshake is wrong. */
#include "unit.h"

#include "card_lab.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <string.h>

static uint8_t form; /* first byte of the server's point; 4 is what TLS demands */

/* In place of OpenSSL's own: libssl writes a key share with it, in TLS 1.2 and 1.3. */
size_t EVP_PKEY_get1_encoded_public_key(EVP_PKEY *pkey, unsigned char **ppub)
{
    size_t len = 0;
    uint8_t *point = OPENSSL_malloc(65);
    assert_non_null(point);
    assert_true(
        EVP_PKEY_get_octet_string_param(pkey, OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY, point, 65, &len));
    assert_int_equal(len, 65);
    point[0] = form;
    *ppub = point;
    return len;
}

static void test_point_form(void **state)
{
    static const enum link_profile profiles[] = {LINK_PROFILE_TLS13, LINK_PROFILE_ECDHE};
    static const uint8_t forms[] = {4, 0, 2, 5, 6, 7, 0xFF}; /* SEC 1 §2.3.3; X9.62 has 6 and 7 */
    struct lab lab;
    (void)state;
    struct lab_identity root = lab_ca_new("R");
    struct lab_identity card_ca = lab_ca_new("C");
    struct lab_identity server = lab_server_new(&root, &(struct lab_server_spec){0});
    SSL_CTX *ctx = lab_server_context(&server, &card_ca);
    lab_init(&lab);
    lab_personalise(&lab, 1 << (LINK_KEY_TLS_P256 - 1) | 1 << (LINK_KEY_ORDER_P256 - 1), &card_ca,
                    &root, 7);
    for (size_t p = 0; p < sizeof profiles / sizeof *profiles; p++)
        for (size_t i = 0; i < sizeof forms; i++) {
            struct lab_line line = {0};
            form = forms[i];
            lab_line_open(&lab, ctx, profiles[p], LINK_KEY_AUTO, &line);
            assert_int_equal(lab_reason(&lab), form == 4 ? LINK_REASON_NONE : LINK_REASON_PROTOCOL);
            assert_int_equal(SSL_is_init_finished(line.ssl), form == 4);
            assert_int_equal((line.state & LINK_STATE_OPEN) != 0, form == 4);
            lab_line_free(&line);
        }
    lab_free(&lab);
    SSL_CTX_free(ctx);
    lab_identity_free(&server);
    lab_identity_free(&card_ca);
    lab_identity_free(&root);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_point_form)};
    return unit_main(argc, argv, tests, sizeof tests / sizeof *tests);
}
