/* main.c - cardwire-card, the virtual card: a process that plays the chip and sits in a reader of
 * the PC/SC daemon. */
#include "card/ports/linux/port.h"
#include "card/ports/linux/vpcd.h"

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <unistd.h>

static const char help[] =
    "Usage: cardwire-card --state DIR --vpcd HOST:PORT [--contactless]\n"
    "\n"
    "Plays a Cardwire bank card in a reader of the PC/SC daemon, through vsmartcard's vpcd.\n"
    "\n"
    "  --state DIR        folder with the card's memory; made, with a blank card, if absent\n"
    "  --vpcd HOST:PORT   where vpcd listens, for example 127.0.0.1:35963\n"
    "  --contactless      the card lies on a contactless reader (ISO/IEC 14443)\n"
    "  --help, --version\n"
    "\n"
    "Ends with 0 on SIGTERM and when the daemon goes away; 1 when it fails; 2 when it is called\n"
    "wrongly.\n";

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

static int run(const char *state, const char *vpcd, bool contactless)
{
    struct say why = {""};
    struct net_address daemon;
    struct card_linux *card = NULL;
    int signals = -1;
    enum cw_err err = net_address_parse(vpcd, &daemon, &why);
    if (err != CW_OK) {
        fprintf(stderr, "cardwire-card: --vpcd: %s\n", why.text);
        return 2;
    }
    signals = signals_open();
    if (signals < 0)
        err = say_fail(&why, CW_ERR_INTERNAL, "cannot receive signals");
    if (err == CW_OK)
        err = card_linux_open(state, contactless, &card, &why);
    if (err == CW_OK)
        err = vpcd_serve(&daemon, card_linux_port(card), signals, &why);
    fprintf(stderr, "cardwire-card: %s\n", why.text);
    card_linux_close(&card);
    if (signals >= 0)
        close(signals);
    return err == CW_OK ? EXIT_SUCCESS : EXIT_FAILURE;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"state", required_argument, NULL, 's'}, {"vpcd", required_argument, NULL, 'v'},
        {"contactless", no_argument, NULL, 'c'}, {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'V'},     {NULL, 0, NULL, 0},
    };
    const char *state = NULL, *vpcd = NULL;
    bool contactless = false;
    int c;
    while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        switch (c) {
        case 's':
            state = optarg;
            break;
        case 'v':
            vpcd = optarg;
            break;
        case 'c':
            contactless = true;
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
    if (optind < argc || state == NULL || vpcd == NULL) {
        fputs("cardwire-card: it wants --state DIR and --vpcd HOST:PORT and nothing more; see "
              "cardwire-card --help\n",
              stderr);
        return 2;
    }
    return run(state, vpcd, contactless);
}
