#include "bank/token.h"

#include "bank/bank.h"
#include "bank/ca.h"
#include "host/file.h"

#include <libp11.h>
#include <openssl/err.h>
#include <p11-kit/uri.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PIN_MAX 256u /* bytes of a file with a PIN */

/* A driver that is loaded. PKCS#11 starts and ends one for the whole process (C_Initialize), not
 * for whoever uses it: so they are kept here, and each key that is out counts. */
struct module {
    struct module *next;
    char *path;
    PKCS11_CTX *ctx;
    PKCS11_SLOT *slots;
    unsigned slot_count, keys;
};

static struct {
    pthread_mutex_t lock;
    struct module *first;
    int index; /* of a key's module in its ex_data, -1: not asked for yet */
} loaded = {.lock = PTHREAD_MUTEX_INITIALIZER, .index = -1};

bool token_uri_is(const char *text)
{
    return strncmp(text, "pkcs11:", 7) == 0;
}

/* ---- drivers ---- */

static void module_free(struct module *m)
{
    if (m->slots != NULL)
        PKCS11_release_all_slots(m->ctx, m->slots, m->slot_count);
    if (m->ctx != NULL) {
        PKCS11_CTX_unload(m->ctx);
        PKCS11_CTX_free(m->ctx);
    }
    free(m->path);
    free(m);
}

/* Lets go of drivers of which no key is out. */
static void sweep(void)
{
    for (struct module **at = &loaded.first; *at != NULL;) {
        struct module *m = *at;
        if (m->keys > 0) {
            at = &m->next;
            continue;
        }
        *at = m->next;
        module_free(m);
    }
}

/* OpenSSL calls it for every key that is freed, when its secret half is gone. */
static void key_freed(void *parent, void *ptr, CRYPTO_EX_DATA *ad, int idx, long argl, void *argp)
{
    struct module *m = ptr;
    (void)parent, (void)ad, (void)idx, (void)argl, (void)argp;
    if (m == NULL)
        return;
    pthread_mutex_lock(&loaded.lock);
    m->keys--;
    sweep();
    pthread_mutex_unlock(&loaded.lock);
}

static enum cw_err module_load(const char *path, struct module **out, struct say *why)
{
    for (struct module *m = loaded.first; m != NULL; m = m->next)
        if (strcmp(m->path, path) == 0) {
            *out = m;
            return CW_OK;
        }
    struct module *m = calloc(1, sizeof *m);
    if (m == NULL || (m->path = strdup(path)) == NULL || (m->ctx = PKCS11_CTX_new()) == NULL) {
        if (m != NULL)
            module_free(m);
        return say_fail(why, CW_ERR_SPACE, "out of memory");
    }
    if (PKCS11_CTX_load(m->ctx, path) != 0) {
        PKCS11_CTX_free(m->ctx);
        m->ctx = NULL;
        module_free(m);
        ERR_clear_error();
        return say_fail(why, CW_ERR_NOT_FOUND,
                        "the PKCS#11 driver %s cannot be loaded; is it installed, and is it named "
                        "rightly by module-path= ?",
                        path);
    }
    m->next = loaded.first;
    loaded.first = m;
    *out = m;
    return CW_OK;
}

/* ---- the token ---- */

/* What is looked for. */
struct wanted {
    P11KitUri *uri;
    char shown[200]; /* its part before the '?': behind it may be a PIN */
};

static void put_padded(unsigned char *field, size_t len, const char *text)
{
    memset(field, ' ', len);
    memcpy(field, text, strnlen(text, len));
}

static bool token_fits(const struct wanted *w, const PKCS11_TOKEN *t)
{
    CK_TOKEN_INFO info = {.flags = 0};
    put_padded(info.label, sizeof info.label, t->label);
    put_padded(info.manufacturerID, sizeof info.manufacturerID, t->manufacturer);
    put_padded(info.model, sizeof info.model, t->model);
    put_padded(info.serialNumber, sizeof info.serialNumber, t->serialnr);
    return t->initialized && p11_kit_uri_match_token_info(w->uri, &info) == 1;
}

