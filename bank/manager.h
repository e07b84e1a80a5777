/* manager.h - what a service manager and a server tell each other: the protocols of sd_notify(3)
 * and sd_listen_fds(3), which are a datagram and two variables, without libsystemd. Both do nothing
 * when no manager has started us. */
#ifndef CARDWIRE_BANK_MANAGER_H
#define CARDWIRE_BANK_MANAGER_H

/* "READY=1", "STOPPING=1". A manager that does not hear is no reason to stop. */
void manager_tell(const char *state);

/* The one socket that the manager listens on for us, close-on-exec and the caller's; -1: none.
 * Works once: the variables are gone then. */
int manager_socket(void);

#endif
