/* mbedtls_config.h - what of mbedTLS 3.6 the card takes: a TLS client with certificates, in three
 * profiles, on P-256, RSA-2048, AES-GCM and SHA-2, with keys that stay in PSA's store.
 * scripts/mbedtls builds the library with this file, for the PC and for the chip alike.
 *
 * What PSA offers is named here as PSA_WANT_*, and mbedTLS takes what code that needs. P-256 is the
 * exception: p256-m does it (docs/dependencies.md), and mbedTLS's own curves stay out. */
#ifndef CARDWIRE_MBEDTLS_CONFIG_H
#define CARDWIRE_MBEDTLS_CONFIG_H

#define MBEDTLS_CONFIG_VERSION 0x03000000

/* Platform: no operating system, no clock, a fixed pool for a heap. */
#define MBEDTLS_PLATFORM_C
#define MBEDTLS_PLATFORM_MEMORY
#define MBEDTLS_MEMORY_BUFFER_ALLOC_C
#define MBEDTLS_MEMORY_ALIGN_MULTIPLE 8
/* card/pool.c, which says when a request did not fit. */
#include <stddef.h>
void *pool_calloc(size_t count, size_t size);
void pool_free(void *p);
int mbedtls_platform_set_calloc_free(void *(*calloc_func)(size_t, size_t),
                                     void (*free_func)(void *));
#define MBEDTLS_PLATFORM_CALLOC_MACRO pool_calloc
#define MBEDTLS_PLATFORM_FREE_MACRO   pool_free
#if !defined(__arm__)
#define MBEDTLS_MEMORY_DEBUG /* for tests: what of the pool is in use; it pulls in printf */
#else
#define MBEDTLS_PLATFORM_NO_STD_FUNCTIONS
#endif
#define MBEDTLS_PLATFORM_EXIT_MACRO(code) __builtin_trap() /* a pool that is damaged */
#define MBEDTLS_HAVE_ASM

/* PSA: keys live in the card's tear-proof memory (card/its.c), randomness comes from the port. */
#define MBEDTLS_PSA_CRYPTO_C
#define MBEDTLS_PSA_CRYPTO_STORAGE_C
#define MBEDTLS_PSA_CRYPTO_EXTERNAL_RNG
#define MBEDTLS_PSA_ASSUME_EXCLUSIVE_BUFFERS
#define MBEDTLS_PSA_KEY_SLOT_COUNT 12
#define MBEDTLS_USE_PSA_CRYPTO

/* One file for both lists: this one again, which its guard makes empty. */
#define MBEDTLS_PSA_CRYPTO_CONFIG
#define MBEDTLS_PSA_CRYPTO_CONFIG_FILE MBEDTLS_CONFIG_FILE

/* Primitives, as PSA names them */
#define PSA_WANT_KEY_TYPE_RAW_DATA 1
#define PSA_WANT_KEY_TYPE_DERIVE   1
#define PSA_WANT_KEY_TYPE_HMAC     1
#define PSA_WANT_ALG_SHA_256       1
#define PSA_WANT_ALG_SHA_384       1
#define PSA_WANT_ALG_SHA_512       1 /* roots and chains of foreign servers sign with it */
#define PSA_WANT_ALG_HMAC          1
#define PSA_WANT_ALG_HKDF_EXTRACT  1
#define PSA_WANT_ALG_HKDF_EXPAND   1
#define PSA_WANT_ALG_TLS12_PRF     1
#define PSA_WANT_KEY_TYPE_AES      1
#define PSA_WANT_ALG_GCM           1

/* P-256: branches and addresses of p256-m do not depend on secrets (docs/constant-time.md). Neither
 * deterministic ECDSA nor another curve may be wanted here: each brings mbedTLS's own curves back.
 */
#define MBEDTLS_PSA_P256M_DRIVER_ENABLED
#if defined(__x86_64__) || defined(__aarch64__)
#define MUL64_IS_CONSTANT_TIME /* true of these; on a Cortex-M p256-m has its own assembly */
#endif
#define PSA_WANT_ECC_SECP_R1_256                1
#define PSA_WANT_KEY_TYPE_ECC_PUBLIC_KEY        1
#define PSA_WANT_KEY_TYPE_ECC_KEY_PAIR_BASIC    1
#define PSA_WANT_KEY_TYPE_ECC_KEY_PAIR_GENERATE 1
#define PSA_WANT_ALG_ECDH                       1
#define PSA_WANT_ALG_ECDSA                      1