static enum cw_err find_token(struct module *m, const struct wanted *w, PKCS11_SLOT **out,
                              struct say *why)
{
    PKCS11_SLOT *found = NULL;
    /* Once: libp11 falls over when it looks again while keys are out (0.4.12). Who plugs in another
     * token is not noticed until all keys of this driver are back. */
    if (m->slots == NULL && PKCS11_enumerate_slots(m->ctx, &m->slots, &m->slot_count) != 0)
        return ca_fail(why, "cannot look for tokens");
    for (unsigned i = 0; i < m->slot_count; i++) {
        PKCS11_TOKEN *t = m->slots[i].token;
        if (t == NULL || !token_fits(w, t))
            continue;
        if (found != NULL)
            return say_fail(why, CW_ERR_ARG,
                            "several tokens fit %s; name one by token= or serial=", w->shown);
        found = &m->slots[i];
    }
    if (found == NULL)
        return say_fail(why, CW_ERR_NOT_FOUND,
                        "there is no token as %s names it; is it plugged in?", w->shown);
    *out = found;
    return CW_OK;
}

/* The first line of the file. */
static enum cw_err read_pin(const char *source, char out[PIN_MAX + 1], struct say *why)
{
    uint8_t *data = NULL;
    size_t len = 0;
    const char *path = strncmp(source, "file:", 5) == 0 ? source + 5 : source;
    enum cw_err err = file_read(path, PIN_MAX, &data, &len, why);
    if (err == CW_OK)
        err = bank_file_private(path, why);
    if (err == CW_OK) {
        size_t n = strcspn((const char *)data, "\r\n");
        memcpy(out, data, n);
        out[n] = '\0';
    }
    if (data != NULL)
        OPENSSL_cleanse(data, len);
    free(data);
    return err;
}

/* No try is risked that could be the last: tokens lock themselves for good. */
static enum cw_err log_in(PKCS11_SLOT *slot, const char *pin, struct say *why)
{
    const PKCS11_TOKEN *t = slot->token;
    int in = 0;
    if (PKCS11_is_logged_in(slot, 0, &in) == 0 && in == 1)
        return CW_OK;
    if (t->userPinLocked)
        return say_fail(why, CW_ERR_DENIED,
                        "the token '%s' has locked its PIN; its administrator must set a new one",
                        t->label);
    if (t->userPinFinalTry)
        return say_fail(
            why, CW_ERR_DENIED,
            "the token '%s' has one try of its PIN left, which is not risked: log in to "
            "it once by its own tools",
            t->label);
    if (PKCS11_login(slot, 0, pin) == 0)
        return CW_OK;
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());
    say_fail(why, CW_ERR_DENIED, "the token '%s' does not take the PIN (%s)", t->label,
             reason != NULL ? reason : "no reason");
    ERR_clear_error();
    return CW_ERR_DENIED;
}

static enum cw_err open_token(PKCS11_SLOT *slot, const struct wanted *w, struct say *why)
{
    char pin[PIN_MAX + 1] = "";
    enum cw_err err = CW_OK;
    const char *value = p11_kit_uri_get_pin_value(w->uri);
    const char *source = p11_kit_uri_get_pin_source(w->uri);
    if (PKCS11_open_session(slot, 0) != 0)
        return ca_fail(why, "cannot open a session with the token");
    if (!slot->token->loginRequired)
        return CW_OK;
    if (value == NULL && source == NULL)
        return say_fail(why, CW_ERR_DENIED,
                        "the token '%s' wants its PIN: name a file with it, pin-source=file:FILE",
                        slot->token->label);
    if (value != NULL && strlen(value) > PIN_MAX)
        return say_fail(why, CW_ERR_LENGTH, "a PIN has at most %u bytes", PIN_MAX);
    if (value == NULL)
        err = read_pin(source, pin, why);
    if (err == CW_OK)
        err = log_in(slot, value != NULL ? value : pin, why);
    OPENSSL_cleanse(pin, sizeof pin);
    return err;
}

/* ---- the key ---- */

static bool attribute_fits(const struct wanted *w, CK_ATTRIBUTE_TYPE type, const void *value,
                           size_t len)
{
    const CK_ATTRIBUTE *a = p11_kit_uri_get_attribute(w->uri, type);
    return a == NULL || (a->ulValueLen == len && memcmp(a->pValue, value, len) == 0);
}

