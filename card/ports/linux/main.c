/* main.c - cardwire-card, the virtual card: a process that plays the chip and sits in a reader of
 * the PC/SC daemon; and a look at such a card's memory. */
#include "card/ports/linux/air.h"
#include "card/ports/linux/inspect.h"
#include "card/ports/linux/port.h"
#include "card/ports/linux/serial.h"
#include "card/ports/linux/slot.h"

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

static const char help[] =
    "Usage: cardwire-card --state DIR --vpcd HOST:PORT [--contactless]\n"
    "       cardwire-card --state DIR --t1 PATH [--etu FRACTION]\n"
    "       cardwire-card --state DIR --tcl PATH [--kbit RATE]\n"
    "       cardwire-card inspect --state DIR [--json]\n"
    "\n"
    "Plays a Cardwire bank card in a reader of the PC/SC daemon, through vsmartcard's vpcd;\n"
    "or at the end of a serial line, or in a field; or, with inspect, shows what the card's memory "
    "holds, except "
    "secrets, and changes nothing.\n"
    "\n"
    "  --state DIR        folder with the card's memory; made, with a blank card, if absent (not "
    "by\n"
    "                     inspect)\n"
    "  --vpcd HOST:PORT   where vpcd listens, for example 127.0.0.1:35963\n"
    "  --t1 PATH          makes a pseudo terminal there that stands for the line: who opens it "
    "powers the\n"
    "                     card, which speaks T=1 (ISO/IEC 7816-3)\n"
    "  --etu FRACTION     the line's rate: one etu in seconds, as 1/9600; without it, no waiting\n"
    "  --tcl PATH         the same for a contactless card: who opens it switches the field on; "
    "frames of\n"
    "                     ISO/IEC 14443-4 in SLIP\n"
    "  --kbit RATE        the field's rate: 106, 212, 424 or 848; without it, no waiting\n"
    "  --contactless      the card lies on a contactless reader (ISO/IEC 14443)\n"
    "  --json             inspect for programs: one object on standard output\n"
    "  --help, --version\n"
    "\n"
    "Ends with 0 on SIGTERM and when the daemon goes away; 1 when it fails, and when the memory "
    "that\n"
    "is looked at is damaged; 2 when it is called wrongly.\n";

/* SIGTERM, SIGINT and SIGHUP as a descriptor, so that the card is always powered down in order. */
static int signals_open(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    if (sigprocmask(SIG_BLOCK, &set, NULL) != 0)
        return -1;
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

struct args {
    const char *state, *vpcd, *t1, *etu, *tcl, *kbit;
    bool contactless, json, inspect;
};

static int wrong(const char *option, const struct say *why)
{
    fprintf(stderr, "cardwire-card: %s: %s\n", option, why->text);
    return 2;
}

static int run(const struct args *a)
{
    struct say why = {""};
    struct net_address daemon;
    struct serial_etu etu = {0, 1};
    int rate = AIR_AT_ONCE;
    struct card_linux *card = NULL;
    if (a->vpcd != NULL && net_address_parse(a->vpcd, &daemon, &why) != CW_OK)
        return wrong("--vpcd", &why);
    if (a->etu != NULL && serial_etu_parse(a->etu, &etu, &why) != CW_OK)
        return wrong("--etu", &why);
    if (a->kbit != NULL && air_rate_parse(a->kbit, &rate, &why) != CW_OK)
        return wrong("--kbit", &why);
    int signals = signals_open();
    enum cw_err err =
        signals >= 0 ? CW_OK : say_fail(&why, CW_ERR_INTERNAL, "cannot receive signals");
    if (err == CW_OK)
        err = card_linux_open(a->state, a->contactless || a->tcl != NULL, &card, &why);
    if (err == CW_OK && a->vpcd != NULL)
        err = slot_serve(&daemon, card_linux_port(card), signals, &why);
    else if (err == CW_OK && a->tcl != NULL)
        err = air_serve(a->tcl, rate, card_linux_port(card), signals, &why);
    else if (err == CW_OK)
        err = serial_serve(a->t1, &etu, card_linux_port(card), signals, &why);
    fprintf(stderr, "cardwire-card: %s\n", why.text);
    card_linux_close(&card);
    if (signals >= 0)
        close(signals);
    return err == CW_OK ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* What is asked for; -1, or the exit code when that was all. */
static int parse(int argc, char **argv, struct args *out)
{
    static const struct option options[] = {
        {"state", required_argument, NULL, 's'},
        {"vpcd", required_argument, NULL, 'v'},
        {"t1", required_argument, NULL, 't'},
        {"etu", required_argument, NULL, 'e'},
        {"tcl", required_argument, NULL, 'l'},
        {"kbit", required_argument, NULL, 'k'},
        {"contactless", no_argument, NULL, 'c'},
        {"json", no_argument, NULL, 'j'},
        {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'V'},
        {NULL, 0, NULL, 0},
    };
    struct args a = {0};
    int c;
    while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        switch (c) {
        case 's':
            a.state = optarg;
            break;
        case 'v':
            a.vpcd = optarg;
            break;
        case 't':
            a.t1 = optarg;
            break;
        case 'e':
            a.etu = optarg;
            break;
        case 'l':
            a.tcl = optarg;
            break;
        case 'k':
            a.kbit = optarg;
            break;
        case 'c':
            a.contactless = true;
            break;
        case 'j':
            a.json = true;
            break;
        case 'h':
            fputs(help, stdout);
            return EXIT_SUCCESS;
        case 'V':
            puts("cardwire-card " CARDWIRE_VERSION);
            return EXIT_SUCCESS;
        default:
            fputs("cardwire-card: see cardwire-card --help\n", stderr);
            return 2;
        }
    }
    a.inspect = optind < argc && strcmp(argv[optind], "inspect") == 0;
    if (a.inspect)
        optind++;
    if (optind < argc) {
        fprintf(stderr, "cardwire-card: there is no command '%.30s'; see cardwire-card --help\n",
                argv[optind]);
        return 2;
    }
    *out = a;
    return -1;
}

/* One place for the card, and of the options only those that go with it. */
static bool one_line(const struct args *a)
{
    int places = (a->vpcd != NULL) + (a->t1 != NULL) + (a->tcl != NULL);
    return places == 1 && (a->t1 != NULL || a->etu == NULL) &&
           (a->tcl != NULL || a->kbit == NULL) && (a->vpcd != NULL || !a->contactless);
}

int main(int argc, char **argv)
{
    struct args a;
    int code = parse(argc, argv, &a);
    if (code >= 0)
        return code;
    bool line = a.vpcd != NULL || a.t1 != NULL || a.etu != NULL || a.tcl != NULL ||
                a.kbit != NULL || a.contactless;
    if (a.inspect && a.state != NULL && !line)
        return inspect_run(a.state, a.json);
    if (!a.inspect && a.state != NULL && one_line(&a) && !a.json)
        return run(&a);
    fputs(a.inspect
              ? "cardwire-card: inspect wants --state DIR, takes --json and nothing more; see "
                "cardwire-card --help\n"
              : "cardwire-card: it wants --state DIR and one of --vpcd HOST:PORT, --t1 PATH and "
                "--tcl PATH, and nothing that is not theirs; see cardwire-card --help\n",
          stderr);
    return 2;
}