#define PSA_WANT_KEY_TYPE_RSA_PUBLIC_KEY        1
#define PSA_WANT_KEY_TYPE_RSA_KEY_PAIR_BASIC    1
#define PSA_WANT_KEY_TYPE_RSA_KEY_PAIR_GENERATE 1
#define PSA_WANT_ALG_RSA_PKCS1V15_CRYPT         1 /* profile rsa: the premaster secret */
#define PSA_WANT_ALG_RSA_PKCS1V15_SIGN          1
#define PSA_WANT_ALG_RSA_PSS                    1

/* The same, where mbedTLS's own modules ask by their own names, and how they are built */
#define MBEDTLS_AES_C
#define MBEDTLS_AES_ROM_TABLES
#define MBEDTLS_AES_FEWER_TABLES
#define MBEDTLS_DES_C /* the administration key 9B of PIV; not for TLS */
#define MBEDTLS_GCM_C
#define MBEDTLS_MD_C
#define MBEDTLS_SHA256_C
#define MBEDTLS_SHA256_SMALLER
#define MBEDTLS_SHA384_C
#define MBEDTLS_SHA512_C
#define MBEDTLS_SHA512_SMALLER
#define MBEDTLS_BIGNUM_C
#define MBEDTLS_MPI_MAX_SIZE    512 /* RSA-4096 of a foreign root; our own keys are 256 */
#define MBEDTLS_MPI_WINDOW_SIZE 2
#define MBEDTLS_RSA_C
#define MBEDTLS_PKCS1_V15
#define MBEDTLS_PKCS1_V21
#define MBEDTLS_X509_RSASSA_PSS_SUPPORT /* mbedTLS verifies RSA servers in TLS 1.3 with it */
#define MBEDTLS_GENPRIME
#define MBEDTLS_OID_C
#define MBEDTLS_ASN1_PARSE_C
#define MBEDTLS_ASN1_WRITE_C
#define MBEDTLS_PK_C
#define MBEDTLS_PK_PARSE_C

/* X.509: read chains. */
#define MBEDTLS_X509_USE_C
#define MBEDTLS_X509_CRT_PARSE_C
#define MBEDTLS_X509_REMOVE_INFO
#define MBEDTLS_X509_TRUSTED_CERTIFICATE_CALLBACK /* a root is in the pool while it is needed */
#define MBEDTLS_X509_MAX_INTERMEDIATE_CA          3

/* TLS: client only. */
#define MBEDTLS_SSL_TLS_C
#define MBEDTLS_SSL_CLI_C
#define MBEDTLS_SSL_PROTO_TLS1_2
#define MBEDTLS_SSL_PROTO_TLS1_3
#define MBEDTLS_SSL_TLS1_3_KEY_EXCHANGE_MODE_EPHEMERAL_ENABLED
#define MBEDTLS_SSL_TLS1_3_KEY_EXCHANGE_MODE_PSK_EPHEMERAL_ENABLED
#define MBEDTLS_KEY_EXCHANGE_RSA_ENABLED         /* profile rsa, CN102768744A [0049]-[0063] */
#define MBEDTLS_KEY_EXCHANGE_ECDHE_ECDSA_ENABLED /* profile ecdhe */
/* Names P-256 in a ClientHello of TLS 1.2. mbedTLS 3.6 derives it from ECDH_C and ECDSA_C, and so
 * forgets it where the curve comes from a driver. */
#define MBEDTLS_SSL_TLS1_2_SOME_ECC
#define MBEDTLS_SSL_EXTENDED_MASTER_SECRET /* RFC 7627: orders are bound to the line */
#define MBEDTLS_SSL_KEYING_MATERIAL_EXPORT /* RFC 5705: with what they are bound */
#define MBEDTLS_SSL_KEEP_PEER_CERTIFICATE  /* mbedTLS needs it for TLS 1.3 */
#define MBEDTLS_SSL_SERVER_NAME_INDICATION
#define MBEDTLS_SSL_SESSION_TICKETS
#define MBEDTLS_SSL_ALPN
#define MBEDTLS_SSL_IN_CONTENT_LEN  4096
#define MBEDTLS_SSL_OUT_CONTENT_LEN 1024 /* a certificate in its message; LINK_WRITE_MAX */
#define MBEDTLS_SSL_CIPHERSUITES                                                                   \
    MBEDTLS_TLS1_3_AES_128_GCM_SHA256, MBEDTLS_TLS1_3_AES_256_GCM_SHA384,                          \
        MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,                                           \
        MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, MBEDTLS_TLS_RSA_WITH_AES_128_GCM_SHA256,  \
        MBEDTLS_TLS_RSA_WITH_AES_256_GCM_SHA384

#endif
