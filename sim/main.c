/* main.c - sim: the bank's core, cards, terminals and what may befall them, in one process, from a
 * seed. docs/sim.md. */
#include "engine.h"
#include "world.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct asked {
    uint64_t seed, steps;
    bool json;
    enum engine_mutant mutant;
};

static int usage(void)
{
    fputs("usage: sim [--seed N] [--steps N] [--mutant NAME] [--json]\nmutants:", stderr);
    for (int i = 0; i < MUTANTS; i++)
        fprintf(stderr, " %s", engine_mutant_name((enum engine_mutant)i));
    fputs("\n", stderr);
    return 2;
}

static bool number(const char *text, uint64_t *out)
{
    char *end;
    *out = strtoull(text, &end, 10);
    return text[0] >= '0' && text[0] <= '9' && *end == '\0';
}

static bool parse(int argc, char **argv, struct asked *a)
{
    static const struct option options[] = {
        {"seed", required_argument, NULL, 's'},
        {"steps", required_argument, NULL, 'n'},
        {"mutant", required_argument, NULL, 'm'},
        {"json", no_argument, NULL, 'j'},
        {0},
    };
    *a = (struct asked){.seed = 1, .steps = 3000};
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        bool good = c == 's'   ? number(optarg, &a->seed)
                    : c == 'n' ? number(optarg, &a->steps)
                    : c == 'm' ? (a->mutant = engine_mutant_find(optarg)) != MUTANTS
                               : c == 'j';
        a->json |= c == 'j';
        if (!good)
            return false;
    }
    return optind == argc;
}

static void print(const struct asked *a, const struct world *w, const char *digest)
{
    const struct world_counts *c = &w->counts;
    const struct {
        const char *name;
        uint64_t number;
    } rows[] = {{"seed", a->seed},       {"steps", w->step},      {"orders", c->orders},
                {"sent", c->sent},       {"booked", c->booked},   {"repeated", c->repeated},
                {"refused", c->refused}, {"unknown", c->unknown}, {"store", c->store},
                {"lost", c->lost},       {"faults", c->faults},   {"deaths", c->deaths},
                {"audits", c->audits}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        printf(a->json ? "%s\"%s\":%" PRIu64 : "%s%s %" PRIu64,
               i > 0 ? (a->json ? "," : ", ") : (a->json ? "{" : ""), rows[i].name, rows[i].number);
    printf(a->json ? ",\"digest\":\"%s\",\"good\":%s}\n" : ", digest %s: %s\n", digest,
           a->json ? (w->broken ? "false" : "true") : (w->broken ? "WRONG" : "good"));
}

/* What to do it again with, and what came before. */
static void tell(const struct asked *a, const struct world *w, FILE *out)
{
    uint64_t first = w->lines > WORLD_LAST ? w->lines - WORLD_LAST : 0;
    for (uint64_t i = first; i < w->lines; i++)
        fprintf(out, "  %s\n", w->last[i % WORLD_LAST]);
    fprintf(out, "sim: step %" PRIu64 ": %s\n", w->step, w->wrong.text);
    fprintf(out, "sim: again with --seed %" PRIu64 " --steps %" PRIu64 " --mutant %s\n", a->seed,
            a->steps, engine_mutant_name(a->mutant));
}

static int simulate(const struct asked *a, struct world *w, FILE *out)
{
    uint8_t hash[32];
    char digest[2 * sizeof hash + 1];
    engine.mutant = a->mutant;
    while (w->step < a->steps && !w->broken)
        world_step(w);
    if (!w->broken)
        world_finish(w);
    (void)EVP_DigestFinal_ex(w->digest, hash, NULL);
    for (size_t i = 0; i < sizeof hash; i++)
        snprintf(digest + 2 * i, 3, "%02x", hash[i]);
    if (w->broken)
        tell(a, w, out);
    print(a, w, digest);
    return w->broken;
}

int main(int argc, char **argv)
{
    struct asked a;
    struct say why;
    if (!parse(argc, argv, &a))
        return usage();
    struct world *w = calloc(1, sizeof *w);
    if (w == NULL)
        return 2;
    /* The bank logs every fault, and there are thousands. */
    FILE *out = fdopen(dup(STDERR_FILENO), "w");
    if (out == NULL || freopen("/dev/null", "w", stderr) == NULL)
        return 2;
    int status = 2;
    if (world_make(w, a.seed, &why) == CW_OK)
        status = simulate(&a, w, out);
    else
        fprintf(out, "sim: %s\n", why.text);
    world_free(w);
    free(w);
    fclose(out);
    return status;
}
