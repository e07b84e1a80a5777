/* mbedtls_config.h - what of mbedTLS 3.6 the card takes: a TLS client with certificates, in three
 * profiles, on P-256, RSA-2048, AES-GCM and SHA-2, with keys that stay in PSA's store.
 * scripts/mbedtls builds the library with this file, for the PC and for the chip alike. */
#ifndef CARDWIRE_MBEDTLS_CONFIG_H
#define CARDWIRE_MBEDTLS_CONFIG_H

#define MBEDTLS_CONFIG_VERSION 0x03000000

/* Platform: no operating system, no clock, a fixed pool for a heap. */
#define MBEDTLS_PLATFORM_C
#define MBEDTLS_PLATFORM_MEMORY
#define MBEDTLS_MEMORY_BUFFER_ALLOC_C
#define MBEDTLS_MEMORY_ALIGN_MULTIPLE 8
#define MBEDTLS_MEMORY_DEBUG          /* peak use of the pool, for INFO */
#define MBEDTLS_HAVE_ASM

/* PSA: keys live in the card's tear-proof memory (card/its.c), randomness comes from the port. */
#define MBEDTLS_PSA_CRYPTO_C
#define MBEDTLS_PSA_CRYPTO_STORAGE_C
#define MBEDTLS_PSA_CRYPTO_EXTERNAL_RNG
#define MBEDTLS_PSA_ASSUME_EXCLUSIVE_BUFFERS
#define MBEDTLS_PSA_KEY_SLOT_COUNT 12
#define MBEDTLS_USE_PSA_CRYPTO

/* Primitives */
#define MBEDTLS_AES_C
#define MBEDTLS_AES_ROM_TABLES
#define MBEDTLS_AES_FEWER_TABLES
#define MBEDTLS_DES_C /* PIV's administration key */
#define MBEDTLS_CIPHER_C
#define MBEDTLS_CIPHER_MODE_CBC /* SCP03 */
#define MBEDTLS_CMAC_C          /* SCP03 */
#define MBEDTLS_GCM_C
#define MBEDTLS_MD_C
#define MBEDTLS_SHA256_C
#define MBEDTLS_SHA384_C
#define MBEDTLS_SHA512_C /* roots and chains of foreign servers sign with it */
#define MBEDTLS_HKDF_C
#define MBEDTLS_BIGNUM_C
#define MBEDTLS_MPI_MAX_SIZE    512 /* RSA-4096 of a foreign root; our own keys are 256 */
#define MBEDTLS_MPI_WINDOW_SIZE 2
#define MBEDTLS_ECP_C
#define MBEDTLS_ECP_DP_SECP256R1_ENABLED
#define MBEDTLS_ECP_NIST_OPTIM
#define MBEDTLS_ECP_WINDOW_SIZE       3
#define MBEDTLS_ECP_FIXED_POINT_OPTIM 0
#define MBEDTLS_ECDH_C
#define MBEDTLS_ECDSA_C
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
#define MBEDTLS_PK_WRITE_C

/* X.509: read chains, write certification requests. */
#define MBEDTLS_X509_USE_C
#define MBEDTLS_X509_CRT_PARSE_C
#define MBEDTLS_X509_CREATE_C
#define MBEDTLS_X509_CSR_WRITE_C
#define MBEDTLS_X509_MAX_INTERMEDIATE_CA 3

/* TLS: client only. */
#define MBEDTLS_SSL_TLS_C
#define MBEDTLS_SSL_CLI_C
#define MBEDTLS_SSL_PROTO_TLS1_2
#define MBEDTLS_SSL_PROTO_TLS1_3
#define MBEDTLS_SSL_TLS1_3_KEY_EXCHANGE_MODE_EPHEMERAL_ENABLED
#define MBEDTLS_SSL_TLS1_3_KEY_EXCHANGE_MODE_PSK_EPHEMERAL_ENABLED
#define MBEDTLS_KEY_EXCHANGE_RSA_ENABLED         /* profile rsa, CN102768744A [0049]-[0063] */
#define MBEDTLS_KEY_EXCHANGE_ECDHE_ECDSA_ENABLED /* profile ecdhe */
#define MBEDTLS_SSL_EXTENDED_MASTER_SECRET       /* RFC 7627: orders are bound to the line */
#define MBEDTLS_SSL_KEYING_MATERIAL_EXPORT       /* RFC 5705: with what they are bound */
#define MBEDTLS_SSL_KEEP_PEER_CERTIFICATE        /* mbedTLS needs it for TLS 1.3 */
#define MBEDTLS_SSL_SERVER_NAME_INDICATION
#define MBEDTLS_SSL_SESSION_TICKETS
#define MBEDTLS_SSL_ALPN
#define MBEDTLS_SSL_IN_CONTENT_LEN  4096
#define MBEDTLS_SSL_OUT_CONTENT_LEN 2048
#define MBEDTLS_SSL_CIPHERSUITES                                                                   \
    MBEDTLS_TLS1_3_AES_128_GCM_SHA256, MBEDTLS_TLS1_3_AES_256_GCM_SHA384,                          \
        MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,                                           \
        MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, MBEDTLS_TLS_RSA_WITH_AES_128_GCM_SHA256,  \
        MBEDTLS_TLS_RSA_WITH_AES_256_GCM_SHA384

#endif
