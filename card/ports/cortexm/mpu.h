/* mpu.h - what may be touched, and how: the image is read and run, RAM and the card's memory are
 * read and written and never run, and everything else is out of reach. So is what lies below the
 * stack, which is at the bottom of RAM: whoever overflows it faults (startup.S) at any depth. */
#ifndef CARDWIRE_CARD_PORTS_CORTEXM_MPU_H
#define CARDWIRE_CARD_PORTS_CORTEXM_MPU_H

#include <stdbool.h>

void mpu_start(void);
/* The card's memory is read only, but while its driver writes. */
void mpu_memory_writable(bool writable);

#endif