static enum cw_err find_key(const PKCS11_SLOT *slot, const struct wanted *w, EVP_PKEY **out,
                            struct say *why)
{
    PKCS11_KEY *keys = NULL, *found = NULL;
    unsigned count = 0;
    if (PKCS11_enumerate_keys(slot->token, &keys, &count) != 0)
        return ca_fail(why, "cannot look for keys in the token");
    for (unsigned i = 0; i < count; i++) {
        const char *label = keys[i].label != NULL ? keys[i].label : "";
        if (!attribute_fits(w, CKA_LABEL, label, strlen(label)) ||
            !attribute_fits(w, CKA_ID, keys[i].id, keys[i].id_len))
            continue;
        if (found != NULL)
            return say_fail(why, CW_ERR_ARG,
                            "several keys in the token '%s' fit %s; name one by object= or id=",
                            slot->token->label, w->shown);
        found = &keys[i];
    }
    if (found == NULL)
        return say_fail(why, CW_ERR_NOT_FOUND,
                        "the token '%s' holds no private key as %s names it; 'pkcs11-tool "
                        "--list-objects' lists what it holds",
                        slot->token->label, w->shown);
    EVP_PKEY *key = PKCS11_get_private_key(found);
    if (key == NULL)
        return ca_fail(why, "cannot use the key in the token (is its public half there as well?)");
    *out = key;
    return CW_OK;
}

static enum cw_err get_key(struct module *m, const struct wanted *w, EVP_PKEY **out,
                           struct say *why)
{
    PKCS11_SLOT *slot = NULL;
    EVP_PKEY *key = NULL;
    enum cw_err err = find_token(m, w, &slot, why);
    if (err == CW_OK)
        err = open_token(slot, w, why);
    if (err == CW_OK)
        err = find_key(slot, w, &key, why);
    if (err == CW_OK && EVP_PKEY_set_ex_data(key, loaded.index, m) != 1)
        err = ca_fail(why, "cannot keep the key of the token");
    if (err != CW_OK) {
        EVP_PKEY_free(key);
        return err;
    }
    m->keys++;
    *out = key;
    return CW_OK;
}

static enum cw_err parse(const char *text, struct wanted *w, struct say *why)
{
    snprintf(w->shown, sizeof w->shown, "%.*s", (int)strcspn(text, "?"), text);
    int rc = p11_kit_uri_parse(text, P11_KIT_URI_FOR_OBJECT_ON_TOKEN_AND_MODULE, w->uri);
    if (rc != P11_KIT_URI_OK || p11_kit_uri_any_unrecognized(w->uri))
        return say_fail(why, CW_ERR_FORMAT, "%s is no URI of a key in a token: %s", w->shown,
                        rc != P11_KIT_URI_OK ? p11_kit_uri_message(rc)
                                             : "it names what is not known here");
    if (p11_kit_uri_get_attribute(w->uri, CKA_LABEL) == NULL &&
        p11_kit_uri_get_attribute(w->uri, CKA_ID) == NULL)
        return say_fail(why, CW_ERR_FORMAT, "%s names no key: add object=NAME, or id=%%01",
                        w->shown);
    if (p11_kit_uri_get_module_path(w->uri) == NULL)
        return say_fail(why, CW_ERR_FORMAT,
                        "%s names no driver of the token: add ?module-path=/usr/lib/....so",
                        w->shown);
    return CW_OK;
}

enum cw_err token_key_get(const char *uri, EVP_PKEY **out, struct say *why)
{
    struct module *m = NULL;
    struct wanted w = {.uri = p11_kit_uri_new()};
    if (w.uri == NULL)
        return say_fail(why, CW_ERR_SPACE, "out of memory");
    enum cw_err err = parse(uri, &w, why);
    pthread_mutex_lock(&loaded.lock);
    if (err == CW_OK && loaded.index < 0 &&
        (loaded.index = EVP_PKEY_get_ex_new_index(0, NULL, NULL, NULL, key_freed)) < 0)
        err = ca_fail(why, "cannot keep keys of tokens");
    if (err == CW_OK)
        err = module_load(p11_kit_uri_get_module_path(w.uri), &m, why);
    if (err == CW_OK)
        err = get_key(m, &w, out, why);
    sweep();
    pthread_mutex_unlock(&loaded.lock);
    p11_kit_uri_free(w.uri);
    return err;
}
