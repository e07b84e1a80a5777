/* image.h - what the linker script (sections.ld) knows: the values are the symbols' addresses. */
#ifndef CARDWIRE_CARD_PORTS_CORTEXM_IMAGE_H
#define CARDWIRE_CARD_PORTS_CORTEXM_IMAGE_H

#define STACK_PAINT 0xC5C5C5C5 /* what startup.S leaves where the stack was never */

#ifndef __ASSEMBLER__
#include <stdint.h>

extern uint32_t __flash_start[], __flash_size[], __flash_used[];
extern uint32_t __ram_start[], __ram_size[], __ram_used[];
extern uint32_t __stack_bottom[], __stack_top[];

#endif
#endif
