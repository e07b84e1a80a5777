#include "bank/dashboard_page.h"

#include "bank/dashboard_static.h"
#include "bank/log.h"

#include <event2/http.h>
#include <stdlib.h>
#include <string.h>

/* No markup runs or loads anything but what this server has, and nobody may frame it. */
const struct dashboard_header dashboard_headers[] = {
    {"Content-Security-Policy",
     "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
     "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"},
    {"X-Content-Type-Options", "nosniff"},
    {"Referrer-Policy", "no-referrer"},
    {"Cross-Origin-Opener-Policy", "same-origin"},
    {"Cross-Origin-Resource-Policy", "same-origin"},
    {NULL, NULL},
};

enum cw_err dashboard_new(struct bank *bank, struct dashboard **out, struct say *why)
{
    enum cw_err err = ledger_read_only(bank->ledger, why);
    if (err != CW_OK)
        return err;
    struct dashboard *d = calloc(1, sizeof *d);
    if (d == NULL)
        return say_fail(why, CW_ERR_SPACE, "out of memory");
    d->bank = bank;
    *out = d;
    return CW_OK;
}

void dashboard_free(struct dashboard **dashboard)
{
    if (*dashboard != NULL)
        keycache_clear(&(*dashboard)->keys);
    free(*dashboard);
    *dashboard = NULL;
}

/* '*' stands for one segment. */
static const struct route {
    const char *path;
    enum cw_err (*show)(struct page *p, struct say *why);
} routes[] = {
    {"/", show_overview},
    {"/payments", show_payments},
    {"/payments/new", show_payments_new},
    {"/payments/*", show_payment},
    {"/entries/*", show_entry},
    {"/accounts", show_accounts},
    {"/accounts/*", show_account},
    {"/cards", show_cards},
    {"/cards/*", show_card},
    {"/customers", show_customers},
    {"/customers/*", show_customer},
};

static enum cw_err reply_file(const struct dashboard_file *f, struct api_reply *reply)
{
    uint8_t *copy = malloc(f->len);
    if (copy == NULL)
        return CW_ERR_SPACE;
    memcpy(copy, f->data, f->len);
    reply->status = 200;
    reply->type = f->type;
    reply->body = copy;
    reply->body_len = f->len;
    return CW_OK;
}

static void show_problem(struct page *p, int status, const char *title, const char *sentence)
{
    html_clear(&p->h);
    p->status = status;
    page_begin(p, title, "");
    html_put(&p->h, "<p>%</p>", sentence);
    page_end(p);
}

/* The sentence of a failed ledger names files: it goes to the log. */
static void show_failure(struct page *p, enum cw_err err, const struct say *why)
{
    if (err == CW_ERR_NOT_FOUND)
        show_problem(p, 404, "Not found", why->text);
    else if (err == CW_ERR_ARG)
        show_problem(p, 400, "Not understood", why->text);
    else {
        log_event(LOG_ERROR, "dashboard", log_text("why", why->text));
        show_problem(p, 503, "The books cannot be read now",
                     "What failed is in the dashboard's log. Try again later.");
    }
}

static void show(struct page *p, const struct route *r, const char *query)
{
    struct say why = {""};
    enum cw_err err = evhttp_parse_query_str(query, &p->query) == 0
                          ? r->show(p, &why)
                          : say_fail(&why, CW_ERR_ARG, "The query is not well formed.");
    if (err != CW_OK)
        show_failure(p, err, &why);
    evhttp_clear_headers(&p->query);
}

enum cw_err dashboard_serve(struct dashboard *d, const char *target, struct api_reply *reply)
{
    const struct route *found = NULL;
    size_t len = strcspn(target, "?");
    struct page p = {.d = d, .l = d->bank->ledger, .status = 200};
    *reply = (struct api_reply){.route = "-"};
    for (const struct dashboard_file *f = dashboard_files; f->path != NULL; f++)
        if (strlen(f->path) == len && memcmp(f->path, target, len) == 0)
            return reply_file(f, reply);
    for (size_t i = 0; i < sizeof routes / sizeof routes[0] && found == NULL; i++)
        if (api_path_match(routes[i].path, target, len, p.segment))
            found = &routes[i];
    if (found != NULL)
        reply->route = found->path;
    if (found != NULL)
        show(&p, found, target[len] == '?' ? target + len + 1 : "");
    else
        show_problem(&p, 404, "Not found", "There is no page of that name.");
    reply->status = p.status;
    reply->type = "text/html; charset=utf-8";
    return html_take(&p.h, &reply->body, &reply->body_len);
}
